package edge

import (
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Notify delivers one frame to one connection. It does not block.
func (e *Edge) Notify(n protocol.Notice) protocol.NoticeOutcome {
	s := e.registry.session(n.User)
	if s == nil || n.Conn != 0 && s.conn != n.Conn || s.current() != fateNone {
		return protocol.NoticeGone
	}
	if n.Departure != "" {
		if n.Room.IsCall() && s.inOtherCall(n.Room) {
			return protocol.NoticeElsewhere
		}
		s.owe(departure{id: n.Departure, room: n.Room, subject: n.Subject})
	}
	delivered := len(n.Frame) == 0 || s.deliver(n.Frame)
	if !delivered {
		return protocol.NoticeGone
	}
	if n.Departure != "" {
		e.note(s, "departure_asked", n.Room, string(n.Departure))
	}
	if n.Kick {
		s.end(fateKicked, protocol.CloseKicked.Reason(), protocol.CloseKicked)
	}
	return protocol.NoticeDelivered
}

func (s *session) inOtherCall(call protocol.RoomID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.call != "" && s.call != call
}

// Kick closes the user's connection, which is a loss with this reason. It
// reports whether there was one.
func (e *Edge) Kick(user protocol.UserID, reason string) bool {
	s := e.registry.session(user)
	if reason == "" {
		reason = protocol.CloseKicked.Reason()
	}
	return s != nil && s.end(fateKicked, reason, protocol.CloseKicked)
}

// Superseded closes the user's connection if it is older than conn, which
// another edge holds. Nothing is told of its end.
func (e *Edge) Superseded(user protocol.UserID, conn protocol.ConnNumber) {
	if s := e.registry.superseded(user, conn, e.now()); s != nil {
		e.supersede(s)
	}
}

// SessionInfo is what an edge knows of a user's connection.
type SessionInfo struct {
	User    protocol.UserID
	Conn    protocol.ConnNumber
	Version protocol.Version
	Room    protocol.RoomID
	Call    protocol.RoomID
	// Since is the store's time from which the user is online.
	Since time.Time
	V2    bool
	// Open is false for a connection that is gone, and of whose loss the store
	// has not heard yet.
	Open bool
}

// Sessions calls yield for every user whose record says that this edge has the
// connection: for s := range e.Sessions. Connections that are gone and of whose
// loss the store has not heard are among them: a store that is restored with
// them can be told.
func (e *Edge) Sessions(yield func(SessionInfo) bool) {
	for s := range e.registry.all {
		if f := s.current(); f != fateNone && !f.lost() {
			continue
		}
		if !yield(s.info()) {
			return
		}
	}
}

// Holds reports whether the user's connection of this number is open here, and
// whether one is being made. The store has the number of one that is being made
// before this edge has.
func (e *Edge) Holds(user protocol.UserID, conn protocol.ConnNumber) (here, arriving bool) {
	return e.registry.holds(user, conn)
}

// Session returns one user's, and false if it has none that is open.
func (e *Edge) Session(user protocol.UserID) (SessionInfo, bool) {
	s := e.registry.session(user)
	if s == nil {
		return SessionInfo{}, false
	}
	info := s.info()
	return info, info.Open
}
