package integ

import (
	"fmt"
	"testing"
	"time"
)

// A deploy rolls: every node in turn drains, ends and is started anew, and then
// every node in turn is killed and started anew. The clients of each come back
// as their apps do; nobody is told of anybody, and all keep room and seat. With
// more clients:
//
//	go test ./internal/integ -run TestEveryNodeIsReplaced -v -integ.roll=3000
func TestEveryNodeIsReplaced(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	all := c.gather(*rollSize, 5, func(n int, _ string) int { return n%3 + 1 })
	for _, way := range []struct {
		name string
		end  func(i int)
	}{
		{"drained", c.drain},
		{"killed", func(i int) { c.kill9(i) }},
	} {
		for i := 1; i <= 3; i++ {
			began := time.Now()
			way.end(i)
			ended := time.Since(began)
			sent := all.cutOff()
			all.bringBack(sent)
			back := time.Since(began)
			c.start(i)
			c.settle()
			t.Logf("node %d %s in %s; its %d clients are back after %s, the node after %s", i, way.name, ended, len(sent), back, time.Since(began))
			if len(sent) == 0 {
				t.Errorf("node %d had no clients", i)
			}
			eventually(t, 10*time.Second, func() error { return all.exact(nil) })
		}
	}
	throughout(t, 14*time.Second, func() error { // until the last one's grace is over
		if heard := all.departures(); len(heard) > 0 {
			return fmt.Errorf("%d departures heard", len(heard))
		}
		return nil
	})
	if err := all.exact(nil); err != nil {
		t.Error(err)
	}
	c.check()
}

// cutOff waits until no more connections end and returns those that have.
func (a *crowd) cutOff() map[*phone]bool {
	gone := map[*phone]bool{}
	for before := -1; before != len(gone); {
		before = len(gone)
		throughout(a.tb, 200*time.Millisecond, func() error {
			a.each(func(_ string, _ int, p *phone) {
				if p.gone() != nil {
					gone[p] = true
				}
			})
			return nil
		})
	}
	return gone
}
