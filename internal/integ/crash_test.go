package integ

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// crashLimit is when those who stayed away must have been told of.
const crashLimit = 20 * time.Second

// C23: one of three nodes is killed. Who comes back within the grace keeps room
// and seat, and nobody hears of it; of each of the others one member of its
// room hears within 20 s. Then rosters are exactly those who are connected.
// With more clients:
//
//	go test ./internal/integ -run TestNodeCrash -v -integ.crash=3000
func TestNodeCrash(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	all := c.gather(*crashSize, 5, func(n int, _ string) int { return n%3 + 1 })
	back, away := map[*phone]bool{}, map[*phone]bool{}
	victims := 0
	all.each(func(room string, n int, p *phone) {
		if at(c.ports[2].listen) != p.conn.RemoteAddr().String() {
			return
		}
		if victims++; victims%2 == 0 {
			back[p] = true
		} else {
			away[p] = true
		}
	})
	t.Logf("%d clients, of whom %d come back and %d stay away", all.size, len(back), len(away))

	killed := c.kill9(2)
	all.bringBack(back)
	t.Logf("all who come back are connected after %s", time.Since(killed))
	eventually(t, crashLimit+5*time.Second-time.Since(killed), func() error {
		if heard := all.departures(); len(heard) != len(away) {
			return fmt.Errorf("%d departures heard, want %d", len(heard), len(away))
		}
		return nil
	})
	heard := all.departures()
	first, last := time.Hour, time.Duration(0)
	for p := range away {
		if len(heard[p.user]) != 1 {
			t.Errorf("user %d's departure was told %d times, want 1", p.user, len(heard[p.user]))
			continue
		}
		after := heard[p.user][0].at.Sub(killed)
		first, last = min(first, after), max(last, after)
	}
	t.Logf("those who stayed away were told of %s to %s after the kill", first, last)
	if last > crashLimit || first < 12*time.Second {
		t.Errorf("told %s to %s after the kill, want within %s and not before the grace", first, last, crashLimit)
	}
	c.settle()
	eventually(t, 5*time.Second, func() error { return all.exact(away) })
	throughout(t, 6*time.Second, func() error {
		for user, frames := range all.departures() {
			if len(frames) != 1 {
				return fmt.Errorf("user %d's departure was told %d times", user, len(frames))
			}
		}
		return nil
	})
	for p := range away {
		p.hang()
	}
	c.check()
}

// Scenario 1: a node is killed and started again after 150 ms, with its id and ports. Who
// comes back keeps seat and call, and nobody hears of it; of who does not, the
// room is told within 20 s.
func TestScenario1RestartsAtOnce(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	s := &stage{cluster: c, room: c.roomAt(2), owner: 2, a: 2, b: 1}
	h, returns, stays := s.relay(1, host), s.come(2, nil), s.come(2, nil)
	other := s.dial(newUser(), 3)
	s.sit(1, s.room, 4, returns.user)
	no := s.call(1, returns.user, other.user)

	killed := c.kill9(2)
	<-time.After(150*time.Millisecond - time.Since(killed)) // no state to wait for: it is the story
	c.start(2)
	again, err := c.comeBack(returns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.hang)
	if f := again.token().fields; f["current_room_id"] != s.room || f["call_no"] != no {
		t.Errorf("back, the user is told %v, want room %s and call %s", f, s.room, no)
	}
	eventually(t, crashLimit-time.Since(killed), told(h, "exit_room", stays.user, 1))
	t.Logf("told %s after the kill", h.heardOf("exit_room", stays.user)[0].at.Sub(killed))
	c.settle()
	u, err := c.user(3, returns.user)
	if err != nil || !u.Online || u.CurrentRoomID != s.room || u.Seat != 4 || u.CallNo != no {
		t.Errorf("who came back is %+v (%v), want on seat 4 of %s and in call %s", u, err, s.room, no)
	}
	throughout(t, 6*time.Second, func() error {
		return errors.Join(told(h, "exit_room", stays.user, 1)(), told(h, "exit_room", returns.user, 0)(), told(other, "hang_up", returns.user, 0)())
	})
	c.check()
}

// Scenario 2: a node is frozen for a second: nothing moves. It is frozen for longer than
// its lease: the others take over, its clients, who ping into their sockets all
// the time, come back elsewhere or to it, and nobody hears of anything.
func TestScenario2FrozenNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	all := c.gather(30, 5, func(n int, _ string) int { return n%3 + 1 })
	lives := func() (list [3]string) {
		for i := range list {
			var health struct{ Incarnation string }
			eventually(t, 5*time.Second, func() error {
				_, err := c.adminInto(i+1, "/healthz", &health)
				return err
			})
			list[i] = health.Incarnation
		}
		return list
	}
	before := lives()
	c.freeze(2)
	throughout(t, time.Second, all.undisturbed)
	c.thaw(2)
	throughout(t, 3*time.Second, all.undisturbed)
	if now := lives(); now != before {
		t.Errorf("incarnations %v after a second's pause, were %v", now, before)
	}
	eventually(t, 3*time.Second, func() error { return all.exact(nil) })

	frozen := time.Now()
	c.freeze(2)
	eventually(t, 5*time.Second, func() error { return c.agrees(1, 2) })
	c.must(http.MethodPut, 1, "/v1/rooms/while-frozen", fields{"seats": 2}, nil)
	eventually(t, 10*time.Second, func() error {
		if d := time.Since(frozen); d < 5*time.Second {
			return fmt.Errorf("only %s have passed", d)
		}
		return nil
	})
	c.thaw(2)
	c.settle()
	if now := lives(); now[1] == before[1] || now[0] != before[0] {
		t.Errorf("incarnations %v after a long pause, were %v", now, before)
	}
	closed := map[*phone]bool{}
	throughout(t, 2*time.Second, func() error {
		all.each(func(_ string, _ int, p *phone) {
			if p.gone() != nil {
				closed[p] = true
			}
		})
		return nil
	})
	t.Logf("%d of 30 were sent away", len(closed))
	all.bringBack(closed)
	throughout(t, 14*time.Second, func() error {
		if heard := all.departures(); len(heard) > 0 {
			return fmt.Errorf("%d departures heard", len(heard))
		}
		return nil
	})
	eventually(t, 5*time.Second, func() error { return all.exact(nil) })
	c.check()
}
