package room

import "time"

// timerKind says what falls due, and orders what falls due at once.
type timerKind uint64

const (
	timerDebt     timerKind = iota // ask the next relay, or give up
	timerOccupant                  // no connection came in time
	timerCall                      // no second party came in time
	timerEmpty                     // a configured room has been empty long enough
	timerHistory                   // publications are too old
)

// timer is what falls due at its key's time.
type timer struct {
	kind     timerKind
	debt     *debt
	occupant *occupant
}

// alarm is the place of one timer, zero when it is not set.
type alarm struct{ key key }

// set makes a timer fall due at a time, in place of when it was due before. n
// is the number of what it belongs to, unique among timers of its kind.
func (r *Room) set(a *alarm, at time.Time, n uint64, t timer) {
	r.unset(a)
	a.key = key{hi: instant(at), lo: n<<3 | uint64(t.kind)}
	r.timers.put(a.key, t)
}

// instant returns a time in nanoseconds since 1970. What lies outside of what
// those can say, as sums of bad settings may, is at once or never.
func instant(at time.Time) uint64 {
	const never = 1 << 33 // seconds
	switch s := at.Unix(); {
	case s < 0:
		return 0
	case s >= never:
		return never * uint64(time.Second)
	default:
		return uint64(at.UnixNano())
	}
}

func (r *Room) unset(a *alarm) {
	if a.key != (key{}) {
		r.timers.remove(a.key)
		a.key = key{}
	}
}

// fire does what one timer says. It always moves or removes the timer.
func (s *step) fire(t timer) {
	switch t.kind {
	case timerDebt:
		s.debtDue(t.debt)
	case timerOccupant:
		s.connectionDue(t.occupant)
	case timerCall:
		s.partyDue()
	case timerEmpty:
		s.emptyDue()
	case timerHistory:
		s.forget()
	}
}
