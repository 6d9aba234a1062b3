package bridge

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a client and a server and spoils what passes.
type proxy struct {
	listener net.Listener
	target   string
	swallow  atomic.Bool // answers are lost
	once     atomic.Bool // the next answer is lost
	frozen   atomic.Bool // what comes is kept for ever

	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &proxy{listener: l, target: u.Host, conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.carry(server, client, false) })
		p.wg.Go(func() { p.carry(client, server, true) })
	}
}

// carry copies one direction. A frozen proxy goes on reading, so that nobody
// notices by a full socket.
func (p *proxy) carry(to io.Writer, from io.Reader, answers bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			p.cutPair(to, from)
			return
		}
		if p.frozen.Load() || answers && (p.swallow.Load() || p.once.CompareAndSwap(true, false)) {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			p.cutPair(to, from)
			return
		}
	}
}

func (p *proxy) cutPair(ends ...any) {
	for _, end := range ends {
		_ = end.(net.Conn).Close()
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}
