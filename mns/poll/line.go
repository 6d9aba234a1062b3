package poll

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

const (
	// The pauses after which a queue is looked at although nothing has been
	// heard, in case a wake was lost: they double from the first to the longest.
	firstCheck, longestCheck = 8 * time.Second, 16 * time.Second
	// checkTick is what such looks wait for, so that those of many queues come
	// together: they wake the process once and share pipelines.
	checkTick = 500 * time.Millisecond
	// storePause is how long a store that could not be asked is left alone.
	storePause = 250 * time.Millisecond
)

// line is those who wait for one life of a queue.
type line struct {
	// set by join
	poller *Poller
	queue  chat.QueueName
	epoch  chat.Epoch
	kick   chan struct{}

	// guarded by poller.mu
	waiters []*waiter // in the order in which they came
	failure error     // of the last look, if it failed
}

// waiter is one receiver in a line. Whoever takes it off the line, under the
// poller's lock, decides what it gets.
type waiter struct {
	max int
	out chan result // has room for the one result
}

type result struct {
	messages []chat.Message
	err      error
}

func (l *line) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// run asks the store for those in line until nobody is.
func (l *line) run(ctx context.Context) {
	pause := firstCheck
	for {
		asked := l.asked()
		if asked == 0 {
			return
		}
		l.poller.stats.Checks.Add(1)
		got, err := l.poller.cfg.Store.Receive(context.WithoutCancel(ctx),
			chat.Receive{Queue: l.queue, Max: asked, Watch: true, Epoch: l.epoch})
		if errors.Is(err, chat.ErrQueueNotExist) {
			l.end(err)
			return
		}
		l.hand(ctx, got, err)
		next := untilCheck(time.Now(), pause)
		switch {
		case err != nil:
			next = storePause
		case len(got.Messages) == asked:
			continue
		case got.Due >= 0:
			next = min(next, got.Due)
		}
		woken, ok := l.rest(ctx, next)
		if !ok {
			l.end(nil)
			return
		}
		if pause = min(2*pause, longestCheck); woken {
			pause = firstCheck
		}
	}
}

// untilCheck returns how long to rest before a look that nothing asks for, from
// half a pause to a whole one.
func untilCheck(now time.Time, pause time.Duration) time.Duration {
	d := pause/2 + rand.N(pause/2)
	return d - time.Duration(now.Add(d).UnixNano())%checkTick
}

// rest waits for a wake or a moment, and reports which; ok is false when ctx has
// ended.
func (l *line) rest(ctx context.Context, d time.Duration) (woken, ok bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.kick:
		return true, true
	case <-timer.C:
		return false, true
	case <-ctx.Done():
		return false, false
	}
}

// asked returns how many messages those in line want, and closes an empty line.
func (l *line) asked() int {
	l.poller.mu.Lock()
	defer l.poller.mu.Unlock()
	n := 0
	for _, w := range l.waiters {
		if n += w.max; n >= chat.MaxReceive {
			return chat.MaxReceive
		}
	}
	if n == 0 {
		l.poller.forget(l)
	}
	return n
}

// hand gives messages to those in front, and back what nobody is left for.
func (l *line) hand(ctx context.Context, got chat.Received, err error) {
	if got.Dead > 0 {
		l.poller.cfg.Dead(l.queue)
	}
	if rest := l.share(got.Messages, err); len(rest) > 0 {
		l.poller.GiveBack(ctx, l.queue, rest)
	}
}

func (l *line) share(messages []chat.Message, err error) (rest []chat.Message) {
	l.poller.mu.Lock()
	defer l.poller.mu.Unlock()
	l.failure = err
	served := 0
	for len(messages) > 0 && served < len(l.waiters) {
		w := l.waiters[served]
		n := min(w.max, len(messages))
		w.out <- result{messages: messages[:n:n]}
		messages = messages[n:]
		served++
	}
	l.waiters = slices.Delete(l.waiters, 0, served)
	l.gone(served)
	return messages
}

// gone counts those who wait no longer. The caller holds poller.mu.
func (l *line) gone(n int) {
	l.poller.waiting -= n
	l.poller.stats.Waiting.Add(int64(-n))
}

// leave takes a waiter out of line and reports whether it still was in it, with
// the failure that may have kept a message from it.
func (l *line) leave(w *waiter) (failure error, out bool) {
	l.poller.mu.Lock()
	defer l.poller.mu.Unlock()
	i := slices.Index(l.waiters, w)
	if i < 0 {
		return nil, false
	}
	l.waiters = slices.Delete(l.waiters, i, i+1)
	l.gone(1)
	if len(l.waiters) == 0 {
		l.wake() // so that the line closes
	}
	return l.failure, true
}

// end sends everybody away.
func (l *line) end(err error) {
	l.poller.mu.Lock()
	defer l.poller.mu.Unlock()
	for _, w := range l.waiters {
		w.out <- result{err: err}
	}
	l.gone(len(l.waiters))
	l.waiters = nil
	l.poller.forget(l)
}
