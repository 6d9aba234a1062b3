package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// maxHeaderBytes, readHeaderTimeout and bodyTimeout bound what an unknown
	// peer costs until it has said what it wants. A body may take longer than
	// any call that has one, for its time counts on while the call is served.
	maxHeaderBytes    = 8 << 10
	readHeaderTimeout = 5 * time.Second
	bodyTimeout       = 15 * time.Second
	// answerTimeout bounds how long an answer may take, a long poll and the
	// reading of it included. Streams of events and websockets have their own.
	answerTimeout = 2 * time.Minute
	idleTimeout   = 75 * time.Second
)

const (
	// politeConns is how many connections beyond --max-conns are taken so that
	// they are told 503; more are closed unread.
	politeConns = 256
	// fewGuests is what a door takes where the file limit is very low.
	fewGuests = 128
)

// door is an open listener and what it serves.
type door struct {
	// set by open
	name     string
	listener net.Listener
	handler  http.Handler
	guests   *guests
}

// guests are the connections of a door that are no websockets, or not yet:
// half-open handshakes, requests, idle ones. They are bounded, so that a peer
// who opens connections and says nothing can't use up the node's files.
type guests struct {
	// set by newGuests
	most func() int // how many may be there now; 0 is no bound

	here    atomic.Int64
	refused atomic.Int64 // closed unread
	serving atomic.Int64 // requests under way
}

func newGuests(most func() int) *guests { return &guests{most: most} }

// watch counts a connection in and out, and closes it where there are too many.
func (g *guests) watch(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if most := g.most(); g.here.Add(1) > int64(most) && most > 0 {
			g.refused.Add(1)
			_ = c.Close() // its end is told as any other's
		}
	case http.StateHijacked, http.StateClosed:
		g.here.Add(-1)
	}
}

// guestsOf returns how many connections a door may have that are no websockets.
// The clients' door has what its websockets leave; the doors that know whom
// they talk to have a part of the files, others up to half.
func (n *Node) guestsOf(name string) func() int {
	files := connsByFiles()
	switch name {
	case "listen":
		return n.clientsLeft
	case "api", "admin":
		return func() int { return bound(files/16, files) }
	default:
		return func() int { return bound(files/2, files) }
	}
}

func bound(part, files int) int {
	if files == 0 {
		return 0
	}
	return max(part, fewGuests)
}

// clientsLeft is how many connections --max-conns leaves to those that are no
// websockets. The edge counts a handshake under way too, which is still a guest.
func (n *Node) clientsLeft() int {
	if n.cfg.MaxConns == 0 {
		return 0
	}
	sockets := 0
	if l := n.current.Load(); l != nil && l.ready.Load() {
		sockets = max(l.edge.Count()-int(n.guests["listen"].serving.Load()), 0)
	}
	return max(n.cfg.MaxConns-sockets, 0) + politeConns
}

// refusedAt is how many connections a door closed unread.
func (n *Node) refusedAt(name string) float64 {
	return float64(n.guests[name].refused.Load())
}

func (d door) serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           d.guests.patient(d.handler),
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         d.guests.watch,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // the listener goes with it
	defer stop()
	err := server.Serve(d.listener)
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve --%s: %w", d.name, err)
}

// patient bounds how long a body may take to come, also where nobody reads it:
// the server reads what is left of it before it listens to the next request.
func (g *guests) patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.serving.Add(1)
		defer g.serving.Add(-1)
		if r.ContentLength != 0 {
			// A connection without deadlines is a test's.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		next.ServeHTTP(w, r)
	})
}
