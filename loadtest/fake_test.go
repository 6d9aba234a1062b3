package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/protocol"
)

// TestMain lets the test binary be a worker, and a process to be killed.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "--worker":
		if err := serveWorker(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) > 1 && os.Args[1] == "serve":
		_, _ = io.Copy(io.Discard, os.Stdin)
	default:
		os.Exit(m.Run())
	}
}

// fake is a cluster of one node that keeps rooms in memory: without a grace, and
// with the faults that a test sets.
type fake struct {
	server *httptest.Server
	node   string

	mu     sync.Mutex
	rooms  map[string]map[int64]bool
	where  map[int64]string
	conns  map[int64]*gws.Conn
	calls  map[int64]int64 // the other party
	seq    map[string]int
	left   int
	posts  int
	ghosts bool // nobody is ever taken out of a roster
	lies   bool // the first message of a room comes with a departure of its sender
}

func newFake(t testing.TB) *fake {
	f := &fake{
		rooms: map[string]map[int64]bool{}, where: map[int64]string{}, conns: map[int64]*gws.Conn{}, calls: map[int64]int64{}, seq: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/websocket/end_point", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"error_code":0,"error_reason":"","end_point":"ws://%s","ping_interval":15,"not_before_ms":0}`, r.Host)
	})
	mux.HandleFunc("GET /{$}", f.connect)
	mux.HandleFunc("PUT /v1/rooms/{room}/occupants/{user}", f.enter)
	mux.HandleFunc("DELETE /v1/rooms/{room}/occupants/{user}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.takeOut(userID(r.PathValue("user")))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1/rooms/{room}", f.roster)
	mux.HandleFunc("DELETE /v1/rooms/{room}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.rooms, r.PathValue("room"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /v1/rooms/{room}/publish", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.posts++
		f.publish(r.PathValue("room"), body)
		_, _ = io.WriteString(w, `{"epoch":1,"seq":1,"delivered":1}`)
	})
	mux.HandleFunc("PUT /v1/calls/{no}", func(w http.ResponseWriter, r *http.Request) {
		var parties struct {
			Caller   int64 `json:"caller_id"`
			Receiver int64 `json:"receiver_id"`
		}
		_ = json.NewDecoder(r.Body).Decode(&parties)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls[parties.Caller], f.calls[parties.Receiver] = parties.Receiver, parties.Caller
		_, _ = io.WriteString(w, `{}`)
	})
	mux.HandleFunc("GET /v1/cluster", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"node":"x","members":[{"node":%q,"end_point":%q}]}`, f.node, f.endPoint())
	})
	f.server = httptest.NewServer(mux)
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) endPoint() string { return strings.Replace(f.server.URL, "http", "ws", 1) }

// dropAll cuts everybody off.
func (f *fake) dropAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.NetConn().Close()
	}
}

func userID(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func (f *fake) settings(scenario string, clients int) settings {
	set := settings{
		EndPoint: []string{f.server.URL}, API: []string{f.server.URL}, MNS: f.server.URL, Clients: clients, Rooms: 4, Scenario: scenario,
		Duration: 1e9, Size: 64, Via: "client", ConnectRate: 1000, Waves: 1, Setup: 20e9, FirstUser: 1000, SID: "%ds", Grace: 12e9, GhostTime: 20e9,
		Limits: limits{MaxP50: -1, MaxP99: -1, MaxP999: -1, MaxGhosts: 0, MaxMissing: 0, MaxFalseExits: 0, MaxLost: 0, MaxErrors: -1, MaxRecover: -1},
		Rate:   50, Settle: 200e6,
	}
	set.prepare()
	return set
}

// link is one user's websocket.
type link struct {
	gws.BuiltinEventHandler
	fake *fake
	user int64
}

func (f *fake) connect(w http.ResponseWriter, r *http.Request) {
	user, _, _ := strings.Cut(r.URL.Query().Get("sid"), "s")
	l := &link{fake: f, user: userID(user)}
	ws, err := gws.NewUpgrader(l, nil).Upgrade(w, r)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.conns[l.user] = ws
	room := f.where[l.user]
	f.mu.Unlock()
	if room == "" {
		room = "0"
	} else {
		room = strconv.Quote(room)
	}
	_ = ws.WriteString(`{"action":"create_token","online_token":"t","ping_interval":15,"heartbeat_timeout":20,"current_room_id":` + room + `,"call_no":""}`)
	go ws.ReadLoop()
}

func (l *link) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	frame, err := protocol.ParseClientFrame(m.Bytes())
	if err != nil || frame.Action != protocol.ActionSendTopicMsg {
		return
	}
	out, err := protocol.AppendRelayed(nil, &frame, protocol.UserID(l.user))
	if err != nil {
		return
	}
	l.fake.mu.Lock()
	defer l.fake.mu.Unlock()
	if l.fake.lies {
		l.fake.tell(l.user, "exit_room", "lie-"+strconv.FormatInt(l.user, 10))
	}
	l.fake.publish(string(frame.Room), out)
}

func (l *link) OnClose(ws *gws.Conn, _ error) {
	f := l.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns[l.user] != ws {
		return
	}
	delete(f.conns, l.user)
	f.left++
	id := fmt.Sprintf("d-%d", f.left)
	f.tell(l.user, "exit_room", id)
	f.takeOut(l.user)
	if other := f.calls[l.user]; other != 0 {
		delete(f.calls, other)
		delete(f.calls, l.user)
		if c := f.conns[other]; c != nil {
			_ = c.WriteString(fmt.Sprintf(`{"action":"hang_up","user_id":%d,"receiver_id":%d,"channel_name":"c","departure_id":"h%s"}`, l.user, other, id))
		}
	}
}

// tell tells one other in a user's room. The caller holds mu, as with all below.
func (f *fake) tell(user int64, action, id string) {
	for other := range f.rooms[f.where[user]] {
		if c := f.conns[other]; other != user && c != nil {
			_ = c.WriteString(fmt.Sprintf(`{"action":%q,"user_id":%d,"channel_name":"","room_seat":null,"departure_id":%q}`, action, user, id))
			return
		}
	}
}

func (f *fake) takeOut(user int64) {
	room := f.where[user]
	delete(f.where, user)
	if !f.ghosts {
		delete(f.rooms[room], user)
	}
}

func (f *fake) publish(room string, frame []byte) {
	f.seq[room]++
	out, err := protocol.Number(nil, frame, protocol.RoomID(room), 1, protocol.Seq(f.seq[room]))
	if err != nil {
		return
	}
	for user := range f.rooms[room] {
		if c := f.conns[user]; c != nil {
			_ = c.WriteMessage(gws.OpcodeText, out)
		}
	}
}

func (f *fake) enter(w http.ResponseWriter, r *http.Request) {
	var entry struct {
		Nickname string `json:"nickname"`
		Quiet    bool   `json:"quiet"`
	}
	_ = json.NewDecoder(r.Body).Decode(&entry)
	room, user := r.PathValue("room"), userID(r.PathValue("user"))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takeOut(user)
	if f.rooms[room] == nil {
		f.rooms[room] = map[int64]bool{}
	}
	if !entry.Quiet {
		f.publish(room, []byte(fmt.Sprintf(`{"action":"enter_room","user_id":%d,"nickname":%q}`, user, entry.Nickname)))
	}
	f.rooms[room][user] = true
	f.where[user] = room
	_, _ = fmt.Fprintf(w, `{"room_id":%q,"epoch":1,"seq":%d,"end_point":""}`, room, f.seq[room])
}

func (f *fake) roster(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	users, ok := f.rooms[r.PathValue("room")]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":"room_not_found","message":""}}`)
		return
	}
	view := protocol.RoomView{RoomID: r.PathValue("room")}
	for user := range users {
		view.Occupants = append(view.Occupants, protocol.OccupantView{UserID: protocol.UserID(user)})
	}
	_ = json.NewEncoder(w).Encode(view)
}
