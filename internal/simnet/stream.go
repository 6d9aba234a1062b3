package simnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// stream is a connection between two hosts. Everyone who waits on it, reading
// or writing at either end, waits on its one condition.
type stream struct {
	net  *Network
	cond *sync.Cond // on net.mu
	ends [2]*Conn
}

// Conn is one end of a stream. It implements net.Conn and, like a
// net.TCPConn, CloseWrite.
type Conn struct {
	// Set when the stream is made.
	stream        *stream
	host          *Host
	local, remote Addr
	in, out       *pipe

	// Guarded by the network's mu.
	closed       bool
	read, write  deadline
	closedWriter bool
}

// pipe is one direction of a stream: what was written at one end and not yet
// read at the other, each piece with the time of its arrival.
type pipe struct {
	stream   *stream
	from, to *Host

	// Guarded by the network's mu.
	queue   []segment
	size    int
	last    time.Time // arrival of the last segment
	resetAt time.Time // arrival of a reset, zero for none
	ended   bool      // nobody reads any more
}

// segment is a piece of a stream, or its end.
type segment struct {
	data []byte
	at   time.Time
	fin  bool
}

// deadline wakes a stream when it passes. The zero value never does.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (n *Network) newStreamLocked(from *Host, near Addr, to *Host, far Addr) (*Conn, *Conn) {
	s := &stream{net: n, cond: sync.NewCond(&n.mu)}
	forth := &pipe{stream: s, from: from, to: to}
	back := &pipe{stream: s, from: to, to: from}
	s.ends[0] = &Conn{stream: s, host: from, local: near, remote: far, in: back, out: forth}
	s.ends[1] = &Conn{stream: s, host: to, local: far, remote: near, in: forth, out: back}
	n.streams[s] = struct{}{}
	return s.ends[0], s.ends[1]
}

// Read returns what has arrived. What arrived before the far end closed or
// reset the stream is read first.
func (c *Conn) Read(b []byte) (int, error) {
	n := c.stream.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fail("read", net.ErrClosed)
		case c.read.passed():
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		}
		if head := c.in.headLocked(); head != nil {
			if head.fin {
				return 0, io.EOF
			}
			return c.in.takeLocked(b), nil
		}
		if c.in.resetArrivedLocked() {
			return 0, c.fail("read", syscall.ECONNRESET)
		}
		c.stream.cond.Wait()
	}
}

// Write puts bytes on their way, waiting while as many as the network's buffer
// holds are under way. An error at a deadline says how many left.
func (c *Conn) Write(b []byte) (int, error) {
	n := c.stream.net
	n.mu.Lock()
	defer n.mu.Unlock()
	written := 0
	for {
		switch {
		case c.closed:
			return written, c.fail("write", net.ErrClosed)
		case c.in.resetArrivedLocked():
			return written, c.fail("write", syscall.ECONNRESET)
		case c.closedWriter:
			return written, c.fail("write", syscall.EPIPE)
		case c.write.passed():
			return written, c.fail("write", os.ErrDeadlineExceeded)
		}
		written += c.out.putLocked(b[written:])
		if written == len(b) {
			return written, nil
		}
		c.stream.cond.Wait()
	}
}

// Close ends the stream at this end. What was written still arrives, then its
// end; but if something was received and not read, the far end is reset.
func (c *Conn) Close() error {
	n := c.stream.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	if c.in.headLocked() != nil && !c.in.queue[0].fin {
		c.abortLocked()
		return nil
	}
	if !c.closedWriter {
		c.out.appendLocked(segment{fin: true})
	}
	c.endLocked()
	return nil
}

// CloseWrite ends this end's writing; reading goes on.
func (c *Conn) CloseWrite() error {
	n := c.stream.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed || c.closedWriter {
		return c.fail("close", net.ErrClosed)
	}
	c.closedWriter = true
	c.out.appendLocked(segment{fin: true})
	return nil
}

// Abort ends the stream at this end and resets the far one.
func (c *Conn) Abort() {
	c.stream.net.mu.Lock()
	defer c.stream.net.mu.Unlock()
	c.abortLocked()
}

