package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/internal/api"
	"github.com/faac1247/rollcall/protocol"
)

// operator is the admin door of a node that does what it is told: it serves
// the pages and answers what they ask.
type operator struct {
	// set by newOperator
	address string
	room    *room // the one room there is

	// guarded by mu
	mu      sync.Mutex
	members map[protocol.NodeID]api.Member
	agreed  bool
	broken  []string
	away    bool   // of the store
	silent  bool   // answers nothing
	key     string // wanted of who asks
	sidAuth string
	metrics map[string]float64
	streams map[chan string]bool
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	o := &operator{
		agreed: true, sidAuth: "dev", streams: make(map[chan string]bool), room: newRoom(t),
		members: make(map[protocol.NodeID]api.Member),
		metrics: map[string]float64{
			"rollcall_edge_connections":                    812,
			"rollcall_edge_deliveries_total":               1000,
			"rollcall_edge_refused_total{reason=\"full\"}": 7,
		},
	}
	for i, node := range []protocol.NodeID{"n1", "n2", "n3"} {
		o.members[node] = api.Member{
			Node: node, Incarnation: protocol.NewIncarnation(node, "boot"), State: "serving", Digest: "9f86d081884c7d65",
			EndPoint: o.room.address, Partitions: 1364 + i, Connections: 100 * i, Since: time.Now().Add(-time.Hour),
		}
	}
	server := httptest.NewServer(o.handler())
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	o.address = server.URL
	return o
}

// set changes what the operator's door tells.
func (o *operator) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *operator) setState(node protocol.NodeID, state string) {
	o.set(func() {
		m := o.members[node]
		m.State = state
		o.members[node] = m
	})
}

func (o *operator) handler() http.Handler {
	open := http.NewServeMux()
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"status": "ok", "node": "n1", "sid_auth": o.sidAuth})
	})
	open.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"status": "ready"})
	})
	open.HandleFunc("GET /metrics", o.serveMetrics)
	open.Handle("/", Handler())
	guarded := http.NewServeMux()
	guarded.HandleFunc("GET /debug/check", o.check)
	guarded.HandleFunc("GET /v1/cluster", o.cluster)
	guarded.HandleFunc("GET /v1/events", o.events)
	guarded.HandleFunc("GET /v1/rooms", o.rooms)
	guarded.HandleFunc("GET /v1/rooms/{room}", o.lookAtRoom)
	guarded.HandleFunc("GET /v1/users/{user}", o.user)
	guarded.HandleFunc("GET /v1/users/{user}/timeline", o.timeline)
	open.Handle("/v1/", o.guard(guarded))
	open.Handle("/debug/", o.guard(guarded))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		silent := o.silent
		o.mu.Unlock()
		if silent {
			panic(http.ErrAbortHandler) // the connection breaks, as that of a killed process does
		}
		open.ServeHTTP(w, r)
	})
}

func (o *operator) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		key := o.key
		o.mu.Unlock()
		if key != "" && r.Header.Get("Authorization") != "Bearer "+key {
			http.Error(w, "give an admin key as Authorization: Bearer KEY", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (o *operator) cluster(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	members := slices.SortedFunc(maps.Values(o.members), func(a, b api.Member) int { return strings.Compare(string(a.Node), string(b.Node)) })
	reply(w, http.StatusOK, struct {
		Node   protocol.NodeID `json:"node"`
		Agreed bool            `json:"agreed"`
		api.ClusterView
	}{"n1", o.agreed, api.ClusterView{Digest: "9f86d081884c7d65", Partitions: 4093, Members: members}})
}

// serveMetrics gives each scrape a hundred more deliveries.
func (o *operator) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.metrics["rollcall_edge_deliveries_total"] += 100
	o.metrics["rollcall_store_away"] = 0
	if o.away {
		o.metrics["rollcall_store_away"] = 1
	}
	fmt.Fprintln(w, "# HELP rollcall_edge_refused_total requests and connections not let in")
	for name, value := range o.metrics {
		fmt.Fprintf(w, "%s %g\n", name, value)
	}
}

func (o *operator) check(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	status := http.StatusOK
	if len(o.broken) > 0 {
		status = http.StatusInternalServerError
	}
	reply(w, status, map[string]any{"broken": append([]string{}, o.broken...)})
}

// events streams what happen is given.
func (o *operator) events(w http.ResponseWriter, r *http.Request) {
	events := make(chan string, 64)
	o.set(func() { o.streams[events] = true })
	defer o.set(func() { delete(o.streams, events) })
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": events from now on\n\n")
	_ = out.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			fmt.Fprint(w, e)
			_ = out.Flush()
		}
	}
}

// happen tells an event to all streams.
func (o *operator) happen(e protocol.Event) {
	e.At = time.Now()
	raw, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	o.set(func() {
		for s := range o.streams {
			s <- fmt.Sprintf("event: %s\ndata: %s\n\n", e.Event, raw)
		}
	})
}

// cut ends all streams.
func (o *operator) cut() {
	o.set(func() {
		for s := range o.streams {
			close(s)
			delete(o.streams, s)
		}
	})
}

func (o *operator) rooms(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	away := o.away
	o.mu.Unlock()
	if away {
		refuse(w, http.StatusServiceUnavailable, "unavailable", "n2 does not answer for its rooms")
		return
	}
	line := func(id string) map[string]any {
		return map[string]any{"room_id": id, "node": "n2", "epoch": 1700000000000, "count": 3}
	}
	if r.URL.Query().Get("after") == "r12" {
		reply(w, http.StatusOK, map[string]any{"rooms": []any{line("r13")}, "next": ""})
		return
	}
	reply(w, http.StatusOK, map[string]any{"rooms": []any{line("r1"), line("r12")}, "next": "r12"})
}

func (o *operator) lookAtRoom(w http.ResponseWriter, r *http.Request) {
	view, ok := o.room.view(r.PathValue("room"))
	if !ok {
		refuse(w, http.StatusNotFound, protocol.CodeRoomNotFound, fmt.Sprintf("nobody is in room %q and nothing is set for it", r.PathValue("room")))
		return
	}
	reply(w, http.StatusOK, view)
}

func (o *operator) user(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("user") != "1017" {
		refuse(w, http.StatusNotFound, protocol.CodeUserNotFound, "nothing is known of user "+r.PathValue("user"))
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"user_id": 1017, "online": false, "node": "", "current_room_id": "", "seat": 0, "call_no": "", "since": "2026-01-02T03:04:05Z",
	})
}

func (o *operator) timeline(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"user_id": 1017, "node": "n2",
		"removal": map[string]any{"room_id": "r1", "call_no": "", "reason": "timeout", "node": "n2", "at": "2026-01-02T03:04:05Z"},
		"events": []any{
			map[string]any{"at": "2026-01-02T03:00:00Z", "event": "connected", "conn": 12, "room_id": "", "call_no": "", "reason": ""},
			map[string]any{"at": "2026-01-02T03:04:05Z", "event": "closed", "conn": 12, "room_id": "r1", "call_no": "", "reason": "timeout"},
		},
	})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a page that is gone needs no answer
}

func refuse(w http.ResponseWriter, status int, code protocol.Code, message string) {
	reply(w, status, map[string]any{"error": map[string]any{"code": code, "message": message}})
}
