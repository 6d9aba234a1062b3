package client

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Pacer keeps the time of any number of clients in one goroutine: when the next
// heartbeat is due, and when what was asked for is asked for again.
//
// Clients that have no Pacer in their Config run one of their own. A shared one
// must run for as long as any of its clients does.
type Pacer struct {
	// set by NewPacer
	wake chan struct{}

	// guarded by mu
	mu  sync.Mutex
	due alarms
}

// NewPacer returns a Pacer that does nothing until Run.
func NewPacer() *Pacer {
	return &Pacer{wake: make(chan struct{}, 1)}
}

// Run keeps the time until ctx ends.
func (p *Pacer) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(p.ring(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// idle is how long a Pacer sleeps that has nothing to do.
const idle = time.Hour

// ring calls everything that is due, and returns how long to sleep.
func (p *Pacer) ring(now time.Time) time.Duration {
	for {
		p.mu.Lock()
		if len(p.due) == 0 {
			p.mu.Unlock()
			return idle
		}
		first := p.due[0]
		if wait := first.at.Sub(now); wait > 0 {
			p.mu.Unlock()
			return wait
		}
		heap.Pop(&p.due)
		p.mu.Unlock()
		first.do()
	}
}

// set makes a ring after d, in place of when it was to ring before.
func (p *Pacer) set(a *alarm, d time.Duration) {
	p.mu.Lock()
	a.at = time.Now().Add(d)
	if a.place > 0 {
		heap.Fix(&p.due, a.place-1)
	} else {
		heap.Push(&p.due, a)
	}
	first := p.due[0] == a
	p.mu.Unlock()
	if first {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// stop keeps a from ringing. It may be ringing at this moment.
func (p *Pacer) stop(a *alarm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.place > 0 {
		heap.Remove(&p.due, a.place-1)
	}
}

// alarm is something to do at a time, once for each time that it is set. It
// must not block: all clients wait for it.
type alarm struct {
	do func()

	// guarded by the Pacer's mu
	at    time.Time
	place int // in the heap, from 1; 0 when not set
}

// alarms is a heap, the next one first.
type alarms []*alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h *alarms) Push(x any) {
	a := x.(*alarm)
	*h = append(*h, a)
	a.place = len(*h)
}

func (h *alarms) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	a.place = 0
	return a
}
