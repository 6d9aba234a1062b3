package room

import (
	"github.com/faac1247/rollcall/protocol"
)

// changeSeat does one thing to one seat.
func (s *step) changeSeat(cmd *protocol.Command) error {
	c := cmd.SeatChange
	switch {
	case s.id.IsCall():
		return protocol.Errorf(protocol.CodeBadRequest, "a call has no seats")
	case c == nil || countChanges(c) != 1:
		return protocol.Errorf(protocol.CodeBadRequest, "a seat change sets exactly one of up, down, status and microphone")
	case !s.exists():
		return s.notFound()
	}
	n := cmd.Seat
	if n == 0 && c.Down {
		if o := s.occupants[about(cmd)]; o != nil {
			n = o.seat // whichever the user has
		}
		if n == 0 {
			return nil
		}
	}
	if n < 1 || n > s.seatCount() {
		return protocol.Errorf(protocol.CodeSeatNotFound, "room %q has seats 1 to %d, not %d", s.id, s.seatCount(), n)
	}
	switch {
	case c.Up != 0:
		return s.up(n, c.Up)
	case c.Down:
		return s.down(n, about(cmd))
	case c.Status != nil:
		return s.setStatus(n, *c.Status)
	default:
		s.mark(&s.settings.muted, n, !*c.Microphone)
		return nil
	}
}

func countChanges(c *protocol.SeatChange) int {
	n := 0
	for _, set := range []bool{c.Up != 0, c.Down, c.Status != nil, c.Microphone != nil} {
		if set {
			n++
		}
	}
	return n
}

// about returns the user whom a command is about.
func about(cmd *protocol.Command) protocol.UserID {
	if cmd.Subject != 0 {
		return cmd.Subject
	}
	return cmd.User
}

// up puts a user on a seat. Who sits on another one leaves it.
func (s *step) up(n int, user protocol.UserID) error {
	o := s.occupants[user]
	switch sitting := s.seated[n]; {
	case o == nil:
		return protocol.Errorf(protocol.CodeNotInRoom, "user %d is not in room %q", user, s.id)
	case sitting == o:
		return nil
	case s.settings.closed[n]:
		return protocol.Errorf(protocol.CodeSeatClosed, "seat %d is closed", n)
	case sitting != nil:
		return protocol.Errorf(protocol.CodeSeatTaken, "user %d sits on seat %d", sitting.user, n)
	}
	if o.seat != 0 {
		s.tellDown(o)
	}
	s.sit(o, n)
	s.storeOccupant(o)
	s.event("up", user).Seat = n
	s.tell(protocol.AppendUp(nil, protocol.Up{
		User: user, Seat: n, Profile: o.profile, ChannelName: s.channelName(o),
	}), user)
	return nil
}

// down empties a seat: whoever sits there, or only if user does.
func (s *step) down(n int, user protocol.UserID) error {
	o := s.seated[n]
	switch {
	case o == nil:
		return nil
	case user != 0 && s.occupants[user] == nil:
		return protocol.Errorf(protocol.CodeNotInRoom, "user %d is not in room %q", user, s.id)
	case user != 0 && user != o.user:
		return protocol.Errorf(protocol.CodeSeatTaken, "user %d sits on seat %d, not user %d", o.user, n, user)
	}
	s.tellDown(o)
	s.sit(o, 0)
	s.storeOccupant(o)
	return nil
}

// setStatus opens a seat, or closes it; who sits there is sent down first.
func (s *step) setStatus(n, status int) error {
	if status != 0 && status != 1 {
		return protocol.Errorf(protocol.CodeBadRequest, "seat status %d is neither 0, closed, nor 1, open", status)
	}
	if status == 0 {
		if err := s.down(n, 0); err != nil {
			return err
		}
	}
	s.mark(&s.settings.closed, n, status == 0)
	return nil
}

// mark adds a seat to a set of seats or takes it out.
func (s *step) mark(seats *map[int]bool, n int, in bool) {
	if (*seats)[n] == in {
		return
	}
	s.settings.changed = true
	if !in {
		delete(*seats, n)
		return
	}
	if *seats == nil {
		*seats = make(map[int]bool)
	}
	(*seats)[n] = true
}

// sit moves an occupant to a seat, 0 for none, and among the relays.
func (r *Room) sit(o *occupant, n int) {
	if r.seated[o.seat] == o {
		delete(r.seated, o.seat)
	}
	o.seat = n
	if n != 0 {
		if r.seated == nil {
			r.seated = make(map[int]*occupant)
		}
		r.seated[n] = o
	}
	if o.relay != (key{}) {
		r.rank(o)
	}
}

// tellDown tells the room that an occupant leaves its seat.
func (s *step) tellDown(o *occupant) {
	s.event("down", o.user).Seat = o.seat
	s.tell(protocol.AppendDown(nil, protocol.Down{
		User: o.user, Seat: o.seat, ChannelName: s.channelName(o),
	}), o.user)
}

func (r *Room) seatView(n int) protocol.SeatView {
	v := protocol.SeatView{ID: n, Status: 1, Microphone: !r.settings.muted[n]}
	if r.settings.closed[n] {
		v.Status = 0
	}
	if o := r.seated[n]; o != nil {
		v.UserID = o.user
	}
	return v
}

func (r *Room) seatViews() []protocol.SeatView {
	views := make([]protocol.SeatView, 0, r.seatCount())
	for n := 1; n <= r.seatCount(); n++ {
		views = append(views, r.seatView(n))
	}
	return views
}
