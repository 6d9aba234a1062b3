package clustertest

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// A falls silent without closing: out between 20.0 and 21.0 s after the last
// heartbeat, on the same node and on another.
func TestSilentUserIsOutAfter20To21Seconds(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := New(t, nodes, Options{})
				b := c.Dial(2, 1, PhoneOptions{Report: true})
				a := c.Dial(1, nodes, PhoneOptions{})
				c.Enter(1, "r1", 2, map[string]any{"role": "host"})
				c.Enter(1, "r1", 1, nil)
				time.Sleep(7 * time.Second)
				a.Send(map[string]any{"action": "ping"})
				a.Silence()
				last := time.Now()
				c.Eventually(25*time.Second, heard(b, "exit_room", 1, 1))
				after := b.HeardOf("exit_room", 1)[0].At.Sub(last)
				t.Logf("out after %s", after)
				if after < 20*time.Second || after > 21*time.Second {
					t.Errorf("out after %s, want 20.0 to 21.0 s", after)
				}
				if u := c.user(nodes, 1); u["online"] != false || u["current_room_id"] != "" {
					t.Errorf("user is %v, want offline and nowhere", u)
				}
				c.Check()
				hangAll(a, b)
			})
		})
	}
}

// A connection that takes a user over closes the former one, on whatever node,
// and nobody hears of a departure.
func TestSupersededConnectionExpelsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		host := c.Dial(9, 1, PhoneOptions{Report: true})
		c.Enter(1, "r1", 9, map[string]any{"role": "host"})
		first := c.Dial(1, 1, PhoneOptions{})
		c.Enter(1, "r1", 1, nil)
		c.Must(http.MethodPut, 1, "/v1/rooms/r1/seats/2", map[string]any{"user_id": 1})
		c.call(1, "5", 1, 9)
		for _, n := range []int{2, 3, 3} {
			next := c.Dial(1, n, PhoneOptions{})
			c.Eventually(2*time.Second, func() error {
				if first.Gone() == nil {
					return fmt.Errorf("the former connection stands")
				}
				return nil
			})
			first = next
			time.Sleep(11 * time.Second)
		}
		time.Sleep(25 * time.Second)
		if n := len(host.Heard("exit_room")) + len(host.Heard("hang_up")); n != 0 {
			t.Errorf("%d departures told", n)
		}
		if u := c.user(1, 1); u["seat"] != float64(2) || u["call_no"] != "5" || u["current_room_id"] != "r1" {
			t.Errorf("user is %v, want on seat 2 of r1 and in call 5", u)
		}
		c.Check()
		hangAll(first, host)
	})
}

// A fourth node joins and leaves again under connected clients: nobody is
// expelled, all are reachable, the nodes agree within 3 s.
func TestRingChangesExpelNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const rooms = 20
		c := New(t, 3, Options{})
		var phones []*Phone
		for i := range rooms {
			for j := range 2 {
				user := 100 + 2*i + j
				p := c.Dial(user, user%3+1, PhoneOptions{Query: "&v=2"})
				phones = append(phones, p)
				c.Enter(user%3+1, fmt.Sprintf("r%d", i), user, nil)
			}
		}
		reachable := func(when string) {
			t.Helper()
			for i := range rooms {
				answer := c.Must(http.MethodPost, 1, fmt.Sprintf("/v1/rooms/r%d/publish", i), map[string]any{"action": "probe", "when": when})
				if answer["delivered"] != float64(2) {
					t.Errorf("%s: room r%d: delivered to %v, want 2", when, i, answer["delivered"])
				}
			}
			time.Sleep(time.Second)
			for _, p := range phones {
				n := 0
				for _, f := range p.Heard("probe") {
					if f.Fields["when"] == when {
						n++
					}
				}
				if n != 1 {
					t.Errorf("%s: user %d heard %d probes, want 1", when, p.User, n)
				}
			}
		}
		reachable("before")
		c.Start(4)
		joined := time.Now()
		c.Settle()
		t.Logf("agreed %s after the join", time.Since(joined))
		reachable("four")
		c.Drain(4)
		c.Settle()
		reachable("three again")
		for _, p := range phones {
			if n := len(p.Heard("exit_room")); n != 0 || p.Gone() != nil {
				t.Errorf("user %d: %d departures heard, connection %v", p.User, n, p.Gone())
			}
			inOrder(t, p)
		}
		c.Check()
		hangAll(phones...)
	})
}

