package owner

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faac1247/rollcall/bridge"
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/room"
)

// world is two owners of one partition on one store, in virtual time, and what
// the edge of their users hears.
type world struct {
	*testing.T
	store *bridge.Memory
	dead  []protocol.Incarnation
	edge  *fakeEdge
	large int
	slow  time.Duration // what a claim takes at the owners started from now on
}

// slowJournal answers claims late.
type slowJournal struct {
	Journal
	by time.Duration
}

func (j slowJournal) Take(ctx context.Context, takes []protocol.Take) ([]protocol.Taken, error) {
	taken, err := j.Journal.Take(ctx, takes)
	time.Sleep(j.by)
	return taken, err
}

// fakeEdge records what owners tell it. It is all edges.
type fakeEdge struct {
	mu     sync.Mutex
	told   []string
	handed Handoff // the latest with rooms
}

func (e *fakeEdge) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, fmt.Sprintf(format, args...))
}

func (e *fakeEdge) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.told)
}

func (e *fakeEdge) Publish(_ protocol.Incarnation, pubs []protocol.Publication) {
	for _, p := range pubs {
		e.note("publication %d of epoch %d", p.Seq, p.Epoch)
	}
}

func (e *fakeEdge) Subscribe(_ protocol.Incarnation, subs []protocol.Subscription) {
	for _, s := range subs {
		e.note("user %d subscribed by epoch %d", s.User, s.Epoch)
	}
}

func (e *fakeEdge) Notify(_ protocol.Incarnation, n protocol.Notice, done func(protocol.NoticeOutcome, error)) {
	e.note("notice to user %d", n.User)
	done(protocol.NoticeDelivered, nil)
}

func (e *fakeEdge) Attach(protocol.Incarnation, []protocol.Attach, func([]protocol.Attached, error)) {
}

func (e *fakeEdge) Handoff(_ protocol.Incarnation, h Handoff, done func(error)) {
	e.mu.Lock()
	if !h.Free {
		e.handed = h
	}
	e.mu.Unlock()
	done(nil)
}

func (e *fakeEdge) Reclaim(protocol.Incarnation, protocol.PartitionID) {}

type noPlaces struct{}

func (noPlaces) Evict(protocol.RoomID, room.Eviction) {}
func (noPlaces) Repair(subs []protocol.Subscription)  {}

func bubble(t *testing.T, story func(w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		story(&world{T: t, store: bridge.NewMemory(), edge: &fakeEdge{}})
	})
}

// start runs an owner to which the ring gives everything.
func (w *world) start(self protocol.Incarnation) *Owner {
	w.Helper()
	o, err := New(Config{
		Self: self, Large: w.large, Partitions: 1, Partition: func(protocol.RoomID) protocol.PartitionID { return 0 }, Loops: 1,
		Journal: slowJournal{w.store.Client(self), w.slow}, Edges: w.edge, Peers: w.edge, Places: noPlaces{},
		MayAct: func() bool { return true }, Now: time.Now, Latest: time.Now,
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	w.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.Error(err)
		}
	})
	o.Assign(Assignment{Owner: func(protocol.PartitionID) (protocol.Incarnation, bool) { return self, true }, Dead: w.dead})
	synctest.Wait()
	return o
}

// ask submits a command and returns its answer, which has to come within d.
func (w *world) ask(o *Owner, d time.Duration, cmd protocol.Command) (protocol.Reply, bool) {
	w.Helper()
	answer := make(chan protocol.Reply, 1)
	o.Submit(cmd, func(r protocol.Reply) { answer <- r })
	select {
	case r := <-answer:
		return r, true
	case <-time.After(d):
		return protocol.Reply{}, false
	}
}

func (w *world) enter(o *Owner, user protocol.UserID) protocol.Reply {
	w.Helper()
	r, ok := w.ask(o, 10*time.Second, enter(user))
	if !ok {
		w.Fatalf("user %d: no answer", user)
	}
	return r
}

func enter(user protocol.UserID) protocol.Command {
	return protocol.Command{
		Verb: protocol.VerbEnter, Room: "r", User: user, Version: protocol.Version(user), Conn: 1, Edge: "e@1", Profile: &protocol.Profile{Role: "audience"},
	}
}

// has fails the test unless an owner's room has so many occupants.
func (w *world) has(o *Owner, count int) {
	w.Helper()
	r, ok := w.ask(o, 10*time.Second, protocol.Command{Verb: protocol.VerbLook, Room: "r", Limit: 10})
	if !ok {
		w.Fatal("no answer")
	}
	var view protocol.RoomView
	if err := json.Unmarshal(r.Body, &view); err != nil || view.Count != count {
		w.Errorf("the room has %d occupants (%v, %s), want %d", view.Count, err, r.Code, count)
	}
}

