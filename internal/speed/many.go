//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

const (
	rooms    = 1000
	roomSize = 10
	// calmRate is the publications/s of the rows that look at latency.
	calmRate = 500
	// callers is how many calls of the backend are under way at a time.
	callers = 32
)

// smallRooms prepares 1,000 rooms of 10.
func (l *lab) smallRooms(bare bool) (*audience, []*place, error) {
	a := new(audience)
	if err := l.serve(a, bare); err != nil {
		return nil, nil, err
	}
	var places []*place
	for i := range rooms {
		places = append(places, newPlace(fmt.Sprintf("small%d", i), manyPublications/rooms))
	}
	return a, places, a.fill(roomSize, 1, places...)
}

func batch(l *lab) ([]figure, error) {
	a, places, err := l.smallRooms(false)
	if err != nil {
		return nil, err
	}
	defer l.leave(a)
	c, err := a.charge(l, func() error {
		a.timed.Store(false)
		return a.batches(a.target, places, 100, 4, l.lasts)
	})
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "server CPU a delivery, batches of 100", value: c.cpu, unit: "us", most: 5},
		{name: "Redis CPU a delivery", value: c.store, unit: "us"},
		{name: "deliveries/s", value: c.perSecond},
	}, nil
}

// small has a bare server's cost beside it, as the measure of the machine.
func small(l *lab) ([]figure, error) {
	var places []*place
	theirs, ours, err := l.compare(
		func(bare bool) (a *audience, err error) {
			a, places, err = l.smallRooms(bare)
			return a, err
		},
		func(a *audience) error { return a.busy(a.target, places, callers, l.lasts) })
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "server CPU a delivery, one by one, bare", value: theirs.cpu, unit: "us"},
		{name: "server CPU a delivery, one by one", value: ours.cpu, unit: "us", most: 10},
		{name: "of bare", value: ours.cpu / theirs.cpu},
		{name: "Redis CPU a delivery", value: ours.store, unit: "us"},
		{name: "deliveries/s, bare", value: theirs.perSecond},
		{name: "deliveries/s", value: ours.perSecond},
	}, nil
}

// calm measures latency at a low rate.
func calm(l *lab) ([]figure, error) {
	var places []*place
	theirs, ours, err := l.compare(
		func(bare bool) (a *audience, err error) {
			a, places, err = l.smallRooms(bare)
			return a, err
		},
		func(a *audience) error { return a.openLoop(a.target, places, calmRate, l.lasts) })
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "p50, bare", value: theirs.p50, unit: "ms"},
		{name: "p50", value: ours.p50, unit: "ms"},
		{name: "p50 of bare", value: ours.p50 / theirs.p50, most: 1.25},
		{name: "p99, bare", value: theirs.p99, unit: "ms"},
		{name: "p99", value: ours.p99, unit: "ms"},
		{name: "p99 of bare", value: ours.p99 / theirs.p99, most: 1.25},
		{name: "server CPU a delivery, bare", value: theirs.cpu, unit: "us"},
		{name: "server CPU a delivery", value: ours.cpu, unit: "us"},
	}, nil
}

// cluster is three nodes and a crowd.
type cluster struct {
	*crowd
	nodes []*node
	redis *process
}

func (l *lab) cluster(flags ...string) (*cluster, error) {
	redis, url, err := l.startRedis()
	if err != nil {
		return nil, err
	}
	nodes, err := l.startNodes(3, url, append([]string{"--heartbeat-timeout", patient}, flags...)...)
	if err != nil {
		return nil, err
	}
	c, err := newCrowd()
	return &cluster{crowd: c, nodes: nodes, redis: redis}, err
}

// cpu is that of all nodes and of Redis.
func (c *cluster) cpu() time.Duration {
	total := c.redis.cpu()
	for _, nd := range c.nodes {
		total += nd.cpu()
	}
	return total
}

// strangers returns the nodes that do not own a room.
func (c *cluster) strangers(room string) ([]*node, error) {
	body, err := fetch("http://" + c.nodes[0].listen + "/api/websocket/end_point?room_id=" + room + "&sid=" + sid(1))
	if err != nil {
		return nil, err
	}
	var others []*node
	for _, nd := range c.nodes {
		if !strings.Contains(string(body), nd.listen) {
			others = append(others, nd)
		}
	}
	if len(others) != len(c.nodes)-1 {
		return nil, fmt.Errorf("no node of ours owns room %s: %s", room, body)
	}
	return others, nil
}

// remote is calm on three nodes, with every member at a stranger of its room.
// Publications go to the nodes in turn.
func remote(l *lab) ([]figure, error) {
	c, err := l.cluster()
	if err != nil {
		return nil, err
	}
	defer c.close()
	var places []*place
	var members []member
	for i := range rooms {
		p := newPlace(fmt.Sprintf("remote%d", i), manyPublications/rooms)
		others, err := c.strangers(p.name)
		if err != nil {
			return nil, err
		}
		places = append(places, p)
		for j := range roomSize {
			user := i*roomSize + j + 1
			members = append(members, member{address: others[j%len(others)].listen, path: path(user), user: user, place: p})
		}
	}
	if err := c.connect(members); err != nil {
		return nil, err
	}
	if err := enter(c.nodes[0], members); err != nil {
		return nil, err
	}
	c.quiet()
	c.settle()
	idle := c.cpu()
	time.Sleep(l.lasts)
	idle = c.cpu() - idle
	c.timed.Store(true)
	at := target{at: c.nodes[0].api}
	stop := l.profiled(c.nodes[0])
	calm, n, err := c.charged(func() error { return c.openLoop(at, places, calmRate, l.lasts) })
	if err != nil {
		return nil, err
	}
	stop()
	c.timed.Store(false)
	busy, busyN, err := c.charged(func() error { return c.busy(at, places, callers, l.lasts) })
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "p50", value: c.quantile(50), unit: "ms", most: 2},
		{name: "p99", value: c.quantile(99), unit: "ms", most: 15},
		{name: "CPU a delivery of 3 nodes and Redis", value: micros(calm) / n, unit: "us", most: 20},
		{name: "of it what they take at rest", value: micros(idle) / n, unit: "us"},
		{name: "CPU a delivery, flat out", value: micros(busy) / busyN, unit: "us"},
		{name: "deliveries/s, flat out", value: busyN / l.lasts.Seconds()},
	}, nil
}

// charged runs a load and returns what CPU it took, and for how many deliveries.
func (c *cluster) charged(load func() error) (cpu time.Duration, deliveries float64, err error) {
	before, spent := c.delivered.Load(), c.cpu()
	if err := load(); err != nil {
		return 0, 0, err
	}
	c.quiet()
	return c.cpu() - spent, float64(c.delivered.Load() - before), nil
}
