//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lxzan/gws"
)

// bare is the server that we compare with: what one writes in an hour with the
// websocket library, tuned as the library's author advises, without sids,
// owners, sequence numbers, history or bounds.
type bare struct {
	gws.BuiltinEventHandler

	// guarded by mu
	mu    sync.RWMutex
	rooms map[string]map[*gws.Conn]struct{}
}

// serveBare listens, says where, and serves until the process is killed.
func serveBare(out io.Writer) error {
	b := &bare{rooms: make(map[string]map[*gws.Conn]struct{})}
	upgrader := gws.NewUpgrader(b, &gws.ServerOption{ReadBufferSize: 512, ReadMaxPayloadSize: 8 << 10})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		socket, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		b.enter(r.URL.Query().Get("room"), socket)
		go socket.ReadLoop()
	})
	mux.HandleFunc("POST /publish", b.publish)
	mux.HandleFunc("GET /bare", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, bareAnswer) // the client sees what is missing
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(l)
}

// bareAnswer is as long as an end_point answer.
const bareAnswer = `{"error_code":0,"error_reason":"","end_point":"ws://127.0.0.1:8001","ping_interval":15,"room_id":42,"not_before_ms":0}`

func (b *bare) enter(room string, socket *gws.Conn) {
	_ = socket.WriteString(`{"action":"create_token"}`) // the client sees what is missing
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rooms[room] == nil {
		b.rooms[room] = make(map[*gws.Conn]struct{})
	}
	b.rooms[room][socket] = struct{}{}
}

func (b *bare) OnClose(socket *gws.Conn, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rooms {
		delete(r, socket)
	}
}

func (b *bare) publish(w http.ResponseWriter, r *http.Request) {
	frame, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	all := gws.NewBroadcaster(gws.OpcodeText, frame)
	defer func() { _ = all.Close() }()
	b.mu.RLock()
	defer b.mu.RUnlock()
	for socket := range b.rooms[r.URL.Query().Get("room")] {
		_ = all.Broadcast(socket) // its reader sees the error
	}
}
