package inbox

import (
	"cmp"
	"slices"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// call is a call of ours that waits for its answer.
type call struct {
	entry
	since time.Time
	done  func(answer []byte, err error)
	peer  *peer // for who withdraws it
}

// link is all that this incarnation knows of its talk with one other. It is
// pure: it sends nothing, starts nothing and has no clock of its own, so that
// two links and an adversary between them are a whole test.
type link struct {
	// set by newLink
	self, other protocol.Incarnation
	terms       terms

	// what we say
	calls, answers lane
	casts          lane // an entry is as good as taken when it leaves
	stamp          uint64
	serial         uint64           // of the last payload
	waiting        map[uint64]*call // unanswered, by number
	waitingBytes   int

	// what the other side says
	nextCall, nextAnswer uint64
	lastSerial           uint64 // the highest of a payload
	running              int    // calls taken and not answered
	runningBytes         int
	refused              bool // a call was left for lack of room
	refusedSize          int

	// what we owe
	owed   int       // entries taken since we last said so
	ackAt  time.Time // when to say so at the latest; zero: nothing to say
	repeat bool      // ask the other side to repeat
	asked  bool      // have asked since we last took an entry

	// how publishing goes
	pausedUntil time.Time
	unheard     int  // payloads in a row that met nobody
	failed      int  // publishes in a row that failed
	anew        bool // our subscription was renewed since a payload last left
}

// tally counts the messages of one payload.
type tally struct {
	calls, answers, casts int
	repeats               int // of the calls and answers, those that had left before
}

func newLink(self, other protocol.Incarnation, t terms) *link {
	return &link{
		self: self, other: other, terms: t,
		waiting:  make(map[uint64]*call),
		nextCall: 1, nextAnswer: 1,
	}
}

// call queues a call, or refuses it.
func (l *link) call(now time.Time, kind Kind, body []byte, done func([]byte, error)) (*call, error) {
	switch {
	case len(body) > l.terms.windowBytes:
		return nil, ErrTooLarge
	case len(l.waiting) >= l.terms.window || l.waitingBytes+len(body) > l.terms.windowBytes:
		return nil, ErrFull
	}
	c := &call{since: now, done: done}
	c.item = item{tag: tagCall, code: byte(kind), body: body}
	l.add(&l.calls, &c.entry)
	l.waiting[c.number] = c
	l.waitingBytes += len(body)
	return c, nil
}

func (l *link) add(ln *lane, e *entry) {
	l.stamp++
	e.stamp = l.stamp
	ln.add(e)
}

// withdraw gives a call up. It reports false if the call has its answer.
func (l *link) withdraw(c *call) bool {
	if l.waiting[c.number] != c {
		return false
	}
	l.settle(c)
	return true
}

// settle takes a call out of the window, and out of its lane if it is there.
func (l *link) settle(c *call) {
	if c.number > l.calls.taken {
		l.calls.remove(&c.entry)
	}
	delete(l.waiting, c.number)
	l.waitingBytes -= len(c.body)
}

// cast queues a cast, or refuses it.
func (l *link) cast(kind Kind, body []byte) error {
	switch {
	case len(body) > l.terms.windowBytes:
		return ErrTooLarge
	case l.casts.count >= l.terms.casts || l.casts.bytes+len(body) > l.terms.windowBytes:
		return ErrFull
	}
	l.add(&l.casts, &entry{item: item{tag: tagCast, code: byte(kind), body: body}})
	return nil
}

// answer queues the answer to a call of size bytes that was taken. It reports
// whether the answer can be kept; the other side is told if not.
func (l *link) answer(number uint64, size int, body []byte) bool {
	l.running--
	l.runningBytes -= size
	status := byte(statusAnswered)
	if len(body) > l.terms.windowBytes || l.answers.bytes+len(body) > l.terms.heldBytes {
		status, body = statusNoAnswer, nil
	}
	l.add(&l.answers, &entry{item: item{tag: tagAnswer, code: status, call: number, body: body}})
	return status == statusAnswered
}

// end forgets everything and returns the calls that were unanswered, in order.
func (l *link) end() []*call {
	calls := make([]*call, 0, len(l.waiting))
	for _, c := range l.waiting {
		calls = append(calls, c)
	}
	slices.SortFunc(calls, func(a, b *call) int { return cmp.Compare(a.number, b.number) })
	*l = *newLink(l.self, l.other, l.terms)
	return calls
}

// compose appends the payload that is to leave now to b, which is empty, and
// counts what is in it. It returns b as it was when nothing is to leave.
//
// Calls, answers and casts leave in the order in which they came, so that a
// cast overtakes a call only if that has to be repeated.
//
// Hot: once for each message to another node (BenchmarkComposeAndTake).
func (l *link) compose(now time.Time, b []byte) ([]byte, tally) {
	var t tally
	l.calls.expire(now)
	l.answers.expire(now)
	if now.Before(l.pausedUntil) || !l.ready(now) {
		return b, t
	}
	l.serial++
	b = appendHeader(b, header{
		repeat: l.repeat, from: l.self, to: l.other, serial: l.serial,
		callsTaken: l.nextCall - 1, answersTaken: l.nextAnswer - 1,
	})
	l.owed, l.ackAt, l.repeat, l.anew = 0, time.Time{}, false, false
	for empty := true; ; empty = false {
		ln := l.earliest()
		if ln == nil || !empty && len(b)+itemOverhead+len(ln.cursor.body) > l.terms.payload {
			break
		}
		if ln.cursor.sent {
			t.repeats++
		}
		it := ln.leave()
		b = appendItem(b, it)
		switch it.tag {
		case tagCall:
			t.calls++
		case tagAnswer:
			t.answers++
		case tagCast:
			t.casts++
			ln.accept(it.number)
		}
	}
	l.calls.left(t.calls)
	l.answers.left(t.answers)
	return b, t
}

// earliest returns the lane whose upcoming entry came first, nil if nothing may
// leave.
func (l *link) earliest() *lane {
	var first *lane
	for _, ln := range [...]*lane{&l.calls, &l.answers, &l.casts} {
		if e := ln.upcoming(); e != nil && (first == nil || e.stamp < first.cursor.stamp) {
			first = ln
		}
	}
	return first
}

// ready reports whether there is anything to say now.
func (l *link) ready(now time.Time) bool {
	return l.repeat || !l.ackAt.IsZero() && !now.Before(l.ackAt) || l.earliest() != nil
}

// idle is the wait of a link that has nothing to do until it is woken.
const idle = time.Hour

// wait returns how long it takes until compose has something.
func (l *link) wait(now time.Time) time.Duration {
	wait := idle
	if l.ready(now) {
		wait = 0
	}
	for _, at := range [...]time.Time{l.ackAt, l.calls.due, l.answers.due} {
		if !at.IsZero() {
			wait = min(wait, max(0, at.Sub(now)))
		}
	}
	if wait == idle {
		return idle
	}
	return max(wait, l.pausedUntil.Sub(now))
}

// published takes note of what became of a payload.
//
// One that met nobody was certainly not taken: it leaves again at once, and
// then at a growing pace, since a subscription comes back within milliseconds
// or not for long. One that failed may have been taken; if it left before our
// subscription was renewed, that it failed says nothing of how things are now.
func (l *link) published(now time.Time, receivers int, err error) {
	switch {
	case err != nil && l.anew:
	case err != nil:
		l.pausedUntil = now.Add(l.terms.backoff(l.terms.repeat, l.failed))
		l.failed++
	case receivers == 0:
		if l.unheard > 0 {
			l.pausedUntil = now.Add(l.terms.backoff(l.terms.unheard, l.unheard-1))
		}
		l.failed = 0
		l.unheard++
	default:
		l.failed, l.unheard = 0, 0
		l.calls.arm(now, &l.terms)
		l.answers.arm(now, &l.terms)
		return
	}
	l.calls.rewind()
	l.answers.rewind()
}

// renewed takes note that our subscription stands again. What the other side
// said meanwhile is lost, its word of what it took included.
func (l *link) renewed() {
	l.repeat, l.anew = true, true
	l.pausedUntil = time.Time{}
	l.failed, l.unheard = 0, 0
	l.calls.rewind()
	l.answers.rewind()
}
