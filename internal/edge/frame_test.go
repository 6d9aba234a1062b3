package edge

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// owe puts a departure to a connection, whose report then shows that a frame
// had an effect.
func (w *world) owe(user protocol.UserID, id protocol.DepartureID, room protocol.RoomID, subject protocol.UserID) {
	w.t.Helper()
	n := protocol.Notice{User: user, Room: room, Departure: id, Subject: subject, Frame: []byte(`{"action":"exit_room"}`)}
	if got := w.edge.Notify(n); got != protocol.NoticeDelivered {
		w.t.Fatalf("notice: %d", got)
	}
}

// C8: a frame that does not prove that it is this connection's has no effect
// and gets no reply; the connection stays.
func TestProofOfFrames(t *testing.T) {
	t.Parallel()
	md5 := func(c *client) { c.key = "" }
	for name, test := range map[string]struct {
		mode SignMode
		make func(w *world, c *client) []byte
		good bool
	}{
		"hmac":               {SignHMAC, func(_ *world, c *client) []byte { return c.compose("exit_room_report", frame{"user_id": 9}) }, true},
		"md5":                {SignMD5, func(_ *world, c *client) []byte { return c.compose("exit_room_report", frame{"user_id": 9}) }, true},
		"both, hmac":         {SignBoth, func(_ *world, c *client) []byte { return c.compose("exit_room_report", frame{"user_id": 9}) }, true},
		"both, md5":          {SignBoth, func(_ *world, c *client) []byte { md5(c); return c.compose("exit_room_report", frame{"user_id": 9}) }, true},
		"off, nothing given": {SignOff, func(*world, *client) []byte { return []byte(`{"action":"exit_room_report","user_id":9}`) }, true},
		"off, wrong token": {SignOff, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "online_token": "x"})
		}, false},
		"md5 where hmac is due": {SignHMAC, func(_ *world, c *client) []byte { md5(c); return c.compose("exit_room_report", frame{"user_id": 9}) }, false},
		"no sign": {SignHMAC, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "sign": nil})
		}, false},
		"no sign, legacy": {SignMD5, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "sign": nil})
		}, false},
		"wrong sign": {SignHMAC, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "sign": strings.Repeat("0", 64)})
		}, false},
		"changed after signing": {SignHMAC, func(_ *world, c *client) []byte {
			return []byte(strings.Replace(string(c.compose("exit_room_report", frame{"user_id": 8})), ":8", ":9", 1))
		}, false},
		"no token": {SignHMAC, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "online_token": nil})
		}, false},
		"no sid": {SignHMAC, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "sid": nil})
		}, false},
		"another user's sid": {SignHMAC, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "sid": "2sx"})
		}, false},
		"another user's frame": {SignMD5, func(w *world, _ *client) []byte { return w.connect(2).compose("exit_room_report", frame{"user_id": 9}) }, false},
		"an earlier connection's": {SignMD5, func(w *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "online_token": strings.Repeat("ab", 16)})
		}, false},
		"no timestamp": {SignHMAC, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "timestamp": nil})
		}, false},
		"clock of 1970": {SignHMAC, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": 9, "timestamp": 1000})
		}, true},
		"timestamp as text": {SignHMAC, func(_ *world, c *client) []byte {
			return c.compose("exit_room_report", frame{"user_id": "9", "timestamp": "1700000000"})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, func(c *Config) { c.SignMode = test.mode })
			c := w.connect(1)
			w.owe(1, "d-1", "r", 9)
			c.expect("exit_room")
			c.write(1, test.make(w, c))
			c.silent()
			if test.good {
				w.eventually("the report arrives", func() bool { return len(w.owners.of(protocol.VerbReport)) == 1 })
			} else if len(w.owners.of(protocol.VerbReport)) != 0 {
				t.Error("the frame had an effect")
			}
		})
	}
}

