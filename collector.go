package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restPercent is by how much the heap may grow between two collections while
	// they cost little, busyPercent at most: the runtime's own default. A node
	// holds many connections that do little, so that most of what the default
	// leaves to grow would be memory that nobody uses.
	restPercent = 40
	busyPercent = 100
	// freeGrowth is by how much a heap may always grow, whatever that is of it: a
	// small one would be collected all the time for next to nothing. smallPercent
	// is the most that comes to.
	freeGrowth   = 16 << 20
	smallPercent = 8 * restPercent
	// collectorTick is how often that is looked at.
	collectorTick = time.Second
	// A tick in which the collector took more than muchWork of the CPUs raises the
	// percentage by what that is too much, to the double at least; restTicks in a
	// row with less than littleWork halve it.
	muchWork   = 0.06
	littleWork = 0.02
	restTicks  = 5
)

// collector decides how far the heap may grow between collections.
type collector struct {
	percent int
	calm    int // ticks in a row with little work
}

// tick takes note of the share of the CPUs that collecting took since the last.
func (c *collector) tick(share float64) {
	switch {
	case share > muchWork:
		c.calm = 0
		c.percent = min(busyPercent, int(float64(c.percent)*max(2, share/muchWork)))
	case share > littleWork:
		c.calm = 0
	default:
		if c.calm++; c.calm >= restTicks {
			c.calm = 0
			c.percent = max(restPercent, c.percent/2)
		}
	}
}

// of returns the percentage for a heap of which so many bytes live. It takes
// few values only, since each change stops the world.
func (c *collector) of(live uint64) int {
	small := restPercent
	for small < smallPercent && live*uint64(small) < 100*freeGrowth {
		small *= 2
	}
	return max(c.percent, small)
}

// paceCollector sets the collector's percentage by what it costs, until ctx
// ends, unless the operator has set GOGC. It never collects itself.
func paceCollector(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	c := collector{percent: restPercent}
	percent := c.of(0)
	debug.SetGCPercent(percent)
	ticker := time.NewTicker(collectorTick)
	defer ticker.Stop()
	var w collectorWork
	for w.since(time.Now()); ; {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			c.tick(w.since(now))
			if next := c.of(w.live); next != percent {
				percent = next
				debug.SetGCPercent(percent)
			}
		}
	}
}

// collectorWork measures what the collector takes.
type collectorWork struct {
	at    time.Time
	spent float64 // seconds of CPU
	live  uint64  // bytes of the heap that the last collection has found in use
}

// since returns the share of the CPUs since it was asked last. What is done on
// CPUs that would be idle is not counted.
func (w *collectorWork) since(now time.Time) float64 {
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	before := *w
	*w = collectorWork{
		at: now, spent: samples[0].Value.Float64() - samples[1].Value.Float64(), live: samples[2].Value.Uint64(),
	}
	lasted := now.Sub(before.at).Seconds() * float64(runtime.GOMAXPROCS(0))
	return max(0, w.spent-before.spent) / lasted
}
