package edge

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeRoom is how many bytes one direction of a pipe holds.
const pipeRoom = 64 << 10

// listener hands out the server's ends of in-memory connections, so that whole
// connections run in virtual time.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (l *listener) dial() (net.Conn, error) {
	up, down := newHalf(), newHalf()
	select {
	case l.conns <- &pipe{in: up, out: down}:
		return &pipe{in: down, out: up}, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// half is one direction.
type half struct {
	mu          sync.Mutex
	changed     sync.Cond
	buf         []byte
	closed      bool // by the writer: EOF after buf
	broken      bool // by the reader: writes fail
	read, write deadline
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func newHalf() *half {
	h := &half{}
	h.changed.L = &h.mu
	return h
}

func (h *half) set(d *deadline, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), h.changed.Broadcast)
	}
	h.changed.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

type pipe struct{ in, out *half }

func (p *pipe) Read(b []byte) (int, error) {
	h := p.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.broken:
			return 0, net.ErrClosed
		case h.read.passed():
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(b, h.buf)
			h.buf = h.buf[n:]
			h.changed.Broadcast()
			return n, nil
		case h.closed:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (p *pipe) Write(b []byte) (int, error) {
	h := p.out
	h.mu.Lock()
	defer h.mu.Unlock()
	sent := 0
	for len(b) > 0 {
		switch n := min(len(b), pipeRoom-len(h.buf)); {
		case h.closed || h.broken:
			return sent, io.ErrClosedPipe
		case h.write.passed():
			return sent, os.ErrDeadlineExceeded
		case n > 0:
			h.buf = append(h.buf, b[:n]...)
			b, sent = b[n:], sent+n
			h.changed.Broadcast()
		default:
			h.changed.Wait()
		}
	}
	return sent, nil
}

func (p *pipe) CloseWrite() error {
	p.out.mu.Lock()
	p.out.closed = true
	p.out.changed.Broadcast()
	p.out.mu.Unlock()
	return nil
}

func (p *pipe) Close() error {
	p.in.mu.Lock()
	p.in.broken = true
	p.in.changed.Broadcast()
	p.in.mu.Unlock()
	p.setDeadline(time.Time{})
	return p.CloseWrite()
}

func (p *pipe) setDeadline(t time.Time) {
	p.in.set(&p.in.read, t)
	p.out.set(&p.out.write, t)
}

func (p *pipe) SetDeadline(t time.Time) error {
	p.setDeadline(t)
	return nil
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.in.set(&p.in.read, t)
	return nil
}

func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.out.set(&p.out.write, t)
	return nil
}

func (p *pipe) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (p *pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 2} }