// The client's clock may be wrong; it may not run away within a connection.
func TestTimestampDrift(t *testing.T) {
	t.Parallel()
	s := &session{}
	const base = 1517644790
	for i, test := range []struct {
		stamp int64
		at    time.Duration
		want  bool
	}{
		{0, 0, false},
		{-5, 0, false},
		{base, 10 * time.Second, true}, // the first one counts
		{base, 10 * time.Second, true},
		{base + 15, 25 * time.Second, true},
		{base + 60, 10 * time.Second, true},
		{base + 61, 10 * time.Second, false},
		{base, 70 * time.Second, true},
		{base, 71 * time.Second, false}, // replayed later
		{base + 3600, 3610 * time.Second, true},
		{1 << 62, 3610 * time.Second, false},
	} {
		if got := s.timely(test.stamp, test.at); got != test.want {
			t.Errorf("%d: %d at %v is %v", i, test.stamp, test.at, got)
		}
	}
}

// Whatever comes over a connection, it costs at most that connection.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	raw := func(b ...byte) func(c *client) {
		return func(c *client) { _, _ = c.conn.Write(b) }
	}
	text := func(s string) func(c *client) { return func(c *client) { c.write(1, []byte(s)) } }
	huge := make([]byte, 14)
	huge[0], huge[1] = 0x81, 0x80|127
	binary.BigEndian.PutUint64(huge[2:], 1<<63|1<<20)
	for name, test := range map[string]struct {
		send   func(c *client)
		closes bool
	}{
		"length with the top bit set": {raw(huge...), true},
		"8 KiB and one":               {func(c *client) { c.write(1, make([]byte, 8<<10+1)) }, false},
		"32 KiB and one":              {func(c *client) { c.write(1, make([]byte, 32<<10+1)) }, true},
		"8 KiB":                       {func(c *client) { c.write(1, []byte(`{"action":"`+strings.Repeat("x", 8<<10-13)+`"}`)) }, false},
		"unmasked":                    {raw(0x81, 0x02, '{', '}'), true},
		"reserved bits":               {raw(0xf1, 0x80, 0, 0, 0, 0), true},
		"unknown opcode":              {raw(0x83, 0x80, 0, 0, 0, 0), true},
		"control frame too long":      {raw(0x89, 0x80|126, 0, 200, 0, 0, 0, 0), true},
		"continuation of nothing":     {raw(0x80, 0x80, 0, 0, 0, 0), true},
		"bad UTF-8":                   {text("{\"action\":\"\xff\"}"), true},
		"binary":                      {func(c *client) { c.write(2, []byte(`{"action":"ping"}`)) }, false},
		"not JSON":                    {text(`nonsense`), false},
		"empty":                       {text(``), false},
		"array":                       {text(`[1]`), false},
		"two objects":                 {text(`{"action":"ping"}{"action":"ping"}`), false},
		"field twice":                 {text(`{"action":"ping","action":"up"}`), false},
		"nested 10,000 deep":          {text(`{"action":"ping","a":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + `}`), false},
		"lone surrogate":              {text(`{"action":"ping","a":"\ud800"}`), false},
		"huge number":                 {text(`{"action":"sync","seq":99999999999999999999999,"epoch":1e400,"room_id":1}`), false},
		"unknown action":              {text(`{"action":"make_coffee"}`), false},
		"action is a number":          {text(`{"action":5}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, nil)
			bystander := w.connect(2)
			c := w.connect(1)
			test.send(c)
			if test.closes {
				w.eventually("connection closed", func() bool { _, open := w.edge.Session(1); return !open })
				w.eventually("loss told", func() bool { return !w.store.online(1) })
			} else {
				if code := map[string]string{"huge number": "not_in_room", "8 KiB and one": "too_large"}[name]; code != "" {
					if f := c.expect("error"); f["code"] != code {
						t.Errorf("%v, want %s", f, code)
					}
				}
				c.silent()
			}
			bystander.silent()
		})
	}
}

// Half a frame for ever is silence.
func TestHalfFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		c := w.connect(1)
		half := encode(1, []byte(`{"action":"ping"}`))
		for _, b := range half[:len(half)-1] {
			if _, err := c.conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(900 * time.Millisecond)
		}
		w.eventually("silence is a loss", func() bool { return !w.store.online(1) })
	})
}

