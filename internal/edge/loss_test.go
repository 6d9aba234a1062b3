package edge

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// C7: a closed socket is a loss at once, however it closes.
func TestClosedSocketIsALoss(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *client){
		"FIN":         func(c *client) { c.close() },
		"RST":         func(c *client) { _ = c.conn.(*net.TCPConn).SetLinger(0); c.close() },
		"close frame": func(c *client) { c.write(8, []byte{3, 232}) },
		"half frame":  func(c *client) { _, _ = c.conn.Write(encode(1, []byte("half a frame"))[:9]); c.close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, nil)
			w.store.put(1, func(r *protocol.UserRecord) { r.Room, r.Version = "r", 3 })
			c := w.connect(1)
			w.enter(1, "r", 3, 0)
			end(c)
			w.eventually("loss told", func() bool { return len(w.owners.told()) == 1 })
			intent := w.owners.told()[0]
			if !intent.Lost || intent.Reason != "closed" || intent.Version != 4 || intent.Conn != 1 {
				t.Errorf("%+v", intent)
			}
			w.eventually("session forgotten", func() bool {
				return w.edge.registry.session(1) == nil && w.rooms("r") == 0
			})
		})
	}
}

func TestLossGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, func(c *Config) { c.LossGrace = 5 * time.Second })
		w.store.put(1, func(r *protocol.UserRecord) { r.Room, r.Version = "r", 1 })
		w.store.put(2, func(r *protocol.UserRecord) { r.Room, r.Version = "r", 1 })
		a, b, kicked := w.connect(1), w.connect(2), w.connect(3)
		sub := w.enter(1, "r", 1, 0)
		began := time.Now()
		a.close()
		b.close()
		w.edge.Kick(3, "banned")
		kicked.expectClose(protocol.CloseKicked)
		time.Sleep(2 * time.Second)
		if w.store.online(3) {
			t.Error("a kicked user has no grace")
		}
		// Within the grace the owner's list still holds: nobody is reported
		// absent, and nothing can be put to the connection.
		attach := protocol.Attach{
			Partition: w.edge.cfg.RoomPartition("r"), Epoch: 1, Full: true,
			Rooms: []protocol.AttachRoom{{Room: "r", Occupants: []protocol.Occupant{{User: 1, Conn: sub.Conn, Version: 1}}}},
		}
		if got := w.edge.Attach(attach); len(got.Absent) > 0 || len(got.Unlisted) > 0 {
			t.Errorf("%+v", got)
		}
		if got := w.edge.Notify(protocol.Notice{User: 1, Frame: []byte(`{}`)}); got != protocol.NoticeGone {
			t.Errorf("notice %d", got)
		}
		w.connect(2) // is back
		w.eventually("loss told", func() bool { return len(w.owners.told()) > 0 && !w.store.online(1) })
		if waited := time.Since(began); waited < 5*time.Second || waited > 5500*time.Millisecond {
			t.Errorf("loss told after %v", waited)
		}
		time.Sleep(10 * time.Second)
		if !w.store.online(2) {
			t.Error("who came back within the grace was lost")
		}
		for _, i := range w.owners.told() {
			if i.User == 2 {
				t.Errorf("told of who came back: %+v", i)
			}
		}
	})
}

// A client that is closed because it reads too slowly, and comes back, is not
// told of. One that stays away is, when it would have been if it were silent.
func TestTooSlowIsNoDeparture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		for user := range protocol.UserID(3) {
			w.store.put(user+1, func(r *protocol.UserRecord) { r.Room, r.Version = "r", 1 })
			w.connect(user + 1)
		}
		began := time.Now()
		time.Sleep(5 * time.Second)
		third := w.edge.registry.session(3)
		third.lastSeen.Store(int64(w.edge.now()))
		for _, user := range []protocol.UserID{3, 1, 2} {
			w.edge.registry.session(user).decide(fateSlow, "slow")
		}
		w.connect(2) // is back
		time.Sleep(14 * time.Second)
		if got := w.owners.told(); len(got) > 0 {
			t.Errorf("told of %+v", got)
		}
		w.eventually("loss told", func() bool { return len(w.owners.told()) == 1 && !w.store.online(1) })
		if waited := time.Since(began); waited > 21*time.Second {
			t.Errorf("told after %v", waited)
		}
		if !w.store.online(2) || !w.store.online(3) {
			t.Error("who is back, or was heard later, is out")
		}
		w.eventually("the third's loss told", func() bool { return len(w.owners.told()) >= 2 && !w.store.online(3) })
		if waited := time.Since(began); waited < 25*time.Second {
			t.Errorf("the third told of after %v", waited)
		}
	})
}

