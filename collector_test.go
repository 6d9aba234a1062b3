package main

import (
	"runtime"
	"testing"
	"time"
)

func TestCollectorFollowsItsWork(t *testing.T) {
	t.Parallel()
	c := collector{percent: restPercent}
	ticks := func(n int, share float64) {
		for range n {
			c.tick(share)
		}
	}
	ticks(1, 2*muchWork)
	if want := 2 * restPercent; c.percent != want {
		t.Fatalf("after much work: %d percent, want %d", c.percent, want)
	}
	ticks(1, 4*muchWork)
	if c.percent != busyPercent {
		t.Fatalf("busy: %d percent, want %d", c.percent, busyPercent)
	}
	ticks(restTicks-1, 0)
	ticks(1, (littleWork+muchWork)/2)
	ticks(restTicks-1, 0)
	if c.percent != busyPercent {
		t.Errorf("some work every few seconds: %d percent, want %d", c.percent, busyPercent)
	}
	ticks(10*restTicks, 0)
	if c.percent != restPercent {
		t.Errorf("at rest: %d percent, want %d", c.percent, restPercent)
	}
}

func TestSmallHeapMayGrow(t *testing.T) {
	t.Parallel()
	c := collector{percent: restPercent}
	for live, want := range map[uint64]int{
		0: smallPercent, 1 << 20: smallPercent, 10 << 20: 4 * restPercent, 39 << 20: 2 * restPercent,
		41 << 20: restPercent, 1 << 30: restPercent,
	} {
		if got := c.of(live); got != want {
			t.Errorf("%d MiB live: %d percent, want %d", live>>20, got, want)
		}
	}
	c.percent = busyPercent
	if got := c.of(1 << 30); got != busyPercent {
		t.Errorf("busy: %d percent, want %d", got, busyPercent)
	}
}

func TestCollectorWorkIsAShare(t *testing.T) {
	t.Parallel()
	var w collectorWork
	w.since(time.Now())
	began := w.at
	runtime.GC()
	if share := w.since(began.Add(time.Second)); share < 0 || share > 1000 {
		t.Errorf("a collection took %v of the CPUs", share)
	}
	if share := w.since(began.Add(2 * time.Second)); share < 0 {
		t.Errorf("nothing took %v of the CPUs", share)
	}
}
