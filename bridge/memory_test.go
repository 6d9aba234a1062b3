package bridge

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

var aMinute = protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}

func TestMemoryLatencyAndSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		m.SetLatency(100 * time.Millisecond)
		m.SetSkew(time.Hour)
		start := time.Now()
		leases := must(m.Client(n1).Renew(t.Context(), aMinute))(t)
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("a call took %s", took)
		}
		if want := start.Add(time.Hour + 50*time.Millisecond); !leases.Now.Equal(want) {
			t.Errorf("the clock showed %s, want %s", leases.Now, want)
		}
		l := listenTo(t, m.Client(n1), n1)
		start = time.Now()
		must(m.Client(n2).Publish(t.Context(), n1, []byte("m")))(t)
		l.want(t, "m")
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("a message took %s", took)
		}
	})
}

func TestMemoryThatIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		c := m.Client(n1)
		e := take(t, c, protocol.Take{Partition: 7, Owner: n1}).Epoch
		m.SetPaused(true)
		start := time.Now()
		statuses, err := c.Commit(t.Context(), []protocol.Commit{step(n1, e, 0)})
		if took := time.Since(start); !errors.Is(err, protocol.ErrStoreAway) || took != memoryTimeout || len(statuses) != 1 || statuses[0] != 0 {
			t.Fatalf("%v after %s: %v", statuses, took, err)
		}
		waiting := make(chan error)
		go func() { waiting <- c.Ping(t.Context()) }()
		time.Sleep(memoryTimeout / 2)
		m.SetPaused(false)
		check(t, <-waiting)
		wantStatus(t, "the next commit", commit(t, c, step(n1, e, 1)), protocol.Committed)
		if entries, _ := journalOf(t, c, 7); len(entries) != 2 {
			t.Errorf("entries: %q", entries)
		}
	})
}

func TestMemoryThatOneClientCannotReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		near, far := m.Client(n1), m.Client(n2)
		l := listenTo(t, far, n2)
		call := func() (time.Duration, error) {
			start := time.Now()
			err := far.Ping(t.Context())
			return time.Since(start), err
		}

		far.SetAway(true)
		if took, err := call(); !errors.Is(err, protocol.ErrStoreAway) || took != 0 {
			t.Errorf("away: %v after %s", err, took)
		}
		check(t, near.Ping(t.Context()))
		synctest.Wait()
		if n := must(near.Publish(t.Context(), n2, []byte("unheard")))(t); n != 0 {
			t.Errorf("%d heard it", n)
		}
		far.SetAway(false)
		l.awaitRenewal(t)

		far.SetSilent(true)
		if took, err := call(); !errors.Is(err, protocol.ErrStoreAway) || took != memoryTimeout {
			t.Errorf("silent: %v after %s", err, took)
		}
		must(near.Publish(t.Context(), n2, []byte("unheard")))(t)
		far.SetSilent(false)
		l.awaitRenewal(t)

		far.SetAnswersLost(true)
		if _, err := far.Resign(t.Context(), n3); !errors.Is(err, protocol.ErrStoreAway) {
			t.Errorf("answer lost: %v", err)
		}
		far.SetAnswersLost(false)
		if leases := must(near.Renew(t.Context(), aMinute))(t); leases.Tombstones[n3].IsZero() {
			t.Error("the call whose answer was lost had no effect")
		}
		must(near.Publish(t.Context(), n2, []byte("heard")))(t)
		l.want(t, "heard")
	})
}

func TestMemoryFailsOverWithoutItsTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		c := m.Client(n1)
		before := must(c.Renew(t.Context(), aMinute))(t)
		e := take(t, c, protocol.Take{Partition: 7, Owner: n1}).Epoch
		wantStatus(t, "replicated", commit(t, c, step(n1, e, 0)), protocol.Committed)
		conn := connect(t, c, bob, n1, "t1").Record.Conn
		replica := m.Snapshot()
		wantStatus(t, "tail", commit(t, c, step(n1, e, 1)), protocol.Committed)
		later := connect(t, c, bob, n2, "t2").Record
		l := listenTo(t, c, n1)
		time.Sleep(time.Second)

		for range 2 {
			m.Rollback(replica)
			l.awaitRenewal(t)
			if after := must(c.Renew(t.Context(), aMinute))(t); after.Store == before.Store {
				t.Error("the store kept its name")
			}
			wantStatus(t, "on the lost tail", commit(t, c, step(n1, e, 2)), protocol.Behind)
			if r := record(t, c, bob); r.Conn != conn || r.Edge != n1 {
				t.Errorf("the record is %+v", r)
			}
			if r := connect(t, c, bob, n1, "t3").Record; r.Conn <= later.Conn {
				t.Errorf("number %d came again, or before %d", r.Conn, later.Conn)
			}
		}
	})
}

func TestMemoryDropsASubscriberThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		c := m.Client(n1)
		proceed := make(chan struct{})
		l := listen(t, c.SubscribeEvents)
		slow := &listener{renewed: make(chan struct{}, 10)}
		go func() {
			_ = c.Subscribe(t.Context(), n2, func([]byte) { <-proceed }, func() { slow.renewed <- struct{}{} })
		}()
		slow.awaitRenewal(t)
		for range memoryMailbox + 2 {
			must(c.Publish(t.Context(), n2, nil))(t)
		}
		if n := must(c.Publish(t.Context(), n2, nil))(t); n != 0 {
			t.Errorf("%d heard it", n)
		}
		close(proceed)
		slow.awaitRenewal(t)
		check(t, c.PublishEvent(t.Context(), []byte("others go on")))
		l.want(t, "others go on")
	})
}

// Nothing that a caller holds is the store's own.
func TestMemoryKeepsItsOwnCopies(t *testing.T) {
	t.Parallel()
	c := NewMemory().Client(n1)
	e := take(t, c, protocol.Take{Partition: 7, Owner: n1}).Epoch
	value, event := []byte("value"), []byte("event")
	wantStatus(t, "commit", commit(t, c, protocol.Commit{
		Partition: 7, Owner: n1, Epoch: e, Before: 0, After: 1,
		Changes: []protocol.Change{{Key: "k", Value: value}}, Events: [][]byte{event},
	}), protocol.Committed)
	moved := move(t, c, bob, "r1", protocol.Move{Body: value, Reason: "x", By: n1})
	value[0], event[0], moved.Intent.Body[0] = 'X', 'X', 'X'
	got := take(t, c, protocol.Take{Partition: 7, Owner: n1})
	got.Entries["k"][1] = 'X'
	again := take(t, c, protocol.Take{Partition: 7, Owner: n1})
	entries, _, err := c.Outbox(t.Context(), 7, 1)
	check(t, err)
	left := remains(t, c, n1)
	if string(again.Entries["k"]) != "value" || string(entries[0].Event) != "event" || string(left[0].Intents[0].Body) != "value" {
		t.Errorf("kept: %q, %q, %q", again.Entries["k"], entries[0].Event, left[0].Intents[0].Body)
	}
	moved = move(t, c, bob, "r2", protocol.Move{Reason: "y"})
	moved.Record.Removal.Reason = "changed"
	if r := record(t, c, bob); r.Removal.Reason != "y" {
		t.Errorf("the removal is %+v", r.Removal)
	}
}
