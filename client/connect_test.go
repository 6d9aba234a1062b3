package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

func TestConnectsAndSaysWhereTheUserIs(t *testing.T) {
	inBubble(t, func(c *Config) { c.RoomID, c.V2 = "r1", true }, func(r *rig) {
		r.server.set(func() {
			r.server.token = `{"action":"create_token","online_token":"tok","ping_interval":5,"heartbeat_timeout":20,"current_room_id":12,"call_no":"c9"}`
		})
		p := r.accept(time.Second)
		if p.query.Get("sid") != testSID || p.query.Get("room_id") != "r1" || p.query.Get("v") != "2" {
			t.Errorf("query %v", p.query)
		}
		if q := r.server.asks()[0]; q.Get("sid") != testSID || q.Get("room_id") != "r1" {
			t.Errorf("end_point was asked %v", q)
		}
		r.told("connected room=12 call=call/c9 again=false")
		got := r.heard.conn[0]
		if !got.PlaceKnown || got.PingInterval != 5*time.Second || got.HeartbeatTimeout != 20*time.Second {
			t.Errorf("told %+v", got)
		}
		if room, call := r.client.Place(); room != "12" || call != "call/c9" || !r.client.Connected() {
			t.Errorf("place %q %q", room, call)
		}
		r.stop()
		if err := r.wait(time.Second); err != nil {
			t.Errorf("Run after its context's end: %v", err)
		}
		<-p.gone
		if err := r.client.Run(r.t.Context()); err == nil {
			t.Error("a second Run is let in")
		}
	})
}

func TestHeartbeatsAreSignedAndOnTime(t *testing.T) {
	for name, test := range map[string]struct {
		sign  Sign
		key   string
		check func(*protocol.Verifier, *protocol.ClientFrame) bool
	}{
		"hmac":  {SignAuto, testKey, func(v *protocol.Verifier, f *protocol.ClientFrame) bool { return v.HMAC(f, testKey) }},
		"nokey": {SignAuto, "", func(v *protocol.Verifier, f *protocol.ClientFrame) bool { return v.MD5(f) }},
		"md5":   {SignMD5, testKey, func(v *protocol.Verifier, f *protocol.ClientFrame) bool { return v.MD5(f) }},
		"off":   {SignOff, testKey, func(_ *protocol.Verifier, f *protocol.ClientFrame) bool { return len(f.Sign) == 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *Config) { c.Sign = test.sign }, func(r *rig) {
				if test.key == "" {
					r.server.set(func() { r.server.token = `{"action":"create_token","online_token":"tok"}` })
				}
				p := r.connected()
				began := time.Now()
				var v protocol.Verifier
				for i := range 5 {
					f := p.expect(protocol.ActionPing, 15*time.Second+time.Millisecond)
					if !test.check(&v, &f) || string(f.Token) != "tok" || string(f.SID) != testSID {
						t.Errorf("heartbeat %s", f.Raw())
					}
					if drift := f.Timestamp - time.Now().Unix(); drift != 0 {
						t.Errorf("timestamp is off by %d s", drift)
					}
					if since := time.Since(began); i > 0 && since != 15*time.Second || since < 3*time.Second {
						t.Errorf("heartbeat %d after %v", i, since)
					}
					began = time.Now()
				}
			})
		})
	}
}

func TestWaitsAsLongAsEndPointSays(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.server.set(func() {
			r.server.answer = strings.Replace(r.server.answer, `"not_before_ms":0`, `"not_before_ms":2500`, 1)
		})
		p := r.accept(time.Minute)
		if waited := p.at.Sub(r.server.askedAt[0]); waited != 2500*time.Millisecond {
			t.Errorf("connected after %v", waited)
		}
		synctest.Wait()
		if took := r.heard.conn[0].Took; took != 0 {
			t.Errorf("the wait counts as %v of connecting", took)
		}
	})
}

func TestCloseCodes(t *testing.T) {
	for code, want := range map[protocol.CloseCode]struct {
		back       bool
		most       time.Duration
		retryAfter string
	}{
		protocol.CloseDrain:           {back: true, most: 30 * time.Second, retryAfter: "30"},
		protocol.CloseOverloaded:      {back: true, most: defaultRetryAfter},
		protocol.CloseTimeout:         {back: true, most: defaultBackoffMin},
		protocol.CloseSlow:            {back: true, most: defaultBackoffMin},
		1011:                          {back: true, most: defaultBackoffMin},
		protocol.CloseSuperseded:      {},
		protocol.CloseKicked:          {},
		protocol.CloseUnauthenticated: {},
		protocol.CloseAbusive:         {},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				p := r.connected()
				if want.retryAfter != "" {
					p.send(`{"action":"drain","retry_after":` + want.retryAfter + `}`)
				}
				closed := time.Now()
				p.close(code)
				if want.back {
					p = r.accept(time.Minute)
					if waited := p.at.Sub(closed); waited > want.most {
						t.Errorf("back after %v", waited)
					}
					if len(r.server.asks()) != 2 {
						t.Errorf("end_point was asked %d times", len(r.server.asks()))
					}
					return
				}
				err := r.wait(time.Second)
				var closedWith *CloseError
				if !errors.Is(err, ErrStayAway) || !errors.As(err, &closedWith) || closedWith.Code != code || closedWith.Reason != code.Reason() {
					t.Errorf("Run: %v", err)
				}
				r.told(fmt.Sprintf("disconnected open=true final=true: %v", err))
			})
		})
	}
}

