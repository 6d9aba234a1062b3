package edge

import (
	"context"
	"crypto/subtle"
	"slices"
	"time"

	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// commandTimeout bounds what one frame of a client sets going.
	commandTimeout = 5 * time.Second
	// reportTries is how often a report is passed on while its owner can't be
	// reached. After that it stays owed, and the client is asked again.
	reportTries = 5
	reportPause = 300 * time.Millisecond
)

// permissions are the privileged actions that a sid allows, one bit each.
type permissions uint16

// privileged lists what a sid may allow. Its order is of no meaning outside of
// this process.
var privileged = [...]protocol.Action{
	protocol.ActionEnterRoom, protocol.ActionExitRoom, protocol.ActionUp, protocol.ActionDown,
	protocol.ActionSendTopicMsg, protocol.ActionSendGift, protocol.ActionCall, protocol.ActionHangUp,
}

// permit turns a sid's list into permissions; "*" is all.
func permit(may []string) permissions {
	var p permissions
	for i, action := range privileged {
		if slices.Contains(may, string(action)) || slices.Contains(may, "*") {
			p |= 1 << i
		}
	}
	return p
}

func (p permissions) allow(action protocol.Action) bool {
	i := slices.Index(privileged[:], action)
	return i >= 0 && p&(1<<i) != 0
}

// equal compares a secret without telling how much of it is right.
func equal(given []byte, secret string) bool {
	return subtle.ConstantTimeCompare(given, []byte(secret)) == 1
}

// act does what a good frame asks for. Pings, receipts and unknown actions ask
// for nothing, and neither do reports that nobody is owed.
func (s *session) act(f *protocol.ClientFrame) {
	switch {
	case f.Action == protocol.ActionSync:
		s.sync(f)
	case f.Action.Privileged():
		s.request(f)
	}
}

// report passes on that the client has told a room of a departure.
func (s *session) report(d departure) {
	if !s.settle(d) {
		return
	}
	e := s.edge
	cmd := protocol.Command{Verb: protocol.VerbReport, Room: d.room, User: s.user, Subject: d.subject, Departure: d.id, Conn: s.conn}
	s.do(func() {
		for range reportTries {
			ctx, cancel := e.within(commandTimeout)
			reply := e.cfg.Owners.Do(ctx, cmd)
			cancel()
			if !transient(reply.Code) {
				return
			}
			if !e.pause(reportPause) {
				return
			}
		}
		e.metrics.reportsLost.Inc()
		s.owe(d)
	}, true)
}

// sync answers with what the client has missed of a room that it is in.
func (s *session) sync(f *protocol.ClientFrame) {
	id, in, soon := s.subscribed(protocol.RoomID(f.Room))
	switch {
	case in:
	case soon:
		s.refuse(f.Action, id, protocol.CodeUnavailable, "sync: the room has not let this connection in yet; ask again")
		return
	default:
		s.refuse(f.Action, id, protocol.CodeNotInRoom, "sync: you are not in this room")
		return
	}
	at := place{room: id, after: track{epoch: f.Epoch, seq: f.Seq}}
	s.ask(f.Action, id, func(ctx context.Context) error {
		answer, frames, err := s.edge.missedBy(ctx, s.user, at)
		if err != nil {
			return err
		}
		// It may have been asked on behalf of all who are here.
		if _, in, _ := s.subscribed(id); !in {
			return protocol.Errorf(protocol.CodeNotInRoom, "sync: you are not in this room any more")
		}
		s.Send(answer, frames, outbox.Kept)
		return nil
	})
}

// subscribed reports whether the session is subscribed to a room, or will be
// soon because its user is in it. The id that it returns is the room's.
func (s *session) subscribed(room protocol.RoomID) (id protocol.RoomID, in, soon bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, own := range s.subscriptions {
		if own.room == room {
			return own.room, true, false
		}
	}
	place, _ := s.where(room)
	return room, false, *place == room
}

// ask runs a request of the client's in its turn, and tells the client what
// went wrong.
func (s *session) ask(action protocol.Action, room protocol.RoomID, request func(context.Context) error) {
	queued := s.do(func() {
		ctx, cancel := s.edge.within(commandTimeout)
		defer cancel()
		if err := request(ctx); err != nil {
			s.refuseError(action, room, err)
		}
	}, false)
	if !queued {
		s.refuse(action, room, protocol.CodeBusy, "too much is under way; wait for an answer")
	}
}

// refuseError tells the client an error's code; the text of an unexpected one
// stays here.
func (s *session) refuseError(action protocol.Action, room protocol.RoomID, err error) {
	if e, ok := asProtocol(err); ok {
		s.refuse(action, room, e.Code, e.Message)
		return
	}
	s.edge.cfg.Logger.Error("client's request failed", "user", s.user, "err", err)
	s.refuse(action, room, protocol.CodeInternal, "something went wrong here")
}

