package main

import "testing"

func TestCollectorFollowsItsWork(t *testing.T) {
	t.Parallel()
	c := collector{percent: busyPercent}
	for range 10 * restTicks {
		c.tick(1)
	}
	if c.percent != restPercent {
		t.Fatalf("at rest: %d percent, want %d", c.percent, restPercent)
	}
	for range 3 {
		c.tick(manyCollections)
	}
	if c.percent != busyPercent {
		t.Fatalf("busy: %d percent, want %d", c.percent, busyPercent)
	}
	for range restTicks - 1 {
		c.tick(0)
	}
	c.tick(manyCollections)
	for range restTicks - 1 {
		c.tick(0)
	}
	if c.percent != busyPercent {
		t.Errorf("busy every few seconds: %d percent, want %d", c.percent, busyPercent)
	}
}
