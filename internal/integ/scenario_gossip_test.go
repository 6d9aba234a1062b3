package integ

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Scenario 4: gossip is cut, Redis is reached by all. No room changes its owner,
// and enter, call and exit_room work across the cut. For as long as the design
// says:
//
//	go test ./internal/integ -run Scenario4 -v -integ.cut=60s
func TestScenario4GossipCut(t *testing.T) {
	t.Parallel()
	alone(t)
	for name, story := range map[string]struct {
		nodes  int
		oneWay []bool // a cut each, one after the other
		left   []int  // the others are right of the cut
	}{
		"2 of 4": {4, []bool{false, true}, []int{1, 2}},
		"2 of 5": {5, []bool{false}, []int{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t, story.nodes)
			port := lab.ports.next()
			redis := l.at(0, port)
			if err := l.forward(redis, strings.TrimPrefix(lab.redis, "redis://")); err != nil {
				t.Fatal(err)
			}
			if !l.own {
				redis = strings.TrimPrefix(lab.redis, "redis://")
			}
			c := startCluster(t, clusterOptions{nodes: story.nodes, lan: l, redis: "redis://" + redis})
			for _, oneWay := range story.oneWay {
				gossipCut(t, c, story.left, oneWay)
			}
			c.check()
		})
	}
}

// gossipCut has nodes hear nothing of those on the other side, and then again.
func gossipCut(t *testing.T, c *cluster, left []int, oneWay bool) {
	t.Helper()
	l, first, last := c.opts.lan, 1, c.opts.nodes
	epochs := map[string]int64{}
	var all []*phone
	for n := range 12 {
		s := &stage{cluster: c, room: newRoom()}
		all = append(all, s.come(n%last+1, nil))
		r, err := c.room(first, s.room)
		if err != nil {
			t.Fatal(err)
		}
		epochs[s.room] = r.Epoch
	}
	same := func() error {
		for room, epoch := range epochs {
			for _, i := range []int{first, last} {
				if r, err := c.room(i, room); err != nil || r.Epoch != epoch {
					return fmt.Errorf("node %d: room %s has epoch %d (%v), had %d", i, room, r.Epoch, err, epoch)
				}
			}
		}
		return nil
	}
	each := func(do func(from, to int)) {
		for _, a := range left {
			for b := len(left) + 1; b <= last; b++ {
				do(a, b)
				if !oneWay {
					do(b, a)
				}
			}
		}
	}
	each(l.cut)
	cut := time.Now()
	if l.own && !oneWay {
		each(func(from, to int) {
			eventually(t, 20*time.Second, func() error { return c.misses(from, to) })
		})
		t.Logf("both sides miss each other %s after the cut", time.Since(cut))
	}
	acrossTheCut(t, c, first, last)
	acrossTheCut(t, c, last, first)
	throughout(t, max(4*time.Second, *cutTime)-time.Since(cut), same)
	acrossTheCut(t, c, first, last)
	each(l.mend)
	eventually(t, 60*time.Second, func() error {
		if c.misses(first, last) == nil || c.misses(last, first) == nil {
			return errors.New("a node misses another")
		}
		return same()
	})
	c.settle()
	if err := same(); err != nil {
		t.Error(err)
	}
	stands(t, all...)
}

// misses is nil if node i sees node j no more.
func (c *cluster) misses(i, j int) error {
	var view struct {
		Members []struct{ Node, State string }
	}
	if _, err := c.request(http.MethodGet, i, "/v1/cluster", nil, &view); err != nil {
		return err
	}
	for _, m := range view.Members {
		if m.Node == nodeID(j) && m.State == "serving" {
			return fmt.Errorf("node %d sees node %d", i, j)
		}
	}
	return nil
}

// acrossTheCut has a user on one side leave another on the other side, in a
// room and in a call.
func acrossTheCut(t *testing.T, c *cluster, here, there int) {
	t.Helper()
	s := &stage{cluster: c, room: newRoom()}
	b := s.relay(here, host)
	a := s.come(there, nil)
	eventually(t, 10*time.Second, told(b, "enter_room", a.user, 1))
	s.call(there, a.user, b.user)
	a.hang()
	eventually(t, 10*time.Second, func() error {
		return errors.Join(told(b, "exit_room", a.user, 1)(), told(b, "hang_up", a.user, 1)())
	})
	stands(t, b)
}
