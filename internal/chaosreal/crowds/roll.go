//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

const (
	// drainLimit is how long a node may take from SIGTERM to its end: the
	// default drain timeout and a little.
	drainLimit = 30 * time.Second
	// backLimit is how long people may take to come back.
	backLimit = 60 * time.Second
	// graceOver is how long after the last drain somebody could still be told of.
	graceOver = 16 * time.Second
	// calm is a moment between two steps, in which clients notice things.
	calm = time.Second
)

// roll restarts every node in turn while people and the backend publish.
func roll(l *lab) error {
	if err := l.open(3); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	var talking sync.WaitGroup
	talking.Go(func() { l.swarm.talk(ctx, l.rate) })
	talking.Go(func() { l.swarm.announce(ctx, l.rate/4, "") })
	defer talking.Wait()
	defer stop()
	time.Sleep(2 * calm)
	began := time.Now()
	for range l.timesOr(1) {
		for i := range l.stage.nodes {
			if err := l.restart(i); err != nil {
				return err
			}
		}
	}
	l.figure("three nodes restarted in", time.Since(began).Round(time.Millisecond))
	time.Sleep(graceOver)
	stop()
	talking.Wait()
	away := l.swarm.absences(began)
	l.figure("a client is without a connection", spread(away))
	l.bound("p99 without a connection", quantile(away, 99), 3*time.Second)
	for _, story := range l.swarm.worst(began, 5) {
		l.note("%s", story)
	}
	v := l.swarm.settled()
	l.judged(v)
	l.figure("given to a socket, heard by nobody", v.swallowed)
	return l.stage.broken()
}

// drains restarts nodes in turn many times, with nobody publishing.
func drains(l *lab) error {
	if err := l.open(3); err != nil {
		return err
	}
	began := time.Now()
	for k := range l.timesOr(50) {
		if err := l.restart(k % len(l.stage.nodes)); err != nil {
			return fmt.Errorf("drain %d: %w", k+1, err)
		}
	}
	l.figure(fmt.Sprintf("%d drains and restarts took", l.timesOr(50)), time.Since(began).Round(time.Millisecond))
	time.Sleep(graceOver)
	l.figure("a client is without a connection", spread(l.swarm.absences(began)))
	l.judged(l.swarm.settled())
	return l.stage.broken()
}

// restart drains a node as an orchestrator does, starts it anew and waits until
// everybody is connected.
func (l *lab) restart(i int) error {
	nd := l.stage.nodes[i]
	began := time.Now()
	if err := nd.end(syscall.SIGTERM, drainLimit); err != nil {
		return fmt.Errorf("node %d drained: %w; see %s", i+1, err, nd.log)
	}
	drained := time.Since(began)
	if err := l.stage.start(nd); err != nil {
		return err
	}
	if _, err := l.swarm.allOnline(backLimit); err != nil {
		return err
	}
	back := time.Since(began)
	if err := l.stage.settle(); err != nil {
		return err
	}
	l.note("node %d: ended after %s, everybody connected after %s, ready again after %s", i+1,
		drained.Round(time.Millisecond), back.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	time.Sleep(calm)
	return nil
}