func (c *Conn) abortLocked() {
	if c.closed {
		return
	}
	c.out.resetLocked()
	c.endLocked()
}

// endLocked closes this end. The stream is forgotten with its second end.
func (c *Conn) endLocked() {
	c.closed = true
	c.in.ended = true
	c.in.queue, c.in.size = nil, 0
	c.read.stop()
	c.write.stop()
	if c.stream.ends[0].closed && c.stream.ends[1].closed {
		delete(c.stream.net.streams, c.stream)
	}
	c.stream.cond.Broadcast()
}

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the far end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets the deadline of reads and writes.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.read, &c.write) }

// SetReadDeadline sets the deadline of reads, also of one that waits.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline sets the deadline of writes, also of one that waits.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *Conn) setDeadlines(t time.Time, deadlines ...*deadline) error {
	c.stream.net.mu.Lock()
	defer c.stream.net.mu.Unlock()
	if c.closed {
		return c.fail("set deadline", net.ErrClosed)
	}
	for _, d := range deadlines {
		d.stop()
		d.at = t
		if wait := time.Until(t); !t.IsZero() && wait > 0 {
			d.timer = c.stream.wakeAfter(wait)
		}
	}
	c.stream.cond.Broadcast()
	return nil
}

func (c *Conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// wakeAfter has everyone who waits on the stream look again later.
func (s *stream) wakeAfter(d time.Duration) *time.Timer {
	return time.AfterFunc(d, func() {
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		s.cond.Broadcast()
	})
}

// putLocked accepts as much of b as there is room for and returns how much. To
// an end that does not read any more it accepts everything, and is answered
// with a reset.
func (p *pipe) putLocked(b []byte) int {
	n := p.stream.net
	if len(b) == 0 {
		return 0
	}
	if p.ended && n.openLocked(p.from, p.to) && n.openLocked(p.to, p.from) {
		p.reverse().resetLocked()
		return len(b)
	}
	take := min(len(b), n.config.StreamBuffer-p.size)
	if take <= 0 {
		return 0
	}
	p.size += take
	p.appendLocked(segment{data: append([]byte(nil), b[:take]...)})
	return take
}

// appendLocked puts a segment on its way, behind those before it.
func (p *pipe) appendLocked(s segment) {
	if p.ended {
		return
	}
	s.at = p.arrivalLocked()
	p.queue = append(p.queue, s)
}

// resetLocked sends a reset behind what was written.
func (p *pipe) resetLocked() {
	if p.resetAt.IsZero() {
		p.resetAt = p.arrivalLocked()
	}
}

// arrivalLocked returns when something sent now arrives, and wakes the stream
// then.
func (p *pipe) arrivalLocked() time.Time {
	now := time.Now()
	at := now.Add(p.stream.net.delayLocked(p.from.name, p.to.name))
	if at.Before(p.last) {
		at = p.last
	}
	p.last = at
	if wait := at.Sub(now); wait > 0 {
		p.stream.wakeAfter(wait)
	} else {
		p.stream.cond.Broadcast()
	}
	return at
}

// headLocked returns the first segment if it has arrived.
func (p *pipe) headLocked() *segment {
	if len(p.queue) == 0 || !p.arrivedLocked(p.queue[0].at) {
		return nil
	}
	return &p.queue[0]
}

// takeLocked moves bytes of the first segment to b.
func (p *pipe) takeLocked(b []byte) int {
	head := &p.queue[0]
	n := copy(b, head.data)
	head.data = head.data[n:]
	p.size -= n
	if len(head.data) == 0 {
		p.queue[0] = segment{}
		p.queue = p.queue[1:]
	}
	p.stream.cond.Broadcast()
	return n
}

func (p *pipe) resetArrivedLocked() bool {
	return !p.resetAt.IsZero() && p.arrivedLocked(p.resetAt)
}

func (p *pipe) arrivedLocked(at time.Time) bool {
	return !time.Now().Before(at) && p.stream.net.openLocked(p.from, p.to)
}

func (p *pipe) reverse() *pipe {
	if near := p.stream.ends[0]; near.in == p {
		return near.out
	}
	return p.stream.ends[1].out
}