// What is too fast or bad is ignored first and closed then; who reports what is
// owed is never too fast.
func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		for name, test := range map[protocol.UserID]func(c *client, i int){
			1: func(c *client, _ int) { c.write(1, []byte("nonsense")) },
			2: func(c *client, _ int) { c.send("ping", frame{"online_token": "x"}) },
			3: func(c *client, _ int) { c.send("ping", nil) },
			4: func(c *client, _ int) { c.write(9, nil) },
		} {
			c := w.connect(name)
			for i := range 500 {
				if _, open := w.edge.Session(name); !open {
					break
				}
				test(c, i)
				synctest.Wait()
			}
			c.expectClose(protocol.CloseAbusive)
		}
		reporter := w.connect(5)
		for i := range 300 {
			w.owe(5, protocol.NewDepartureID(1, 1, uint64(i)), "r", 9)
			reporter.expect("exit_room")
			reporter.send("exit_room_report", frame{"user_id": 9})
			synctest.Wait()
		}
		if n := len(w.owners.of(protocol.VerbReport)); n != 300 {
			t.Errorf("%d reports of 300", n)
		}
		slow := w.connect(6)
		for range 300 {
			slow.send("ping", nil)
			time.Sleep(time.Second / 20)
		}
		reporter.silent()
		slow.silent()
	})
}

// Both privileged and open actions, and their errors.
func TestActions(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "77", 1, 0)
	send := func(action string, more frame) { c.send(action, more) }
	send("enter_room", frame{"room_id": 77, "nickname": "Ann", "role": "host"})
	send("exit_room", frame{"room_id": "77"})
	send("call", frame{"room_id": "c1", "receiver_id": "2"})
	send("hang_up", frame{"room_id": "c1"})
	w.eventually("moves", func() bool {
		return w.mover.said() == "enter 1 77 Ann host; exit 1 77; call call/c1 1 2; end call/c1 1"
	})
	send("up", frame{"room_id": 77, "currenr_room_seat_id": 3})
	send("down", frame{"room_id": 77, "currenr_room_seat_id": 3})
	w.eventually("seats", func() bool { return len(w.owners.of(protocol.VerbSeat)) == 2 })
	seats := w.owners.of(protocol.VerbSeat)
	if up := seats[0]; up.User != 1 || up.Seat != 3 || up.SeatChange.Up != 1 || up.SeatChange.Down || up.Room != "77" {
		t.Errorf("%+v", up)
	}
	if down := seats[1]; down.User != 1 || down.SeatChange.Up != 0 || !down.SeatChange.Down {
		t.Errorf("%+v", down)
	}
	send("send_topic_msg", frame{"room_id": 77, "user_id": 5, "content": "<喂>/", "sender_id": 8})
	send("send_gift", frame{"room_id": 77, "sender_id": 5, "receiver_id": 2, "notify_type": "ptp", "gift": frame{"sid": "x", "id": 1}})
	w.eventually("publications", func() bool { return len(w.owners.of(protocol.VerbPublish)) == 2 })
	pubs := w.owners.of(protocol.VerbPublish)
	if got := string(pubs[0].Frame); got != `{"action":"send_topic_msg","content":"<喂>/","user_id":1}` || pubs[0].Subject != 0 {
		t.Errorf("%s", got)
	}
	if got := string(pubs[1].Frame); got != `{"action":"send_gift","gift":{"id":1,"sid":"x"},"notify_type":"ptp","receiver_id":2,"user_id":1,"sender_id":1}` || pubs[1].Subject != 2 {
		t.Errorf("%s", got)
	}
	// As some clients spell it.
	send("send_gift", frame{"room_id": 77, "gift": frame{"notify_type": "ptp", "receiver_id": 3}})
	w.eventually("gift to one", func() bool {
		pubs := w.owners.of(protocol.VerbPublish)
		return len(pubs) == 3 && pubs[2].Subject == 3
	})
	for name, bad := range map[string]struct {
		action string
		more   frame
		code   string
	}{
		"call to oneself":   {"call", frame{"room_id": "c", "receiver_id": 1}, "bad_request"},
		"nickname":          {"enter_room", frame{"room_id": 77, "nickname": 5}, "bad_request"},
		"long nickname":     {"enter_room", frame{"room_id": 77, "nickname": strings.Repeat("x", 257)}, "bad_request"},
		"sex":               {"enter_room", frame{"room_id": 77, "sex": 10}, "bad_request"},
		"ptp in a gift":     {"send_gift", frame{"room_id": 77, "gift": frame{"notify_type": "ptp"}}, "bad_request"},
		"no room":           {"enter_room", nil, "bad_request"},
		"bad room":          {"enter_room", frame{"room_id": "call/x"}, "bad_request"},
		"no receiver":       {"call", frame{"room_id": "c"}, "bad_request"},
		"no seat":           {"up", frame{"room_id": 77}, "bad_request"},
		"sync of elsewhere": {"sync", frame{"room_id": 78}, "not_in_room"},
		"ptp to nobody":     {"send_gift", frame{"room_id": 77, "notify_type": "ptp"}, "bad_request"},
	} {
		send(bad.action, bad.more)
		if f := c.expect("error"); f["code"] != bad.code || f["message"] == "" {
			t.Errorf("%s: %v", name, f)
		}
	}
	// Whether it is in 78 is for the owner to say.
	w.owners.setAnswer(func(protocol.Command) protocol.Reply {
		return protocol.Reply{Code: protocol.CodeNotInRoom, Message: "user 1 is not in room"}
	})
	send("send_topic_msg", frame{"room_id": 78})
	if f := c.expect("error"); f["code"] != "not_in_room" || w.owners.of(protocol.VerbPublish)[3].Room != "78" {
		t.Errorf("%v", f)
	}
	w.owners.setAnswer(func(protocol.Command) protocol.Reply {
		return protocol.Reply{Code: protocol.CodeSeatTaken, Message: "seat 3 is taken"}
	})
	send("up", frame{"room_id": 77, "currenr_room_seat_id": 3})
	if f := c.expect("error"); f["code"] != "seat_taken" || f["message"] != "seat 3 is taken" {
		t.Errorf("%v", f)
	}
}