// I7: while the store is away owners hear of a loss without it, once; the store
// hears of it when it is back, before the user can come in again.
func TestLossWithoutStore(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]bool{"said": true, "found out": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := startVirtual(t, nil)
				w.store.put(1, func(r *protocol.UserRecord) { r.Room, r.Version = "r", 6 })
				c := w.connect(1)
				w.enter(1, "r", 6, 0)
				w.store.setAway(true)
				if hold {
					w.edge.Hold()
				}
				c.close()
				synctest.Wait()
				told := w.owners.told()
				if len(told) != 1 || told[0].Version != 7 || !told[0].Lost || told[0].Leave[0] != "r" || told[0].Edge != self {
					t.Fatalf("%+v", told)
				}
				var listed []SessionInfo
				for s := range w.edge.Sessions {
					listed = append(listed, s)
				}
				if len(listed) != 1 || listed[0].Open || listed[0].User != 1 {
					t.Errorf("for a store to be restored: %+v", listed)
				}
				back, _ := w.dialWith("/?sid=1sx", "1sx", nil)
				time.Sleep(5 * time.Second)
				if n := len(w.owners.told()); n != 1 {
					t.Errorf("told %d times", n)
				}
				w.store.setAway(false)
				w.edge.Release()
				f := back.expect("create_token")
				if f["current_room_id"] != 0.0 {
					t.Errorf("the user is told that it is in a room it was lost from: %v", f)
				}
				told = w.owners.told()
				if len(told) != 2 || told[1].Version != 7 || told[1].Conn != 1 {
					t.Errorf("%+v", told)
				}
			})
		})
	}
}

// A store that came back empty is restored first: until then it knows nothing
// of the connection, and to believe it would leave a ghost.
func TestLossWaitsForRestore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		w.store.put(1, func(r *protocol.UserRecord) { r.Conn = 4 })
		c := w.connect(1)
		w.enter(1, "r", 1, 0)
		w.store.setAway(true)
		c.close()
		synctest.Wait()
		w.store.put(1, func(r *protocol.UserRecord) { *r = protocol.UserRecord{User: 1} })
		w.store.setAway(false)
		time.Sleep(2 * time.Second)
		if n := len(w.owners.told()); n != 1 {
			t.Fatalf("told %d times", n)
		}
		w.store.put(1, func(r *protocol.UserRecord) {
			*r = protocol.UserRecord{User: 1, Conn: 5, Edge: self, Room: "r", Version: 1}
		})
		w.eventually("loss told by the restored store", func() bool { return len(w.owners.told()) == 2 })
	})
}

func TestOwedLossesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		w.edge.losses.maxOwed = 3
		clients := make([]*client, 5)
		for i := range clients {
			clients[i] = w.connect(protocol.UserID(i + 1))
		}
		w.store.setAway(true)
		for _, c := range clients {
			c.close()
		}
		time.Sleep(5 * time.Second)
		if n := w.edge.losses.count(); n > 3 {
			t.Errorf("%d owed", n)
		}
		w.store.setAway(false)
		w.eventually("owed losses are told", func() bool { return w.edge.losses.count() == 0 })
	})
}

func TestKick(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	if w.edge.Kick(2, "") {
		t.Error("kicked nobody")
	}
	outcome := w.edge.Notify(protocol.Notice{User: 1, Frame: []byte(`{"action":"bye"}`), Kick: true})
	if outcome != protocol.NoticeDelivered {
		t.Errorf("outcome %d", outcome)
	}
	c.expect("bye")
	c.expectClose(protocol.CloseKicked)
	w.eventually("loss told", func() bool { return !w.store.online(1) })
	if w.store.closes[0].Reason != "kicked" {
		t.Errorf("%+v", w.store.closes)
	}
}

