package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// synRetry is how long a dialer waits before it asks a full backlog again.
const synRetry = time.Second

// hostState is whether a host is there, and if not, whether its neighbours
// can tell.
type hostState uint8

const (
	up hostState = iota
	killed
	vanished
)

// errDown is what everything on a dead host fails with.
var errDown = errors.New("host is down")

// Host is one machine of a network, for as long as it lives.
type Host struct {
	// Set by Network.Host.
	net  *Network
	name string

	// Guarded by net.mu.
	state      hostState
	paused     bool
	held       []packet // for and from a paused host, in order
	listeners  map[int]*listener
	transports map[int]*Transport
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Listen accepts streams at a port: "8080", ":8080", or an address whose host
// is this one or unspecified. Port 0 takes a free one.
func (h *Host) Listen(address string) (net.Listener, error) {
	port, err := h.localPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen at %q on %s: %w", address, h.name, err)
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	port, err = h.claimLocked(port)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: Addr{h.name, port}, Err: err}
	}
	l := newListener(h, port)
	h.listeners[port] = l
	n.changedLocked()
	return l, nil
}

// Dial connects to an address, a listener's or a transport's. While the path
// is cut it waits, as long as ctx allows.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := h.dial(ctx, address, func() bool { return false })
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: textAddr(address), Err: err}
	}
	return c, nil
}

// DialContext is Dial as http.Transport wants it.
func (h *Host) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return h.Dial(ctx, address)
}

// dial connects until ctx ends, the host does, or stopped, called with mu
// held, says so.
func (h *Host) dial(ctx context.Context, address string, stopped func() bool) (*Conn, error) {
	n := h.net
	waited := false
	for {
		n.mu.Lock()
		if h.state != up || stopped() {
			n.mu.Unlock()
			return nil, errDown
		}
		name, port, err := n.resolveLocked(address)
		if err != nil {
			n.mu.Unlock()
			return nil, err
		}
		trip := n.delayLocked(h.name, name) + n.delayLocked(name, h.name)
		if trip > 0 && !waited {
			n.mu.Unlock()
			waited = true
			if err := pause(ctx, trip, nil); err != nil {
				return nil, err
			}
			continue
		}
		c, err := n.connectLocked(h, name, port)
		changed := n.changed
		n.mu.Unlock()
		if c != nil || (err != nil && !errors.Is(err, errBacklog)) {
			return c, err
		}
		retry := time.Duration(0)
		if errors.Is(err, errBacklog) {
			retry = synRetry
		}
		if err := pause(ctx, retry, changed); err != nil {
			return nil, err
		}
	}
}

// errBacklog says that a listener has more waiting than it wants.
var errBacklog = errors.New("backlog is full")

// connectLocked makes a stream to whoever listens, or returns neither a stream
// nor an error while there is no path.
func (n *Network) connectLocked(from *Host, name string, port int) (*Conn, error) {
	to := n.hosts[name]
	switch {
	case to == nil && !n.cutLocked(from.name, name):
		return nil, syscall.EHOSTUNREACH
	case to == nil || !n.openLocked(from, to) || !n.openLocked(to, from):
		return nil, nil
	case to.state == killed:
		return nil, syscall.ECONNREFUSED
	}
	var queue chan net.Conn
	if l := to.listeners[port]; l != nil {
		queue = l.queue
	} else if t := to.transports[port]; t != nil {
		queue = t.streams
	} else {
		return nil, syscall.ECONNREFUSED
	}
	n.nextPort++
	near, far := n.newStreamLocked(from, Addr{from.name, n.nextPort}, to, Addr{name, port})
	select {
	case queue <- far:
		return near, nil
	default:
		delete(n.streams, near.stream)
		return nil, errBacklog
	}
}

// pause waits for the first of the context, a time if it is not 0, and a
// channel if it is not nil.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	var expired <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-expired:
		return nil
	case <-changed:
		return nil
	}
}

// claimLocked returns a port that nothing on the host uses.
func (h *Host) claimLocked(port int) (int, error) {
	if h.state != up {
		return port, errDown
	}
	if port == 0 {
		h.net.nextPort++
		port = h.net.nextPort
	}
	if h.listeners[port] != nil || h.transports[port] != nil {
		return port, syscall.EADDRINUSE
	}
	return port, nil
}

func (h *Host) localPort(address string) (int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return parsePort(address)
	}
	if ip := net.ParseIP(host); host != "" && host != h.name && (ip == nil || !ip.IsUnspecified()) {
		return 0, syscall.EADDRNOTAVAIL
	}
	return parsePort(port)
}

func parsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %q: %w", s, err)
	}
	return int(port), nil
}

// textAddr is an address that was dialed and may not exist.
type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

// listener is a port of a host where streams are accepted.
type listener struct {
	host  *Host
	addr  Addr
	queue chan net.Conn
	done  chan struct{}
	// Guarded by host.net.mu.
	closed bool
}

func newListener(h *Host, port int) *listener {
	return &listener{
		host:  h,
		addr:  Addr{h.name, port},
		queue: make(chan net.Conn, h.net.config.Backlog),
		done:  make(chan struct{}),
	}
}

// Accept returns the next stream. It implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
	default:
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.done:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}

// Close stops accepting and resets the streams that nobody accepted.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.closeLocked()
	return nil
}

// Addr returns the address that others dial.
func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) closeLocked() {
	if l.closed {
		return
	}
	l.closed = true
	close(l.done)
	delete(l.host.listeners, l.addr.Port)
	abortQueueLocked(l.queue)
}

// abortQueueLocked resets the streams that wait for an accept.
func abortQueueLocked(queue <-chan net.Conn) {
	for {
		select {
		case c := <-queue:
			c.(*Conn).abortLocked()
		default:
			return
		}
	}
}
