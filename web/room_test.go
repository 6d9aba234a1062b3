package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/protocol"
)

const (
	signKey  = "k3y/with a slash"
	fakeRoom = protocol.RoomID("demo")
)

// room is a clients' door with one room behind it. It speaks the protocol with
// the real encoders, checks signatures with the real verifier, and knows just
// enough of rooms for the demo to play in it.
type room struct {
	gws.BuiltinEventHandler

	// set by newRoom
	address string

	// guarded by mu
	mu        sync.Mutex
	verifier  protocol.Verifier
	conns     map[*gws.Conn]protocol.UserID
	occupants []protocol.OccupantView
	seats     []protocol.SeatView
	seq       protocol.Seq
	losing    bool // publications are kept from everybody
	missed    [][]byte
	rev       uint64
	heard     []string // "user action", of good frames
	forged    []string // frames whose sign or token is wrong
	readers   sync.WaitGroup
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{conns: make(map[*gws.Conn]protocol.UserID)}
	for i := range 8 {
		r.seats = append(r.seats, protocol.SeatView{ID: i + 1, Status: 1, Microphone: true})
	}
	upgrader := gws.NewUpgrader(r, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		id, _, _ := strings.Cut(req.URL.Query().Get("sid"), "s")
		user, err := strconv.ParseInt(id, 10, 64)
		if err != nil || req.URL.Query().Get("v") != "2" {
			http.Error(w, "sid or v", http.StatusBadRequest)
			return
		}
		conn, err := upgrader.Upgrade(w, req)
		if err != nil {
			return
		}
		r.welcome(conn, protocol.UserID(user))
		r.readers.Go(conn.ReadLoop)
	}))
	r.address = "ws" + strings.TrimPrefix(server.URL, "http")
	t.Cleanup(func() {
		server.Close()
		r.closeAll(1001, "the test is over")
		r.readers.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, f := range r.forged {
			t.Errorf("a frame with a wrong sign or token: %s", f)
		}
	})
	return r
}

func (r *room) welcome(conn *gws.Conn, user protocol.UserID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[conn] = user
	token := protocol.CreateToken{
		OnlineToken: fmt.Sprintf("token-of-%d", user), PingInterval: time.Second, HeartbeatTimeout: 3 * time.Second, PlaceKnown: true, SignKey: signKey,
	}
	if r.find(user) >= 0 {
		token.Room = fakeRoom
	}
	_ = conn.WriteMessage(gws.OpcodeText, protocol.AppendCreateToken(nil, token)) // a connection that is gone is closed soon
}

// OnMessage implements gws.Event.
func (r *room) OnMessage(conn *gws.Conn, m *gws.Message) {
	raw := slices.Clone(m.Bytes())
	_ = m.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	user, here := r.conns[conn]
	if !here {
		return
	}
	f, err := protocol.ParseClientFrame(raw)
	if err != nil || !r.verifier.HMAC(&f, signKey) || string(f.Token) != fmt.Sprintf("token-of-%d", user) || f.Timestamp == 0 {
		r.forged = append(r.forged, fmt.Sprintf("%s (%v)", raw, err))
		return
	}
	r.heard = append(r.heard, fmt.Sprintf("%d %s", user, f.Action))
	switch f.Action {
	case protocol.ActionEnterRoom:
		r.enter(conn, user, f)
	case protocol.ActionUp:
		r.up(user, f)
	case protocol.ActionSendTopicMsg, protocol.ActionSendGift:
		relayed, err := protocol.AppendRelayed(nil, &f, user)
		if err != nil {
			r.forged = append(r.forged, err.Error())
			return
		}
		r.publish(relayed)
	case protocol.ActionSync:
		for _, frame := range r.missed {
			_ = conn.WriteMessage(gws.OpcodeText, frame)
		}
		_ = conn.WriteMessage(gws.OpcodeText, protocol.AppendSynced(nil, fakeRoom, 1, r.seq))
	}
}

