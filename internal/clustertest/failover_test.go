package clustertest

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Scenario 3: the replica is cut off. A claim, an enter, a departure and a
// report go to the master, which is killed; the replica is promoted. No epoch
// is minted twice, also not by an heir of an owner that goes right after it and
// not by a clock that is behind, and nothing that was acknowledged is missing
// while its owner lives.
func TestScenario3FailoverWithoutTail(t *testing.T) {
	for _, skew := range []time.Duration{0, -3 * time.Second} {
		for _, away := range []time.Duration{300 * time.Millisecond, 5 * time.Second} {
			t.Run(fmt.Sprintf("clock %s, away %s", skew, away), func(t *testing.T) {
				bubble(t, func(t *testing.T) { failover(t, away, skew) })
			})
		}
	}
}

func failover(t *testing.T, away, skew time.Duration) {
	c := New(t, 3, Options{})
	rooms := c.roomsByOwner()
	old, fresh := rooms[2], c.unclaimed(2)
	host, silent := c.Keep(c.Dial(1, 1, PhoneOptions{Report: true, Query: "&v=2"})), c.Keep(c.Dial(2, 3, PhoneOptions{}))
	c.Enter(1, old, 1, map[string]any{"role": "host"})
	c.Enter(1, fresh, 2, map[string]any{"role": "host"})
	c.Must(http.MethodDelete, 1, "/v1/rooms/"+fresh+"/occupants/2", nil)

	replica := c.Store.Snapshot() // from here on it hears nothing
	c.Enter(1, fresh, 2, map[string]any{"role": "host"})
	for user := 3; user <= 5; user++ {
		c.Keep(c.Dial(user, 3, PhoneOptions{}))
	}
	claimed := c.unclaimed(3)
	c.Enter(3, claimed, 5, nil)
	c.Enter(1, old, 3, nil)
	c.Must(http.MethodPut, 1, "/v1/rooms/"+old+"/seats/3", map[string]any{"user_id": 3})
	c.Enter(1, fresh, 4, nil)
	c.Enter(1, old, 6, nil)
	c.Dial(6, 2, PhoneOptions{}).Hang()
	c.Enter(1, fresh, 7, nil)
	c.Dial(7, 2, PhoneOptions{}).Hang()
	c.Eventually(time.Second, heard(host, "exit_room", 6, 1))
	c.Eventually(time.Second, heard(silent, "exit_room", 7, 1))
	owed := silent.HeardOf("exit_room", 7)[0].Fields["departure_id"]
	time.Sleep(100 * time.Millisecond) // the report is settled
	epochs := map[string]int64{old: c.epoch(1, old), fresh: c.epoch(1, fresh), claimed: c.epoch(1, claimed)}

	c.Store.SetAway(true)
	time.Sleep(away)
	c.Store.Rollback(replica)
	c.Store.SetSkew(skew)
	c.Store.SetAway(false)
	c.Eventually(10*time.Second, func() error { return c.failedOver(old, fresh, claimed) })
	for room, before := range epochs {
		if after := c.epoch(1, room); after < before {
			t.Errorf("room %s: epoch %d after %d", room, after, before)
		}
	}
	c.Eventually(20*time.Second, heard(silent, "exit_room", 7, 2))
	again := silent.HeardOf("exit_room", 7)[1]
	if again.Fields["departure_id"] != owed {
		t.Errorf("departure %v is told as %v", owed, again.Fields["departure_id"])
	}
	silent.Send(map[string]any{"action": "exit_room_report", "user_id": 7, "departure_id": owed})
	time.Sleep(time.Second)

	c.Kill(2) // whoever takes its rooms must find what it put back
	c.Eventually(20*time.Second, func() error { return c.failedOver(old, fresh, claimed) })
	for _, room := range []string{old, fresh} {
		if after := c.epoch(1, room); after <= epochs[room] {
			t.Errorf("room %s: the heir has epoch %d, the former owner had %d", room, after, epochs[room])
		}
	}
	time.Sleep(70 * time.Second)
	if n, m := len(host.HeardOf("exit_room", 6)), len(silent.HeardOf("exit_room", 7)); n != 1 || m != 2 {
		t.Errorf("told %d and %d times, want 1 and 2: no more after a report", n, m)
	}
	if err := c.failedOver(old, fresh, claimed); err != nil {
		t.Error(err)
	}
	epochsRise(t, host)
	inOrder(t, host)
	c.Check()
	c.Release()
}

// failedOver is nil when the three rooms are as they were acknowledged.
func (c *Cluster) failedOver(old, fresh, claimed string) error {
	if err := c.exactly(old, 1, 3); err != nil {
		return err
	}
	if err := c.exactly(fresh, 2, 4); err != nil {
		return err
	}
	if err := c.exactly(claimed, 5); err != nil {
		return err
	}
	if _, seats := c.roster(1, old); seats[3] != 3 {
		return fmt.Errorf("room %s has seats %v, want user 3 on 3", old, seats)
	}
	for user := 1; user <= 5; user++ {
		if err := c.agreed(user, []string{old, fresh, claimed}); err != nil {
			return fmt.Errorf("user %d: %w", user, err)
		}
	}
	return nil
}

// unclaimed returns a room of node n in a partition that nobody has used, as
// long as few were.
func (c *Cluster) unclaimed(n int) string {
	c.tb.Helper()
	for i := range 1000 {
		room := fmt.Sprintf("u%d-%d", c.marks, i)
		if c.OwnerOf(room) == n {
			c.marks++
			return room
		}
	}
	c.tb.Fatalf("node %d owns none of 1000 rooms", n)
	return ""
}