// inOrder fails the test where a version 2 client saw a gap or a repeat of seq
// within an epoch.
func inOrder(t *testing.T, p *Phone) {
	t.Helper()
	last := map[string]float64{}
	for _, f := range p.Heard("") {
		seq, ok := f.Fields["seq"].(float64)
		if !ok || f.Action == "entered" {
			continue
		}
		key := fmt.Sprint(f.Fields["room_id"], f.Fields["epoch"])
		if before, seen := last[key]; seen && seq != before+1 {
			t.Errorf("user %d: %s %v after %v in %s", p.User, f.Action, seq, before, key)
		}
		last[key] = seq
	}
}

// A drained node's clients come back elsewhere: nobody hears an exit_room.
func TestDrainExpelsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		host := c.Dial(99, 1, PhoneOptions{Report: true})
		c.Enter(1, "r1", 99, map[string]any{"role": "host"})
		var moving []*Phone
		for user := 1; user <= 10; user++ {
			moving = append(moving, c.Dial(user, 2, PhoneOptions{}))
			c.Enter(1, "r1", user, nil)
		}
		c.Drain(2)
		for i, p := range moving {
			if len(p.Heard("drain")) != 1 {
				t.Errorf("user %d: no drain frame before the close", p.User)
			}
			p.Hang()
			moving[i] = c.Dial(p.User, 3, PhoneOptions{})
		}
		time.Sleep(30 * time.Second)
		if n := len(host.Heard("exit_room")); n != 0 {
			t.Errorf("%d departures told", n)
		}
		users, _ := c.roster(1, "r1")
		if len(users) != 11 {
			t.Errorf("roster %v, want all 11", users)
		}
		c.Check()
		hangAll(append(moving, host)...)
	})
}

// The store goes away for everyone: who is local to the owner still hears of a
// departure, what is not known is not answered as empty, and all agree after
// its return. Nothing restarts.
func TestStoreAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		rooms := c.roomsByOwner()
		b, a := c.Dial(2, 1, PhoneOptions{Report: true}), c.Dial(1, 1, PhoneOptions{})
		c.Enter(1, rooms[1], 2, map[string]any{"role": "host"})
		c.Enter(1, rooms[1], 1, nil)
		c.Store.SetAway(true)
		time.Sleep(10 * time.Second)
		a.Hang()
		c.Eventually(3*time.Second, heard(b, "exit_room", 1, 1))
		status, answer := c.Call(http.MethodGet, 2, "/v1/rooms/"+rooms[1], nil)
		if status != http.StatusServiceUnavailable {
			t.Errorf("a room that can't be reached is answered with %d %v, want 503", status, answer)
		}
		time.Sleep(60 * time.Second)
		c.Store.SetAway(false)
		back := time.Now()
		c.Eventually(5*time.Second, func() error { return c.agreed(1, []string{rooms[1]}) })
		t.Logf("reconciled %s after the return", time.Since(back))
		c.Eventually(5*time.Second, func() error {
			if users, _ := c.roster(3, rooms[1]); len(users) != 1 || users[0] != 2 {
				return fmt.Errorf("roster %v, want 2 alone", users)
			}
			return nil
		})
		if b.Gone() != nil {
			t.Errorf("B lost its connection: %v", b.Gone())
		}
		c.Check()
		b.Hang()
	})
}

// Who is put into a room and never connects is lost after 30 s: out of the
// roster and of the record, and the room is told; also when the store was away
// for a moment meanwhile.
func TestNeverConnected(t *testing.T) {
	for _, away := range []time.Duration{0, 1300 * time.Millisecond, 10 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := New(t, 3, Options{})
				host := c.Dial(9, 1, PhoneOptions{Report: true})
				c.Enter(1, "r1", 9, map[string]any{"role": "host"})
				for user := 1; user <= 5; user++ {
					c.Enter(user%3+1, "r1", user, nil)
					c.Enter(user%3+1, fmt.Sprintf("alone%d", user), 10+user, nil)
				}
				time.Sleep(2 * time.Second)
				c.Store.SetAway(away > 0)
				time.Sleep(away)
				c.Store.SetAway(false)
				time.Sleep(45 * time.Second)
				for user := 1; user <= 5; user++ {
					if n := len(host.HeardOf("exit_room", user)); n != 1 {
						t.Errorf("user %d: told %d times, want 1", user, n)
					}
					for _, u := range []int{user, 10 + user} {
						if rec := c.user(2, u); rec["current_room_id"] != "" {
							t.Errorf("user %d is still in %v by its record", u, rec["current_room_id"])
						}
					}
					if users, _ := c.roster(1, fmt.Sprintf("alone%d", user)); len(users) != 0 {
						t.Errorf("room alone%d has %v", user, users)
					}
				}
				c.Check()
				host.Hang()
			})
		})
	}
}
