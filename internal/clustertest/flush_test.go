package clustertest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
)

// The store is replaced by an empty one while everybody lives: each owner and
// edge puts back what it holds, nobody's place changes, no partition moves.
func TestEmptiedStoreIsRestored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 5, Options{})
		var rooms []string
		epochs := map[string]int64{}
		for i := range 20 {
			room := fmt.Sprintf("r%d", i)
			user := i + 1
			c.Keep(c.Dial(user, i%5+1, PhoneOptions{Report: true}))
			c.Enter(i%5+1, room, user, nil)
			rooms = append(rooms, room)
			epochs[room] = c.epoch(1, room)
		}
		c.Store.Flush()
		for user := 1; user <= 20; user++ {
			c.Eventually(5*time.Second, func() error { return c.agreed(user, rooms) })
		}
		time.Sleep(10 * time.Second)
		for i, room := range rooms {
			if users, _ := c.roster(1, room); len(users) != 1 || users[0] != i+1 {
				t.Errorf("room %s has %v, want user %d", room, users, i+1)
			}
			if e := c.epoch(1, room); e != epochs[room] {
				t.Errorf("room %s changed its owner", room)
			}
		}
		c.Check()
		c.Release()
	})
}

// A user is moved in the moment between the store's loss of everything and the
// edges' putting it back: one place is left, the later one.
func TestMoveIntoAnEmptiedStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 5, Options{})
		rooms := c.roomsByOwner()
		all := []string{rooms[1], rooms[2]}
		c.Keep(c.Dial(1, 3, PhoneOptions{}))
		c.Enter(4, rooms[1], 1, nil)
		time.Sleep(5 * time.Millisecond) // versions count from the store's milliseconds
		c.Store.Flush()
		c.Enter(4, rooms[2], 1, nil)
		c.Eventually(11*time.Second, func() error { return c.agreed(1, all) })
		time.Sleep(40 * time.Second)
		if err := c.agreed(1, all); err != nil {
			t.Error(err)
		}
		if u := c.user(1, 1); u["current_room_id"] != rooms[2] || u["online"] != true {
			t.Errorf("user is %v, want online in %s", u, rooms[2])
		}
		c.Check()
		c.Release()
	})
}

// taciturn is a store through which a node's word to others takes long, while
// that is set.
type taciturn struct {
	node.Store
	slow *atomic.Bool
}

func (s taciturn) Publish(ctx context.Context, to protocol.Incarnation, payload []byte) (int, error) {
	if s.slow.Load() {
		time.Sleep(1500 * time.Millisecond)
	}
	return s.Store.Publish(ctx, to, payload)
}

// The store is emptied when a user has come into a room and the user's edge has
// not heard of it: it puts a record back that is older than the room's word. The
// room's counts.
func TestEdgeHearsOfAnEntryAfterTheStoreIsEmptied(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var slow atomic.Bool
		c := New(t, 3, Options{WrapStore: func(n int, s node.Store) node.Store {
			if n == 1 {
				return taciturn{s, &slow}
			}
			return s
		}})
		room := c.roomsByOwner()[1]
		c.Keep(c.Dial(1, 3, PhoneOptions{}))
		slow.Store(true)
		c.Enter(1, room, 1, nil)
		slow.Store(false)
		c.Store.Flush()
		time.Sleep(2 * time.Minute)
		if err := c.agreed(1, []string{room}); err != nil {
			t.Error(err)
		}
		if u := c.user(2, 1); u["current_room_id"] != room || u["online"] != true {
			t.Errorf("user is %v, want online in %s", u, room)
		}
		c.Check()
		c.Release()
	})
}

// A failover loses the entry of a user of whose entry the edge has not heard, and
// then the user's connection is closed: the record has no room to leave. The
// room is told all the same, and whoever is there of the departure.
func TestConnectionClosedAfterTheEntryIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var slow atomic.Bool
		c := New(t, 3, Options{WrapStore: func(n int, s node.Store) node.Store {
			if n == 1 {
				return taciturn{s, &slow}
			}
			return s
		}})
		room := c.roomsByOwner()[1]
		host := c.Keep(c.Dial(99, 1, PhoneOptions{Report: true}))
		c.Enter(1, room, 99, map[string]any{"role": "host"})
		leaver := c.Dial(1, 3, PhoneOptions{})
		c.Settle()
		before := c.Store.Snapshot()
		slow.Store(true)
		c.Enter(1, room, 1, nil)
		c.Store.Rollback(before)
		leaver.Hang()
		time.Sleep(time.Second)
		slow.Store(false)
		c.Eventually(time.Minute, heard(host, "exit_room", 1, 1))
		if err := c.exactly(room, 99); err != nil {
			t.Error(err)
		}
		if u := c.user(2, 1); u["current_room_id"] != "" {
			t.Errorf("user is %v, want nowhere", u)
		}
		c.Check()
		c.Release()
	})
}

