package mns

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/mns/chat"
)

const (
	// roundInterval is how often every queue is looked at, so that what expires
	// in one that nobody uses goes, and dead letters that a crash has left get on.
	roundInterval = time.Minute
	// lookPause is the pause between two queues of a round.
	lookPause = 2 * time.Millisecond
	// maxSuspects bounds the queues that are to be looked at for dead letters; a
	// queue over it is found by the next round.
	maxSuspects = 1024
	// deadAtOnce is how many dead letters are moved at a time, deadLoan how long
	// that may take before another node tries.
	deadAtOnce = 64
	deadLoan   = time.Minute
)

// keeper looks after queues: it moves dead letters and keeps the sums.
type keeper struct {
	// set by newKeeper
	store    Store
	log      *slog.Logger
	suspects chan chat.QueueName

	moved, stuck                              atomic.Int64
	queues, active, inactive, delayed, oldest atomic.Int64 // of the last round
}

func newKeeper(store Store, log *slog.Logger) *keeper {
	return &keeper{store: store, log: log, suspects: make(chan chat.QueueName, maxSuspects)}
}

// suspect has a queue looked at for dead letters. It does not block.
func (k *keeper) suspect(q chat.QueueName) {
	select {
	case k.suspects <- q:
	default:
	}
}

// run looks after queues until ctx ends, and returns its error.
func (k *keeper) run(ctx context.Context) error {
	// Nodes that started together do not stay together.
	round := time.NewTimer(roundInterval/2 + rand.N(roundInterval))
	defer round.Stop()
	for {
		select {
		case q := <-k.suspects:
			k.move(ctx, q)
		case <-round.C:
			k.round(ctx)
			round.Reset(roundInterval)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// round looks at every queue. Between two of them suspects get their turn.
func (k *keeper) round(ctx context.Context) {
	var sums chat.Counts
	queues := 0
	page := chat.Page{Limit: maxPage}
	for {
		names, more, err := k.store.Queues(ctx, page)
		if err != nil {
			return
		}
		for _, name := range names {
			q, err := k.store.Queue(ctx, name)
			if err != nil {
				continue
			}
			queues++
			sums = add(sums, q.Counts)
			if q.Dead > 0 {
				k.move(ctx, name)
			}
			if !k.breathe(ctx) {
				return
			}
		}
		if !more {
			break
		}
		page.After = string(names[len(names)-1])
	}
	k.queues.Store(int64(queues))
	k.active.Store(int64(sums.Active))
	k.inactive.Store(int64(sums.Inactive))
	k.delayed.Store(int64(sums.Delayed))
	k.oldest.Store(0)
	if !sums.Oldest.IsZero() {
		k.oldest.Store(int64(time.Since(sums.Oldest) / time.Second))
	}
}

func add(a, b chat.Counts) chat.Counts {
	a.Active, a.Inactive, a.Delayed, a.Dead = a.Active+b.Active, a.Inactive+b.Inactive, a.Delayed+b.Delayed, a.Dead+b.Dead
	if a.Oldest.IsZero() || !b.Oldest.IsZero() && b.Oldest.Before(a.Oldest) {
		a.Oldest = b.Oldest
	}
	return a
}

func (k *keeper) breathe(ctx context.Context) bool {
	timer := time.NewTimer(lookPause)
	defer timer.Stop()
	for {
		select {
		case q := <-k.suspects:
			k.move(ctx, q)
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// move moves a queue's dead letters. They are sent before they are removed: a
// crash in between repeats them. Those whose queue is missing stay, and are
// tried again when their loan is over, until they expire.
func (k *keeper) move(ctx context.Context, q chat.QueueName) {
	for {
		queue, err := k.store.Queue(ctx, q)
		if err != nil || queue.Dead == 0 || queue.DeadLetter.Queue == "" {
			return
		}
		dead, err := k.store.Dead(ctx, q, deadAtOnce, deadLoan)
		if err != nil || len(dead) == 0 {
			return
		}
		drafts, places := make([]chat.Draft, len(dead)), make([]uint64, len(dead))
		for i, d := range dead {
			drafts[i], places[i] = d.Draft, d.Place
		}
		sent, err := k.store.Send(ctx, queue.DeadLetter.Queue, drafts)
		if err != nil {
			k.stuck.Add(int64(len(dead)))
			if errors.Is(err, chat.ErrQueueNotExist) {
				k.log.Warn("dead-letter queue does not exist", "queue", q, "dead_queue", queue.DeadLetter.Queue)
			}
			return
		}
		for i := len(sent) - 1; i >= 0; i-- {
			if sent[i].Err != nil {
				k.stuck.Add(1)
				places = append(places[:i], places[i+1:]...)
			}
		}
		if len(places) == 0 || k.store.Bury(ctx, q, places) != nil {
			return
		}
		k.moved.Add(int64(len(places)))
	}
}

func (k *keeper) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		count("dead_letters_moved_total", "Messages moved to dead-letter queues.", k.moved.Load),
		count("dead_letters_stuck_total", "Tries to move messages to dead-letter queues that failed.", k.stuck.Load),
		gauge("queues", "Queues, at the last look.", k.queues.Load),
		gauge("messages_active", "Messages that can be received, at the last look.", k.active.Load),
		gauge("messages_inactive", "Messages with a receiver, at the last look.", k.inactive.Load),
		gauge("messages_delayed", "Messages that are not due, at the last look.", k.delayed.Load),
		gauge("oldest_message_seconds", "Age of the oldest message, at the last look.", k.oldest.Load),
	}
}
