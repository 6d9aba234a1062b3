package main

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// errNotUp: a call came before Up.
var errNotUp = errors.New("worker is not up")

// Worker is one process's share of the load. Its methods are called by the first
// process, by net/rpc where it is another one.
type Worker struct {
	// guarded by mu
	mu      sync.Mutex
	swarm   *swarm
	stop    context.CancelFunc
	done    sync.WaitGroup
	ending  chan struct{} // closed by Down, which ends Drive
	driving sync.WaitGroup
	ended   bool
}

// up returns the worker's swarm, nil before Up and after Down.
func (w *Worker) up() *swarm {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil
	}
	return w.swarm
}

// Share says which part of the load a worker has.
type Share struct {
	Settings  settings
	Index, Of int
}

// Up connects the share's users, and returns when all are in their rooms.
func (w *Worker) Up(share Share, _ *struct{}) error {
	s, err := newSwarm(&share.Settings, share.Index, share.Of)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	if s.audience != nil {
		if err := s.audience.furnish(ctx); err != nil {
			stop()
			return err
		}
	}
	w.mu.Lock()
	w.swarm, w.stop, w.ending = s, stop, make(chan struct{})
	w.mu.Unlock()
	w.done.Go(func() { s.run(ctx) })
	limited, cancel := context.WithTimeout(ctx, share.Settings.Setup)
	defer cancel()
	return s.ready(limited)
}

// Span is the time of the run.
type Span struct{ Start, End time.Time }

// Drive does the scenario's operations, and returns when stragglers have had
// their time.
func (w *Worker) Drive(span Span, cpu *CPU) error {
	w.mu.Lock()
	s := w.swarm
	if s == nil || w.ended {
		w.mu.Unlock()
		return errNotUp
	}
	w.driving.Add(1)
	w.mu.Unlock()
	defer w.driving.Done()
	ctx, cancel := context.WithCancel(context.Background())
	w.driving.Go(func() {
		select {
		case <-w.ending:
			cancel()
		case <-ctx.Done():
		}
	})
	defer cancel()
	s.rec.begin(span.Start)
	sleepUntil(ctx, span.Start)
	before := usage()
	began := time.Now()
	s.scenario.drive(ctx, s, span.Start, span.End)
	sleepUntil(ctx, span.End)
	*cpu = CPU{Used: usage() - before, Over: time.Since(began)}
	limited, stop := context.WithTimeout(ctx, afterwards)
	defer stop()
	if err := s.ready(limited); err != nil {
		s.failed("after the run", err)
	}
	sleepUntil(ctx, time.Now().Add(s.set.Settle))
	return ctx.Err()
}

// CPU is what a process used.
type CPU struct{ Used, Over time.Duration }

// usage returns the processor time that this process has used.
func usage() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Progress is how far a worker is.
type Progress struct {
	Online, In, Sent, Delivered, Errors int64
}

// Progress tells how far the worker is.
func (w *Worker) Progress(_ struct{}, p *Progress) error {
	s := w.up()
	if s == nil {
		return nil
	}
	if s.audience != nil {
		p.Online = int64(s.audience.watching())
	}
	for _, phone := range s.phones {
		phone.mu.Lock()
		if phone.online {
			p.Online++
			if phone.room != "" {
				p.In++
			}
		}
		phone.mu.Unlock()
	}
	p.Sent, p.Delivered, p.Errors = s.rec.total(cSent), s.rec.total(cDelivered), s.rec.total(cErrors)
	return nil
}

// Kill is a node's end.
type Kill struct {
	EndPoint string
	At       time.Time
}

// Killed tells that a node was killed. A part of its clients goes with it.
func (w *Worker) Killed(k Kill, gone *int) error {
	s := w.up()
	if s == nil {
		return errNotUp
	}
	s.killed.Store(k.At.UnixNano())
	for _, p := range s.phones {
		p.mu.Lock()
		there := p.endPoint == k.EndPoint
		p.mu.Unlock()
		// The golden ratio spreads them evenly over the numbers.
		part := float64(uint32(p.number)*2654435769) / (1 << 32)
		if there && part < s.set.StayAway {
			p.vanish(k.At)
			*gone++
		}
	}
	return nil
}

// Outcome is what a worker measured and knows.
type Outcome struct {
	Figures   figures
	Phones    []PhoneState
	Heard     []heard
	Unheard   int64
	Falsely   []protocol.UserID
	Recovered map[string]time.Duration
	Notes     map[string]int64
}

// PhoneState is what a worker knows of one user.
type PhoneState struct {
	User     protocol.UserID
	Online   bool
	Away     bool
	Room     string
	Absences []absence
}

// Report returns what was measured so far.
func (w *Worker) Report(_ struct{}, o *Outcome) error {
	s := w.up()
	if s == nil {
		return errNotUp
	}
	o.Figures = s.rec.figures()
	for _, p := range s.phones {
		stats := p.client.Stats()
		for name, n := range map[string]uint64{cRepeated: stats.Repeated, cGaps: stats.Gaps, cLost: stats.Lost, cMalformed: stats.Malformed} {
			c := o.Figures.Counts[name]
			c.Total += int64(n)
			o.Figures.Counts[name] = c
		}
		p.mu.Lock()
		o.Phones = append(o.Phones, PhoneState{User: p.user, Online: p.online, Away: p.away, Room: p.room, Absences: append([]absence(nil), p.absences...)})
		p.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.Heard, o.Unheard, o.Notes = append([]heard(nil), s.heard...), s.unheard, make(map[string]int64)
	for user := range s.falsely {
		o.Falsely = append(o.Falsely, user)
	}
	for text, n := range s.notes {
		o.Notes[text] = n
	}
	o.Recovered = make(map[string]time.Duration)
	for room, d := range s.recovered {
		o.Recovered[room] = d
	}
	return nil
}

// Down ends the share's clients.
func (w *Worker) Down(_ struct{}, _ *struct{}) error {
	s := w.up()
	if s == nil {
		return nil
	}
	s.closing.Store(true)
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	close(w.ending)
	w.driving.Wait()
	w.stop()
	w.done.Wait()
	return nil
}
