package edge

import (
	"context"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// tick is how often connections are judged: silence is noticed within a
	// tick of its limit.
	tick = 250 * time.Millisecond
	// wheelTicks is the wheel's size. A session whose deadline is further away
	// is looked at once on the way.
	wheelTicks = 128
	// lateMin is the lateness of a tick that counts as a pause of the process.
	// Less is a busy machine, where ticks are late again and again: added up they
	// would put a loss off by seconds.
	lateMin = 500 * time.Millisecond
	// settleTicks is how long nobody is judged after a pause: the readers go
	// first.
	settleTicks = 2
	// unreadGrace bounds how long a connection with unread bytes is not judged.
	unreadGrace = 2 * tick
	// maxPauses bounds the remembered pauses. The oldest lie further back than
	// any deadline that is still open, or are forgotten to a client's favour.
	maxPauses = 128
)

// wheel holds each session in the bucket of the tick at which it would be
// silent for too long if nothing came. A heartbeat does not touch it: a session
// that was heard meanwhile is put on when its bucket comes.
type wheel struct {
	// guarded by mu
	mu      sync.Mutex
	buckets [wheelTicks][]*session
	done    int64 // the last tick whose bucket was looked at
	pauses  []pause

	// owned by judgeAll
	last  time.Duration
	quiet int // ticks left during which nobody is judged
}

// pause is a time during which this process did not run.
type pause struct{ from, to time.Duration }

// add puts s where deadline falls due.
func (w *wheel) add(s *session, deadline time.Duration) {
	at := int64((deadline + tick - 1) / tick)
	w.mu.Lock()
	at = max(at, w.done+1)
	w.buckets[at%wheelTicks] = append(w.buckets[at%wheelTicks], s)
	w.mu.Unlock()
}

// due takes out the sessions of all buckets up to now.
func (w *wheel) due(now time.Duration) []*session {
	w.mu.Lock()
	defer w.mu.Unlock()
	until := int64(now / tick)
	w.done = max(w.done, until-wheelTicks) // one round sees every bucket
	var due []*session
	for w.done < until {
		w.done++
		b := &w.buckets[w.done%wheelTicks]
		due = append(due, *b...)
		*b = nil
	}
	return due
}

// late notes by how much a tick at now comes late.
func (w *wheel) late(now time.Duration) {
	expected := w.last + tick
	w.last = now
	if now-expected < lateMin {
		return
	}
	w.quiet = settleTicks
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pauses) == maxPauses {
		copy(w.pauses, w.pauses[1:])
		w.pauses = w.pauses[:maxPauses-1]
	}
	w.pauses = append(w.pauses, pause{from: expected, to: now})
}

// paused returns how much of the time after since this process did not run.
func (w *wheel) paused(since time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum time.Duration
	for _, p := range w.pauses {
		if p.to > since {
			sum += p.to - max(p.from, since)
		}
	}
	return sum
}

// judgeAll runs until ctx ends, and declares connections lost that were silent
// for too long. It also gives the clock to what else waits for a time.
func (e *Edge) judgeAll(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	e.wheel.last = e.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := e.now()
		e.wheel.late(now)
		e.losses.tick(now)
		if e.wheel.quiet > 0 {
			e.wheel.quiet--
			continue
		}
		for _, s := range e.wheel.due(now) {
			e.judge(s, now)
		}
	}
}

// judge looks at a session whose bucket has come. What the process itself slept
// through is not the client's silence, and what it has sent already is not
// either, even if nobody has read it yet.
func (e *Edge) judge(s *session, now time.Duration) {
	if s.current() != fateNone {
		return
	}
	seen := time.Duration(s.lastSeen.Load())
	deadline := seen + e.cfg.HeartbeatTimeout + e.wheel.paused(seen)
	switch {
	case now < deadline:
		e.wheel.add(s, deadline)
	case now < deadline+unreadGrace && s.Unread():
		e.wheel.add(s, now+tick)
	default:
		s.end(fateLost, protocol.CloseTimeout.Reason(), protocol.CloseTimeout)
	}
}
