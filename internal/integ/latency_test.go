package integ

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// departureLimit is generous: the tests may share the machine with others. What
// is promised is a p99 below 100 ms; the figures are in the test's log.
const departureLimit = 2 * time.Second

// A's process is killed, or its socket ends with a FIN or an RST. B, on another
// node than A and the room, is told of the room and of the call, once each. For
// the figures, on an idle machine:
//
//	go test ./internal/integ -run TestDepartureLatency -v -integ.runs=1000 -timeout 30m
func TestDepartureLatency(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(*cluster, int) (end func()){
		"SIGKILL": func(c *cluster, user int) func() { return c.app(user, 3).kill },
		"FIN": func(c *cluster, user int) func() {
			p := c.phone(user, 3, phoneOptions{})
			return p.hang
		},
		"half close": func(c *cluster, user int) func() {
			p := c.phone(user, 3, phoneOptions{})
			return func() { _ = p.conn.CloseWrite() }
		},
		"RST": func(c *cluster, user int) func() {
			p := c.phone(user, 3, phoneOptions{})
			return p.reset
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := share(t, both)
			room := c.roomAt(2)
			b := c.phone(newUser(), 1, phoneOptions{report: true})
			c.enter(1, room, b.user, host)
			var exits, hangUps []time.Duration
			var users []int
			for range *runs {
				a := newUser()
				end := connect(c, a)
				c.enter(1, room, a, nil)
				c.call(1, a, b.user)
				ended := time.Now()
				end()
				for action, took := range map[string]*[]time.Duration{"exit_room": &exits, "hang_up": &hangUps} {
					eventually(t, departureLimit, told(b, action, a, 1))
					*took = append(*took, b.heardOf(action, a)[0].at.Sub(ended))
				}
				users = append(users, a)
			}
			t.Logf("%s, %d runs: exit_room %s; hang_up %s", name, *runs, spread(exits), spread(hangUps))
			throughout(t, time.Second, func() error { // each was reported: none comes again
				for _, a := range users {
					if err := errors.Join(told(b, "exit_room", a, 1)(), told(b, "hang_up", a, 1)()); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// spread is the middle and the end of what was measured.
func spread(d []time.Duration) string {
	slices.Sort(d)
	at := func(p float64) time.Duration {
		return d[min(len(d)-1, int(p*float64(len(d))))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %s, p99 %s, max %s", at(0.5), at(0.99), at(1))
}
