package simnet

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// Transport is a port of a host where memberlist gossips. It implements
// memberlist.NodeAwareTransport; node names are ignored, addresses decide.
type Transport struct {
	// Set by Host.Transport.
	host    *Host
	addr    Addr
	packets chan *memberlist.Packet
	streams chan net.Conn

	// Guarded by host.net.mu.
	closed bool
}

var _ memberlist.NodeAwareTransport = (*Transport)(nil)

// packet is a packet between two ports.
type packet struct {
	from Addr
	to   Addr
	data []byte
	at   time.Time // arrival, while it flies
}

// maxFlying bounds the packets under way; more are dropped and counted as full.
const maxFlying = 1 << 16

// Transport opens a gossip port on a host whose name is an IP address. Port 0
// takes a free one.
func (h *Host) Transport(port int) (*Transport, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	port, err := h.claimLocked(port)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: Addr{h.name, port}, Err: err}
	}
	t := &Transport{
		host:    h,
		addr:    Addr{h.name, port},
		packets: make(chan *memberlist.Packet, n.config.PacketQueue),
		streams: make(chan net.Conn, n.config.Backlog),
	}
	h.transports[port] = t
	n.changedLocked()
	return t, nil
}

// FinalAdvertiseAddr returns the host's own address, whatever is configured.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	ip := net.ParseIP(t.addr.Host)
	if ip == nil {
		return nil, 0, fmt.Errorf("advertise host %q: its name is no ip address", t.addr.Host)
	}
	return ip, t.addr.Port, nil
}

// WriteTo sends a packet. Like UDP it succeeds whether or not anybody hears.
func (t *Transport) WriteTo(b []byte, address string) (time.Time, error) {
	n := t.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.closed {
		return time.Time{}, &net.OpError{Op: "write", Net: "udp", Source: t.addr, Err: net.ErrClosed}
	}
	host, port, err := n.resolveLocked(address)
	if err != nil {
		return time.Time{}, fmt.Errorf("send to %q: %w", address, err)
	}
	n.sendLocked(packet{from: t.addr, to: Addr{host, port}, data: append([]byte(nil), b...)})
	return time.Now(), nil
}

// WriteToAddress is WriteTo; the node's name is ignored.
func (t *Transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// PacketCh returns the packets that have arrived.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout opens a stream to another transport or listener. Shutdown ends
// the wait for a path that is cut.
func (t *Transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := t.host.dial(ctx, address, func() bool { return t.closed })
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Source: t.addr, Addr: textAddr(address), Err: err}
	}
	return c, nil
}

// DialAddressTimeout is DialTimeout; the node's name is ignored.
func (t *Transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// StreamCh returns the streams that others have opened.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown closes the port. Streams that were taken from it live on.
func (t *Transport) Shutdown() error {
	t.host.net.mu.Lock()
	defer t.host.net.mu.Unlock()
	t.closeLocked()
	t.host.net.changedLocked()
	return nil
}

func (t *Transport) closeLocked() {
	if t.closed {
		return
	}
	t.closed = true
	delete(t.host.transports, t.addr.Port)
	abortQueueLocked(t.streams)
}

// sendLocked puts a packet on its way, or drops it.
func (n *Network) sendLocked(p packet) {
	n.stats.Sent++
	q := n.qualityLocked(p.from.Host, p.to.Host)
	if q.Loss > 0 && n.config.Rand.Float64() < q.Loss {
		n.stats.Lost++
		return
	}
	delay := n.delayLocked(p.from.Host, p.to.Host)
	if delay <= 0 {
		n.arriveLocked(p)
		return
	}
	if len(n.flying) >= maxFlying {
		n.stats.Full++
		return
	}
	p.at = time.Now().Add(delay)
	i, _ := slices.BinarySearchFunc(n.flying, p, func(a, b packet) int {
		if a.at.After(b.at) {
			return 1
		}
		return -1 // behind those that arrive at the same time
	})
	n.flying = slices.Insert(n.flying, i, p)
	time.AfterFunc(delay, n.land)
}

// land delivers the packets whose time has come, in order. Each has a timer;
// timers that fire at the same moment run in any order, so the first of them
// delivers for all.
func (n *Network) land() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	due := 0
	for due < len(n.flying) && !n.flying[due].at.After(now) {
		n.arriveLocked(n.flying[due])
		due++
	}
	n.flying = slices.Delete(n.flying, 0, due)
}

// arriveLocked delivers a packet, holds it for a paused host, or drops it.
func (n *Network) arriveLocked(p packet) {
	if from := n.hosts[p.from.Host]; from != nil && from.paused {
		n.holdLocked(from, p)
		return
	}
	if n.cutLocked(p.from.Host, p.to.Host) {
		n.stats.Cut++
		return
	}
	to := n.hosts[p.to.Host]
	if to != nil && to.paused {
		n.holdLocked(to, p)
		return
	}
	if to == nil || to.transports[p.to.Port] == nil {
		n.stats.Down++
		return
	}
	arrived := &memberlist.Packet{Buf: p.data, From: p.from, Timestamp: time.Now()}
	select {
	case to.transports[p.to.Port].packets <- arrived:
		n.stats.Delivered++
	default:
		n.stats.Full++
	}
}

func (n *Network) holdLocked(h *Host, p packet) {
	if len(h.held) >= n.config.PacketQueue {
		n.stats.Full++
		return
	}
	h.held = append(h.held, p)
}