// I1: a change is told and answered once it is committed, and not before.
func TestNothingIsToldBeforeItIsCommitted(t *testing.T) {
	bubble(t, func(w *world) {
		o := w.start("a@1")
		w.enter(o, 1)
		before := w.edge.count()
		w.store.SetPaused(true)
		answer := make(chan protocol.Reply, 1)
		o.Submit(enter(2), func(r protocol.Reply) { answer <- r })
		time.Sleep(500 * time.Millisecond)
		if len(answer) > 0 || w.edge.count() != before {
			t.Errorf("answered or told while the store is silent: %v", w.edge.told[before:])
		}
		w.store.SetPaused(false)
		if r := <-answer; r.Code != "" || r.Volatile {
			t.Errorf("answered %+v", r)
		}
		if w.edge.count() == before {
			t.Error("committed, and nobody was told")
		}
	})
}

// I1: an owner that was outranked changes and tells nothing any more, and its
// successor has what was answered.
func TestOutrankedOwnerStops(t *testing.T) {
	bubble(t, func(w *world) {
		former := w.start("a@1")
		w.enter(former, 1)
		w.dead = []protocol.Incarnation{"a@1"}
		heir := w.start("b@1")
		w.enter(heir, 2)
		before := w.edge.count()
		if r := w.enter(former, 3); r.Code != protocol.CodeMoved && r.Code != protocol.CodeUnavailable {
			t.Errorf("the outranked owner answers %+v", r)
		}
		if told := w.edge.told[before:]; len(told) > 0 {
			t.Errorf("the outranked owner tells %v", told)
		}
		w.has(heir, 2)
	})
}

// I7: without the store changes take effect and say that they are volatile, as
// do their repeats; on its return they are put back.
func TestStoreAwayIsSaidAndMadeGood(t *testing.T) {
	bubble(t, func(w *world) {
		o := w.start("a@1")
		w.enter(o, 1)
		w.store.SetAway(true)
		o.SetStoreMode(StoreAway)
		for range 2 {
			if r := w.enter(o, 2); r.Code != "" || !r.Volatile {
				t.Errorf("without the store: %+v, want success, volatile", r)
			}
		}
		w.store.SetAway(false)
		o.SetStoreMode(StoreHere)
		time.Sleep(5 * time.Second)
		if r := w.enter(o, 2); r.Volatile {
			t.Errorf("with the store: %+v", r)
		}
		w.dead = []protocol.Incarnation{"a@1"}
		w.has(w.start("b@1"), 2)
	})
}

// I7: a store that comes back empty gets everything back from the owner.
func TestEmptiedStoreIsRestored(t *testing.T) {
	bubble(t, func(w *world) {
		o := w.start("a@1")
		w.enter(o, 1)
		w.store.Flush()
		o.StoreReturned()
		time.Sleep(time.Second)
		w.dead = []protocol.Incarnation{"a@1"}
		w.has(w.start("b@1"), 1)
	})
}

// A failover that forgot a release names an owner that has it no more: told so,
// it takes the partition and lets it go again.
func TestReclaim(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.start("a@1")
		w.enter(a, 1)
		forgetful := w.store.Snapshot()
		a.Assign(Assignment{Owner: func(protocol.PartitionID) (protocol.Incarnation, bool) { return "b@1", true }})
		time.Sleep(time.Second)
		w.store.Rollback(forgetful) // a@1 holds it again, and does not know
		b := w.start("b@1")
		time.Sleep(time.Second)
		if r := w.enter(b, 2); r.Code != protocol.CodeMoved || r.Owner != "a@1" {
			t.Errorf("what a living holder has is answered %+v", r)
		}
		a.Reclaim(0)
		time.Sleep(time.Second)
		if r := w.enter(b, 2); r.Code != "" {
			t.Errorf("the ring's owner answers %+v", r)
		}
		w.has(b, 2)
	})
}

// An owner that is told to let go of what it has just let go of leaves it alone:
// to take it again would make worthless what it handed over.
func TestReclaimCrossesTheHandover(t *testing.T) {
	bubble(t, func(w *world) {
		toB := Assignment{Owner: func(protocol.PartitionID) (protocol.Incarnation, bool) { return "b@1", true }}
		a := w.start("a@1")
		w.enter(a, 1)
		a.Assign(toB)
		time.Sleep(time.Second)
		once := w.edge.handed.Epoch
		a.Reclaim(0)
		time.Sleep(time.Second)
		if again := w.edge.handed.Epoch; again != once {
			t.Errorf("taken again after it was handed over: in epoch %d after %d", again, once)
		}
	})
}

