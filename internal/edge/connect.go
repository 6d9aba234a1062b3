package edge

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// authTimeout bounds the judging of one sid, connectTimeout one attempt to
	// reach the user's record.
	authTimeout    = 5 * time.Second
	connectTimeout = 5 * time.Second
	// connectPause is how long a socket waits between two attempts.
	connectPause = 250 * time.Millisecond
	// presentTimeout is how long an owner is told of a new connection before
	// it is left to find out by its attach.
	presentTimeout = 20 * time.Second
	presentPause   = 200 * time.Millisecond
)

var (
	errFlapping = errors.New("connections of the user supersede each other too often")
	errHeldFull = errors.New("too many sockets wait for their user's record")
	errHeldLong = errors.New("the user's record could not be read in time")
)

// accept judges the sid, upgrades the request and starts the connection's
// reader. It reports false when there is no connection that will count itself
// out.
func (e *Edge) accept(w http.ResponseWriter, r *http.Request, addr netip.Addr) bool {
	query := r.URL.Query()
	sid := query.Get("sid")
	ctx, cancel := e.within(authTimeout)
	identity, err := e.cfg.Auth.Authenticate(ctx, sid)
	cancel()
	if err != nil && !errors.Is(err, auth.ErrUnknown) {
		e.metrics.refused("auth_unavailable")
		unavailable(w)
		return false
	}
	s := newSession(e, sid)
	s.ip, s.v2 = addr, query.Get("v") == "2"
	hijack := &hijacker{ResponseWriter: w, session: s, fanout: e.fanout}
	socket, upgradeErr := e.upgrader.Upgrade(hijack, r)
	if upgradeErr != nil {
		e.metrics.refused("handshake")
		if hijack.done {
			e.discard(s)
		}
		return hijack.done
	}
	if err != nil {
		e.metrics.refused("unknown_user")
		s.deliver(protocol.AppendCreateTokenError(nil, s.secret.token(), protocol.ReasonUnknownUser))
		e.turnAway(s, protocol.CloseUnauthenticated)
		return true
	}
	s.user, s.may = identity.User, permit(identity.May)
	e.begin(s, socket)
	return true
}

// hijacker hands the websocket library the session instead of the socket, so
// that all writing goes through it from the handshake's answer on.
type hijacker struct {
	http.ResponseWriter
	session *session
	fanout  *outbox.Fanout
	done    bool
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// What a hasty client has sent already was read by the HTTP server.
	var head []byte
	if n := rw.Reader.Buffered(); n > 0 {
		head = make([]byte, n)
		if _, err := rw.Read(head); err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
	}
	h.session.Init(h.fanout, conn, head)
	h.done = true
	return h.session, rw, nil
}

// begin makes s the user's connection and starts its reader.
func (e *Edge) begin(s *session, socket *gws.Conn) {
	record, err := e.register(s)
	switch {
	case errors.Is(err, errFlapping):
		e.metrics.refused("flapping")
		e.turnAway(s, protocol.CloseSuperseded)
		return
	case err != nil:
		e.metrics.refused("held")
		e.cfg.Logger.Debug("connection turned away", "user", s.user, "err", err)
		s.deliver(protocol.AppendDrain(nil, e.cfg.HoldTimeout))
		e.turnAway(s, protocol.CloseOverloaded)
		return
	}
	for _, id := range [...]protocol.RoomID{record.Room, record.Call} {
		if id != "" {
			e.present(s, id, record.Version)
		}
	}
	if e.crew.enter() {
		s.Attend(func() { e.read(s, socket) })
	}
	if !e.door.isOpen() {
		// The door was shut while this one came in: whoever shut it may not
		// have seen it.
		s.sendAway(protocol.AppendDrain(nil, retryAfter))
	}
}

// turnAway closes a connection that never became its user's.
func (e *Edge) turnAway(s *session, code protocol.CloseCode) {
	e.metrics.closed(code.Reason())
	s.CloseWith(code)
	e.discard(s)
}

// discard sees a connection off that has no reader.
func (e *Edge) discard(s *session) {
	e.crew.start(func() {
		s.Discard()
		e.door.leave(s.ip)
	})
}

