package integ

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// A fourth node joins three that are full of clients, takes newcomers, and
// leaves again: nobody is expelled, everybody is reached by what is published
// all the time, and within 3 s all nodes send clients the same way. With more
// clients:
//
//	go test ./internal/integ -run TestScaleOutAndBack -v -integ.scale=10000
func TestScaleOutAndBack(t *testing.T) {
	t.Parallel()
	alone(t)
	c := startCluster(t, clusterOptions{})
	all := c.gather(*scaleSize, 10, func(n int, _ string) int { return n%3 + 1 })
	c.place(4)
	probes := all.probe()

	c.start(4)
	eventually(t, settleTimeout, func() error {
		status, err := c.admin(4, "/readyz")
		if err == nil && status != http.StatusOK {
			err = errors.New("not ready")
		}
		return err
	})
	all.agreeWithin3s("a fourth node is ready")
	c.settle()
	newcomers := map[*phone]bool{}
	for room := range all.rooms {
		owner, err := c.ownerOf(1, room)
		if err != nil {
			t.Fatal(err)
		}
		if owner == 4 {
			p := c.phone(newUser(), 4, phoneOptions{report: true})
			c.enter(4, room, p.user, nil)
			newcomers[p] = true
		}
	}
	t.Logf("the fourth node takes %d of %d rooms, and as many newcomers", len(newcomers), len(all.rooms))
	if len(newcomers) == 0 {
		t.Error("the fourth node owns nothing")
	}
	probes.pass(3)

	left := make(chan struct{})
	go func() { // as their apps do
		defer close(left)
		for p := range newcomers {
			<-p.done
			if again, err := c.comeBack(p); err != nil {
				t.Error(err)
			} else {
				all.former = append(all.former, p, again)
				t.Cleanup(again.hang)
			}
		}
	}()
	c.drain(4)
	all.agreeWithin3s("the fourth node has left")
	c.settle()
	<-left
	for p := range newcomers {
		if p.closeCode() != 1012 || len(p.heard("drain")) != 1 {
			t.Errorf("a newcomer was sent away with %v and %d drain frames, want 1012 and one", p.gone(), len(p.heard("drain")))
		}
	}
	probes.pass(3)
	t.Logf("%d probes reached everybody", probes.stop())
	if err := all.undisturbed(); err != nil {
		t.Error(err)
	}
	all.each(func(room string, _ int, p *phone) { probes.heardBy(room, p) })
	c.check()
}

// agreeWithin3s waits until every node that runs sends clients the same way,
// for every room. What counts is when asking began: with many rooms it takes
// its time.
func (a *crowd) agreeWithin3s(since string) {
	a.tb.Helper()
	began := time.Now()
	var asked time.Duration
	eventually(a.tb, 3*time.Second, func() error {
		asked = time.Since(began)
		return a.agree()
	})
	a.tb.Logf("since %s, all ways are the same when asked after %s, which took %s", since, asked, time.Since(began)-asked)
}

// agree asks all nodes at a time, each for every room.
func (a *crowd) agree() error {
	numbers := a.numbers()
	ways := make([]map[string]string, len(numbers))
	var g errgroup.Group
	for n, i := range numbers {
		ways[n] = map[string]string{}
		g.Go(func() error {
			for room := range a.rooms {
				e, err := a.endPoint(i, url.Values{"sid": {"1s"}, "room_id": {room}})
				if err != nil {
					return err
				}
				ways[n][room] = e.EndPoint
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for room, way := range ways[0] {
		for n := range ways {
			if ways[n][room] != way {
				return fmt.Errorf("room %s: %s by node %d, %s by node %d", room, way, numbers[0], ways[n][room], numbers[n])
			}
		}
	}
	return nil
}

// prober publishes to all rooms in turn, through every node in turn.
type prober struct {
	crowd *crowd
	end   func()

	// guarded by mu
	mu    sync.Mutex
	sent  map[string]int
	total int
}

// probe starts publishing. A probe that fails, or is delivered to fewer than
// the crowd has in the room, fails the test.
func (a *crowd) probe() *prober {
	p := &prober{crowd: a, sent: map[string]int{}}
	var rooms []string
	for room := range a.rooms {
		rooms = append(rooms, room)
	}
	n := 0
	p.end = repeat(10*time.Millisecond, func() {
		room := rooms[n%len(rooms)]
		via := n%3 + 1
		n++
		var got published
		asked := time.Now()
		if _, err := a.request(http.MethodPost, via, "/v1/rooms/"+room+"/publish", fields{"action": "probe"}, &got); err != nil {
			a.tb.Errorf("probe of room %s through node %d, after %s: %v", room, via, time.Since(asked), err)
			return
		}
		if want := len(a.rooms[room]); got.Delivered < int64(want) {
			a.tb.Errorf("probe of room %s was delivered to %d, want %d", room, got.Delivered, want)
		}
		p.mu.Lock()
		p.sent[room]++
		p.total++
		p.mu.Unlock()
	})
	return p
}

// pass waits until every room was probed n times more.
func (p *prober) pass(n int) {
	p.crowd.tb.Helper()
	p.mu.Lock()
	want := p.total + n*len(p.crowd.rooms)
	p.mu.Unlock()
	eventually(p.crowd.tb, 5*time.Minute, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.total < want {
			return fmt.Errorf("%d probes, want %d", p.total, want)
		}
		return nil
	})
}

// stop ends the probes and returns how many there were.
func (p *prober) stop() int {
	p.end()
	return p.total
}

// heardBy fails the test unless a phone heard every probe of its room, in
// order.
func (p *prober) heardBy(room string, who *phone) {
	tb := p.crowd.tb
	tb.Helper()
	eventually(tb, 5*time.Second, heardAll([]*phone{who}, "probe", p.sent[room]))
	last := frame{}
	for _, f := range who.heard("") {
		if _, numbered := f.fields["seq"]; !numbered {
			continue
		}
		if f.number("epoch") == last.number("epoch") && f.number("seq") != last.number("seq")+1 {
			tb.Errorf("user %d: seq %d after %d in one epoch", who.user, f.number("seq"), last.number("seq"))
		}
		last = f
	}
}
