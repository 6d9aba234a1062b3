package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restPercent is by how much the heap may grow between two collections while
	// they are rare, busyPercent while they are not: the runtime's own default.
	// A node holds many connections that do little, so that at rest most of what
	// the default leaves to grow would be memory that nobody uses.
	restPercent = 20
	busyPercent = 100
	// collectorTick is how often that is looked at.
	collectorTick = time.Second
	// many collections within a tick make it busy; restTicks with one at most in
	// each make it rest again.
	manyCollections = 2
	restTicks       = 5
)

// collector decides how far the heap may grow between collections.
type collector struct {
	percent int
	calm    int // ticks in a row without many collections
}

// tick takes note of how many collections there were since the last.
func (c *collector) tick(collections uint64) {
	if collections >= manyCollections {
		c.calm = 0
		c.percent = min(busyPercent, 2*c.percent)
		return
	}
	if c.calm++; c.calm >= restTicks {
		c.calm = 0
		c.percent = max(restPercent, c.percent/2)
	}
}

// paceCollector sets the collector's percentage by what it has to do, until ctx
// ends or if the operator has set GOGC not at all. It never collects itself.
func paceCollector(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	c := collector{percent: busyPercent}
	ticker := time.NewTicker(collectorTick)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: "/gc/cycles/automatic:gc-cycles"}}
	metrics.Read(sample)
	for before := sample[0].Value.Uint64(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		metrics.Read(sample)
		now, percent := sample[0].Value.Uint64(), c.percent
		if c.tick(now - before); c.percent != percent {
			debug.SetGCPercent(c.percent)
		}
		before = now
	}
}