func TestStaysAwayWithoutUser(t *testing.T) {
	t.Run("end_point", func(t *testing.T) {
		inBubble(t, func(c *Config) { dial := c.Dial; c.Dial = late(dial) }, func(r *rig) {
			r.server.set(func() { r.server.answer = `{"error_code":-100,"error_reason":"请登录"}` })
			if err := r.wait(time.Minute); !errors.Is(err, ErrLogIn) || !errors.Is(err, ErrStayAway) {
				t.Errorf("Run: %v", err)
			}
		})
	})
	t.Run("create_token", func(t *testing.T) {
		inBubble(t, func(c *Config) { dial := c.Dial; c.Dial = late(dial) }, func(r *rig) {
			r.server.set(func() {
				r.server.token = `{"action":"create_token","online_token":"x","error_code":-1,"error_reason":"用户不存在"}`
			})
			if err := r.wait(time.Minute); !errors.Is(err, ErrLogIn) {
				t.Errorf("Run: %v", err)
			}
		})
	})
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// late gives a test the time to set its server up.
func late(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		time.Sleep(time.Millisecond)
		return dial(ctx, network, address)
	}
}

func TestBacksOffWhileNobodyAnswers(t *testing.T) {
	inBubble(t, func(c *Config) { c.EndPoints = append(c.EndPoints, "http://10.0.0.9:8001") }, func(r *rig) {
		p := r.connected()
		r.net.Kill(serverHost)
		<-p.gone
		r.net.Host("10.0.0.9") // up, but nobody listens
		time.Sleep(time.Minute)
		down := r.client.Stats().Attempts - 1
		if down < 5 || down > 40 {
			t.Errorf("%d attempts within a minute", down)
		}
		l, err := r.net.Host("10.0.0.9").Listen(":8001")
		if err != nil {
			t.Fatal(err)
		}
		other := newFake(t, l)
		defer other.stop()
		select {
		case <-other.peers:
		case <-time.After(3 * defaultBackoffMax):
			t.Error("did not come to the other node")
		}
		r.stop()
		<-r.done
	})
}

func TestAnswerThatLeadsNowhere(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.Dial = late(c.Dial)
		c.EndPoints = append(c.EndPoints, "http://10.0.0.9:8001")
	}, func(r *rig) {
		l, err := r.net.Host("10.0.0.9").Listen(":8001")
		if err != nil {
			t.Fatal(err)
		}
		other := newFake(t, l)
		defer other.stop()
		r.server.set(func() { r.server.answer = `{"error_code":0,"end_point":"ws://10.0.0.8:1"}` })
		select {
		case <-other.peers:
		case <-time.After(time.Minute):
			t.Error("did not ask the other node")
		}
		r.stop()
		<-r.done
	})
}

// A node that has crashed is named by end_point until the others know. Who finds
// nobody there says so, and is sent elsewhere without having to wait.
func TestEndPointIsToldWhatFailed(t *testing.T) {
	inBubble(t, func(c *Config) { c.Dial = late(c.Dial) }, func(r *rig) {
		p := r.connected()
		alive := r.server.answer
		r.net.Host("10.0.0.8") // up, but nobody listens
		r.server.set(func() { r.server.answer = `{"error_code":0,"end_point":"ws://10.0.0.8:1"}` })
		before := len(r.server.asks())
		_ = p.conn.Close()
		began := time.Now()
		for len(r.server.asks()) < before+2 {
			time.Sleep(10 * time.Millisecond)
		}
		r.server.set(func() { r.server.answer = alive })
		p = r.accept(time.Minute)
		if took := time.Since(began); took > defaultBackoffMin+3*elsewhereMax {
			t.Errorf("back after %v", took)
		}
		asks := r.server.asks()[before:]
		if asks[0].Has("failed") || asks[1].Get("failed") != "ws://10.0.0.8:1" || asks[len(asks)-1].Get("failed") != "ws://10.0.0.8:1" {
			t.Errorf("end_point was asked %v", asks)
		}
		synctest.Wait()
		_ = p.conn.Close()
		r.accept(time.Minute)
		if asks := r.server.asks(); asks[len(asks)-1].Has("failed") {
			t.Errorf("after a connection end_point was asked %v", asks[len(asks)-1])
		}
	})
}

