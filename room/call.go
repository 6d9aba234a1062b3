package room

import (
	"github.com/faac1247/rollcall/protocol"
)

// endCall takes both parties out: a call that one has left is over. who ended
// it, why, and the departure if one is owed go with the event.
func (s *step) endCall(who protocol.UserID, reason string, departure protocol.DepartureID) {
	for _, o := range s.roster.values() {
		s.unsubscribe(o)
		s.evict(o, ReasonCallEnded)
		s.dismiss(o, o.version, ReasonCallEnded)
	}
	e := s.event("call_ended", who)
	e.Reason, e.DepartureID = reason, departure
}

// partiesChanged limits how long a call may have one party.
func (s *step) partiesChanged() {
	if !s.id.IsCall() {
		return
	}
	if len(s.occupants) != 1 {
		s.unset(&s.alone)
		return
	}
	_, o, _ := s.roster.min()
	s.set(&s.alone, o.since.Add(s.cfg.NeverConnected), 0, timer{kind: timerCall})
}

// partyDue ends a call whose second party has not entered.
func (s *step) partyDue() {
	s.unset(&s.alone)
	if len(s.occupants) == 1 {
		s.endCall(0, ReasonIncomplete, "")
	}
}

// hangUp tells the other party that the subject has dropped, now and again
// until the debt ends. The other party is out of the call by then, but not out
// of reach.
func (s *step) hangUp(d *debt) {
	if d.turn == 0 {
		_, o, ok := s.roster.min()
		if !ok {
			s.broken("departure %s of a call is owed to nobody", d.id)
		}
		d.turn, d.conn = o.user, o.conn
		if o.attached() {
			d.edge = o.edge
		}
		s.recordAsked(d, o.user)
	}
	if d.edge == "" {
		// Not connected just now. If it comes back before it has heard that the
		// call is over, its edge says so.
		s.set(&d.alarm, d.deadline, d.number, timer{kind: timerDebt, debt: d})
		s.storeDebt(d)
		return
	}
	d.askedAt = s.now
	s.setDebtAlarm(d)
	s.storeDebt(d)
	s.res.Notices = append(s.res.Notices, Notice{
		Notice: protocol.Notice{
			User: d.turn, Conn: d.conn, Room: s.id, Departure: d.id, Subject: d.subject,
			Frame: protocol.AppendHangUp(nil, protocol.HangUp{
				User: d.subject, Receiver: d.turn, CallNo: s.id.CallNo(), Departure: d.id,
			}),
		},
		Edge: d.edge,
	})
}

// hangUpAt serves a party whose new connection believes itself in a call that
// has ended meanwhile: it gets its hang_up there. It reports false if none is
// owed.
func (s *step) hangUpAt(cmd *protocol.Command) bool {
	found := false
	for _, d := range s.owed.values() {
		if d.turn != cmd.User || cmd.Conn < d.conn || cmd.Edge == "" {
			continue
		}
		found = true
		d.conn, d.edge, d.gone = cmd.Conn, cmd.Edge, false
		s.hangUp(d)
	}
	if found {
		s.res.Evicted = append(s.res.Evicted, Eviction{User: cmd.User, Version: cmd.Version, Reason: ReasonCallEnded})
	}
	return found
}

// hangUpNoticed takes note of what became of a hang_up.
func (s *step) hangUpNoticed(id protocol.DepartureID, user protocol.UserID, conn protocol.ConnNumber, outcome protocol.NoticeOutcome) {
	d := s.byID[id]
	if d == nil || d.turn != user || d.conn != conn {
		return
	}
	switch outcome {
	case protocol.NoticeElsewhere:
		s.discharge(d)
	case protocol.NoticeGone:
		// The party is gone, or its next connection is on its way here: see
		// hangUpAt.
		d.gone, d.edge, d.askedAt = true, "", s.now
		s.setDebtAlarm(d)
		s.storeDebt(d)
	case protocol.NoticeDelivered:
	}
}

// hangUpEdgeDied stops talking to an edge that has died.
func (s *step) hangUpEdgeDied(edge protocol.Incarnation) {
	if !s.id.IsCall() {
		return
	}
	for _, d := range s.owed.values() {
		if d.edge == edge {
			d.edge = ""
			s.hangUp(d)
		}
	}
}
