package room

import (
	"slices"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// debt is one departure that is owed to those who stay.
//
// At any time it either has a turn, that of the relay who was asked last and
// may still report in time, or it is among Room.waiting because nobody can be
// asked.
type debt struct {
	id      protocol.DepartureID
	number  uint64 // later departures have higher ones
	subject protocol.UserID
	// What the frame says: the subject's seat, nil for none, and the name of
	// the room, as they were.
	seat    *protocol.SeatView
	channel string

	deadline time.Time
	// asked are the relays whose report counts, the one asked latest last.
	asked []asked
	// round counts how often everybody has been asked.
	round int
	// turn is whose report is awaited, until the alarm; 0 while the debt waits.
	turn    protocol.UserID
	askedAt time.Time
	// Where a call's hang_up goes: its addressee is no occupant any more. edge
	// is "" while that is not known.
	conn protocol.ConnNumber
	edge protocol.Incarnation
	// gone: the addressee's connection has ended. Unless another one presents
	// itself before the alarm, nobody is left to be told.
	gone bool

	alarm alarm
}

// asked is one relay of a departure, and the round in which it was asked last.
type asked struct {
	user  protocol.UserID
	round int
}

// wasAsked reports whether a relay was asked in the debt's present round.
func (d *debt) wasAsked(relay protocol.UserID) bool {
	return slices.Contains(d.asked, asked{relay, d.round})
}

func (d *debt) askedOf(relay protocol.UserID) bool {
	return slices.ContainsFunc(d.asked, func(a asked) bool { return a.user == relay })
}

// lose takes an occupant out whose connection is gone, and owes the departure
// to those who stay.
func (s *step) lose(o *occupant, version protocol.Version, reason string) {
	var seat *protocol.SeatView
	if o.seat != 0 {
		v := s.seatView(o.seat)
		seat = &v
	}
	s.dismiss(o, version, reason)
	var id protocol.DepartureID
	if !s.Empty() {
		id = s.mint()
		d := &debt{id: id, subject: o.user, seat: seat, channel: s.channelName(o)}
		s.owe(d)
		if s.id.IsCall() {
			s.hangUp(d)
		} else {
			s.ask(d)
		}
	}
	e := s.event("lost", o.user)
	e.Reason, e.DepartureID = reason, id
	if seat != nil {
		e.Seat = seat.ID
	}
	if s.id.IsCall() {
		s.endCall(o.user, reason, id)
	}
}

// owe adds a debt. The oldest of too many is given up.
func (s *step) owe(d *debt) {
	s.departed++
	d.number = s.departed
	d.deadline = s.now.Add(s.cfg.DepartureDeadline)
	s.fileDebt(d)
	if s.owed.len() > s.cfg.MaxDebts {
		_, oldest, _ := s.owed.min()
		s.giveUp(oldest)
	}
}

// fileDebt makes a debt known to the room.
func (r *Room) fileDebt(d *debt) {
	if r.debts == nil {
		r.debts = make(map[protocol.UserID]*debt)
		r.byID = make(map[protocol.DepartureID]*debt)
		r.unsaid = make(map[protocol.UserID]int)
	}
	r.debts[d.subject] = d
	r.byID[d.id] = d
	r.owed.put(key{lo: d.number}, d)
	for _, a := range d.asked {
		r.unsaid[a.user]++
	}
}

// ask puts the departure to the next relay, or lets it wait for one.
func (s *step) ask(d *debt) {
	s.endTurn(d)
	o := s.next(d)
	if o == nil {
		s.waiting.put(key{lo: d.number}, d)
		s.set(&d.alarm, d.deadline, d.number, timer{kind: timerDebt, debt: d})
		s.storeDebt(d)
		return
	}
	d.turn, d.askedAt = o.user, s.now
	s.recordAsked(d, o.user)
	o.turns.put(key{lo: d.number}, d)
	s.setDebtAlarm(d)
	s.storeDebt(d)
	s.res.Notices = append(s.res.Notices, Notice{
		Notice: protocol.Notice{
			User: o.user, Conn: o.conn, Room: s.id, Departure: d.id, Subject: d.subject,
			Frame: protocol.AppendExitRoom(nil, protocol.ExitRoom{
				User: d.subject, ChannelName: d.channel, Seat: d.seat, Departure: d.id,
			}),
		},
		Edge: o.edge,
	})
}

// next returns who is to be asked: the first of the relays that was not asked
// in this round, else the first of all, in a new round; nil if nobody is
// online.
func (s *step) next(d *debt) *occupant {
	for _, o := range s.relays.all() {
		if !d.wasAsked(o.user) {
			return o
		}
	}
	_, o, ok := s.relays.min()
	if !ok {
		return nil
	}
	d.round++
	return o
}

// setDebtAlarm sets the end of a turn.
func (r *Room) setDebtAlarm(d *debt) {
	at := d.askedAt.Add(r.cfg.ReportTimeout)
	if at.After(d.deadline) {
		at = d.deadline
	}
	r.set(&d.alarm, at, d.number, timer{kind: timerDebt, debt: d})
}

// endTurn leaves a debt with neither turn nor place among the waiting.
func (r *Room) endTurn(d *debt) {
	if d.turn == 0 {
		r.waiting.remove(key{lo: d.number})
		return
	}
	if o := r.occupants[d.turn]; o != nil {
		o.turns.remove(key{lo: d.number})
	}
	d.turn = 0
}

// recordAsked makes a relay the debt's latest; of too many, the one that was
// asked longest ago is forgotten.
func (s *step) recordAsked(d *debt, relay protocol.UserID) {
	if i := slices.IndexFunc(d.asked, func(a asked) bool { return a.user == relay }); i >= 0 {
		d.asked = slices.Delete(d.asked, i, i+1)
	} else {
		if len(d.asked) == maxAsked {
			s.burden(d.asked[0].user, -1)
			d.asked = slices.Delete(d.asked, 0, 1)
		}
		s.burden(relay, 1)
	}
	d.asked = append(d.asked, asked{relay, d.round})
}

// burden counts what a relay was asked for and nobody has reported. Who has too
// much of it is asked after the others.
func (r *Room) burden(relay protocol.UserID, by int) {
	n := r.unsaid[relay] + by
	if n == 0 {
		delete(r.unsaid, relay)
	} else {
		r.unsaid[relay] = n
	}
	if o := r.occupants[relay]; o != nil && (n >= busyAt) != (n-by >= busyAt) {
		r.rank(o)
	}
}

// passOn asks the next relay for all that awaits an occupant's report who can
// give none any more, or not over the connection that it was asked on.
func (s *step) passOn(o *occupant) {
	for _, d := range o.turns.values() {
		s.ask(d)
	}
}

// debtDue is the end of a relay's turn, or the deadline.
func (s *step) debtDue(d *debt) {
	switch {
	case d.gone:
		s.discharge(d)
	case !s.now.Before(d.deadline):
		s.giveUp(d)
	case s.id.IsCall():
		s.hangUp(d)
	default:
		s.ask(d)
	}
}

// discharge ends a debt.
func (s *step) discharge(d *debt) {
	s.endTurn(d)
	s.unset(&d.alarm)
	s.owed.remove(key{lo: d.number})
	delete(s.debts, d.subject)
	delete(s.byID, d.id)
	for _, a := range d.asked {
		s.burden(a.user, -1)
	}
	s.erase(s.entryKey(kindDebt, string(d.id)))
}

// giveUp ends a debt that nobody has reported.
func (s *step) giveUp(d *debt) {
	s.discharge(d)
	s.event("unreported", d.subject).DepartureID = d.id
}

// cancel ends what is owed for a user who is back; in a call also what is owed
// to it.
func (s *step) cancel(user protocol.UserID) {
	if d := s.debts[user]; d != nil {
		s.discharge(d)
	}
	if !s.id.IsCall() {
		return
	}
	for _, d := range s.owed.values() {
		if d.turn == user {
			s.discharge(d)
		}
	}
}

// report ends the debt that a relay reports, by its id or else the oldest of
// its subject. Only those who were asked can report; all else is no error and
// does nothing.
func (s *step) report(cmd *protocol.Command) error {
	d := s.byID[cmd.Departure]
	if cmd.Departure == "" {
		d = s.debts[cmd.Subject]
	}
	if d != nil && d.askedOf(cmd.User) {
		s.discharge(d)
	}
	return nil
}

// Noticed takes note of what an edge did with a departure's frame. A relay that
// is gone is no relay until it has another connection, and the next one is
// asked at once. A party that is in another call needs no hang_up.
func (r *Room) Noticed(id protocol.DepartureID, user protocol.UserID, conn protocol.ConnNumber, outcome protocol.NoticeOutcome, now time.Time) Result {
	s := r.step(now)
	switch {
	case r.id.IsCall():
		s.hangUpNoticed(id, user, conn, outcome)
	case outcome == protocol.NoticeGone:
		if o := r.occupants[user]; o != nil && o.conn == conn && o.online() {
			o.gone = true
			r.rank(o)
			s.passOn(o)
		}
	}
	s.settle()
	return s.res
}
