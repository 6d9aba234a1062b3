package clustertest

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Scenario 6: the store is replaced by an empty one while a former owner is
// frozen and the new one lives. Whether the frozen one wakes before the others
// have put back what they hold or after it: rosters equal sockets within 5 s,
// and nobody who is there is told of as gone.
func TestScenario6EmptiedWhileFrozen(t *testing.T) {
	for _, thaw := range []struct {
		name string
		tell func(c *Cluster)
	}{
		{"thaw before the restore", func(c *Cluster) {
			c.StoreOf(1).SetAway(true)
			c.StoreOf(3).SetAway(true)
			c.Store.Flush()
			c.thaw(2)
			time.Sleep(1500 * time.Millisecond) // alone with the empty store
			c.StoreOf(1).SetAway(false)
			c.StoreOf(3).SetAway(false)
		}},
		{"thaw with the restore", func(c *Cluster) {
			c.Store.Flush()
			c.thaw(2)
		}},
		{"thaw after the restore", func(c *Cluster) {
			c.Store.Flush()
			time.Sleep(3 * time.Second)
			c.thaw(2)
		}},
	} {
		t.Run(thaw.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { emptiedWhileFrozen(t, thaw.tell) })
		})
	}
}

func emptiedWhileFrozen(t *testing.T, emptyAndThaw func(*Cluster)) {
	c := New(t, 3, Options{})
	rooms := c.roomsByOwner()
	room, other := rooms[2], rooms[3]
	host := c.Keep(c.Dial(99, 1, PhoneOptions{Report: true, Query: "&v=2"}))
	c.Enter(1, room, 99, map[string]any{"role": "host"})
	for user, n := range map[int]int{1: 2, 2: 3, 3: 3} {
		c.Keep(c.Dial(user, n, PhoneOptions{Query: "&v=2"}))
		c.Enter(1, room, user, nil)
	}
	c.freeze(2)
	c.phones[1].Hang()
	c.Keep(c.Dial(1, 1, PhoneOptions{Query: "&v=2"}))
	c.Eventually(10*time.Second, func() error { // the new owner has it
		if status, answer := c.Call(http.MethodGet, 1, "/v1/rooms/"+room, nil); status != http.StatusOK {
			return fmt.Errorf("%d %v", status, answer)
		}
		return nil
	})
	// What the frozen owner does not know: one leaves, one comes, one moves.
	c.phones[2].Hang()
	delete(c.phones, 2)
	c.Keep(c.Dial(4, 3, PhoneOptions{Query: "&v=2"}))
	c.Enter(1, room, 4, nil)
	c.Enter(3, other, 3, nil)
	c.Eventually(2*time.Second, heard(host, "exit_room", 2, 1))

	emptyAndThaw(c)
	equal := func(nodes ...int) error {
		for room, want := range map[string][]int{room: {1, 4, 99}, other: {3}} {
			if err := c.exactlyBy(nodes, room, want...); err != nil {
				return err
			}
		}
		for _, user := range []int{1, 3, 4, 99} {
			if err := c.agreed(user, []string{room, other}); err != nil {
				return fmt.Errorf("user %d: %w", user, err)
			}
		}
		return nil
	}
	thawed := time.Now()
	c.Eventually(5*time.Second, func() error { return equal(1, 3) }) // 2 begins a new life
	t.Logf("rosters equal sockets %s after the thaw", time.Since(thawed))
	c.Settle()
	time.Sleep(30 * time.Second)
	if err := equal(1, 2, 3); err != nil {
		t.Errorf("later: %v", err)
	}
	for _, user := range []int{1, 3, 4} {
		if n := c.told(user); n != 0 {
			t.Errorf("%d departures told of user %d, who was there all the time", n, user)
		}
	}
	epochsRise(t, host)
	c.Check()
	c.Release()
}
