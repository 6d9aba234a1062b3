//go:build linux

package main

import (
	"context"
	"sync"
	"syscall"
	"time"
)

const (
	// killEvery is the time between two kills of nodes.
	killEvery = 10 * time.Second
	// agreeLimit is how long rosters, records and sockets may differ after the
	// last fault: the crash grace, and what follows from it.
	agreeLimit = 45 * time.Second
)

// kills has a node killed every ten seconds, and replaced, while people live.
func kills(l *lab) error {
	if err := l.set(3); err != nil {
		return err
	}
	clients, stop := context.WithCancel(context.Background())
	defer stop()
	began := time.Now()
	lf, err := l.settleIn(clients)
	if err != nil {
		return err
	}
	l.note("everybody is in after %s", time.Since(began).Round(time.Millisecond))
	going, end := context.WithTimeout(clients, l.lasts)
	defer end()
	var living sync.WaitGroup
	living.Go(func() { lf.run(going, clients) })
	n, err := l.killOver(going)
	end()
	living.Wait()
	l.figure("nodes killed", n)
	if err != nil {
		return err
	}
	if err := l.stage.settle(); err != nil {
		return err
	}
	l.figure("a client is without a connection", spread(l.swarm.absences(began)))
	return lf.finish(clients, agreeLimit)
}

// killOver kills and replaces nodes in turn until ctx ends, and says how many.
func (l *lab) killOver(ctx context.Context) (n int, err error) {
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return n, nil
		case <-tick.C:
		}
		nd := l.stage.nodes[n%len(l.stage.nodes)]
		_ = nd.end(syscall.SIGKILL, readyLimit) // the error is that it was killed
		if err := l.stage.start(nd); err != nil {
			return n, err
		}
		n++
	}
}
