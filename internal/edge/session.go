package edge

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

// session is one connection of one user, from its first frame until nothing
// has to be told about its end. It is kept small: an edge holds very many.
type session struct {
	outbox.Conn

	// set before the session is registered
	edge   *Edge
	user   protocol.UserID
	conn   protocol.ConnNumber
	since  time.Time
	ip     netip.Addr
	secret secret
	sid    [16]byte
	may    permissions
	v2     bool

	// owned by the reader
	rate, faults bucket
	stamp        int64         // the first frame's timestamp, 0 before it
	stamped      time.Duration // when it came, by the edge's clock

	// lastSeen is when the last valid frame came, by the edge's clock.
	lastSeen atomic.Int64

	// guarded by mu
	mu         sync.Mutex
	fate       fate
	reason     string // why it was lost
	told       bool   // owners were told without the store
	gone       bool   // out of all rooms for good
	version    protocol.Version
	room, call protocol.RoomID
	// recorded is the version of the user's record when the connection was made.
	// What an owner has of another place and is no newer was over by then.
	recorded protocol.Version
	// saidRoom and saidCall are the latest versions that an owner spoke of; what
	// is older and comes later is of an owner that has fallen behind.
	saidRoom, saidCall protocol.Version
	subscriptions      []*subscription
	departures         []departure
	tasks              []task
	working            bool // a goroutine works through tasks
}

// fate is what a connection's end means for its user. Only the first counts.
type fate uint8

const (
	// fateNone: the connection is open.
	fateNone fate = iota
	// fateLost: the user has no connection any more, and the store is told
	// after the grace.
	fateLost
	// fateKicked: likewise, without a grace.
	fateKicked
	// fateSlow: likewise; the client read too slowly and was closed for it. Its
	// user has until it would count as silent to come back.
	fateSlow
	// fateSuperseded: the user has a newer one. Nothing is told.
	fateSuperseded
	// fateSent: the node sent the client away; the user has the crash grace to
	// come back. Nothing is told.
	fateSent
)

// lost reports whether the store has to be told.
func (f fate) lost() bool { return f == fateLost || f == fateKicked || f == fateSlow }

// secret holds the strings that only one client and this edge know, in one
// allocation.
type secret string

const secretPart = 32

func (s secret) token() string   { return string(s[:secretPart]) }
func (s secret) signKey() string { return string(s[secretPart : 2*secretPart]) }
func (s secret) connect() string { return string(s[2*secretPart:]) }

func newSecret() secret {
	var b [3 * secretPart / 2]byte
	rand.Read(b[:])
	return secret(hex.EncodeToString(b[:]))
}

// newSession returns a session that has no socket and no user yet.
func newSession(e *Edge, sid string) *session {
	s := &session{edge: e, secret: newSecret()}
	sum := sha256.Sum256([]byte(sid))
	copy(s.sid[:], sum[:])
	return s
}

// departure is one that was put to the connection and not reported yet.
type departure struct {
	id      protocol.DepartureID
	room    protocol.RoomID
	subject protocol.UserID
}

// maxDepartures bounds what a session remembers of departures. Owners stop
// asking a relay well before; over the bound the oldest is forgotten and then
// goes to somebody else.
const maxDepartures = 64

// end decides what the connection's end means and closes it with code. It
// reports false when that was decided before.
func (s *session) end(f fate, reason string, code protocol.CloseCode) bool {
	if !s.decide(f, reason) {
		return false
	}
	s.edge.metrics.closed(code.Reason())
	s.CloseWith(code)
	return true
}

// decide settles the connection's fate without closing it.
func (s *session) decide(f fate, reason string) bool {
	s.mu.Lock()
	if s.fate != fateNone {
		s.mu.Unlock()
		return false
	}
	s.fate, s.reason = f, reason
	s.mu.Unlock()
	switch f {
	case fateLost:
		s.edge.note(s, "closed", "", reason)
		s.edge.losses.add(s, s.edge.cfg.LossGrace)
	case fateSlow:
		s.edge.note(s, "closed", "", reason)
		silent := time.Duration(s.lastSeen.Load()) + s.edge.cfg.HeartbeatTimeout - s.edge.now()
		s.edge.losses.add(s, max(s.edge.cfg.LossGrace, silent))
	case fateKicked:
		s.edge.note(s, "closed", "", reason)
		s.edge.losses.add(s, 0)
	case fateSuperseded:
		s.edge.note(s, "superseded", "", "")
	case fateSent:
		s.edge.note(s, "sent_away", "", reason)
	}
	return true
}