// I3: a drain tells the store nothing.
func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		clients := make([]*client, 40)
		for i := range clients {
			clients[i] = w.connect(protocol.UserID(i + 1))
			go func() {
				for {
					if _, err := clients[i].next(); err != nil {
						clients[i].close()
						return
					}
				}
			}()
		}
		began := time.Now()
		done := make(chan error)
		go func() { done <- w.edge.Drain(t.Context(), DrainPlan{PerSecond: 10, RetryAfter: 3 * time.Second}) }()
		time.Sleep(2 * time.Second)
		if n := w.edge.Count(); n < 18 || n > 22 {
			t.Errorf("%d left after half of the time", n)
		}
		if c, resp := w.dialWith("/?sid=99sx", "99sx", nil); c != nil || resp.StatusCode != 503 {
			t.Error("let in while draining")
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 3500*time.Millisecond || took > 4500*time.Millisecond {
			t.Errorf("drained 40 at 10 a second in %v", took)
		}
		if len(w.store.closes) > 0 || len(w.owners.told()) > 0 {
			t.Errorf("a drain is no loss: %v", w.store.closes)
		}
	})
}

func TestDrainFrames(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	done := make(chan error)
	go func() { done <- w.edge.Drain(t.Context(), DrainPlan{RetryAfter: 7 * time.Second}) }()
	if f := c.expect("drain"); f["retry_after"] != 7.0 {
		t.Errorf("%v", f)
	}
	c.expectClose(protocol.CloseDrain)
	c.close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The end of Run is no loss either: the users have the crash grace.
func TestStopIsNoLoss(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.cancel()
	c.expect("drain")
	c.expectClose(protocol.CloseDrain)
	c.close()
	w.stop()
	if len(w.store.closes) > 0 || len(w.owners.told()) > 0 {
		t.Errorf("told: %v", w.store.closes)
	}
}

// A connection that the store and an owner believe in and nobody has is a
// ghost: its number was given out and the answer lost.
func TestDisown(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	subscribe := func(conn protocol.ConnNumber) {
		t.Helper()
		if refused := w.edge.Subscribe([]protocol.Subscription{{Room: "r", User: 1, Conn: conn, Version: 1, Epoch: 1}}); len(refused) != 1 {
			t.Error("subscribed")
		}
	}
	w.store.put(1, func(r *protocol.UserRecord) { r.Conn, r.Edge, r.Room, r.Version = 3, self, "r", 1 })
	subscribe(2) // an older one: the user is elsewhere, or was
	subscribe(3)
	w.eventually("the ghost is lost", func() bool { return len(w.owners.told()) == 1 })
	if i := w.owners.told()[0]; i.User != 1 || i.Conn != 3 || i.Leave[0] != "r" {
		t.Errorf("%+v", i)
	}

	// One that is being made is not there yet, and no ghost.
	numbered, registered := make(chan struct{}), make(chan struct{})
	w.store.connected = func(protocol.ConnNumber) {
		close(numbered)
		<-registered
	}
	c, _ := w.dialWith("/?sid=1sx", "1sx", nil)
	<-numbered
	early := []protocol.Subscription{{Room: "r", User: 1, Conn: 4, Version: 1, Epoch: 1}}
	if refused := w.edge.Subscribe(early); len(refused) > 0 {
		t.Errorf("refused %+v", refused)
	}
	close(registered)
	c.expect("create_token")
	c.silent()
	if !w.store.online(1) {
		t.Error("a connection was disowned while it was made")
	}

	// Who was sent away has time to come back.
	go func() { _ = w.edge.Drain(t.Context(), DrainPlan{}) }()
	c.expectClose(protocol.CloseDrain)
	c.close()
	w.eventually("all are gone", func() bool { return w.edge.Count() == 0 })
	subscribe(4)
	w.stop()
	if !w.store.online(1) || len(w.owners.told()) != 1 {
		t.Errorf("who was sent away is lost: %+v", w.owners.told())
	}
}
