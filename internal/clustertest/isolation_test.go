package clustertest

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// freeze stops everything that goes into node n or comes out of it; its own
// clock runs on.
func (c *Cluster) freeze(n int) {
	c.Net.Pause(host(n))
	c.StoreOf(n).SetSilent(true)
}

func (c *Cluster) thaw(n int) {
	c.StoreOf(n).SetSilent(false)
	c.Net.Resume(host(n))
}

// A node loses the store while the others have it: it sends its clients away,
// its rooms are taken over, and it comes back as a new incarnation.
func TestNodeCutOffFromTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		rooms := c.roomsByOwner()
		a := c.Dial(1, 2, PhoneOptions{})
		b := c.Dial(2, 1, PhoneOptions{Report: true})
		c.Enter(1, rooms[2], 2, map[string]any{"role": "host"})
		c.Enter(1, rooms[2], 1, nil)
		c.StoreOf(2).SetAway(true)
		c.Eventually(8*time.Second, func() error {
			if a.Gone() == nil {
				return fmt.Errorf("the client was not sent away")
			}
			return nil
		})
		a.Hang()
		a = c.Dial(1, 3, PhoneOptions{})
		c.Eventually(10*time.Second, func() error { return c.agreed(1, []string{rooms[2]}) })
		c.StoreOf(2).SetAway(false)
		c.Settle()
		time.Sleep(20 * time.Second)
		if n := len(b.Heard("exit_room")); n != 0 {
			t.Errorf("%d departures told of a user who came back", n)
		}
		c.Check()
		hangAll(a, b)
	})
}

// A client that the owner asks for a report is told again by the heir, with the
// same id, after the owner's death; a departure that was reported is not.
func TestDeparturesOutliveTheirOwner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		rooms := c.roomsByOwner()
		room := rooms[2]
		silent := c.Dial(10, 1, PhoneOptions{})
		c.Enter(1, room, 10, map[string]any{"role": "host"})
		c.Enter(1, room, 11, nil)
		c.Enter(1, room, 12, nil)
		for _, user := range []int{11, 12} {
			p := c.Dial(user, 3, PhoneOptions{})
			p.Hang()
		}
		c.Eventually(2*time.Second, heard(silent, "exit_room", 11, 1))
		c.Eventually(2*time.Second, heard(silent, "exit_room", 12, 1))
		first := silent.HeardOf("exit_room", 11)[0].Fields["departure_id"]
		reported := silent.HeardOf("exit_room", 12)[0].Fields["departure_id"]
		silent.Send(map[string]any{"action": "exit_room_report", "user_id": 12, "departure_id": reported})
		time.Sleep(time.Second)
		c.Kill(2)
		c.Eventually(15*time.Second, heard(silent, "exit_room", 11, 2))
		if again := silent.HeardOf("exit_room", 11)[1].Fields["departure_id"]; again != first {
			t.Errorf("the heir tells departure %v as %v", first, again)
		}
		silent.Send(map[string]any{"action": "exit_room_report", "user_id": 11, "departure_id": first})
		time.Sleep(70 * time.Second)
		if n, m := len(silent.HeardOf("exit_room", 11)), len(silent.HeardOf("exit_room", 12)); n != 2 || m != 1 {
			t.Errorf("told %d and %d times, want 2 and 1", n, m)
		}
		c.Check()
		silent.Hang()
	})
}

// A journal entry that can't be loaded quarantines its partition where it is:
// the other nodes live, its clients keep their sockets.
func TestScenario9QuarantinedPartition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		rooms := c.roomsByOwner()
		room := rooms[2]
		c.Keep(c.Dial(1, 1, PhoneOptions{}))
		c.Enter(1, room, 1, nil)
		other := rooms[3]
		c.Keep(c.Dial(2, 3, PhoneOptions{Report: true}))
		c.Enter(1, other, 2, nil)
		c.poison(room, 2)
		c.Kill(2)
		c.Eventually(20*time.Second, func() error {
			status, answer := c.Call(http.MethodGet, 1, "/v1/rooms/"+room, nil)
			if status != http.StatusServiceUnavailable || fmt.Sprint(answer["error"]) == "" {
				return fmt.Errorf("%d %v", status, answer)
			}
			return nil
		})
		time.Sleep(20 * time.Second)
		if len(c.nodes) != 2 {
			t.Fatal("a second node died")
		}
		broken := 0
		for _, m := range c.nodes {
			broken += len(m.node.Check(c.ctx))
		}
		if broken != 1 {
			t.Errorf("%d faults reported, want the one quarantine", broken)
		}
		for _, p := range c.phones {
			if p.Gone() != nil {
				t.Errorf("user %d lost its connection", p.User)
			}
		}
		c.Must(http.MethodPost, 1, "/v1/rooms/"+other+"/publish", map[string]any{"action": "probe"})
		c.Release()
	})
}
