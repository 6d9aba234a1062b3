package clustertest

import (
	"fmt"
	"testing"
	"time"
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