// current returns the connection's fate.
func (s *session) current() fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fate
}

// deliver sends one JSON frame that is never dropped.
func (s *session) deliver(frame []byte) bool {
	return s.Send(outbox.AppendText(nil, frame), 1, outbox.Kept)
}

// refuse answers a frame of the client's with an error frame.
func (s *session) refuse(action protocol.Action, room protocol.RoomID, code protocol.Code, message string) {
	s.deliver(protocol.AppendError(nil, action, room, code, message))
}

// isSID reports whether sid is the one that the connection was made with. Only
// a digest of it is kept: sids may be long.
func (s *session) isSID(sid []byte) bool {
	sum := sha256.Sum256(sid)
	return subtle.ConstantTimeCompare(sum[:len(s.sid)], s.sid[:]) == 1
}

// owe remembers that a departure was put to this connection.
func (s *session) owe(d departure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.departures, func(other departure) bool { return other.id == d.id }) {
		return
	}
	if len(s.departures) >= maxDepartures {
		s.departures = slices.Delete(s.departures, 0, 1)
		s.edge.metrics.departuresForgotten.Inc()
	}
	s.departures = append(s.departures, d)
}

// owes returns the departure that a report settles: the one it names, or the
// oldest of its user.
func (s *session) owes(f *protocol.ClientFrame) (departure, bool) {
	call := f.Action == protocol.ActionHangUpReport
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.departures, func(d departure) bool {
		if len(f.Departure) > 0 {
			return string(d.id) == string(f.Departure)
		}
		return d.subject == f.User && d.room.IsCall() == call
	})
	if i < 0 {
		return departure{}, false
	}
	return s.departures[i], true
}

// settle forgets a departure, and reports whether it was still owed.
func (s *session) settle(d departure) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.departures)
	s.departures = slices.DeleteFunc(s.departures, func(other departure) bool { return other.id == d.id })
	return len(s.departures) < n
}

// info returns the session as others see it.
func (s *session) info() SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SessionInfo{
		User: s.user, Conn: s.conn, Version: s.version, Room: s.room, Call: s.call, Since: s.since, V2: s.v2,
		Open: s.fate == fateNone,
	}
}

// place notes where the user is now, as the owner of id says.
func (s *session) place(id protocol.RoomID, v protocol.Version, in bool) {
	where, said := s.where(id)
	switch {
	case in && v >= *said:
		*where = id
	case !in && *where == id:
		*where = ""
	}
	*said = max(*said, v)
	s.version = max(s.version, v)
}

// where returns the place of a room's kind, and the latest version said of it.
// The caller holds mu.
func (s *session) where(id protocol.RoomID) (place *protocol.RoomID, said *protocol.Version) {
	if id.IsCall() {
		return &s.call, &s.saidCall
	}
	return &s.room, &s.saidRoom
}

// task is something that a client asked for and that takes a while.
type task func()

// maxTasks bounds what one client has asked for and not been answered. Reports
// that are owed come on top; departures bound them.
const maxTasks = 16

// do runs t after everything that the client asked for before. It reports
// false when too much is waiting; owed tasks always find room.
func (s *session) do(t task, owed bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !owed && len(s.tasks) >= maxTasks {
		return false
	}
	s.tasks = append(s.tasks, t)
	if !s.working {
		s.working = true
		s.edge.crew.start(s.work)
	}
	return true
}

// work runs the client's tasks in order and ends when there are none.
func (s *session) work() {
	for {
		s.mu.Lock()
		if len(s.tasks) == 0 {
			s.tasks, s.working = nil, false
			s.mu.Unlock()
			return
		}
		next := s.tasks[0]
		s.tasks = slices.Delete(s.tasks, 0, 1)
		s.mu.Unlock()
		next()
	}
}