func (r *room) enter(conn *gws.Conn, user protocol.UserID, f protocol.ClientFrame) {
	nickname, _ := f.Field("nickname").Text()
	role, _ := f.Field("role").Text()
	occupant := protocol.OccupantView{UserID: user, Profile: protocol.Profile{Nickname: nickname, Role: role}, Since: time.Now(), Online: true}
	r.occupants = append(r.occupants, occupant)
	_ = conn.WriteMessage(gws.OpcodeText, protocol.AppendEntered(nil, protocol.Entered{Room: fakeRoom, Epoch: 1, Seq: r.seq, Rev: r.rev, Count: len(r.occupants), Seats: r.seats}))
	r.publish(protocol.AppendEnterRoom(nil, protocol.EnterRoom{User: user, Profile: occupant.Profile}))
}

func (r *room) up(user protocol.UserID, f protocol.ClientFrame) {
	seat, _ := f.Field("currenr_room_seat_id").Int()
	at := r.find(user)
	if at < 0 || seat < 1 || int(seat) > len(r.seats) {
		return
	}
	r.seats[seat-1].UserID, r.occupants[at].Seat = user, int(seat)
	r.publish(protocol.AppendUp(nil, protocol.Up{User: user, Seat: int(seat), Profile: r.occupants[at].Profile}))
}

// OnClose implements gws.Event: the user is lost, one other is told.
func (r *room) OnClose(conn *gws.Conn, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	user, here := r.conns[conn]
	delete(r.conns, conn)
	at := r.find(user)
	if !here || at < 0 {
		return
	}
	exit := protocol.ExitRoom{User: user, Departure: protocol.DepartureID(fmt.Sprintf("departure-%d", user))}
	if seat := r.occupants[at].Seat; seat > 0 {
		exit.Seat = &protocol.SeatView{ID: seat, Status: 1, Microphone: true}
		r.seats[seat-1].UserID = 0
	}
	r.occupants = slices.Delete(r.occupants, at, at+1)
	r.rev++
	r.toAll(protocol.AppendPresence(nil, protocol.Presence{
		Room: fakeRoom, Epoch: 1, Rev: r.rev, Out: []protocol.PresenceOut{{User: user, Reason: "closed"}}, Count: len(r.occupants),
	}))
	for other, u := range r.conns {
		if len(r.occupants) > 0 && u == r.occupants[0].UserID {
			_ = other.WriteMessage(gws.OpcodeText, protocol.AppendExitRoom(nil, exit))
		}
	}
}

func (r *room) publish(frame []byte) {
	r.seq++
	numbered, err := protocol.Number(nil, frame, fakeRoom, 1, r.seq)
	if err != nil {
		panic(err)
	}
	if r.losing {
		r.missed = append(r.missed, numbered)
		return
	}
	r.toAll(numbered)
}

// lose keeps publications from everybody, or has the next ones arrive again.
func (r *room) lose(losing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.losing = losing
}

func (r *room) toAll(frame []byte) {
	for conn, user := range r.conns {
		if r.find(user) >= 0 {
			_ = conn.WriteMessage(gws.OpcodeText, frame)
		}
	}
}

func (r *room) find(user protocol.UserID) int {
	return slices.IndexFunc(r.occupants, func(o protocol.OccupantView) bool { return o.UserID == user })
}

// closeAll closes every connection and loses nobody, as a drain does.
func (r *room) closeAll(code uint16, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		delete(r.conns, conn)
		_ = conn.WriteClose(code, []byte(reason))
	}
}

// view is what the owner tells of a room.
func (r *room) view(id string) (protocol.RoomView, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if protocol.RoomID(id) != fakeRoom || len(r.occupants) == 0 {
		return protocol.RoomView{}, false
	}
	return protocol.RoomView{
		RoomID: id, Node: "n2", Epoch: 1, Seq: r.seq, Rev: r.rev, Count: len(r.occupants),
		Occupants: slices.Clone(r.occupants), Seats: slices.Clone(r.seats),
	}, true
}

// said reports how many good frames of an action came.
func (r *room) said(action protocol.Action) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, h := range r.heard {
		if strings.HasSuffix(h, " "+string(action)) {
			n++
		}
	}
	return n
}
