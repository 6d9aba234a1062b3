package owner

import (
	"container/heap"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// message is one thing in a loop's mailbox. apply runs on the loop's goroutine.
type message interface{ apply(*loop) }

const (
	// drainAtOnce bounds how many messages are applied before what they caused
	// leaves: large enough to share a commit, small enough not to delay it.
	drainAtOnce = 256
	// controlRoom is the capacity of a loop's control channel: answers of
	// helpers and outcomes of notices, whose number is bounded by what the loop
	// itself has asked for.
	controlRoom = 4096
	// maxWaiting bounds the commands that wait for one partition to be claimed.
	maxWaiting = 4096
)

// loop is the one goroutine that changes the partitions p with p mod Loops
// equal to its index.
type loop struct {
	// set by newLoop
	owner   *Owner
	index   int
	log     *slog.Logger
	mailbox chan message // commands; full: refused with CodeBusy
	control chan message // everything else
	wake    chan struct{}
	pings   chan uint64
	ended   chan struct{}
	journal *journaler
	claims  *claimer

	beat atomic.Uint64

	// owned by the caller of Owner.Beat
	asked uint64

	// owned by run
	partitions map[protocol.PartitionID]*partition
	assignment Assignment
	mode       StoreMode
	held       []message // control messages that came while parked
	timers     timerHeap
	dirty      map[*partition]struct{} // have an open batch
	claim      map[*partition]struct{} // want to be claimed
	releases   map[*partition]struct{} // are to be released
	handing    int                     // handoffs under way
	crowds     map[*slot]*partition    // large ones; see crowd.go
	out        outgoing
	nextAttach time.Time
}

func newLoop(o *Owner, index int) *loop {
	l := &loop{
		owner:      o,
		index:      index,
		log:        o.cfg.Logger.With("loop", index),
		mailbox:    make(chan message, o.cfg.Mailbox),
		control:    make(chan message, controlRoom),
		wake:       make(chan struct{}, 1),
		pings:      make(chan uint64, 1),
		ended:      make(chan struct{}),
		partitions: make(map[protocol.PartitionID]*partition),
		dirty:      make(map[*partition]struct{}),
		claim:      make(map[*partition]struct{}),
		releases:   make(map[*partition]struct{}),
		crowds:     make(map[*slot]*partition),
	}
	l.journal = newJournaler(l)
	l.claims = newClaimer(l)
	l.out.reset()
	return l
}

// post puts a control message into the mailbox. It waits while the channel is
// full; the loop takes control messages even while it is parked.
func (l *loop) post(m message) {
	select {
	case l.control <- m:
	case <-l.ended:
	}
}

func (l *loop) now() time.Time { return l.owner.cfg.Now() }

func (l *loop) run(ctx context.Context) error {
	defer close(l.ended)
	l.nextAttach = l.now().Add(l.owner.cfg.AttachInterval)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if !l.park(ctx) {
			return ctx.Err()
		}
		timer.Reset(l.untilNext())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n := <-l.pings:
			l.beat.Store(n)
			continue
		case <-l.wake:
			continue
		case m := <-l.control:
			m.apply(l)
		case m := <-l.mailbox:
			m.apply(l)
		case <-timer.C:
		}
		l.drain()
		l.tick()
		l.settle()
	}
}

// park holds the loop while this node may not act: its lease has ended by its
// own clock and somebody else may own what it owns. Commands wait in the
// mailbox; a pause of the whole process ends here too, before anything is
// judged late. It reports false when ctx has ended.
func (l *loop) park(ctx context.Context) bool {
	for !l.owner.cfg.MayAct() {
		select {
		case <-ctx.Done():
			return false
		case n := <-l.pings:
			l.beat.Store(n)
		case m := <-l.control:
			l.held = append(l.held, m)
		case <-l.wake:
		}
	}
	held := l.held
	l.held = nil
	for _, m := range held {
		m.apply(l)
	}
	return ctx.Err() == nil
}

// drain applies what has come meanwhile, up to a bound.
func (l *loop) drain() {
	for range drainAtOnce {
		select {
		case m := <-l.control:
			m.apply(l)
		default:
			select {
			case m := <-l.control:
				m.apply(l)
			case m := <-l.mailbox:
				m.apply(l)
			default:
				return
			}
		}
	}
}

// settle starts what the applied messages call for and lets out what they
// caused.
func (l *loop) settle() {
	l.flushBatches()
	l.claims.ask()
	l.journal.ask()
	l.out.flush(l)
}

func (l *loop) untilNext() time.Duration {
	next := l.nextAttach
	if len(l.timers) > 0 && l.timers[0].at.Before(next) {
		next = l.timers[0].at
	}
	return max(0, next.Sub(l.now()))
}

// tick fires the rooms' due timers and the periodic attach.
func (l *loop) tick() {
	now := l.now()
	for len(l.timers) > 0 && !l.timers[0].at.After(now) {
		t := heap.Pop(&l.timers).(timer)
		if l.partitions[t.partition.id] != t.partition {
			continue
		}
		if t.slot == nil {
			t.partition.due(l, t.at)
		} else {
			t.slot.fire(l, t.partition, t.at, now)
		}
	}
	if !l.nextAttach.After(now) {
		l.nextAttach = now.Add(l.owner.cfg.AttachInterval)
		l.attachAll()
	}
}

// timer is the moment at which a room (or, with slot nil, the partition itself)
// wants attention. Superseded timers stay in the heap and are recognized by
// their time.
type timer struct {
	at        time.Time
	partition *partition
	slot      *slot
}

type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)        { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = timer{}
	*h = old[:len(old)-1]
	return t
}

func (l *loop) schedule(t timer) { heap.Push(&l.timers, t) }
