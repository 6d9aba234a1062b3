package main

import (
	"context"
	"sync"
	"time"
)

// pace calls do for the k-th operation, from 0, with the time at which it is due:
// rate of them a second, from start until end. The times are fixed beforehand. do
// is called as soon as its time has come and must not block; when pace is late, it
// catches up, and the times it passes on are still those at which operations were
// due.
func pace(ctx context.Context, start, end time.Time, rate float64, do func(k int, due time.Time)) {
	gap := float64(time.Second) / rate
	timer := time.NewTimer(time.Until(start))
	defer timer.Stop()
	for k := 0; ; k++ {
		due := start.Add(time.Duration(float64(k) * gap))
		if !due.Before(end) {
			return
		}
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		} else if k%1024 == 0 && ctx.Err() != nil {
			return
		}
		do(k, due)
	}
}

// pool runs jobs on a bounded number of goroutines. Jobs that find no place in
// its queue are refused, so that whoever is pacing never waits.
type pool struct {
	jobs    chan func()
	running sync.WaitGroup
}

// newPool starts workers; close waits for them.
func newPool(workers, queue int) *pool {
	p := &pool{jobs: make(chan func(), queue)}
	for range workers {
		p.running.Go(func() {
			for job := range p.jobs {
				job()
			}
		})
	}
	return p
}

// try reports false when the queue is full.
func (p *pool) try(job func()) bool {
	select {
	case p.jobs <- job:
		return true
	default:
		return false
	}
}

// close ends the pool when all its jobs are done. Nobody may queue any more.
func (p *pool) close() {
	close(p.jobs)
	p.running.Wait()
}
