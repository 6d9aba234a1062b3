package edge

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// C7 and I2: 20.0 to 21.0 s after the last heartbeat, wherever it falls.
func TestSilenceIsALoss(t *testing.T) {
	t.Parallel()
	for _, last := range []time.Duration{0, 1, 249 * time.Millisecond, 15 * time.Second, 33*time.Second + 3*time.Millisecond, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := startVirtual(t, nil)
			c := w.connect(1)
			w.enter(1, "r", 1, 0)
			w.store.put(1, func(r *protocol.UserRecord) { r.Room, r.Version = "r", 1 })
			for rest := last; rest > 0; {
				step := min(rest, 15*time.Second)
				time.Sleep(step)
				rest -= step
				c.send("ping", nil)
			}
			synctest.Wait()
			heard := time.Now()
			time.Sleep(20*time.Second - time.Nanosecond)
			synctest.Wait()
			if _, ok := w.edge.Session(1); !ok {
				t.Fatalf("last heartbeat after %v: lost before 20 s", last)
			}
			w.eventually("loss told", func() bool { return len(w.owners.told()) > 0 })
			if silent := time.Since(heard); silent < 20*time.Second || silent > 21*time.Second {
				t.Errorf("last heartbeat after %v: lost after %v", last, silent)
			}
			c.expectClose(protocol.CloseTimeout)
			intent := w.owners.told()[0]
			if intent.Reason != "timeout" || len(intent.Leave) != 1 || intent.Leave[0] != "r" || !intent.Lost {
				t.Errorf("%+v", intent)
			}
			w.eventually("out of the room", func() bool { return w.rooms("r") == 0 })
		})
	}
}

// Only a valid frame of this session counts, not arbitrary bytes.
func TestWhatIsNoHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, func(c *Config) { c.SignMode = SignHMAC })
		other := w.connect(2)
		noise := map[protocol.UserID]func(c *client){
			11: func(c *client) { c.write(9, []byte("ping")) },
			12: func(c *client) { c.write(10, nil) },
			13: func(c *client) { c.write(1, []byte(`{"action":"ping"}`)) },
			14: func(c *client) { c.write(1, []byte(`nonsense`)) },
			15: func(c *client) { c.write(2, c.compose("ping", nil)) },
			16: func(c *client) { c.send("ping", frame{"sign": "00"}) },
			17: func(c *client) { c.write(1, other.compose("ping", nil)) },
			18: func(c *client) { c.write(0x70, nil) }, // reserved bits: closed at once
			19: func(c *client) { c.send("ping", frame{"timestamp": time.Now().Unix() + 3600}) },
		}
		clients := make(map[protocol.UserID]*client)
		for user := range noise {
			clients[user] = w.connect(user)
			clients[user].send("ping", nil)
		}
		keeper := w.connect(1)
		synctest.Wait()
		for range 7 {
			time.Sleep(3 * time.Second)
			keeper.send("ping", nil)
			other.send("ping", nil)
			for user, make := range noise {
				make(clients[user])
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for user := range noise {
			if _, ok := w.edge.Session(user); ok {
				t.Errorf("noise %d kept the connection", user)
			}
		}
		if _, ok := w.edge.Session(1); !ok {
			t.Error("heartbeats did not keep the connection")
		}
	})
}

// C6: pings are not answered.
func TestPingIsNotAnswered(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	c.send("ping", nil)
	c.silent()
}

// A pause of the process is nobody's silence: it is added to every deadline,
// once, and whoever spoke during it or after it gets no more than that.
func TestPauseIsNobodysSilence(t *testing.T) {
	t.Parallel()
	var w wheel
	second := time.Second
	w.last = 100 * second
	w.late(100*second + tick) // in time
	if p := w.paused(0); p != 0 || w.quiet != 0 {
		t.Fatalf("in time: %v, quiet %d", p, w.quiet)
	}
	w.late(125*second + 2*tick)
	end := 125*second + 2*tick
	begin := end - 25*second
	for _, test := range []struct{ seen, want time.Duration }{
		{50 * second, 25 * second},
		{begin, 25 * second},
		{begin + 20*second, 5 * second}, // read before the late tick came
		{end, 0},
		{end + second, 0},
	} {
		if p := w.paused(test.seen); p != test.want {
			t.Errorf("seen at %v: %v, want %v", test.seen, p, test.want)
		}
	}
	if w.quiet != settleTicks {
		t.Errorf("judged at once after the pause")
	}
	for i := range 10 * maxPauses {
		w.late(end + time.Duration(i)*second)
	}
	if len(w.pauses) != maxPauses {
		t.Errorf("%d pauses remembered", len(w.pauses))
	}
}

// judged returns a session over a real socket and its client's end. No Run
// judges it but the test.
func judged(t *testing.T) (*session, net.Conn) {
	s, _ := heartbeat(t, SignOff)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Init(s.edge.fanout, near, nil)
	s.lastSeen.Store(int64(100 * time.Second))
	t.Cleanup(func() { s.Abort(); far.Close() })
	return s, far
}

func TestJudgementAfterPause(t *testing.T) {
	t.Parallel()
	s, _ := judged(t)
	e := s.edge
	e.wheel.last = 110 * time.Second
	e.wheel.late(113*time.Second + tick) // a pause of 3 s
	e.judge(s, 123*time.Second-1)
	if s.current() != fateNone {
		t.Fatal("the pause was the client's silence")
	}
	e.judge(s, 123*time.Second)
	if s.current() != fateLost {
		t.Error("the pause is more than added")
	}
}

func TestJudgementOfUnreadBytes(t *testing.T) {
	t.Parallel()
	s, far := judged(t)
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); !s.Unread() && time.Now().Before(end); {
	}
	s.edge.judge(s, 120*time.Second+unreadGrace-1)
	if s.current() != fateNone {
		t.Fatal("judged with bytes unread")
	}
	s.edge.judge(s, 120*time.Second+unreadGrace)
	if s.current() != fateLost {
		t.Error("bytes keep a silent connection for ever")
	}
}

// Every session is looked at in time, however far apart ticks and deadlines
// are.
func TestWheel(t *testing.T) {
	t.Parallel()
	var w wheel
	want := make(map[*session]time.Duration)
	for i := range 1000 {
		s := &session{}
		want[s] = time.Duration(i) * 97 * time.Millisecond
		w.add(s, want[s])
	}
	for now := time.Duration(0); len(want) > 0; {
		step := tick
		if len(want)%3 == 0 {
			step = 40 * time.Second // a pause
		}
		now += step
		for _, s := range w.due(now) {
			deadline, ok := want[s]
			switch {
			case !ok:
				t.Fatal("a session in two buckets")
			case deadline > now:
				w.add(s, deadline)
			default:
				if now-deadline > step {
					t.Fatalf("deadline %v looked at %v", deadline, now)
				}
				delete(want, s)
			}
		}
		if now > time.Hour {
			t.Fatalf("%d sessions never came up", len(want))
		}
	}
}
