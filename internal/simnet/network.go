package simnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// What a zero Config means.
const (
	defaultPacketQueue  = 1024
	defaultStreamBuffer = 64 << 10
	defaultBacklog      = 128
)

// Config describes a network. The zero value is a perfect one: no latency, no
// loss.
type Config struct {
	// Quality is that of every link that SetLink does not name.
	Quality Quality
	// Rand decides loss and jitter. Seeded by the caller it makes them
	// repeatable as far as the order of sends is. Nil is a fixed seed.
	Rand *rand.Rand
	// PacketQueue bounds the packets that wait for a transport's reader, and
	// those held for a paused host; more are dropped and counted as full.
	// 0 is 1024.
	PacketQueue int
	// StreamBuffer bounds the bytes under way in one direction of a stream;
	// a writer of more waits. 0 is 64 KiB.
	StreamBuffer int
	// Backlog bounds the connections that wait for an accept; a dialer of more
	// tries again every second. 0 is 128.
	Backlog int
}

// Quality is how well a link carries.
type Quality struct {
	// Latency is the time one way, Jitter the most that is added to it at
	// random. Jitter reorders packets, never the bytes of a stream.
	Latency, Jitter time.Duration
	// Loss is the share of packets that vanish. Streams lose nothing.
	Loss float64
}

// Stats counts packets since the network was made.
type Stats struct {
	Sent, Delivered uint64
	// Cut, Lost, Full and Down are packets dropped, by reason: no path, the
	// link's loss, a full queue, nobody listening.
	Cut, Lost, Full, Down uint64
}

// Network connects hosts. Make it with New and end it with Close.
type Network struct {
	// Set by New.
	config Config

	// Guarded by mu.
	mu       sync.Mutex
	hosts    map[string]*Host
	names    map[string][]string
	cuts     map[link]bool
	isolated map[string]bool
	links    map[link]Quality
	quality  Quality
	streams  map[*stream]struct{}
	flying   []packet      // by arrival
	changed  chan struct{} // closed and replaced when a path may have opened
	nextPort int
	stats    Stats
	closed   bool
}

// link is one direction between two hosts.
type link struct{ from, to string }

// New returns a network without hosts.
func New(cfg Config) *Network {
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(1, 1))
	}
	if cfg.PacketQueue <= 0 {
		cfg.PacketQueue = defaultPacketQueue
	}
	if cfg.StreamBuffer <= 0 {
		cfg.StreamBuffer = defaultStreamBuffer
	}
	if cfg.Backlog <= 0 {
		cfg.Backlog = defaultBacklog
	}
	return &Network{
		config:   cfg,
		hosts:    make(map[string]*Host),
		names:    make(map[string][]string),
		cuts:     make(map[link]bool),
		isolated: make(map[string]bool),
		links:    make(map[link]Quality),
		quality:  cfg.Quality,
		streams:  make(map[*stream]struct{}),
		changed:  make(chan struct{}),
		nextPort: 32768,
	}
}

// Host returns the host of this name, made on first use. A name is an address
// such as 10.0.0.1 where the host gossips, anything else elsewhere. After Kill
// or Vanish it returns a new host in the place of the dead one, which has none
// of its listeners.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil && h.state == up {
		return h
	}
	if former := n.hosts[name]; former != nil {
		n.orphanLocked(former)
	}
	h := &Host{
		net:        n,
		name:       name,
		listeners:  make(map[int]*listener),
		transports: make(map[int]*Transport),
	}
	if n.closed {
		h.state = killed
	}
	n.hosts[name] = h
	n.changedLocked()
	return h
}

// SetName makes a name resolve to hosts, or to nothing.
func (n *Network) SetName(name string, hosts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = slices.Clone(hosts)
}

// LookupHost resolves what SetName has set, as a net.Resolver does.
func (n *Network) LookupHost(_ context.Context, name string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if hosts := n.names[name]; len(hosts) > 0 {
		return slices.Clone(hosts), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// Stats returns the packet counters as they stand.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Close ends the network: every listener and stream fails at once, at both
// ends, and nothing works any more.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, h := range n.hosts {
		n.downLocked(h, killed)
	}
	n.changedLocked()
}

// openLocked reports whether bytes get from one host to another now.
func (n *Network) openLocked(from, to *Host) bool {
	if from.state == vanished || to.state == vanished || from.paused || to.paused {
		return false
	}
	return !n.cutLocked(from.name, to.name)
}

// cutLocked reports whether a fault separates two hosts in this direction.
func (n *Network) cutLocked(from, to string) bool {
	if from == to {
		return false
	}
	return n.cuts[link{from, to}] || n.isolated[from] || n.isolated[to]
}

// qualityLocked returns the quality of one direction.
func (n *Network) qualityLocked(from, to string) Quality {
	if q, ok := n.links[link{from, to}]; ok {
		return q
	}
	return n.quality
}

// delayLocked draws the time that something takes on its way.
func (n *Network) delayLocked(from, to string) time.Duration {
	q := n.qualityLocked(from, to)
	if q.Jitter <= 0 {
		return q.Latency
	}
	return q.Latency + time.Duration(n.config.Rand.Int64N(int64(q.Jitter)))
}

// changedLocked wakes everyone who waits for a path.
func (n *Network) changedLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
	for s := range n.streams {
		s.cond.Broadcast()
	}
}

// resolveLocked returns the host and port of an address.
func (n *Network) resolveLocked(address string) (string, int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	number, err := parsePort(port)
	if err != nil {
		return "", 0, err
	}
	if hosts := n.names[host]; len(hosts) > 0 {
		host = hosts[0]
	}
	return host, number, nil
}

// Addr is the address of a listener, a transport or the end of a stream.
type Addr struct {
	Host string
	Port int
}

// Network names the network; it begins with tcp because callers tell streams
// by that.
func (a Addr) Network() string { return "tcp" }

func (a Addr) String() string { return net.JoinHostPort(a.Host, fmt.Sprint(a.Port)) }
