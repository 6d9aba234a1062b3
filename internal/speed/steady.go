//go:build linux

package main

import (
	"fmt"
	"time"
)

// steadySize is how many connections the row has that only stay.
const steadySize = 50_000

// steady has very many connections on three nodes do nothing but beat, with the
// heartbeat timeout that is shipped, and looks whether one is lost or memory
// grows. -lasts is for how long.
func steady(l *lab) ([]figure, error) {
	redis, url, err := l.startRedis()
	if err != nil {
		return nil, err
	}
	all, err := l.startNodes(3, url)
	if err != nil {
		return nil, err
	}
	empty := resident(all)
	c, err := l.startParts(steadySize, "steady")
	if err != nil {
		return nil, err
	}
	if _, err := c.tell(func(int) order { return order{Do: "beat"} }); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := c.more(all, 0, steadySize); err != nil {
		return nil, err
	}
	joined := time.Since(began)
	time.Sleep(pingEvery) // everybody has beaten once
	memory, cpu, store := resident(all), spent(all), redis.cpu()
	began = time.Now()
	most := memory
	for time.Since(began) < l.lasts {
		time.Sleep(time.Second)
		most = max(most, resident(all))
	}
	lasted := time.Since(began)
	cpu, store = spent(all)-cpu, redis.cpu()-store
	each := func(bytes int) float64 { return float64(bytes-empty) / steadySize / 1024 }
	gone, err := c.gone()
	if err != nil {
		return nil, err
	}
	share := func(d time.Duration) float64 { return 100 * d.Seconds() / lasted.Seconds() }
	return []figure{
		{name: fmt.Sprintf("%d connections are in after", steadySize), value: joined.Seconds(), unit: "s"},
		{name: "connections lost while they beat", value: float64(gone)},
		{name: "they beat for", value: lasted.Seconds(), unit: "s"},
		{name: "memory a connection when all have beaten once", value: each(memory), unit: "KiB"},
		{name: "at most from then on", value: each(most), unit: "KiB"},
		{name: "at the end", value: each(resident(all)), unit: "KiB"},
		{name: "CPU of the three nodes, of one core", value: share(cpu), unit: "%"},
		{name: "CPU of Redis, of one core", value: share(store), unit: "%"},
	}, nil
}

// gone returns how many connections the nodes have closed.
func (c *parts) gone() (total int64, err error) {
	all, err := c.tell(func(int) order { return order{Do: "count"} })
	for _, n := range all {
		total += n.Gone
	}
	return total, err
}

// beat sends a heartbeat of everybody, who comes later included, every
// pingEvery, for as long as the process lives.
func (c *crowd) beat() {
	for {
		(&audience{crowd: c}).pings(pingEvery)
	}
}
