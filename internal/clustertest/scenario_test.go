package clustertest

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs a story in virtual time.
func bubble(t *testing.T, story func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, story)
}

// user asks for a user's record.
func (c *Cluster) user(n, user int) map[string]any {
	c.tb.Helper()
	return c.Must(http.MethodGet, n, fmt.Sprintf("/v1/users/%d", user), nil)
}

// roster returns the users of a room in the order of the answer, and their
// seats.
func (c *Cluster) roster(n int, room string) (users []int, seats map[int]int) {
	c.tb.Helper()
	status, answer := c.Call(http.MethodGet, n, "/v1/rooms/"+room, nil)
	if status == http.StatusNotFound {
		return nil, nil
	}
	if status != http.StatusOK {
		c.tb.Fatalf("room %s at node %d: %d %v", room, n, status, answer)
	}
	seats = map[int]int{}
	for _, o := range answer["occupants"].([]any) {
		o := o.(map[string]any)
		user := int(o["user_id"].(float64))
		users = append(users, user)
		seats[user] = int(o["seat"].(float64))
	}
	return users, seats
}

// exactly is nil when a room's roster, by every running node's word, is these
// users and no others.
func (c *Cluster) exactly(room string, want ...int) error {
	return c.exactlyBy(c.running(), room, want...)
}

// exactlyBy is exactly by the word of some nodes.
func (c *Cluster) exactlyBy(nodes []int, room string, want ...int) error {
	slices.Sort(want)
	for _, n := range nodes {
		status, answer := c.Call(http.MethodGet, n, "/v1/rooms/"+room, nil)
		if status != http.StatusOK && status != http.StatusNotFound {
			return fmt.Errorf("node %d: room %s: %d %v", n, room, status, answer)
		}
		users := []int{}
		if list, ok := answer["occupants"].([]any); ok {
			for _, o := range list {
				users = append(users, int(o.(map[string]any)["user_id"].(float64)))
			}
		}
		slices.Sort(users)
		if !slices.Equal(users, want) {
			return fmt.Errorf("node %d: room %s has %v, want %v", n, room, users, want)
		}
	}
	return nil
}

func (c *Cluster) epoch(n int, room string) int64 {
	c.tb.Helper()
	answer := c.Must(http.MethodGet, n, "/v1/rooms/"+room, nil)
	return int64(answer["epoch"].(float64))
}

// call starts a call through node n.
func (c *Cluster) call(n int, no string, caller, receiver int) {
	c.tb.Helper()
	c.Must(http.MethodPut, n, "/v1/calls/"+no, map[string]any{"caller_id": caller, "receiver_id": receiver})
}

// Scenario 1: a node is killed and started again after 150 ms with the same id
// and ports. Who stays away is told within 20 s; who returns keeps seat and
// call.
func TestScenario1RestartWithin150ms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		away, back, host := c.Dial(1, 2, PhoneOptions{}), c.Dial(2, 2, PhoneOptions{}), c.Dial(3, 1, PhoneOptions{Report: true})
		other := c.Dial(4, 3, PhoneOptions{})
		c.Enter(1, "r1", 3, map[string]any{"role": "host"})
		c.Enter(1, "r1", 1, nil)
		c.Enter(1, "r1", 2, nil)
		c.Must(http.MethodPut, 1, "/v1/rooms/r1/seats/4", map[string]any{"user_id": 2})
		c.call(1, "77", 2, 4)

		killed := time.Now()
		c.Kill(2)
		time.Sleep(150 * time.Millisecond)
		c.Start(2)
		away.Hang()
		back.Hang()
		var again *Phone
		c.Eventually(10*time.Second, func() (err error) {
			again, err = c.TryDial(2, 2, PhoneOptions{})
			return err
		})
		c.Eventually(20*time.Second-time.Since(killed), heard(host, "exit_room", 1, 1))
		t.Logf("back after %s, told after %s", again.Heard("create_token")[0].At.Sub(killed), host.HeardOf("exit_room", 1)[0].At.Sub(killed))
		time.Sleep(20 * time.Second)
		_, seats := c.roster(3, "r1")
		if seats[2] != 4 || len(seats) != 2 {
			t.Errorf("roster and seats %v, want 2 on seat 4 and 3", seats)
		}
		if u := c.user(3, 2); u["call_no"] != "77" || u["online"] != true {
			t.Errorf("user 2 is %v, want online in call 77", u)
		}
		if n := len(host.HeardOf("exit_room", 2)) + len(other.Heard("hang_up")); n != 0 {
			t.Errorf("%d departures told of a user who came back", n)
		}
		if n := len(host.HeardOf("exit_room", 1)); n != 1 {
			t.Errorf("departure told %d times, want 1", n)
		}
		c.Settle()
		c.Check()
		hangAll(again, host, other)
	})
}