func TestForbiddenActions(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.open("1nx")
	w.eventually("session", func() bool { _, ok := w.edge.Session(1); return ok })
	w.enter(1, "77", 1, 0)
	for _, action := range privileged {
		c.send(string(action), frame{"room_id": 77, "receiver_id": 2, "currenr_room_seat_id": 1})
		if f := c.expect("error"); f["code"] != "forbidden" {
			t.Errorf("%s: %v", action, f)
		}
	}
	if w.mover.said() != "" || len(w.owners.of(protocol.VerbSeat))+len(w.owners.of(protocol.VerbPublish)) != 0 {
		t.Error("a forbidden action had an effect")
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	p := permit([]string{"up", "send_gift", "nonsense", "ping"})
	for _, action := range privileged {
		want := action == protocol.ActionUp || action == protocol.ActionSendGift
		if p.allow(action) != want || !permit([]string{"*"}).allow(action) || permit(nil).allow(action) {
			t.Errorf("%s: %v", action, p.allow(action))
		}
	}
	if permit([]string{"*"}).allow(protocol.ActionPing) {
		t.Error("an action that is not privileged needs no permission")
	}
}

// C20, C21: receipts and unknown actions get no reply and do no harm.
func TestSilentActions(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *Config) { c.SignMode = SignMD5 })
	c := w.connect(1)
	for _, action := range []string{
		"enter_room_report", "send_topic_msg_report", "send_gift_report", "up_report", "up_deport", "down_report",
		"room_channel_status_report", "room_signal_status_report", "exit_room_report", "hang_up_report", "make_coffee",
	} {
		c.send(action, frame{"user_id": 9, "status": 1})
	}
	c.silent()
	if n := len(w.owners.commands); n != 0 {
		t.Errorf("owners were asked: %+v", w.owners.commands)
	}
}

