package edge

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxClosers is how many losses are told to the store at a time. The store
	// sends together what comes together.
	maxClosers = 64
	// closeTimeout bounds one attempt to tell the store.
	closeTimeout = 5 * time.Second
	// retryInterval is how often the store is tried while it owes answers.
	retryInterval = 500 * time.Millisecond
	// behindTimeout is how long a store that knows an older connection than the
	// one that closed gets to be restored.
	behindTimeout = time.Minute
)

// losses are the connections that are gone and of which the store has not
// heard. Each waits out the grace, then for one of at most maxClosers
// goroutines; while the store is away it is owed and tried again. All are
// bounded by the connections that there may be, save owed, which has a bound of
// its own.
type losses struct {
	// set by New
	edge    *Edge
	maxOwed int

	// guarded by mu
	mu      sync.Mutex
	waiting []graced // in order of time
	queue   []*session
	closers int
	owed    map[protocol.UserID]*owed
	next    time.Duration // when owed ones are tried again
	held    bool          // the store is away: do not try
}

// graced is a lost connection whose user may come back until a time.
type graced struct {
	session *session
	until   time.Duration
}

// owed is a loss that owners were told of without the store, which still has to
// hear of it. Until it has, the user can't be connected again: the store would
// say that the user is where the owners know it is not.
type owed struct {
	session *session
	tried   chan struct{} // closed when the attempt under way has ended; nil for none
}

func newLosses(e *Edge) *losses {
	return &losses{edge: e, owed: make(map[protocol.UserID]*owed), maxOwed: max(4*e.cfg.MaxConns, 1<<16)}
}

// add takes over a lost connection, whose user has a grace to come back.
func (l *losses) add(s *session, grace time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if grace <= 0 {
		l.enqueue(s)
		return
	}
	until := l.edge.now() + grace
	at, _ := slices.BinarySearchFunc(l.waiting, until+1, func(g graced, t time.Duration) int { return cmp.Compare(g.until, t) })
	l.waiting = slices.Insert(l.waiting, at, graced{session: s, until: until})
}

// enqueue starts a closer unless enough are at work. The caller holds mu.
func (l *losses) enqueue(s *session) {
	l.queue = append(l.queue, s)
	if l.closers < maxClosers {
		l.closers++
		l.edge.crew.start(l.close)
	}
}

// close tells the store of one loss after the other and ends when none is left.
func (l *losses) close() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.queue = nil
			l.closers--
			l.mu.Unlock()
			return
		}
		s := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		held := l.held
		l.mu.Unlock()
		told := !held && l.edge.lose(s)
		if !told && l.edge.ended() {
			continue // whoever sweeps up behind this incarnation finds it
		}
		if !told {
			l.edge.loseProvisionally(s)
		}
		l.settle(s, told)
	}
}

// settle notes how an attempt to tell the store ended.
func (l *losses) settle(s *session, told bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.owed[s.user]
	if o != nil && o.session == s && o.tried != nil {
		close(o.tried)
		o.tried = nil
	}
	switch {
	case told:
		if o != nil && o.session == s {
			delete(l.owed, s.user)
		}
	case o != nil:
	case len(l.owed) >= l.maxOwed:
		l.edge.metrics.closesForgotten.Inc()
		l.edge.crew.start(func() { l.edge.forget(s) })
	default:
		l.owed[s.user] = &owed{session: s}
	}
}

// tick moves on what waited for a time.
func (l *losses) tick(now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 && l.waiting[0].until <= now {
		l.enqueue(l.waiting[0].session)
		l.waiting[0] = graced{}
		l.waiting = l.waiting[1:]
	}
	if len(l.owed) > 0 && !l.held && now >= l.next {
		l.next = now + retryInterval
		n := maxClosers
		for _, o := range l.owed {
			if n--; n < 0 {
				return
			}
			l.try(o)
		}
	}
}

// try queues an owed loss unless that is done. The caller holds mu.
func (l *losses) try(o *owed) {
	if o.tried == nil {
		o.tried = make(chan struct{})
		l.enqueue(o.session)
	}
}

