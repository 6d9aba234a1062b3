//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// slowRoom is how many are in a room of the slow story, slowEvery which part
	// of them stops reading.
	slowRoom, slowEvery = 50, 5
	// slowBuffer is what a slow reader's socket still takes.
	slowBuffer = 4 << 10
	// slowFrame and slowRate are the length and the number a second of what is
	// published meanwhile: enough for each slow reader's socket to fill.
	slowFrame, slowRate = 4 << 10, 200
	// slowFor is how long they do not read: what waits for them fills, and then
	// the time of one write passes.
	slowFor = 30 * time.Second
	// slowMemory is what the nodes may keep for one slow reader, in MiB: the
	// bound of its backlog and as much again for what the kernel did not take.
	slowMemory = 0.5
)

// slow has every fifth person stop reading while its room is published to.
func slow(l *lab) error {
	l.roomSize = slowRoom
	if err := l.open(3); err != nil {
		return err
	}
	padding := strings.Repeat(" x", slowFrame/2)
	l.publishFor(l.lasts, padding)
	time.Sleep(calm)
	usual := l.swarm.forget()
	l.figure("a publication takes, all reading", spread(usual))
	steady := l.stage.resident()
	before, err := l.stage.counted(shed...)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	highest := l.stage.watchMemory(ctx)
	var asleep []*person
	for i, p := range l.swarm.people {
		if i%slowEvery == 0 {
			p.sleep()
			asleep = append(asleep, p)
		}
	}
	began := time.Now()
	l.publishFor(slowFor, padding)
	l.figure(fmt.Sprintf("the same to the others, %d not reading", len(asleep)), spread(l.swarm.forget()))
	for _, p := range asleep {
		p.reading.Unlock()
	}
	if _, err := l.swarm.allOnline(backLimit); err != nil {
		return err
	}
	l.figure("all read again and are connected within", time.Since(began.Add(slowFor)).Round(time.Millisecond))
	stop()
	peak := highest()
	after, err := l.stage.counted(shed...)
	if err != nil {
		return err
	}
	for _, name := range shed[:3] {
		l.figure(name, after[name]-before[name])
	}
	l.figure("the nodes' memory before; its peak, MiB", twoOf(steady, peak))
	l.judgeSlow(len(asleep), after[shed[2]]-before[shed[2]], peak-steady)
	l.swarm.forget()
	l.publishFor(l.lasts, padding)
	late := l.swarm.forget()
	l.figure("a publication takes, all reading again", spread(late))
	l.bound("p99 of a publication afterwards", quantile(late, 99), max(2*quantile(usual, 99), fitting))
	v := l.swarm.settled()
	l.judged(v)
	if err := l.stage.fallen(); err != nil {
		return err
	}
	return l.stage.broken()
}

func (l *lab) judgeSlow(asleep int, closed, grown float64) {
	if closed < float64(asleep)*9/10 {
		l.fault("%.0f of %d who did not read were closed", closed, asleep)
	}
	if most := slowMemory*float64(asleep) + 100; grown > most {
		l.fault("the nodes' memory grew by %.0f MiB, more than %.0f", grown, most)
	}
}

// publishFor has the backend publish for a time.
func (l *lab) publishFor(d time.Duration, padding string) {
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	var g sync.WaitGroup
	g.Go(func() { l.swarm.announce(ctx, slowRate, padding) })
	g.Wait()
	time.Sleep(calm) // what is on its way
}

// sleep stops the person's reading, until reading is unlocked.
func (p *person) sleep() {
	p.mu.Lock()
	p.excused = true
	if p.socket != nil {
		_ = p.socket.SetReadBuffer(slowBuffer) // else it takes longer to fill
	}
	p.mu.Unlock()
	p.reading.Lock()
}

// twoOf writes two figures down.
func twoOf(a, b float64) string { return fmt.Sprintf("%.0f; %.0f", a, b) }
