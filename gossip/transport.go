package gossip

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxInbound bounds the streams that others have opened to us and that are
// still served; memberlist itself takes any number. More are closed and
// counted.
const maxInbound = 256

// transport is a memberlist transport that ends completely: Shutdown closes
// every stream and ends every dial, so that nothing of memberlist waits for
// the network afterwards. memberlist's own leaves its streams to their
// deadlines.
type transport struct {
	// Set by newTransport.
	memberlist.NodeAwareTransport
	dial      func(addr memberlist.Address, timeout time.Duration) (net.Conn, error)
	stopDials context.CancelFunc
	advertise netip.AddrPort // zero to ask the transport beneath
	streams   chan net.Conn
	done      chan struct{}
	forwarder sync.WaitGroup
	refused   *atomic.Uint64

	// Guarded by mu.
	mu      sync.Mutex
	open    map[*trackedConn]struct{}
	inbound int
	closed  bool
}

// newTransport opens the network that the configuration names and starts to
// forward its streams, until Shutdown.
func newTransport(ctx context.Context, cfg Config, logger *log.Logger, refused *atomic.Uint64) (*transport, error) {
	t := &transport{
		NodeAwareTransport: cfg.Transport,
		stopDials:          func() {},
		streams:            make(chan net.Conn),
		done:               make(chan struct{}),
		refused:            refused,
		open:               make(map[*trackedConn]struct{}),
	}
	if cfg.Transport != nil {
		t.dial = cfg.Transport.DialAddressTimeout
	} else if err := t.bind(ctx, cfg, logger); err != nil {
		return nil, err
	}
	t.forwarder.Go(t.forward)
	return t, nil
}

// bind opens UDP and TCP. With port 0 the two must agree on one that is free
// for both, which takes more than one try at times.
func (t *transport) bind(ctx context.Context, cfg Config, logger *log.Logger) error {
	bind, err := parseBind(cfg.Bind)
	if err != nil {
		return err
	}
	advertise, err := resolveAdvertise(ctx, cfg)
	if err != nil {
		return err
	}
	tries := 1
	if bind.Port() == 0 {
		tries = 10
	}
	var inner *memberlist.NetTransport
	for range tries {
		inner, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{bind.Addr().String()},
			BindPort:  int(bind.Port()),
			Logger:    logger,
		})
		if err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("bind gossip to %s: %w", bind, err)
	}
	t.NodeAwareTransport = inner
	if advertise.IsValid() && advertise.Port() == 0 {
		advertise = netip.AddrPortFrom(advertise.Addr(), uint16(inner.GetAutoBindPort()))
	}
	t.advertise = advertise
	dialing, stop := context.WithCancel(context.Background())
	t.stopDials = stop
	t.dial = func(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(dialing, timeout)
		defer cancel()
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", addr.Addr)
	}
	return nil
}

// resolveAdvertise returns the address to advertise, with no port where it is
// that of the bind address, or none at all.
func resolveAdvertise(ctx context.Context, cfg Config) (netip.AddrPort, error) {
	host, port, err := splitAdvertise(cfg.Advertise)
	if err != nil || host == "" {
		return netip.AddrPort{}, err
	}
	hosts := []string{host}
	if _, err := netip.ParseAddr(host); err != nil {
		ctx, cancel := context.WithTimeout(ctx, lookupPatience)
		defer cancel()
		if hosts, err = cfg.Resolver.LookupHost(ctx, host); err != nil {
			return netip.AddrPort{}, fmt.Errorf("resolve advertise address: %w", err)
		}
	}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			return netip.AddrPortFrom(ip.Unmap(), port), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("resolve advertise address: %q has none", host)
}

// FinalAdvertiseAddr returns where others reach this node.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	if !t.advertise.IsValid() {
		return t.NodeAwareTransport.FinalAdvertiseAddr("", 0)
	}
	return t.advertise.Addr().Unmap().AsSlice(), int(t.advertise.Port()), nil
}

// DialTimeout opens a stream to an address.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream to an address, until Shutdown.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := t.dial(addr, timeout)
	if err != nil {
		return nil, err
	}
	tracked := t.track(c, false)
	if tracked == nil {
		return nil, net.ErrClosed
	}
	return tracked, nil
}

// StreamCh returns the streams that others open.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown ends the network and everything that waits for it. memberlist must
// still take packets and streams: the transport beneath waits for its readers,
// and they for memberlist.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	open := make([]*trackedConn, 0, len(t.open))
	for c := range t.open {
		open = append(open, c)
	}
	t.mu.Unlock()

	t.stopDials()
	err := t.NodeAwareTransport.Shutdown()
	for _, c := range open {
		_ = c.Close()
	}
	close(t.done)
	t.forwarder.Wait()
	return err
}

// abandon shuts down a transport that no memberlist reads from.
func (t *transport) abandon() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = t.Shutdown()
	}()
	for {
		select {
		case <-t.PacketCh():
		case c := <-t.streams:
			_ = c.Close()
		case <-ended:
			return
		}
	}
}

// forward hands the streams that others open to memberlist, tracked.
func (t *transport) forward() {
	for {
		select {
		case c := <-t.NodeAwareTransport.StreamCh():
			tracked := t.track(c, true)
			if tracked == nil {
				continue
			}
			select {
			case t.streams <- tracked:
			case <-t.done:
				_ = tracked.Close()
			}
		case <-t.done:
			return
		}
	}
}

// track remembers a stream until it is closed. It closes the stream and
// returns nil after Shutdown, and when there are too many.
func (t *transport) track(c net.Conn, inbound bool) *trackedConn {
	tracked := &trackedConn{Conn: c, transport: t, inbound: inbound}
	t.mu.Lock()
	full := inbound && t.inbound >= maxInbound
	refuse := t.closed || full
	if !refuse {
		t.open[tracked] = struct{}{}
		if inbound {
			t.inbound++
		}
	}
	t.mu.Unlock()
	if !refuse {
		return tracked
	}
	if full {
		t.refused.Add(1)
	}
	_ = c.Close()
	return nil
}

func (t *transport) forget(c *trackedConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.open[c]; !ok {
		return
	}
	delete(t.open, c)
	if c.inbound {
		t.inbound--
	}
}

// trackedConn is a stream that its transport knows of.
type trackedConn struct {
	net.Conn
	transport *transport
	inbound   bool
}

// Close closes the stream and forgets it.
func (c *trackedConn) Close() error {
	c.transport.forget(c)
	return c.Conn.Close()
}
