package room

import (
	"github.com/faac1247/rollcall/protocol"
)

// publish passes a frame on: to the one user it is addressed to, or to
// everybody, numbered.
//
// Hot: once for each publication (BenchmarkPublish).
func (s *step) publish(cmd *protocol.Command) error {
	switch {
	case !s.exists():
		return s.notFound()
	case len(cmd.Frame) > maxFrame:
		return protocol.Errorf(protocol.CodeTooLarge, "frame has %d bytes, at most %d are allowed", len(cmd.Frame), maxFrame)
	case cmd.User != 0 && s.occupants[cmd.User] == nil:
		return protocol.Errorf(protocol.CodeNotInRoom, "user %d is not in room %q", cmd.User, s.id)
	}
	object, err := protocol.ParseObject(cmd.Frame)
	if err != nil {
		return err
	}
	if action, ok := object.Field("action").Bytes(); !ok || len(action) == 0 {
		return protocol.Errorf(protocol.CodeBadRequest, "frame has no action")
	}
	if cmd.Subject != 0 {
		return s.publishTo(cmd.Subject, cmd.Frame)
	}
	numbered, err := protocol.Number(nil, cmd.Frame, s.id, s.epoch, s.seq+1)
	if err != nil {
		return err
	}
	p := protocol.Publication{Frame: numbered}
	s.res.Reply.Delivered = len(s.occupants)
	if s.cfg.RelayOnly {
		s.publishByRelay(p)
		return nil
	}
	s.deliver(p)
	return nil
}

// publishTo passes a frame to one occupant as it is.
func (s *step) publishTo(user protocol.UserID, frame []byte) error {
	o := s.occupants[user]
	if o == nil {
		return protocol.Errorf(protocol.CodeNotInRoom, "user %d is not in room %q", user, s.id)
	}
	if !o.online() {
		return nil
	}
	s.res.Reply.Delivered = 1
	s.res.Notices = append(s.res.Notices, Notice{
		Notice: protocol.Notice{User: o.user, Conn: o.conn, Room: s.id, Frame: frame},
		Edge:   o.edge,
	})
	return nil
}

// publishByRelay gives a publication to one occupant, who passes it on. Without
// anybody online it stays in the history.
func (s *step) publishByRelay(p protocol.Publication) {
	_, relay, ok := s.relays.min()
	if !ok {
		s.res.Reply.Delivered = 0
		s.record(p.Frame)
		return
	}
	p.Only = relay.user
	s.res.Reply.Delivered = 1
	s.deliver(p)
}

// tellEntered sends the seed's enter_room to the others.
func (s *step) tellEntered(o *occupant) {
	if s.id.IsCall() {
		return
	}
	s.tell(protocol.AppendEnterRoom(nil, protocol.EnterRoom{
		User: o.user, Profile: o.profile, ChannelName: s.channelName(o),
	}), o.user)
}

// enteredFrame is the newcomer's own frame: the room as it is, before anything
// is numbered that the newcomer gets. Calls have none.
func (s *step) enteredFrame(o *occupant) []byte {
	if s.id.IsCall() || o.edge == "" {
		return nil
	}
	return protocol.AppendEntered(nil, protocol.Entered{
		Room: s.id, Epoch: s.epoch, Seq: s.seq, Rev: s.rev,
		Count: len(s.occupants), Seats: s.seatViews(),
	})
}

// tellOwnEntry tells an occupant who has entered again that it is in. The frame
// goes the way of the publications, since those before its number may still be
// on theirs.
func (s *step) tellOwnEntry(o *occupant) {
	if frame := s.enteredFrame(o); frame != nil && o.online() {
		s.res.Publications = append(s.res.Publications, protocol.Publication{
			Room: s.id, Epoch: s.epoch, Frame: frame, Only: o.user, V2: true,
		})
	}
}
