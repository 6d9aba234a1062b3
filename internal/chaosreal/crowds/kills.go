//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// killEvery is the time between two kills of nodes.
	killEvery = 10 * time.Second
	// agreeLimit is how long rosters, records and sockets may differ after the
	// last fault: the crash grace, and what follows from it.
	agreeLimit = 45 * time.Second
)

// trouble is what befalls the cluster over and over.
type trouble struct {
	what   string
	every  time.Duration // by default
	strike func(n int) error
	spares bool // the nodes: each is to have one life
}

// kills has a node killed every ten seconds, and replaced, while people live.
func kills(l *lab) error {
	return l.live(trouble{what: "nodes killed", every: killEvery, strike: func(n int) error {
		nd := l.stage.nodes[n%len(l.stage.nodes)]
		_ = nd.end(syscall.SIGKILL, readyLimit) // the error is that it was killed
		return l.stage.start(nd)
	}})
}

// live has people live in trouble, and judges.
func (l *lab) live(t trouble) error {
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
	lives, err := l.stage.lives()
	if err != nil {
		return err
	}
	going, end := context.WithTimeout(clients, l.lasts)
	defer end()
	var living sync.WaitGroup
	living.Go(func() { lf.run(going, clients) })
	n, err := t.befall(going, cmp.Or(l.every, t.every))
	end()
	living.Wait()
	l.figure(t.what, n)
	if err != nil {
		return err
	}
	if err := l.stage.settle(); err != nil {
		return err
	}
	if t.spares {
		l.unharmed(lives)
	}
	l.figure("a client is without a connection", spread(l.swarm.absences(began)))
	return lf.finish(clients, agreeLimit)
}

// befall strikes until ctx ends, and says how often.
func (t trouble) befall(ctx context.Context, every time.Duration) (n int, err error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return n, nil
		case <-tick.C:
		}
		if err := t.strike(n); err != nil {
			return n, fmt.Errorf("%s, number %d: %w", t.what, n+1, err)
		}
		n++
	}
}

// unharmed judges that every node is in the life that it had.
func (l *lab) unharmed(lives map[protocol.NodeID]protocol.Incarnation) {
	if err := l.stage.fallen(); err != nil {
		l.fault("%s", err)
	}
	now, err := l.stage.lives()
	if err != nil {
		l.fault("%s", err)
	}
	restarts := 0
	for id, life := range lives {
		if now[id] != life {
			restarts++
			l.fault("node %s had life %s and has %s", id, life, now[id])
		}
	}
	l.figure("restarts of nodes", restarts)
}