// request does what only some clients may ask for.
func (s *session) request(f *protocol.ClientFrame) {
	room := protocol.RoomID(f.Room)
	if !s.may.allow(f.Action) {
		s.refuse(f.Action, room, protocol.CodeForbidden, "your sid does not allow "+string(f.Action))
		return
	}
	if room == "" {
		s.refuse(f.Action, "", protocol.CodeBadRequest, string(f.Action)+": room_id is missing or no valid name")
		return
	}
	run, err := s.translate(f)
	if err != nil {
		s.refuseError(f.Action, room, err)
		return
	}
	s.ask(f.Action, room, func(ctx context.Context) error { return run(ctx).Err() })
}

// translate makes a frame into what is to be done for it. The result keeps
// nothing of the frame.
func (s *session) translate(f *protocol.ClientFrame) (func(context.Context) protocol.Reply, error) {
	id, mover := protocol.RoomID(f.Room), s.edge.cfg.Mover
	call := protocol.CallRoom(string(f.Room))
	switch f.Action {
	case protocol.ActionEnterRoom:
		profile, err := profileOf(f)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) protocol.Reply { return mover.Enter(ctx, s.user, id, profile) }, nil
	case protocol.ActionExitRoom:
		return func(ctx context.Context) protocol.Reply { return mover.Exit(ctx, s.user, id) }, nil
	case protocol.ActionCall:
		receiver, ok := f.Field("receiver_id").Int()
		if !ok || receiver <= 0 {
			return nil, protocol.Errorf(protocol.CodeBadRequest, "call: receiver_id is missing or no user id")
		}
		if protocol.UserID(receiver) == s.user {
			return nil, protocol.Errorf(protocol.CodeBadRequest, "call: receiver_id is your own")
		}
		return func(ctx context.Context) protocol.Reply {
			return mover.StartCall(ctx, call, s.user, protocol.UserID(receiver))
		}, nil
	case protocol.ActionHangUp:
		return func(ctx context.Context) protocol.Reply { return mover.EndCall(ctx, call, s.user) }, nil
	case protocol.ActionUp, protocol.ActionDown:
		return s.seat(f, id)
	default:
		return s.publication(f, id)
	}
}

// profileOf reads what an entering client says of itself.
func profileOf(f *protocol.ClientFrame) (protocol.Profile, error) {
	var wrong error
	text := func(name string, most int) string {
		v := f.Field(name)
		t, ok := v.Text()
		switch {
		case v == nil || string(v) == "null":
			return ""
		case !ok:
			wrong = protocol.Errorf(protocol.CodeBadRequest, "enter_room: %s must be a string", name)
		case len(t) > most:
			wrong = protocol.Errorf(protocol.CodeBadRequest, "enter_room: %s must have at most %d bytes", name, most)
		}
		return t
	}
	p := protocol.Profile{
		Nickname:       text("nickname", protocol.MaxName),
		AvatarURL:      text("avatar_url", protocol.MaxAvatarURL),
		AvatarSmallURL: text("avatar_small_url", protocol.MaxAvatarURL),
		ChannelName:    text("channel_name", protocol.MaxName),
		Role:           "audience",
	}
	if sex := f.Field("sex"); sex != nil && string(sex) != "null" {
		n, ok := sex.Int()
		if !ok || n < 0 || n > protocol.MaxSex {
			wrong = protocol.Errorf(protocol.CodeBadRequest, "enter_room: sex must be a whole number from 0 to %d", protocol.MaxSex)
		}
		p.Sex = int(n)
	}
	if text("role", protocol.MaxName) == "host" {
		p.Role = "host"
	}
	return p, wrong
}

// seat translates up and down. A client moves itself only.
func (s *session) seat(f *protocol.ClientFrame, id protocol.RoomID) (func(context.Context) protocol.Reply, error) {
	number, ok := f.Field("currenr_room_seat_id").Int()
	if !ok {
		number, ok = f.Field("seat").Int()
	}
	up := f.Action == protocol.ActionUp
	if up && (!ok || number <= 0 || number > 1<<20) {
		return nil, protocol.Errorf(protocol.CodeBadRequest, "up: currenr_room_seat_id is missing or no seat's number")
	}
	cmd := protocol.Command{
		Verb: protocol.VerbSeat, Room: id, User: s.user, Seat: int(number), SeatChange: &protocol.SeatChange{Down: !up},
	}
	if up {
		cmd.SeatChange.Up = s.user
	}
	return func(ctx context.Context) protocol.Reply { return s.edge.cfg.Owners.Do(ctx, cmd) }, nil
}

// publication translates send_topic_msg and send_gift. The frame goes out in
// the sender's name, whatever it said, and without what only the sender and
// this edge may know. Whether the sender is in the room is for the owner to
// say: a backend may have put it there without this edge having heard of it.
func (s *session) publication(f *protocol.ClientFrame, id protocol.RoomID) (func(context.Context) protocol.Reply, error) {
	frame, err := protocol.AppendRelayed(nil, f, s.user)
	if err != nil {
		return nil, err
	}
	subject, err := protocol.Addressee(f.Object)
	if err != nil {
		return nil, err
	}
	cmd := protocol.Command{Verb: protocol.VerbPublish, Room: id, User: s.user, Subject: subject, Frame: frame}
	return func(ctx context.Context) protocol.Reply { return s.edge.cfg.Owners.Do(ctx, cmd) }, nil
}
