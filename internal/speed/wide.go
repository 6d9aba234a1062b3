//go:build linux

package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// wide measures one room on one, two and three nodes, with three times as many
// members as one node is enough for, and then one of six times as many, which
// by default is more than a node has descriptors for.
func wide(l *lab) ([]figure, error) {
	var figures []figure
	var base float64
	for _, w := range []struct{ nodes, members int }{{1, 3 * l.members}, {2, 3 * l.members}, {3, 3 * l.members}, {3, 6 * l.members}} {
		got, cpu, err := l.wideRoom(w.nodes, w.members)
		if err != nil {
			return nil, fmt.Errorf("%d members on %d nodes: %w", w.members, w.nodes, err)
		}
		if base == 0 {
			base = cpu
		}
		figures = append(figures, got...)
		figures = append(figures, figure{name: named(w.nodes, w.members, "CPU a delivery, times one node's"), value: cpu / base})
		l.stage.close()
	}
	return figures, nil
}

func named(nodes, members int, what string) string {
	return fmt.Sprintf("%d on %d: %s", members, nodes, what)
}

// wideRoom measures one room of a cluster of its own. cpu is what a delivery of
// the flood took of nodes and Redis together.
func (l *lab) wideRoom(nodes, members int) (figures []figure, cpu float64, err error) {
	say := func(what string, value float64, unit string) {
		figures = append(figures, figure{name: named(nodes, members, what), value: value, unit: unit})
	}
	redis, url, err := l.startRedis()
	if err != nil {
		return nil, 0, err
	}
	all, err := l.startNodes(nodes, url, "--heartbeat-timeout", patient, "--room-spread", strconv.Itoa(l.members))
	if err != nil {
		return nil, 0, err
	}
	c, err := l.startParts(members, "wide")
	if err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	least, most, err := c.fill(all, members)
	if err != nil {
		return nil, 0, err
	}
	say("members a node, least", float64(least), "")
	say("members a node, most", float64(most), "")
	say("all in after", time.Since(begin).Seconds(), "s")
	for _, load := range []struct {
		what     string
		inFlight int
	}{{"one at a time", 1}, {"flood", inFlight}} {
		o, err := c.charge(l, all, redis, load.inFlight)
		if err != nil {
			return nil, 0, err
		}
		say(load.what+", deliveries/s", o.perSecond, "")
		say(load.what+", CPU of nodes a delivery", o.cpu, "us")
		say(load.what+", CPU of Redis a delivery", o.store, "us")
		say(load.what+", everybody has it, p50", o.p50, "ms")
		say(load.what+", everybody has it, p99", o.p99, "ms")
		cpu = o.cpu + o.store
	}
	return figures, cpu, nil
}

// fill brings everybody in and returns the fewest and the most members that
// were sent to one node.
func (c *parts) fill(nodes []*node, members int) (least, most int, err error) {
	var doors, apis []string
	for _, nd := range nodes {
		doors, apis = append(doors, nd.listen), append(apis, nd.api)
	}
	size := members / len(c.all)
	joined, err := c.tell(func(i int) order {
		return order{Do: "join", Room: c.place.name, First: 1 + i*size, N: size, Doors: doors, APIs: apis}
	})
	if err != nil {
		return 0, 0, err
	}
	at := map[string]int{}
	for _, n := range joined {
		for to, count := range n.At {
			at[to] += count
		}
	}
	least = members
	for _, door := range doors {
		least, most = min(least, at[door]), max(most, at[door])
	}
	_, err = c.tell(func(int) order { return order{Do: "settle"} })
	return least, most, err
}

// charge keeps n publications in flight and returns what that cost all nodes.
func (c *parts) charge(l *lab, nodes []*node, redis *process, n int) (outcome, error) {
	before, err := c.delivered()
	if err != nil {
		return outcome{}, err
	}
	c.mu.Lock()
	c.took.Reset()
	c.mu.Unlock()
	t := target{at: nodes[0].api}
	cpu, store, began := spent(nodes), redis.cpu(), time.Now()
	stop := l.profiled(nodes[0])
	var g errgroup.Group
	for range n {
		g.Go(func() error {
			for time.Since(began) < l.lasts {
				if err := t.publish(c.place, int64(time.Since(c.began))); err != nil {
					return err
				}
				select {
				case <-c.completed:
				case <-time.After(20 * time.Second):
					return errors.New("a publication has not reached everybody within 20 s")
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return outcome{}, err
	}
	stop()
	lasted := time.Since(began)
	after, err := c.delivered()
	if err != nil {
		return outcome{}, err
	}
	deliveries := float64(after - before)
	c.mu.Lock()
	defer c.mu.Unlock()
	return outcome{
		cost: cost{
			deliveries: deliveries, perSecond: deliveries / lasted.Seconds(),
			cpu: micros(spent(nodes)-cpu) / deliveries, store: micros(redis.cpu()-store) / deliveries,
		},
		p50: float64(c.took.ValueAtQuantile(50)) / 1000, p99: float64(c.took.ValueAtQuantile(99)) / 1000,
	}, nil
}
