package node

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/protocol"
)

// Envelope codes of the clients' HTTP API (protocol-facts §2).
const (
	envelopeFailure = -1
	envelopeLogin   = -100
)

// newClientDoor is what clients see: end_point and the websocket.
func newClientDoor(l *life) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /api/websocket/end_point", &endPoint{
		life: l, pacer: newPacer(l.cfg.ConnectRate, l.cfg.CrashGrace/2, l.node.turns.pace), missing: l.inbox.Missing,
	})
	mux.Handle("GET /ws", l.edge)
	mux.Handle("GET /{$}", l.edge)
	return mux
}

// endPoint answers which node a client should connect to. With a room_id it
// reads nothing but memory.
type endPoint struct {
	life    *life
	pacer   *pacer
	missing func(protocol.Incarnation) bool
}

func (e *endPoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.RawQuery
	sid := param(query, "sid")
	if sid == "" {
		e.refuse(w, envelopeLogin, "sid is missing; log in first")
		return
	}
	if reason := e.badSignature(r.URL); reason != "" {
		e.refuse(w, envelopeFailure, reason)
		return
	}
	id, err := e.life.cfg.Auth.Authenticate(r.Context(), sid)
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		e.refuse(w, envelopeFailure, "the sid can't be verified now; try again")
		return
	case err != nil:
		e.refuse(w, envelopeLogin, "请登录")
		return
	}
	room := param(query, "room_id")
	if room != "" && !protocol.ValidName(room) {
		e.refuse(w, envelopeFailure, "room_id is not valid: use 1 to 64 of A-Z a-z 0-9 _ . -")
		return
	}
	e.answer(w, r.Context(), id.User, protocol.RoomID(room), failedAddresses(query))
}

// badSignature returns why the legacy parameter h is wrong, "" when it is right
// or not asked for.
func (e *endPoint) badSignature(u *url.URL) string {
	if e.life.cfg.SignMode != edge.SignMD5 && e.life.cfg.SignMode != edge.SignBoth {
		return ""
	}
	q := u.Query()
	h := q.Get("h")
	if h == "" || protocol.VerifyParams(q) {
		return ""
	}
	return "h does not match the parameters"
}

func (e *endPoint) answer(w http.ResponseWriter, ctx context.Context, user protocol.UserID, room protocol.RoomID, failed []string) {
	p, room, err := e.place(ctx, user, room)
	if err != nil {
		e.refuse(w, envelopeFailure, "where you are can't be known now; try again")
		return
	}
	t := e.life.members.table()
	owner, ok := t.owner(p)
	if !ok {
		e.refuse(w, envelopeFailure, "no node serves this room yet; try again")
		return
	}
	// Who could not be connected to is gone for this client, and who hears nothing
	// of what this node sends is for all: gossip and the lease take longer to say so.
	gone := func(inc protocol.Incarnation) bool {
		return slices.Contains(failed, e.life.clientAddress(t, inc)) || e.missing(inc)
	}
	to := e.life.clientAddress(t, e.life.reachable(t, p, e.life.edgeFor(t, room, owner), gone))
	b := make([]byte, 0, 192)
	b = append(b, `{"error_code":0,"error_reason":"","end_point":`...)
	b = strconv.AppendQuote(b, to)
	b = append(b, `,"ping_interval":`...)
	b = strconv.AppendInt(b, int64(e.life.cfg.PingInterval/time.Second), 10)
	if room != "" && !room.IsCall() {
		b = append(b, `,"room_id":`...)
		b = protocol.AppendRoomID(b, room)
	}
	b = append(b, `,"not_before_ms":`...)
	b = strconv.AppendInt(b, e.pacer.wait().Milliseconds(), 10)
	b = append(b, '}')
	writeJSON(w, b)
}

// place finds the partition whose owner the client should connect to: that of
// the room asked for, of the room or call the user is in, or the user's own.
func (e *endPoint) place(ctx context.Context, user protocol.UserID, room protocol.RoomID) (protocol.PartitionID, protocol.RoomID, error) {
	if room != "" {
		return e.life.partition(room), room, nil
	}
	if e.life.members.storeAway() {
		return e.life.userPartition(user), "", nil
	}
	record, err := e.life.user(ctx, user)
	if err != nil {
		if errors.Is(err, protocol.ErrStoreAway) {
			return e.life.userPartition(user), "", nil
		}
		return 0, "", err
	}
	switch {
	case record.Room != "":
		return e.life.partition(record.Room), record.Room, nil
	case record.Call != "":
		return e.life.partition(record.Call), record.Call, nil
	}
	return e.life.userPartition(user), "", nil
}

func (e *endPoint) refuse(w http.ResponseWriter, code int, reason string) {
	b := make([]byte, 0, 128)
	b = append(b, `{"error_code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"error_reason":`...)
	b = strconv.AppendQuote(b, reason)
	b = append(b, '}')
	writeJSON(w, b)
}

func writeJSON(w http.ResponseWriter, b []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	_, _ = w.Write(b) // a client that is gone needs no answer
}

var jsonType = []string{"application/json"}

// param returns the value of a query parameter without building a map.
func param(query, name string) string {
	for query != "" {
		var pair string
		if i := indexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			pair, query = query, ""
		}
		if len(pair) > len(name) && pair[len(name)] == '=' && pair[:len(name)] == name {
			value, err := url.QueryUnescape(pair[len(name)+1:])
			if err != nil {
				return ""
			}
			return value
		}
	}
	return ""
}

// maxFailed bounds the failed addresses that a client is listened to about.
const maxFailed = 4

// failedAddresses returns the addresses that a client says it could not connect
// to just now.
func failedAddresses(query string) (failed []string) {
	const name = "failed="
	for query != "" && len(failed) < maxFailed {
		pair, rest, _ := strings.Cut(query, "&")
		query = rest
		if !strings.HasPrefix(pair, name) {
			continue
		}
		if value, err := url.QueryUnescape(pair[len(name):]); err == nil {
			failed = append(failed, value)
		}
	}
	return failed
}

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// pacer spreads a storm of clients: each is given the next free moment at a
// fixed rate or, where a client takes longer, at that pace, never further away
// than a limit.
type pacer struct {
	gap   time.Duration
	pace  func() time.Duration // what a client takes now
	limit time.Duration
	born  time.Time
	next  atomic.Int64
}

// calmWait is the wait below which a client is told to come at once.
const calmWait = 100 * time.Millisecond

func newPacer(perSecond int, limit time.Duration, pace func() time.Duration) *pacer {
	return &pacer{gap: time.Second / time.Duration(perSecond), pace: pace, limit: limit, born: time.Now()}
}

func (p *pacer) wait() time.Duration {
	gap := int64(max(p.gap, p.pace()))
	now := int64(time.Since(p.born))
	for {
		next := p.next.Load()
		at := min(max(next, now)+gap, now+int64(p.limit))
		if p.next.CompareAndSwap(next, at) {
			if wait := time.Duration(at - now); wait >= calmWait {
				return wait
			}
			return 0
		}
	}
}
