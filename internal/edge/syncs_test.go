package edge

import (
	"context"
	"errors"
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

// Who asks for the same while a question is under way shares the next one, and
// nobody gets an answer to a question that left before it asked.
func TestSyncsAreShared(t *testing.T) {
	t.Parallel()
	const members = 20
	w := start(t, nil)
	questions, answers := make(chan protocol.Command, members), make(chan protocol.Seq)
	w.owners.setAnswer(func(c protocol.Command) protocol.Reply {
		if c.Verb != protocol.VerbSync {
			return protocol.Reply{}
		}
		questions <- c
		seq := <-answers
		view := &protocol.RoomView{RoomID: "77", Epoch: 1, Seq: seq}
		return syncAnswer(protocol.SyncView{Epoch: 1, Seq: seq, Resync: view})
	})
	var all []*client
	for user := protocol.UserID(1); user <= members; user++ {
		c := w.connect(user)
		w.enter(user, "77", 1, 0)
		all = append(all, c)
	}
	at := place{room: "77"}
	waiting := func() bool {
		y := &w.edge.syncs
		y.mu.Lock()
		defer y.mu.Unlock()
		return y.asked[at] != nil && y.asked[at].next != nil
	}

	all[0].send("sync", frame{"room_id": 77})
	if q := <-questions; q.User != 1 {
		t.Errorf("the first asks as user %d", q.User)
	}
	all[1].send("sync", frame{"room_id": 77})
	w.eventually("the second waits", waiting)
	for _, c := range all[2:] {
		c.send("sync", frame{"room_id": 77})
	}
	w.eventually("all are at work", func() bool {
		for user := protocol.UserID(1); user <= members; user++ {
			s := w.edge.registry.session(user)
			s.mu.Lock()
			working := s.working
			s.mu.Unlock()
			if !working {
				return false
			}
		}
		return true
	})
	answers <- 5
	if f := all[0].expect("resync"); f["seq"] != 5.0 {
		t.Errorf("%v", f)
	}
	// Some of the others may ask a moment later, and then share the one after.
	asked := 1
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, c := range all[1:] {
			if f := c.expect("resync"); f["seq"] != 6.0 {
				t.Errorf("%v", f)
			}
		}
	}()
	for ended := false; !ended; {
		select {
		case <-questions:
			asked++
			answers <- 6
		case <-done:
			ended = true
		}
	}
	if asked > members/2 {
		t.Errorf("%d questions for %d clients", asked, members)
	}
	w.eventually("nobody asks any more", func() bool {
		y := &w.edge.syncs
		y.mu.Lock()
		defer y.mu.Unlock()
		return len(y.asked) == 0
	})
}

// Who gives up leaves the question to the others.
func TestSyncGivesUp(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	answers := make(chan protocol.Reply)
	w.owners.setAnswer(func(protocol.Command) protocol.Reply { return <-answers })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	at := place{room: "77"}
	if !w.edge.crew.enter() {
		t.Fatal("the crew has gone")
	}
	defer w.edge.crew.leave()
	_, _, err := w.edge.missedBy(ctx, 1, at)
	if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Code != protocol.CodeUnavailable {
		t.Errorf("gave up with %v", err)
	}
	answers <- syncAnswer(protocol.SyncView{Epoch: 1, Seq: 5})
	w.eventually("the question has ended", func() bool {
		w.edge.syncs.mu.Lock()
		defer w.edge.syncs.mu.Unlock()
		return len(w.edge.syncs.asked) == 0
	})
}
