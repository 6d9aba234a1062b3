//go:build linux

package main

import (
	"fmt"
	"time"
)

// sizes measures one room at sizes from 10 to 10,000, against a bare server, and
// draws it.
func sizes(l *lab) ([]figure, error) {
	of := []int{10, 30, 100, 300, 1000, 3000, 10_000}
	lines := []series{{name: "flooded, bare server"}, {name: "flooded"}, {name: "one at a time, bare server"}, {name: "one at a time"}}
	var figures []figure
	for _, n := range of {
		for i, bare := range []bool{true, false} {
			a, err := l.large(bare, n)
			if err != nil {
				return nil, err
			}
			for j, flying := range []int{inFlight, 1} {
				c, err := a.charge(l, func() error {
					a.timed.Store(false)
					return a.flood(a.target, a.place, flying, l.lasts)
				})
				if err != nil {
					return nil, err
				}
				line := &lines[2*j+i]
				line.xs, line.ys = append(line.xs, float64(n)), append(line.ys, c.cpu)
				figures = append(figures, figure{name: fmt.Sprintf("room of %d, %s: CPU a delivery", n, line.name), value: c.cpu, unit: "us"})
			}
			l.leave(a)
		}
	}
	return figures, chart{
		title: "Server CPU a delivery by the size of the room", xLabel: "occupants of the room", yLabel: "µs", logY: true, lines: lines,
	}.draw(l.charts, "rooms.svg")
}

// grow measures three nodes with ever more connections, in rooms of ten, and
// draws it.
func grow(l *lab) ([]figure, error) {
	const nodes = 3
	of := []int{1000, 2000, 5000, 10_000, 20_000, 50_000}
	redis, url, err := l.startRedis()
	if err != nil {
		return nil, err
	}
	all, err := l.startNodes(nodes, url, "--heartbeat-timeout", patient)
	if err != nil {
		return nil, err
	}
	empty := resident(all)
	lines := []series{{name: "memory, KiB a connection"}, {name: "heartbeat, µs of CPU"}, {name: "join, tens of µs of CPU"}}
	var figures []figure
	say := func(n int, what string, value float64, unit string) {
		figures = append(figures, figure{name: fmt.Sprintf("%d connections: %s", n, what), value: value, unit: unit})
	}
	c, err := l.startParts(of[len(of)-1], "grow")
	if err != nil {
		return nil, err
	}
	joined := 0
	for _, n := range of {
		cpu := spent(all)
		if err := c.more(all, joined, n); err != nil {
			return nil, err
		}
		join := micros(spent(all)-cpu) / float64(n-joined)
		joined = n
		memory := float64(resident(all)-empty) / float64(n) / 1024
		cpu = spent(all)
		time.Sleep(l.lasts)
		rest := (spent(all) - cpu) / time.Duration(max(1, l.lasts/time.Second))
		cpu, began := spent(all), time.Now()
		if _, err := c.tell(func(int) order { return order{Do: "ping"} }); err != nil {
			return nil, err
		}
		beat := micros(spent(all)-cpu-time.Duration(float64(rest)*time.Since(began).Seconds())) / float64(n)
		say(n, "memory a connection", memory, "KiB")
		say(n, "CPU a join", join, "us")
		say(n, "CPU a heartbeat", beat, "us")
		say(n, "CPU of three nodes at rest", micros(rest)/1e4, "%")
		say(n, "Redis, CPU so far", redis.cpu().Seconds(), "s")
		for i, v := range []float64{memory, beat, join / 10} {
			lines[i].xs, lines[i].ys = append(lines[i].xs, float64(n)), append(lines[i].ys, max(v, 0))
		}
	}
	return figures, chart{
		title: "What a connection costs three nodes", xLabel: "connections, in rooms of ten", lines: lines,
	}.draw(l.charts, "connections.svg")
}

// more has as many connect as there are to be, each in a room of ten.
func (c *parts) more(nodes []*node, from, to int) error {
	var doors, apis []string
	for _, nd := range nodes {
		doors, apis = append(doors, nd.listen), append(apis, nd.api)
	}
	share := (to - from) / len(c.all)
	_, err := c.tell(func(i int) order {
		return order{Do: "join", Room: "grow", Rooms: roomSize, First: 1 + from + i*share, N: share, Doors: doors, APIs: apis}
	})
	return err
}

func resident(nodes []*node) (bytes int) {
	for _, nd := range nodes {
		bytes += nd.resident()
	}
	return bytes
}

func spent(nodes []*node) (cpu time.Duration) {
	for _, nd := range nodes {
		cpu += nd.cpu()
	}
	return cpu
}