// What a client has asked for is done in order, and only so much waits.
func TestTasksAreBoundedAndInOrder(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "77", 1, 0)
	block := make(chan struct{})
	w.owners.setAnswer(func(protocol.Command) protocol.Reply { <-block; return protocol.Reply{} })
	for i := range maxTasks + 5 {
		c.send("up", frame{"room_id": 77, "currenr_room_seat_id": i + 1})
		if i == 0 {
			w.eventually("the first is under way", func() bool { return len(w.owners.of(protocol.VerbSeat)) == 1 })
		}
	}
	for range 4 { // one is under way, maxTasks wait
		if f := c.expect("error"); f["code"] != "busy" {
			t.Errorf("%v", f)
		}
	}
	c.silent() // the reader is not held up
	close(block)
	w.eventually("all that was taken is done", func() bool { return len(w.owners.of(protocol.VerbSeat)) == maxTasks+1 })
	for i, cmd := range w.owners.of(protocol.VerbSeat) {
		if cmd.Seat != i+1 {
			t.Errorf("%d: seat %d", i, cmd.Seat)
		}
	}
	w.eventually("the worker has ended", func() bool {
		s := w.edge.registry.session(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.working && s.tasks == nil
	})
}

func TestSync(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "77", 1, 5)
	w.owners.setAnswer(history("77", 1, 5))
	c.send("sync", frame{"room_id": 77, "epoch": 1, "seq": 2})
	c.expectSeqs(3, 5)
	if f := c.expect("synced"); f["seq"] != 5.0 || f["epoch"] != 1.0 || f["room_id"] != 77.0 {
		t.Errorf("%v", f)
	}
	c.send("sync", frame{"room_id": "77", "epoch": 8, "seq": 2})
	if f := c.expect("resync"); f["seq"] != 5.0 {
		t.Errorf("%v", f)
	}
	w.owners.setAnswer(func(protocol.Command) protocol.Reply { return protocol.Reply{Code: protocol.CodeUnavailable} })
	c.send("sync", frame{"room_id": 77})
	if f := c.expect("error"); f["code"] != "unavailable" {
		t.Errorf("%v", f)
	}
	w.owners.setAnswer(func(protocol.Command) protocol.Reply { return protocol.Reply{Body: []byte(`"?"`)} })
	c.send("sync", frame{"room_id": 77})
	if f := c.expect("error"); f["code"] != "internal" || strings.Contains(f["message"].(string), "json") {
		t.Errorf("%v", f)
	}
}

// A report settles what it names, or the oldest departure of its user that this
// connection was told of; reports of others count for nothing.
func TestReports(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c, stranger := w.connect(1), w.connect(2)
	w.owe(1, "d-1", "r", 9)
	w.owe(1, "d-2", "r", 9)
	w.owe(1, "d-2", "r", 9) // repeated
	w.owe(1, "d-3", protocol.CallRoom("c"), 9)
	for range 4 {
		c.expect("exit_room")
	}
	stranger.send("exit_room_report", frame{"user_id": 9, "departure_id": "d-1"})
	stranger.silent()
	report := func(action string, more frame, want protocol.DepartureID) {
		t.Helper()
		n := len(w.owners.of(protocol.VerbReport))
		c.send(action, more)
		c.silent()
		if want == "" {
			if len(w.owners.of(protocol.VerbReport)) != n {
				t.Errorf("%v counted", more)
			}
			return
		}
		w.eventually("report of "+string(want), func() bool { return len(w.owners.of(protocol.VerbReport)) == n+1 })
		if cmd := w.owners.of(protocol.VerbReport)[n]; cmd.Departure != want || cmd.User != 1 || cmd.Subject != 9 {
			t.Errorf("%+v", cmd)
		}
	}
	report("exit_room_report", frame{"user_id": 8}, "")
	report("exit_room_report", frame{"user_id": 9, "departure_id": "d-9"}, "")
	report("exit_room_report", frame{"user_id": 9}, "d-1")
	report("hang_up_report", frame{"user_id": 9}, "d-3")
	report("exit_room_report", frame{"user_id": 9, "departure_id": "d-2"}, "d-2")
	report("exit_room_report", frame{"user_id": 9}, "")
	for i := range maxDepartures + 10 {
		w.owe(1, protocol.NewDepartureID(1, 2, uint64(i)), "r", 9)
	}
	if n := len(w.edge.registry.session(1).departures); n != maxDepartures {
		t.Errorf("%d departures remembered", n)
	}
}

