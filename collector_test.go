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
	if want := 8 * restPercent; c.percent != want {
		t.Fatalf("after far too much: %d percent, want %d", c.percent, want)
	}
	ticks(1, 2*muchWork)
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