// reluctant is a store into which users are put back late.
type reluctant struct{ node.Store }

func (r reluctant) RestoreUsers(ctx context.Context, p protocol.PartitionID, records []protocol.UserRecord) error {
	time.Sleep(3 * time.Second)
	return r.Store.RestoreUsers(ctx, p, records)
}

// An owner dies and starts anew, and the store is emptied before it claims the
// room, which is gone. A user who has come back meanwhile is presented to it
// before the record is put back: the record must not go on naming the room, nor
// the call that was lost with it.
func TestRoomLostWhileItsUserReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{WrapStore: func(_ int, s node.Store) node.Store { return reluctant{s} }})
		room := c.roomsByOwner()[1]
		p := c.NewPerson(1, "")
		p.Online(1)
		time.Sleep(time.Second)
		c.Enter(2, room, 1, nil)
		call := c.callOwnedBy(name(1), 1, 2)
		c.Kill(1)
		p.Online(2)
		c.Start(1)
		time.Sleep(time.Second)
		c.Store.Flush()
		c.Store.SetLatency(400 * time.Millisecond) // both places are looked at at once
		time.Sleep(40 * time.Second)
		users, _ := c.roster(2, room)
		record := c.user(2, 1)
		if (len(users) == 1) != (record["current_room_id"] == room) {
			t.Errorf("record %v, roster %v", record, users)
		}
		if err := c.Get(2, call, new(any)); record["call_no"] != "" || err == nil {
			t.Errorf("record %v; asked for the call: %v", record, err)
		}
		c.Check()
		p.End()
	})
}

// callOwnedBy starts a call whose room a node owns, and returns its path.
func (c *Cluster) callOwnedBy(owner string, caller, receiver int) string {
	for no := 0; ; no++ {
		c.call(2, fmt.Sprint(no), caller, receiver)
		path := fmt.Sprintf("/v1/calls/%d", no)
		var view struct{ Node string }
		if err := c.Get(2, path, &view); err != nil {
			c.tb.Fatal(err)
		}
		if view.Node == owner {
			return path
		}
		c.Must(http.MethodDelete, 2, path, nil)
	}
}

// A failover to a master whose clock is far behind makes the lease of a node
// that is gone outlast the patience of its next life; nobody renews it.
func TestRestartUnderAClockBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		c.Store.SetSkew(-time.Minute)
		c.Kill(2)
		c.Start(2)
		c.Settle()
		c.Check()
	})
}

// A node is killed just as the store is emptied, and the others, who alone know
// of it, before they write that down: its leases and tombstones are gone, the
// journal that they have put back still has its users. Whoever owns the room
// next finds that they are with nobody.
func TestUsersOfANodeThatNobodyRemembers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		room := c.roomsByOwner()[1]
		lost, left := c.NewPerson(1, ""), c.NewPerson(2, "")
		defer lost.End()
		defer left.End()
		lost.Online(2)
		left.Online(3)
		time.Sleep(time.Second)
		c.Enter(1, room, 1, nil)
		c.Enter(1, room, 2, nil)
		c.Store.Flush()
		c.Kill(2)
		lost.Offline()
		time.Sleep(700 * time.Millisecond) // the owner has seen that the store is empty
		c.Kill(1)
		c.Kill(3)
		for n := range 3 {
			c.Start(n + 1)
		}
		c.Settle()
		// Who has no record is given the time in which edges put theirs back.
		c.Eventually(2*settleTimeout, func() error {
			users, _ := c.roster(2, room)
			if slices.Contains(users, 1) {
				return fmt.Errorf("the roster is %v", users)
			}
			return nil
		})
	})
}