func hangAll(phones ...*Phone) {
	for _, p := range phones {
		p.Hang()
	}
}

// Scenario 4: gossip is cut for 60 s, the store is reachable by all. No owner
// changes, and enter, call and exit_room work across the cut.
func TestScenario4GossipCut(t *testing.T) {
	for _, cut := range []struct {
		name  string
		nodes int
		apply func(*Cluster)
	}{
		{"2 of 4", 4, func(c *Cluster) { c.Net.Split([]string{host(1), host(2)}, []string{host(3), host(4)}) }},
		{"2 of 5", 5, func(c *Cluster) {
			c.Net.Split([]string{host(1), host(2), host(3)}, []string{host(4), host(5)})
		}},
		{"one way", 4, func(c *Cluster) {
			for _, from := range []int{1, 2} {
				for _, to := range []int{3, 4} {
					c.Net.CutOneWay(host(from), host(to))
				}
			}
		}},
	} {
		t.Run(cut.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { gossipCut(t, New(t, cut.nodes, Options{}), cut.apply) })
		})
	}
}

func gossipCut(t *testing.T, c *Cluster, cut func(*Cluster)) {
	const rooms = 12
	last := len(c.nodes)
	before := map[string]int64{}
	for i := range rooms {
		room := fmt.Sprintf("r%d", i)
		c.Enter(1, room, 100+i, nil)
		before[room] = c.epoch(1, room)
	}
	cut(c)
	time.Sleep(15 * time.Second)

	// Across the cut: one side's user leaves, the other side's is told.
	b := c.Dial(2, 1, PhoneOptions{Report: true})
	a := c.Dial(1, last, PhoneOptions{})
	c.Enter(1, "r1", 2, map[string]any{"role": "host"})
	c.Enter(last, "r1", 1, nil)
	c.call(last, "9", 1, 2)
	a.Hang()
	c.Eventually(2*time.Second, heard(b, "exit_room", 1, 1))
	c.Eventually(2*time.Second, heard(b, "hang_up", 1, 1))

	time.Sleep(45 * time.Second)
	c.Heal()
	time.Sleep(20 * time.Second)
	for room, epoch := range before {
		status, answer := c.Call(http.MethodGet, last, "/v1/rooms/"+room, nil)
		if status == http.StatusOK && int64(answer["epoch"].(float64)) != epoch {
			t.Errorf("room %s changed its owner: epoch %v, was %d", room, answer["epoch"], epoch)
		}
	}
	c.Settle()
	c.Check()
	b.Hang()
}

// Scenario 8: A drops, returns and drops again while the first relay is
// silent: nobody is asked after the return, the second departure is its own,
// and a stranger's report counts for nothing.
func TestScenario8DropReturnDrop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		silent, second := c.Dial(10, 2, PhoneOptions{}), c.Dial(11, 3, PhoneOptions{})
		stranger := c.Dial(12, 1, PhoneOptions{})
		a := c.Dial(1, 1, PhoneOptions{})
		c.Enter(1, "r1", 10, map[string]any{"role": "host"})
		c.Enter(1, "r1", 11, nil)
		c.Enter(1, "r1", 1, nil)
		c.Enter(1, "elsewhere", 12, nil)

		a.Hang()
		c.Eventually(time.Second, heard(silent, "exit_room", 1, 1))
		first := silent.HeardOf("exit_room", 1)[0].Fields["departure_id"]
		time.Sleep(2 * time.Second)
		a = c.Dial(1, 2, PhoneOptions{})
		c.Enter(2, "r1", 1, nil)
		time.Sleep(15 * time.Second)
		if n := len(silent.HeardOf("exit_room", 1)) + len(second.HeardOf("exit_room", 1)); n != 1 {
			t.Errorf("%d relays asked although A is back, want the one before", n)
		}

		a.Hang()
		c.Eventually(time.Second, heard(silent, "exit_room", 1, 2))
		again := silent.HeardOf("exit_room", 1)[1].Fields["departure_id"]
		if again == first {
			t.Errorf("the second departure has the first one's id %v", first)
		}
		stranger.Send(map[string]any{"action": "exit_room_report", "user_id": 1, "departure_id": again})
		silent.Send(map[string]any{"action": "exit_room_report", "user_id": 1, "departure_id": first})
		c.Eventually(6*time.Second, heard(second, "exit_room", 1, 1))
		second.Send(map[string]any{"action": "exit_room_report", "user_id": 1, "departure_id": again})
		time.Sleep(70 * time.Second)
		if n := len(second.HeardOf("exit_room", 1)); n != 1 {
			t.Errorf("the second relay was asked %d times, want once", n)
		}
		if n := len(silent.HeardOf("exit_room", 1)); n != 2 {
			t.Errorf("the first relay was asked %d times, want once for each departure", n)
		}
		c.Check()
		hangAll(silent, second, stranger)
	})
}
