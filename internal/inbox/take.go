package inbox

import "time"

// delivery is what a payload asks of us: act on a call or a cast, or end a call
// of ours.
type delivery struct {
	item
	ended *call // for an answer
}

// refusals counts what of a payload was not acted on.
type refusals struct {
	old   int // calls and answers taken before
	gap   int // those that miss the one before them
	room  int // calls of a sender of whom too much is held
	late  int // answers to calls that were given up
	stale int // casts of a payload that came again or was overtaken
}

// take acts on a payload of the other side and appends to out what is to be
// done, in order. A payload that says that we sent what we did not is refused
// as malformed.
//
// Hot: once for each message from another node (BenchmarkComposeAndTake).
func (l *link) take(now time.Time, h header, items []item, out []delivery) ([]delivery, refusals, error) {
	var r refusals
	if h.callsTaken > l.calls.last || h.answersTaken > l.answers.last {
		return out, r, errMalformed
	}
	late := h.serial <= l.lastSerial
	l.lastSerial = max(l.lastSerial, h.serial)
	l.heard(now, h, h.repeat && !late)
	fresh := 0
	for _, it := range items {
		switch {
		case it.tag == tagCast && late:
			r.stale++
		case it.tag == tagCast:
			out = append(out, delivery{item: it})
		case !l.fits(it, &r):
		case it.tag == tagCall:
			fresh++
			l.nextCall = it.number + 1
			l.refused = false
			l.running++
			l.runningBytes += len(it.body)
			out = append(out, delivery{item: it})
		default:
			fresh++
			l.nextAnswer = it.number + 1
			if c := l.waiting[it.call]; c != nil {
				l.settle(c)
				out = append(out, delivery{item: it, ended: c})
			} else {
				r.late++
			}
		}
	}
	l.owe(now, fresh, r)
	return out, r, nil
}

// fits reports whether a call or an answer is the next of its lane, and counts
// why if it is not taken. After a call that there is no room for, the others
// of the payload miss that one.
func (l *link) fits(it item, r *refusals) bool {
	next := l.nextCall
	if it.tag == tagAnswer {
		next = l.nextAnswer
	}
	switch {
	case it.number < next:
		r.old++
	case it.number-it.gap >= next:
		r.gap++
	case it.tag == tagCall && !l.roomFor(len(it.body)):
		r.room++
		l.refused, l.refusedSize = true, len(it.body)
	default:
		return true
	}
	return false
}

// roomFor reports whether one more call, of size bytes, may be held of the other
// side: until it is answered, and the answer taken.
func (l *link) roomFor(size int) bool {
	return l.running+l.answers.count < l.terms.held &&
		l.answers.bytes < l.terms.heldBytes &&
		(l.running == 0 || l.runningBytes+size <= l.terms.heldBytes)
}

// heard takes note that the other side lives, of what it took, and whether it
// asks for the rest again.
func (l *link) heard(now time.Time, h header, again bool) {
	if soon := now.Add(l.terms.unheard); l.pausedUntil.After(soon) {
		l.pausedUntil = soon
	}
	l.calls.hasten(now, &l.terms)
	l.answers.hasten(now, &l.terms)
	if l.calls.accept(h.callsTaken) {
		l.calls.arm(now, &l.terms)
	}
	if l.answers.accept(h.answersTaken) {
		l.answers.arm(now, &l.terms)
	}
	if again {
		l.calls.rewind()
		l.answers.rewind()
	}
	// Asking before there is room for the very call that was left would be
	// refused and asked again without end.
	if l.refused && l.roomFor(l.refusedSize) && l.running+l.answers.count <= l.terms.held/2 {
		l.refused = false
		l.repeat = true
	}
}

// owe decides when the other side must hear what we have taken. Usually that
// travels with something else. A repeat means that it was not heard. A gap
// means that something was lost, which is said once, as is that it has come.
func (l *link) owe(now time.Time, fresh int, r refusals) {
	found := l.asked && fresh > 0
	if found {
		l.asked = false
	}
	if r.gap > 0 && r.room == 0 && !l.asked {
		l.asked, l.repeat = true, true
	}
	if fresh == 0 && r.old == 0 {
		return
	}
	l.owed += fresh
	at := now.Add(l.terms.ackDelay)
	if found || r.old > 0 || l.owed >= l.terms.ackEvery {
		at = now
	}
	if l.ackAt.IsZero() || at.Before(l.ackAt) {
		l.ackAt = at
	}
}
