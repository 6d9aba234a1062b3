package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// rebirthPause keeps a node that dies again and again from spinning.
const rebirthPause = 200 * time.Millisecond

// Node is one process of the cluster.
type Node struct {
	// set by New
	cfg    Config
	guests map[string]*guests // by door
	turns  *turns             // of TLS handshakes
	keys   *keyring           // of gossip

	current atomic.Pointer[life]
	// drain is closed by the first Drain.
	drain     chan struct{}
	drainOnce sync.Once
}

// New checks the configuration. Run starts the node.
func New(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg.withDefaults(), guests: map[string]*guests{}, turns: newTurns(), drain: make(chan struct{})}
	n.keys = newKeyring(n.cfg.Gossip, n.cfg.Logger)
	for _, name := range n.doors() {
		n.guests[name] = newGuests(n.guestsOf(name))
	}
	return n, nil
}

// Drain makes the node hand over what it owns, send its clients elsewhere and
// leave; Run then returns nil. It returns at once and may be called repeatedly.
func (n *Node) Drain() { n.drainOnce.Do(func() { close(n.drain) }) }

// leaving reports whether Drain was called.
func (n *Node) leaving() bool {
	select {
	case <-n.drain:
		return true
	default:
		return false
	}
}

// Run serves until ctx ends or a drain is complete. When ctx ends the node
// stops as if it had crashed, in an orderly way: nobody is told, the others
// take over.
func (n *Node) Run(ctx context.Context) error {
	doors, err := n.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range doors {
		g.Go(func() error { return d.serve(ctx) })
	}
	g.Go(func() error {
		defer cancel()
		return n.live(ctx)
	})
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// live lives one life after another, until ctx ends or a drain is complete.
func (n *Node) live(ctx context.Context) error {
	for {
		l := newLife(n)
		n.current.Store(l)
		err := l.run(ctx)
		n.current.Store(nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errDrained), n.leaving() && (errors.Is(err, errBuried) || errors.Is(err, errIsolated)):
			return nil // a lease that ends while its node leaves is no reason to come back
		case errors.Is(err, errBuried), errors.Is(err, errIsolated):
			n.cfg.Logger.Warn("this life is over; starting another", "incarnation", l.inc, "reason", err)
		default:
			return err
		}
		if !pause(ctx, rebirthPause) {
			return nil
		}
	}
}

// doors names what the node listens on for connections.
func (n *Node) doors() []string {
	names := []string{"listen", "api", "admin"}
	for _, d := range n.cfg.Doors {
		names = append(names, d.Name)
	}
	return names
}

// open binds every door, so that a port in use is said before anything else
// happens.
func (n *Node) open() ([]door, error) {
	wanted := []struct {
		name, addr string
		handler    http.Handler
	}{
		{"listen", n.cfg.Listen, n.through(func(l *life) http.Handler { return l.clients })},
		{"api", n.cfg.API, n.through(func(l *life) http.Handler { return l.backend })},
		{"admin", n.cfg.Admin, newAdmin(n)},
	}
	for _, d := range n.cfg.Doors {
		wanted = append(wanted, struct {
			name, addr string
			handler    http.Handler
		}{d.Name, d.Addr, d.Handler})
	}
	var doors []door
	var faults []error
	var cert *certificate
	if n.cfg.TLSCert != "" {
		var err error
		if cert, err = newCertificate(n.cfg.TLSCert, n.cfg.TLSKey, n.cfg.Logger); err != nil {
			faults = append(faults, err)
		}
	}
	for _, w := range wanted {
		listener, err := n.cfg.Listener("tcp", w.addr)
		if err != nil {
			faults = append(faults, fmt.Errorf("open --%s %s: %w", w.name, w.addr, err))
			continue
		}
		if cert != nil && w.name == "listen" {
			listener = tls.NewListener(listener, cert.config(n.turns))
		}
		doors = append(doors, door{name: w.name, listener: listener, handler: w.handler, guests: n.guests[w.name]})
	}
	if len(faults) > 0 {
		for _, d := range doors {
			_ = d.listener.Close() // nothing was accepted
		}
		return nil, errors.Join(faults...)
	}
	return doors, nil
}

// through serves with the current life's handler.
func (n *Node) through(pick func(*life) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := n.current.Load()
		if l == nil || !l.ready.Load() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, `{"error":{"code":"unavailable","message":"this node is not serving yet; ask again shortly"}}`, http.StatusServiceUnavailable)
			return
		}
		pick(l).ServeHTTP(w, r)
	})
}
