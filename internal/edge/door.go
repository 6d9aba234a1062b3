package edge

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// retryAfter is what a refused request is told: when to ask again.
const retryAfter = 2 * time.Second

// doorman bounds the connections, those being made among them.
type doorman struct {
	// set by New
	max, maxPerIP int
	crew          *crew

	// guarded by mu
	mu     sync.Mutex
	open   bool // no one gets in before Run and after a drain began
	count  int
	byAddr map[netip.Addr]int // counted only where maxPerIP is set
}

// refusal is why a request was not let in, as a metric's label; "" for none.
type refusal string

// enter counts a connection from addr in, and its request into the crew.
func (d *doorman) enter(addr netip.Addr) refusal {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.open:
		return "closed"
	case d.max > 0 && d.count >= d.max:
		return "full"
	case d.maxPerIP > 0 && d.byAddr[addr] >= d.maxPerIP:
		return "address"
	}
	if !d.crew.enter() {
		return "closed"
	}
	d.count++
	if d.maxPerIP > 0 {
		d.byAddr[addr]++
	}
	return ""
}

// leave counts a connection out.
func (d *doorman) leave(addr netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count--
	if d.maxPerIP > 0 {
		if d.byAddr[addr]--; d.byAddr[addr] == 0 {
			delete(d.byAddr, addr)
		}
	}
}

// set opens or closes the door. Closing leaves who is in where they are.
func (d *doorman) set(open bool) {
	d.mu.Lock()
	d.open = open
	d.mu.Unlock()
}

func (d *doorman) isOpen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

func (d *doorman) inside() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// ServeHTTP upgrades requests for / and /ws to websockets. Whoever can't be
// let in now gets 503 with Retry-After.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/" && r.URL.Path != "/ws":
		http.NotFound(w, r)
		return
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this address speaks websocket", http.StatusUpgradeRequired)
		return
	case !e.allows(r.Header.Get("Origin")):
		e.metrics.refused("origin")
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	addr := e.clientAddr(r)
	if why := e.door.enter(addr); why != "" {
		e.metrics.refused(why)
		unavailable(w)
		return
	}
	defer e.crew.leave()
	if !e.accept(w, r, addr) {
		e.door.leave(addr)
	}
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	http.Error(w, string(protocol.CodeUnavailable), http.StatusServiceUnavailable)
}

// allows judges a browser's origin. Other clients have none.
func (e *Edge) allows(origin string) bool {
	allowed := e.cfg.AllowedOrigins
	return origin == "" || len(allowed) == 0 || slices.ContainsFunc(allowed, func(a string) bool {
		return a == "*" || strings.EqualFold(a, origin)
	})
}

// clientAddr returns the address that counts as the client's: the nearest one
// that no trusted proxy stands for, of IPv6 its network.
func (e *Edge) clientAddr(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !e.trusts(addr) {
			break
		}
		next, err := parseHop(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = next
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		network, err := addr.Prefix(64)
		if err == nil {
			return network.Addr()
		}
	}
	return addr
}

// parseHop reads an address that a proxy has noted, some with the port.
func parseHop(hop string) (netip.Addr, error) {
	if with, err := netip.ParseAddrPort(hop); err == nil {
		return with.Addr(), nil
	}
	return netip.ParseAddr(hop)
}

func (e *Edge) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(e.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}