// register gets the connection its number, tells the client where its user is,
// and makes the session findable. Whoever is superseded by it is closed.
func (e *Edge) register(s *session) (protocol.UserRecord, error) {
	if !e.registry.arrive(s.user, e.now()) {
		return protocol.UserRecord{}, errFlapping
	}
	connected, err := e.connect(s)
	if err != nil {
		e.registry.abandon(s.user)
		return protocol.UserRecord{}, err
	}
	record := connected.Record
	s.conn, s.since = record.Conn, record.Since
	s.recorded, s.room, s.call = record.Version, record.Room, record.Call
	s.version = s.recorded
	token := protocol.CreateToken{
		OnlineToken: s.secret.token(), PingInterval: e.cfg.PingInterval, HeartbeatTimeout: e.cfg.HeartbeatTimeout,
		PlaceKnown: true, Room: record.Room, Call: record.Call,
	}
	if e.cfg.SignMode.hands() {
		token.SignKey = s.secret.signKey()
	}
	s.deliver(protocol.AppendCreateToken(nil, token))
	now := e.now()
	s.lastSeen.Store(int64(now))
	former, subs, ok := e.registry.add(s, connected.FormerConn != 0, now)
	e.note(s, "connected", "", "")
	if former != nil {
		e.supersede(former)
	}
	switch {
	case !ok:
		s.end(fateSuperseded, "", protocol.CloseSuperseded)
	case connected.FormerConn != 0 && connected.FormerEdge != e.cfg.Incarnation:
		e.cfg.Owners.Supersede(connected.FormerEdge, s.user, s.conn)
	}
	e.wheel.add(s, now+e.cfg.HeartbeatTimeout)
	if refused := e.Subscribe(subs); len(refused) > 0 {
		e.cfg.Owners.Orphaned(refused)
	}
	return record, nil
}

// supersede closes a session whose user has a newer connection. Nothing is told
// of its end.
func (e *Edge) supersede(s *session) {
	s.end(fateSuperseded, "", protocol.CloseSuperseded)
	e.leaveAll(s)
}

// connect asks the store until it answers. Meanwhile the socket is held; both
// how many are and how long is bounded. An attempt whose outcome is not known
// is repeated with the same token, which gets the same answer.
func (e *Edge) connect(s *session) (protocol.Connected, error) {
	ctx, cancel := e.within(e.cfg.HoldTimeout)
	defer cancel()
	if !e.gate.enter() {
		return protocol.Connected{}, errHeldFull
	}
	defer e.gate.leave()
	for {
		if !e.gate.wait(ctx) {
			return protocol.Connected{}, errHeldLong
		}
		if e.losses.paid(ctx, s.user) {
			connected, err := e.connectOnce(ctx, s)
			if err == nil || !errors.Is(err, protocol.ErrStoreAway) && ctx.Err() == nil {
				return connected, err
			}
		}
		select {
		case <-ctx.Done():
			return protocol.Connected{}, errHeldLong
		case <-time.After(connectPause):
		}
	}
}

func (e *Edge) connectOnce(ctx context.Context, s *session) (protocol.Connected, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return e.cfg.Users.Connect(ctx, protocol.Connect{
		Partition: e.cfg.Partition(s.user), User: s.user, Edge: e.cfg.Incarnation, Token: s.secret.connect(),
	})
}

// present tells the owner of a place of the user's that the user is connected
// here. The owner answers with a subscription.
func (e *Edge) present(s *session, id protocol.RoomID, version protocol.Version) {
	s.do(func() {
		ctx, cancel := e.within(presentTimeout)
		defer cancel()
		for s.current() == fateNone {
			reply := e.cfg.Owners.Do(ctx, protocol.Command{
				Verb: protocol.VerbPresent, Room: id, User: s.user, Version: version, Conn: s.conn, Edge: e.cfg.Incarnation,
			})
			if !transient(reply.Code) {
				return
			}
			select {
			case <-ctx.Done():
				e.metrics.presentsLost.Inc()
				return
			case <-time.After(presentPause):
			}
		}
	}, true)
}

// transient reports whether asking again may help.
func transient(code protocol.Code) bool {
	switch code {
	case protocol.CodeUnavailable, protocol.CodeBusy, protocol.CodeMoved:
		return true
	default:
		return false
	}
}