// hold stops trying while the store is known to be away, or starts again.
func (l *losses) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	if !held {
		for _, o := range l.owed {
			l.try(o)
		}
	}
}

// paid returns when the store has heard of the user's owed loss, if there is
// one. It reports false when an attempt failed or ctx ended.
func (l *losses) paid(ctx context.Context, user protocol.UserID) bool {
	l.mu.Lock()
	o := l.owed[user]
	if o == nil {
		l.mu.Unlock()
		return true
	}
	l.try(o)
	tried := o.tried
	l.mu.Unlock()
	select {
	case <-tried:
	case <-ctx.Done():
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owed[user] == nil
}

// count returns the losses of which the store has not heard.
func (l *losses) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) + len(l.queue) + len(l.owed)
}

// lose tells the store that a connection is gone. If it was still the user's
// latest, the owners of the user's room and call are told; whoever has it
// otherwise has superseded it. It reports false when the store could not be
// told, or has to be restored first.
func (e *Edge) lose(s *session) bool {
	ctx, cancel := e.within(closeTimeout)
	defer cancel()
	closed, err := e.cfg.Users.Close(ctx, protocol.Close{
		Partition: e.cfg.Partition(s.user), User: s.user, Conn: s.conn, By: e.cfg.Incarnation, Reason: s.reason,
	})
	switch {
	case err != nil:
		e.metrics.closeErrors.Inc()
		return false
	case closed.Won:
		e.cfg.Owners.Tell(closed.Intent)
	case closed.Record.Conn < s.conn && e.now()-time.Duration(s.lastSeen.Load()) < behindTimeout:
		// The store knows an older connection, or none: it was replaced, and
		// this user's record is still to be put back.
		return false
	}
	e.registry.calm(s.user)
	e.forget(s)
	return true
}

// maxDisowned bounds the connections that are disowned at a time. Owners name
// one that was passed over again.
const maxDisowned = 64

// disown tells the store that a connection which an owner believes here is not:
// its number was given out and nobody has heard it, or its loss was forgotten.
// Nobody else could tell, and its user would stay a ghost. A connection that is
// being made is not disowned, and neither are those that were sent away.
func (e *Edge) disown(user protocol.UserID, conn protocol.ConnNumber) {
	if conn == 0 || !e.registry.settled(user) || !e.door.isOpen() {
		return
	}
	if e.disowning.Add(1) > maxDisowned {
		e.disowning.Add(-1)
		return
	}
	e.crew.start(func() {
		defer e.disowning.Add(-1)
		ctx, cancel := e.within(closeTimeout)
		defer cancel()
		closed, err := e.cfg.Users.Close(ctx, protocol.Close{
			Partition: e.cfg.Partition(user), User: user, Conn: conn, By: e.cfg.Incarnation, Reason: "closed",
		})
		if err == nil && closed.Won {
			e.metrics.disowned.Inc()
			e.cfg.Owners.Tell(closed.Intent)
		}
	})
}

// loseProvisionally tells the owners of a loss that the store has not heard of,
// once, so that local occupants learn of it meanwhile.
func (e *Edge) loseProvisionally(s *session) {
	s.mu.Lock()
	intent := protocol.Intent{
		User: s.user, Version: s.version + 1, Conn: s.conn, Edge: e.cfg.Incarnation,
		Lost: true, Reason: s.reason, At: time.Now(),
	}
	for _, id := range [...]protocol.RoomID{s.room, s.call} {
		if id != "" {
			intent.Leave = append(intent.Leave, id)
		}
	}
	told := s.told || len(intent.Leave) == 0
	s.told = true
	s.mu.Unlock()
	if !told {
		e.metrics.provisional.Inc()
		e.cfg.Owners.Tell(intent)
	}
}

// forget takes a session out of everything: nothing is left to be told of it.
func (e *Edge) forget(s *session) {
	e.registry.remove(s)
	e.leaveAll(s)
}
