//go:build linux

package main

import (
	"context"
	"sync"
	"time"
)

const (
	// stormLimit is how long everybody may take to come back, by TLS longer.
	stormLimit    = 10 * time.Second
	stormLimitTLS = 15 * time.Second
	// memoryLimit is what the nodes' memory may grow to, of what it is at rest.
	memoryLimit = 2.5
	// lookEvery is how often the nodes' memory is looked at.
	lookEvery = 50 * time.Millisecond
)

// storm resets everybody's connection at once, as a network does that loses its
// state. The nodes wait with the departures for as long as they do with silent
// users, as they have to on a network that does that.
func storm(l *lab) error {
	if err := l.open(3, "--loss-grace", "20s"); err != nil {
		return err
	}
	limit := stormLimit
	if l.secure {
		limit = stormLimitTLS
	}
	time.Sleep(5 * calm)
	steady := l.stage.resident()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	highest := l.stage.watchMemory(ctx)
	began := time.Now()
	for range l.timesOr(1) {
		cut := l.swarm.cut()
		if _, err := l.swarm.allOnline(backLimit); err != nil {
			return err
		}
		took := time.Since(cut)
		l.figure("everybody is back after", took.Round(time.Millisecond))
		l.bound("the time until everybody is back", took, limit)
		time.Sleep(graceOver)
	}
	stop()
	peak := highest()
	l.figure("a client is without a connection", spread(l.swarm.absences(began)))
	l.figure("the nodes' memory at rest; its peak, MiB", twoOf(steady, peak))
	if peak > memoryLimit*steady {
		l.fault("the nodes' memory grew from %.0f to %.0f MiB, to more than %.1f times", steady, peak, memoryLimit)
	}
	l.judged(l.swarm.settled())
	if err := l.stage.fallen(); err != nil {
		return err
	}
	return l.stage.broken()
}

// cut resets all connections and returns when that began. Who is cut early does
// not come back before the last one is: it is to be at once.
func (s *swarm) cut() time.Time {
	s.still.Lock()
	defer s.still.Unlock()
	began := time.Now()
	for _, p := range s.people {
		p.cut()
	}
	return began
}

// watchMemory looks at the memory of all nodes until ctx ends. The function that
// it returns waits for that and returns the highest, in MiB.
func (st *stage) watchMemory(ctx context.Context) func() float64 {
	highest := 0.0
	var looking sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			highest = max(highest, st.resident())
			time.Sleep(lookEvery)
		}
	})
	return func() float64 {
		looking.Wait()
		return highest
	}
}