// A node that has crashed answers neither door. Who finds that out asks the next
// node at once, and says what it knows.
func TestCrashedNodeIsAskedNothingTwice(t *testing.T) {
	inBubble(t, func(c *Config) { c.EndPoints = append(c.EndPoints, "http://10.0.0.9:8001") }, func(r *rig) {
		l, err := r.net.Host("10.0.0.9").Listen(":8001")
		if err != nil {
			t.Fatal(err)
		}
		other := newFake(t, l)
		defer other.stop()
		crashed := "ws://" + r.server.addr
		other.set(func() { other.answer = fmt.Sprintf(`{"error_code":0,"end_point":%q}`, crashed) })
		r.server.set(func() { r.server.answer = other.answer })
		p := r.accept(time.Minute)
		asked := len(other.asks())
		r.client.first = 0 // Run waits in a read
		r.server.stop()
		p.drop()
		for len(other.asks()) == asked {
			time.Sleep(time.Millisecond)
		}
		if ask := other.asks()[asked]; ask.Get("failed") != crashed {
			t.Errorf("the other node was asked %v, want %s named as failed", ask, crashed)
		}
		r.stop()
		<-r.done
	})
}

func TestRefusedWebsocketComesBackLater(t *testing.T) {
	inBubble(t, func(c *Config) { c.Dial = late(c.Dial) }, func(r *rig) {
		r.server.set(func() { r.server.refuse = 503 })
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if err := r.heard.last.Err; err == nil || !strings.Contains(err.Error(), "503") || r.heard.last.Open {
			t.Errorf("told %+v", r.heard.last)
		}
		r.server.set(func() { r.server.refuse = 0 })
		r.accept(time.Minute)
	})
}

func TestServerOfAnotherKind(t *testing.T) {
	inBubble(t, func(c *Config) { c.Dial, c.TokenTimeout = late(c.Dial), 3*time.Second }, func(r *rig) {
		r.server.set(func() { r.server.token = `{"action":"send_topic_msg"}` })
		<-r.accept(time.Minute).gone
		synctest.Wait()
		if !errors.Is(r.heard.last.Err, errNoToken) {
			t.Errorf("told %v", r.heard.last.Err)
		}
		r.server.set(func() { r.server.token = "" })
		p := r.accept(time.Minute)
		<-p.gone
		if held := time.Since(p.at); held != 3*time.Second {
			t.Errorf("waited %v for a token", held)
		}
	})
}

func TestSilentMachineIsNoticed(t *testing.T) {
	inBubble(t, func(c *Config) { c.BackoffMax = time.Second }, func(r *rig) {
		p := r.connected()
		time.Sleep(time.Minute)
		r.told() // a server that says nothing, but answers, is fine
		r.net.Vanish(serverHost)
		time.Sleep(31 * time.Second)
		got := r.heard.take()
		if len(got) == 0 || !strings.Contains(got[0], errSilent.Error()) {
			t.Errorf("told %q", got)
		}
		_ = p
		r.stop()
		<-r.done
	})
}

func TestProbeCanBeTurnedOff(t *testing.T) {
	inBubble(t, func(c *Config) { c.ProbeInterval = -1 }, func(r *rig) {
		p := r.connected()
		p.deaf = true
		time.Sleep(5 * time.Minute)
		r.told()
	})
}

func TestHostileServerCostsOneConnection(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		// A length with its top bit set, which the websocket library slices with.
		_, _ = p.conn.Write([]byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		r.accept(time.Minute)
		got := r.heard.take()
		if len(got) != 2 || !strings.HasPrefix(got[0], "disconnected open=true final=false") {
			t.Errorf("told %q", got)
		}
	})
}

func TestPanicOfACallbackIsNotHidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, h := newNet(t)
		defer n.Close()
		f := newFake(t, h)
		defer f.stop()
		c, err := New(Config{
			EndPoints: []string{"http://" + f.addr}, SID: testSID, Dial: n.Host("phone").DialContext,
			OnFrame: func(Frame) { panic("ours") },
		})
		if err != nil {
			t.Fatal(err)
		}
		caught := make(chan any)
		go func() {
			defer func() { caught <- recover() }()
			_ = c.Run(t.Context())
		}()
		p := <-f.peers
		p.send(`{"action":"pk"}`)
		if got := <-caught; got != "ours" {
			t.Errorf("caught %v", got)
		}
		p.drop()
	})
}

func TestEndsWhileConnecting(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*rig){
		"dialing":   func(r *rig) { r.net.Cut("phone", serverHost) },
		"handshake": func(r *rig) { r.net.Pause(serverHost) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *Config) { c.Dial = late(c.Dial) }, func(r *rig) {
				cut(r)
				time.Sleep(5 * time.Second)
				r.stop()
				if err := r.wait(time.Second); err != nil {
					t.Error(err)
				}
				r.net.Heal()
				r.net.Resume(serverHost)
			})
		})
	}
}
