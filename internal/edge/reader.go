package edge

import (
	"runtime/debug"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// readBuffer is what the websocket library keeps for each connection to read
	// into, the least that there is: the session has read ahead already, into
	// memory that it holds only while it has something.
	readBuffer = 16
	// A client may be at fault faultDepth times at once, and then once every
	// faultPrice; beyond that it is closed as abusive.
	faultPrice = 3 * time.Second
	faultDepth = 20 * faultPrice
	// maxMessage is the size of a message that costs its connection. A frame above
	// protocol.MaxClientFrame is refused.
	maxMessage = 4 * protocol.MaxClientFrame
	// rateBurst is for how many seconds' worth of frames a client may be early.
	rateBurst = 2 * time.Second
	// maxDrift is how far a client's clock may run away from ours within one
	// connection. Its own time does not matter.
	maxDrift = 60 * time.Second
)

// read runs the connection's reader until the socket is gone, and then sees to
// its user. It ends and is called anew whenever the client says nothing for a
// while, see outbox.Conn.Attend.
func (e *Edge) read(s *session, socket *gws.Conn) {
	e.readLoop(s, socket)
	switch s.Cause() {
	case outbox.CauseSlow:
		s.decide(fateSlow, protocol.CloseSlow.Reason())
	default:
		s.decide(fateLost, "closed")
	}
	s.Discard()
	e.door.leave(s.ip)
	if !s.current().lost() {
		e.forget(s)
	}
	e.crew.leave()
}

// readLoop returns when the socket is gone. A panic, which a hostile frame can
// cause in the websocket library, costs this connection and nothing else.
func (e *Edge) readLoop(s *session, socket *gws.Conn) {
	defer func() {
		if cause := recover(); cause != nil {
			e.metrics.panics.Inc()
			e.cfg.Logger.Warn("reader panicked", "user", s.user, "conn", s.conn, "cause", cause, "stack", string(debug.Stack()))
			s.Abort()
		}
	}()
	socket.ReadLoop()
}

// handler takes the websocket library's callbacks.
type handler struct{ gws.BuiltinEventHandler }

func (handler) OnPing(socket *gws.Conn, payload []byte) {
	s := socket.NetConn().(*session)
	if s.allow(s.edge.now()) {
		// An error means that the connection is closing.
		_ = socket.WritePong(payload)
	}
}

func (handler) OnPong(socket *gws.Conn, _ []byte) {
	s := socket.NetConn().(*session)
	s.allow(s.edge.now())
}

func (handler) OnMessage(socket *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }() // gives the buffer back; there is no error to have
	s := socket.NetConn().(*session)
	if s.current() != fateNone {
		return
	}
	now := s.edge.now()
	if m.Opcode != gws.OpcodeText {
		s.fault(now, "binary")
		return
	}
	s.hear(m.Bytes(), now)
}

// noStorage is the websocket library's place for what we keep in the session.
type noStorage struct{}

func (noStorage) Len() int                           { return 0 }
func (noStorage) Load(string) (any, bool)            { return nil, false }
func (noStorage) Delete(string)                      {}
func (noStorage) Store(string, any)                  {}
func (noStorage) Range(func(key string, v any) bool) {}

// hear takes one frame. Only a good one shows that the client is there.
//
// Hot: once for each frame of a client (BenchmarkHeartbeat).
func (s *session) hear(raw []byte, now time.Duration) {
	f, err := protocol.ParseClientFrame(raw)
	if err != nil {
		s.fault(now, "malformed")
		if e, ok := asProtocol(err); ok && e.Code == protocol.CodeTooLarge {
			s.refuse("", "", e.Code, e.Message)
		}
		return
	}
	if why := s.suspect(&f, now); why != "" {
		s.fault(now, why)
		return
	}
	report := f.Action == protocol.ActionExitRoomReport || f.Action == protocol.ActionHangUpReport
	if report {
		if d, owed := s.owes(&f); owed {
			s.lastSeen.Store(int64(now))
			s.report(d)
			return
		}
	}
	if !s.allow(now) {
		if f.Action.Privileged() || f.Action == protocol.ActionSync {
			s.refuse(f.Action, protocol.RoomID(f.Room), protocol.CodeRateLimited, "too many frames; send fewer")
		}
		return
	}
	s.lastSeen.Store(int64(now))
	s.edge.metrics.frames.Inc()
	s.act(&f)
}

// suspect returns what is wrong with a frame's proof that it belongs to this
// connection, "" for nothing. It changes nothing for a frame that fails.
func (s *session) suspect(f *protocol.ClientFrame, now time.Duration) string {
	mode := s.edge.cfg.SignMode
	if mode == SignOff {
		if len(f.Token) > 0 && !equal(f.Token, s.secret.token()) {
			return "token"
		}
		return ""
	}
	switch {
	case !equal(f.Token, s.secret.token()):
		return "token"
	case !s.isSID(f.SID):
		return "sid"
	case !s.signed(mode, f):
		return "sign"
	case !s.timely(f.Timestamp, now):
		return "timestamp"
	}
	return ""
}

func (s *session) signed(mode SignMode, f *protocol.ClientFrame) bool {
	v := &s.edge.verifier
	switch mode {
	case SignHMAC:
		return v.HMAC(f, s.secret.signKey())
	case SignMD5:
		return v.MD5(f)
	default:
		return v.HMAC(f, s.secret.signKey()) || v.MD5(f)
	}
}

// timely holds a timestamp against that of the connection's first good frame:
// both clocks must have gone on by about as much.
func (s *session) timely(stamp int64, now time.Duration) bool {
	if stamp <= 0 {
		return false
	}
	if s.stamp == 0 {
		s.stamp, s.stamped = stamp, now
		return true
	}
	const seconds = int64(maxDrift / time.Second)
	drift := stamp - s.stamp - int64((now-s.stamped)/time.Second)
	return -seconds <= drift && drift <= seconds
}

// allow counts a frame against the client's rate; one too many is a fault.
func (s *session) allow(now time.Duration) bool {
	if s.rate.take(now, s.edge.framePrice, rateBurst) {
		return true
	}
	s.fault(now, "rate")
	return false
}

// fault counts a frame that has no effect. Too many close the connection.
func (s *session) fault(now time.Duration, why string) {
	s.edge.metrics.rejected.WithLabelValues(why).Inc()
	if !s.faults.take(now, faultPrice, faultDepth) {
		s.end(fateLost, protocol.CloseAbusive.Reason(), protocol.CloseAbusive)
	}
}
