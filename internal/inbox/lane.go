package inbox

import "time"

// entry is a call or an answer on its way.
type entry struct {
	item
	stamp uint64 // orders the entries and casts of a link by when they came
	sent  bool   // has left at least once

	// in the lane's list
	prev, next *entry
}

// lane keeps numbered entries until the other side has taken them, and says
// which leaves next. It performs nothing and knows no clock but what it is
// told.
type lane struct {
	// what is kept, in order of number
	head, tail   *entry
	count, bytes int
	last         uint64 // the highest number given
	taken        uint64 // the highest number that the other side has taken

	// what leaves
	cursor *entry    // leaves next; nil when all have left
	due    time.Time // when to repeat; zero while nothing waits to be taken
	tries  int       // repeats since the other side took something
	probe  bool      // repeating: payload by payload, until something is taken
	held   bool      // the probe has left
}

// add gives e the next number and keeps it.
func (l *lane) add(e *entry) {
	l.last++
	e.number = l.last
	e.prev = l.tail
	if l.tail == nil {
		l.head = e
	} else {
		l.tail.next = e
	}
	l.tail = e
	if l.cursor == nil {
		l.cursor = e
	}
	l.count++
	l.bytes += len(e.body)
}

// remove takes e out, taken or withdrawn. The entry after it closes the gap.
func (l *lane) remove(e *entry) {
	if l.cursor == e {
		l.cursor = e.next
	}
	if e.prev == nil {
		l.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.count--
	l.bytes -= len(e.body)
	if !l.waits() {
		l.calm()
	}
}

// calm ends all repeating: nothing that has left waits to be taken.
func (l *lane) calm() {
	l.due = time.Time{}
	l.tries, l.probe, l.held = 0, false, false
}

// upcoming returns the entry that leaves next, nil when none may.
func (l *lane) upcoming() *entry {
	if l.held {
		return nil
	}
	return l.cursor
}

// leave marks the upcoming entry as sent and returns it with its gap filled in.
//
// The gap reaches back to the entry before it, or, for the first, to what the
// other side is known to have taken: numbers between the two were withdrawn.
func (l *lane) leave() item {
	e := l.cursor
	before := l.taken
	if e.prev != nil {
		before = e.prev.number
	}
	e.gap = e.number - before
	e.sent = true
	l.cursor = e.next
	return e.item
}

// left ends a payload that holds n entries of the lane: nothing more of it
// leaves for now if that was a probe.
func (l *lane) left(n int) {
	if n > 0 {
		l.held = l.probe
	}
}

// waits reports whether something has left and was not taken.
func (l *lane) waits() bool { return l.head != nil && l.head.sent }

// accept forgets what the other side has taken, and reports whether that is
// news.
func (l *lane) accept(taken uint64) bool {
	if taken <= l.taken {
		return false
	}
	l.taken = taken
	for l.head != nil && l.head.number <= taken {
		l.remove(l.head)
	}
	l.calm()
	return true
}

// arm starts the wait for the other side to take something, unless it runs.
func (l *lane) arm(now time.Time, t *terms) {
	if l.waits() && l.due.IsZero() {
		l.due = now.Add(t.backoff(t.repeat, l.tries))
	}
}

// expire rewinds if the wait has been too long.
func (l *lane) expire(now time.Time) {
	if l.due.IsZero() || now.Before(l.due) {
		return
	}
	l.tries++
	l.rewind()
}

// rewind lets everything that was not taken leave again, from the first on.
func (l *lane) rewind() {
	l.due = time.Time{}
	if !l.waits() {
		return
	}
	l.cursor = l.head
	l.probe, l.held = true, false
}

// hasten shortens a wait that has grown while the other side was silent.
func (l *lane) hasten(now time.Time, t *terms) {
	if l.tries == 0 {
		return
	}
	l.tries = 0
	if soon := now.Add(t.repeat); l.due.After(soon) {
		l.due = soon
	}
}
