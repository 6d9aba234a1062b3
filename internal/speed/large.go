//go:build linux

package main

import (
	"fmt"
	"os"
	"time"
)

const (
	// inFlight is how many publications a flood keeps under way.
	inFlight = 64
	// manyPublications is more than a room gets in any row.
	manyPublications = 200_000
	// patient is a heartbeat timeout that no row reaches.
	patient = "1h"
)

// audience is one server with one room, ready to be published to.
type audience struct {
	*crowd
	server *process
	node   *node // nil for the bare server
	redis  *process
	target target
	place  *place
}

// large prepares a room of n at a server of its own.
func (l *lab) large(bare bool, n int, flags ...string) (*audience, error) {
	a := &audience{place: newPlace("large", manyPublications)}
	if err := l.serve(a, bare, flags...); err != nil {
		return nil, err
	}
	return a, a.fill(n, 1, a.place)
}

// serve starts the audience's server.
func (l *lab) serve(a *audience, bare bool, flags ...string) (err error) {
	if a.crowd, err = newCrowd(); err != nil {
		return err
	}
	if bare {
		a.server, a.target.at, err = l.startBare()
		a.target.bare = true
		return err
	}
	redis, url, err := l.startRedis()
	if err != nil {
		return err
	}
	nodes, err := l.startNodes(1, url, append([]string{"--heartbeat-timeout", patient}, flags...)...)
	if err != nil {
		return err
	}
	a.redis, a.node, a.server, a.target.at = redis, nodes[0], nodes[0].process, nodes[0].api
	return nil
}

// fill puts n users, from the first on, into each room, and connects them.
func (a *audience) fill(n, first int, places ...*place) error {
	var members []member
	for _, p := range places {
		for range n {
			m := member{address: a.target.at, path: "/?room=" + p.name, user: first, place: p}
			if a.node != nil {
				m.address, m.path = a.node.listen, path(first)
			}
			members = append(members, m)
			first++
		}
	}
	if err := a.connect(members); err != nil {
		return err
	}
	if a.node != nil {
		if err := enter(a.node, members); err != nil {
			return err
		}
	}
	a.quiet()
	a.settle()
	return nil
}

// cost is what a load took.
type cost struct {
	deliveries float64
	perSecond  float64
	cpu        float64 // microseconds of the server's CPU a delivery
	store      float64 // the same of Redis
}

// charge runs a load and returns what it cost.
func (a *audience) charge(l *lab, load func() error) (cost, error) {
	a.timed.Store(true)
	a.forget()
	before, cpu, began := a.delivered.Load(), a.server.cpu(), time.Now()
	var store time.Duration
	if a.redis != nil {
		store = a.redis.cpu()
	}
	stop := l.profiled(a.node)
	if err := load(); err != nil {
		return cost{}, err
	}
	stop()
	lasted := time.Since(began)
	a.quiet()
	n := float64(a.delivered.Load() - before)
	if n == 0 {
		return cost{}, fmt.Errorf("nothing was delivered")
	}
	c := cost{deliveries: n, perSecond: n / lasted.Seconds(), cpu: micros(a.server.cpu()-cpu) / n}
	if a.redis != nil {
		c.store = micros(a.redis.cpu()-store) / n
	}
	return c, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// profiled fetches a CPU profile of a node while the load lasts, if asked to.
func (l *lab) profiled(nd *node) (wait func()) {
	if l.profile == "" || nd == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		body, err := fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", nd.admin, max(1, int(l.lasts.Seconds())-1)))
		if err == nil {
			err = os.WriteFile(l.profile, body, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "speed: no profile:", err)
		}
	}()
	return func() { <-done }
}

// leave ends an audience and its servers.
func (l *lab) leave(a *audience) {
	a.close()
	l.stage.close()
}

// compare runs the same load at a bare server and at ours.
func (l *lab) compare(prepare func(bare bool) (*audience, error), load func(*audience) error) (theirs, ours outcome, err error) {
	for _, bare := range []bool{true, false} {
		a, err := prepare(bare)
		if err != nil {
			return theirs, ours, err
		}
		c, err := a.charge(l, func() error { return load(a) })
		if err != nil {
			return theirs, ours, err
		}
		o := outcome{cost: c, p50: a.quantile(50), p99: a.quantile(99), first: a.firstQuantile(50)}
		if bare {
			theirs = o
		} else {
			ours = o
		}
		l.leave(a)
	}
	return theirs, ours, nil
}

// outcome is a cost and latencies in milliseconds.
type outcome struct {
	cost
	p50, p99, first float64
}

func (l *lab) oneRoom(bare bool) (*audience, error) { return l.large(bare, l.members) }

// flood is the first row of the table.
func flood(l *lab) ([]figure, error) {
	theirs, ours, err := l.compare(l.oneRoom, func(a *audience) error {
		a.timed.Store(false)
		return a.flood(a.target, a.place, inFlight, l.lasts)
	})
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "server CPU a delivery, bare", value: theirs.cpu, unit: "us"},
		{name: "server CPU a delivery", value: ours.cpu, unit: "us"},
		{name: "of bare", value: ours.cpu / theirs.cpu, most: 0.10},
		{name: "deliveries/s, bare", value: theirs.perSecond},
		{name: "deliveries/s", value: ours.perSecond},
		{name: "times bare", value: ours.perSecond / theirs.perSecond, least: 8},
	}, nil
}

// single sends the next publication when everybody has the former.
func single(l *lab) ([]figure, error) {
	theirs, ours, err := l.compare(l.oneRoom, func(a *audience) error {
		return a.flood(a.target, a.place, 1, l.lasts)
	})
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "server CPU a delivery, bare", value: theirs.cpu, unit: "us"},
		{name: "server CPU a delivery", value: ours.cpu, unit: "us"},
		{name: "of bare", value: ours.cpu / theirs.cpu, most: 0.8},
		{name: "p50, bare", value: theirs.p50, unit: "ms"},
		{name: "p50", value: ours.p50, unit: "ms", most: theirs.p50},
		{name: "first client, p50", value: ours.first, unit: "ms", most: 1},
	}, nil
}

// half finds the flood's rate and then publishes at half of it.
func half(l *lab) ([]figure, error) {
	a, err := l.oneRoom(false)
	if err != nil {
		return nil, err
	}
	defer l.leave(a)
	c, err := a.charge(l, func() error {
		a.timed.Store(false)
		return a.flood(a.target, a.place, inFlight, l.lasts/2)
	})
	if err != nil {
		return nil, err
	}
	rate := c.perSecond / float64(l.members) / 2
	if _, err = a.charge(l, func() error { return a.openLoop(a.target, []*place{a.place}, rate, l.lasts) }); err != nil {
		return nil, err
	}
	return []figure{
		{name: "publications/s", value: rate},
		{name: "p50", value: a.quantile(50), unit: "ms"},
		{name: "p99", value: a.quantile(99), unit: "ms", most: 100},
	}, nil
}