// What is freed while a claim of it is under way is claimed once: a second claim
// would outrank the owner that the first one made, and what was handed over with
// the partition would be lost.
func TestFreedWhileBeingClaimed(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.start("a@1")
		w.enter(a, 1)
		a.Assign(Assignment{Owner: func(protocol.PartitionID) (protocol.Incarnation, bool) { return "b@1", true }})
		time.Sleep(time.Second)
		w.slow = 100 * time.Millisecond
		b := w.start("b@1") // whose claim the store has granted, but not answered yet
		b.Receive("a@1", Handoff{Partition: 0, Epoch: 1, Free: true}, func(error) {})
		time.Sleep(time.Second)
		told := w.edge.count()
		if r := w.enter(b, 2); r.Code != "" {
			t.Errorf("the new owner answers %+v", r)
		}
		if n := testutil.ToFloat64(b.metrics.outranked); n != 0 {
			t.Errorf("the owner outranked itself %v times", n)
		}
		if w.edge.count() == told {
			t.Error("nobody heard of the newcomer")
		}
	})
}

// What is freed after the store has refused a claim, and before the refusal is
// here, is claimed again at once.
func TestFreedWhileBeingRefused(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.start("a@1")
		w.enter(a, 1)
		w.slow = 100 * time.Millisecond
		b := w.start("b@1")
		a.Assign(Assignment{Owner: func(protocol.PartitionID) (protocol.Incarnation, bool) { return "b@1", true }})
		synctest.Wait()
		b.Receive("a@1", Handoff{Partition: 0, Epoch: 1, Free: true}, func(error) {})
		time.Sleep(250 * time.Millisecond) // the refusal and the second claim, and no retry's pause
		if r := w.enter(b, 2); r.Code != "" {
			t.Errorf("the new owner answers %+v", r)
		}
		if n := testutil.ToFloat64(b.metrics.outranked); n != 0 {
			t.Errorf("the owner outranked itself %v times", n)
		}
	})
}

// What an owner handed over is worthless once another has owned the partition,
// even one that changed nothing: edges have heard from it that the room counts
// anew, and would give clients the former one's publications again.
func TestHandoverThatAnotherOwnerCameBetween(t *testing.T) {
	bubble(t, func(w *world) {
		toB := Assignment{Owner: func(protocol.PartitionID) (protocol.Incarnation, bool) { return "b@1", true }}
		a := w.start("a@1")
		w.enter(a, 1)
		w.enter(a, 2)
		a.Assign(toB)
		time.Sleep(time.Second)
		ofA := w.edge.handed
		c := w.start("c@1")
		b := w.start("b@1")
		b.Receive("a@1", ofA, func(error) {})
		c.Assign(toB)
		time.Sleep(time.Second)
		if r := w.enter(b, 3); r.Code != "" || r.Seq != 1 {
			t.Errorf("the third owner answers %+v, want the first number of its own epoch", r)
		}
		w.has(b, 3)
	})
}

// An owner's handover is not replaced by one of an owner before it that comes
// later.
func TestHandoverThatComesLate(t *testing.T) {
	bubble(t, func(w *world) {
		toB := Assignment{Owner: func(protocol.PartitionID) (protocol.Incarnation, bool) { return "b@1", true }}
		a := w.start("a@1")
		w.enter(a, 1)
		ofNone := Handoff{Epoch: 1, Position: 1}
		b := w.start("b@1")
		a.Assign(toB)
		synctest.Wait()
		b.Receive("a@1", w.edge.handed, func(error) {})
		b.Receive("c@1", ofNone, func(error) {})
		time.Sleep(time.Second)
		if r := w.enter(b, 2); r.Code != "" || r.Seq != 2 {
			t.Errorf("the next owner answers %+v, want it to count on", r)
		}
	})
}

// A room is among the crowds while it has more occupants than Large, also at an
// owner that has just loaded it.
func TestCrowds(t *testing.T) {
	bubble(t, func(w *world) {
		w.large = 3
		first := w.start("a@1")
		crowds := func(o *Owner) string {
			list, err := o.Crowds(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(list)
		}
		for user := protocol.UserID(1); user <= 3; user++ {
			w.enter(first, user)
		}
		if got := crowds(first); got != "[]" {
			t.Errorf("crowds are %s with three occupants, want none", got)
		}
		w.enter(first, 4)
		if got := crowds(first); got != "[{r 4 map[e@1:4]}]" {
			t.Errorf("crowds are %s, want room r with four at e@1", got)
		}
		w.dead = []protocol.Incarnation{"a@1"}
		second := w.start("b@1")
		w.has(second, 4)
		if got := crowds(second); got != "[{r 4 map[e@1:4]}]" {
			t.Errorf("crowds of the next owner are %s, want room r with four at e@1", got)
		}
		if _, ok := w.ask(second, time.Second, protocol.Command{Verb: protocol.VerbExit, Room: "r", User: 4, Version: 9}); !ok {
			t.Fatal("no answer")
		}
		if got := crowds(second); got != "[]" || second.crowded.Load() != 0 {
			t.Errorf("crowds are %s after one left, want none", got)
		}
	})
}