// A report whose owner can't be reached is tried again, and is owed again in
// the end.
func TestReportIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		c := w.connect(1)
		w.owe(1, "d-1", "r", 9)
		w.owners.setAnswer(func(protocol.Command) protocol.Reply { return protocol.Reply{Code: protocol.CodeMoved} })
		c.send("exit_room_report", frame{"user_id": 9})
		w.eventually("tries", func() bool { return len(w.owners.of(protocol.VerbReport)) == reportTries })
		time.Sleep(time.Second)
		w.owners.setAnswer(nil)
		c.send("exit_room_report", frame{"user_id": 9})
		w.eventually("the client's own repetition", func() bool { return len(w.owners.of(protocol.VerbReport)) == reportTries+1 })
	})
}

func TestNoticeOutcomes(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	call := protocol.CallRoom("a")
	w.enter(1, call, 1, 0)
	hangUp := func(n protocol.Notice) protocol.NoticeOutcome {
		n.Frame, n.Departure = []byte(`{"action":"hang_up"}`), "d-1"
		return w.edge.Notify(n)
	}
	for _, test := range []struct {
		n    protocol.Notice
		want protocol.NoticeOutcome
	}{
		{protocol.Notice{User: 1, Room: call}, protocol.NoticeDelivered},
		{protocol.Notice{User: 1, Conn: 1, Room: call}, protocol.NoticeDelivered},
		{protocol.Notice{User: 1, Conn: 2, Room: call}, protocol.NoticeGone},
		{protocol.Notice{User: 2, Room: call}, protocol.NoticeGone},
		{protocol.Notice{User: 1, Room: protocol.CallRoom("b")}, protocol.NoticeElsewhere},
	} {
		if got := hangUp(test.n); got != test.want {
			t.Errorf("%+v: %d, want %d", test.n, got, test.want)
		}
	}
	c.expect("hang_up")
	c.expect("hang_up")
	c.silent()
}

// overdue makes a user's last heartbeat so old that one who is closed for being
// slow need not be waited for.
func (w *world) overdue(user protocol.UserID) {
	s := w.edge.registry.session(user)
	s.lastSeen.Store(int64(w.edge.now() - w.edge.cfg.HeartbeatTimeout))
}

// A client that never reads costs a bounded backlog, then its connection;
// nobody else notices.
func TestClientThatNeverReads(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *Config) { c.MaxBacklogBytes = 64 << 10 })
	silent := w.connect(1)
	defer silent.close()
	w.overdue(1)
	reader := w.connect(2)
	_ = reader.conn.SetReadDeadline(time.Time{})
	w.enter(1, "r", 1, 0)
	w.enter(2, "r", 1, 0)
	var read atomic.Uint64
	go func() {
		for {
			if _, err := reader.next(); err != nil {
				return
			}
			read.Add(1)
		}
	}()
	filler := strings.Repeat("x", 16_000)
	for seq := protocol.Seq(1); ; seq++ {
		pub := publication("r", seq)
		pub.Frame = []byte(`{"action":"send_topic_msg","content":"` + filler + `"}`)
		w.edge.Publish([]protocol.Publication{pub})
		if s := w.edge.registry.session(1); s == nil || !s.Open() {
			break
		} else if bytes, _ := s.Backlog(); bytes > 64<<10 {
			t.Fatalf("backlog of %d bytes", bytes)
		}
		if seq > 50_000 {
			t.Fatal("never closed")
		}
		if seq%2 == 0 {
			w.eventually("the reader keeps up", func() bool { return read.Load() == uint64(seq) })
		}
	}
	w.eventually("loss told", func() bool { return !w.store.online(1) })
	if w.store.closes[0].Reason != "slow" {
		t.Errorf("%+v", w.store.closes)
	}
	if _, open := w.edge.Session(2); !open {
		t.Errorf("the reader paid for it: %+v", w.edge.Timeline(2))
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	err := Config{SignMode: "rot13", PingInterval: time.Minute, HeartbeatTimeout: time.Second, LossGrace: -1, MaxConns: -1, FrameRate: -1}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"incarnation", "users", "partition", "rot13", "heartbeat", "grace", "limit", "rate"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not among the faults: %v", part, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("an empty config is accepted")
	}
}
