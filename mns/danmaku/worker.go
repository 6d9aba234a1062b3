package danmaku

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/faac1247/rollcall/mns/chat"
)

const (
	// receiveWait is how long a long poll waits.
	receiveWait = 30 * time.Second
	// The pauses after a request that failed, which double.
	firstPause, longestPause = 100 * time.Millisecond, 5 * time.Second
	// settleTime is what a line needs from receive to delete, besides the merge
	// window and the check.
	settleTime = 5 * time.Second
)

// Worker serves one queue.
type Worker struct {
	// set by New
	cfg     Config
	words   *words
	metrics *metrics
	room    *semaphore.Weighted // for lines that are held
	batches chan []line
	flushes chan []*group

	deaf atomic.Bool // receiving has failed since it last went well; the log says so once
}

// New returns a Worker.
func New(cfg Config) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg.withDefaults()}
	var err error
	if w.words, err = newWords(w.cfg.Words); err != nil {
		return nil, err
	}
	if w.metrics, err = newMetrics(w.cfg.Registerer); err != nil {
		return nil, fmt.Errorf("register danmaku metrics: %w", err)
	}
	w.room = semaphore.NewWeighted(int64(w.cfg.MaxHeld))
	w.batches = make(chan []line)
	w.flushes = make(chan []*group)
	return w, nil
}

// Run works until ctx ends, publishes and deletes what it holds, within
// Config.DrainTimeout, and returns ctx's error. What is not settled by then is
// received again by the next worker. An error before that means that the queue
// does not suit the settings.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.inspect(ctx); err != nil {
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var receivers, publishers sync.WaitGroup
	for range w.cfg.Receivers {
		receivers.Go(func() { w.receive(ctx) })
	}
	for range w.cfg.Publishers {
		publishers.Go(func() { w.publishAll(work) })
	}
	var loop sync.WaitGroup
	loop.Go(w.loop)
	receivers.Wait()
	timer := time.AfterFunc(w.cfg.DrainTimeout, stop)
	defer timer.Stop()
	close(w.batches)
	loop.Wait()
	publishers.Wait()
	return ctx.Err()
}

// inspect waits for the queue to answer, and refuses one that gives lines to
// others before they are settled here.
func (w *Worker) inspect(ctx context.Context) error {
	for try := 0; ; try++ {
		q, err := w.cfg.Pipeline.Queue(ctx, w.cfg.Queue)
		if err == nil {
			least := w.cfg.Merge + w.cfg.CheckTimeout + settleTime
			if q.Visibility < least {
				return fmt.Errorf("danmaku: visibility timeout of queue %q is %v: with these settings it has to be %v at least",
					w.cfg.Queue, q.Visibility, least)
			}
			return nil
		}
		if try == 0 {
			w.cfg.Logger.Warn("queue could not be looked at", "queue", w.cfg.Queue, "err", err)
		}
		if !rest(ctx, try) {
			return ctx.Err()
		}
	}
}

// rest pauses after a try that failed, and reports whether ctx goes on.
func rest(ctx context.Context, try int) bool {
	d := min(firstPause<<min(try, 10), longestPause)
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// receive hands lines to the loop until ctx ends.
func (w *Worker) receive(ctx context.Context) {
	for try := 0; ; {
		if w.room.Acquire(ctx, chat.MaxBatch) != nil {
			return
		}
		messages, err := w.cfg.Pipeline.Receive(ctx, w.cfg.Queue, chat.MaxBatch, receiveWait)
		w.room.Release(int64(chat.MaxBatch - len(messages)))
		w.metrics.held.Add(float64(len(messages)))
		if len(messages) > 0 {
			batch := make([]line, len(messages))
			for i, m := range messages {
				batch[i] = w.newLine(m)
			}
			w.batches <- batch
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			try = 0
			if w.deaf.CompareAndSwap(true, false) {
				w.cfg.Logger.Info("lines are received again", "queue", w.cfg.Queue)
			}
			continue
		}
		w.metrics.failed("receive")
		if w.deaf.CompareAndSwap(false, true) {
			w.cfg.Logger.Warn("lines could not be received", "queue", w.cfg.Queue, "err", err)
		}
		if !rest(ctx, try) {
			return
		}
		try++
	}
}

// loop decides what becomes of lines until no more come. It alone knows rates
// and what is being merged.
func (w *Worker) loop() {
	defer close(w.flushes)
	users, merge := newRates(w.cfg.Rate, w.cfg.MaxUsers), newMerger(w.cfg.Merge)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case batch, ok := <-w.batches:
			if !ok {
				w.flush(merge.take(time.Now(), true))
				return
			}
			w.flush(w.sort(batch, users, merge))
		case now := <-timer.C:
			w.flush(merge.take(now, false))
		}
		if due, ok := merge.next(); ok {
			timer.Reset(time.Until(due))
		}
	}
}

// sort drops what is to be dropped, merges the rest, and returns the groups that
// are full.
func (w *Worker) sort(batch []line, users *rates, merge *merger) []*group {
	now := time.Now()
	var full []*group
	var dropped []line
	for _, l := range batch {
		switch {
		case w.words.in(l.text):
			w.metrics.count(listed, 1)
			dropped = append(dropped, l)
		case !users.allow(l.user, now):
			w.metrics.count(overRate, 1)
			dropped = append(dropped, l)
		default:
			if g := merge.add(l, now); g != nil {
				full = append(full, g)
			}
		}
	}
	if len(dropped) > 0 {
		full = append(full, &group{lines: dropped, dropped: true})
	}
	return full
}

// flushSize is how many groups a publisher takes at once: one question to the
// check.
const flushSize = 32

func (w *Worker) flush(groups []*group) {
	for len(groups) > 0 {
		n := min(len(groups), flushSize)
		w.flushes <- groups[:n:n]
		groups = groups[n:]
	}
}

// publishAll settles groups until no more come.
func (w *Worker) publishAll(ctx context.Context) {
	for groups := range w.flushes {
		w.settle(ctx, groups)
	}
}
