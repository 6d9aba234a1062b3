package outbox

import (
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Importance orders what a slow connection loses: 1 is kept longest, 16 goes
// first. Frames up to Kept are never dropped: the connection is closed instead.
type Importance uint8

const (
	// Kept is the least important that is never dropped.
	Kept Importance = 8
	// lowest is the first to go.
	lowest Importance = 16
)

// Cause is why a Conn closed, as far as its writing side knows.
type Cause uint8

const (
	// CauseNone: not closed from here.
	CauseNone Cause = iota
	// CauseBroken: a write failed, or the client's side is gone.
	CauseBroken
	// CauseSlow: the client read too slowly.
	CauseSlow
	// CauseAborted: Abort was called.
	CauseAborted
)

// Conn owns the writing of one network connection. What is written to it, by
// Send, by an audience or as a net.Conn, leaves in that order. No write
// blocks. Reading is passed through and belongs to one goroutine.
type Conn struct {
	// set by Init
	raw    net.Conn
	direct syscall.RawConn // nil when a write to raw may block
	fanout *Fanout
	ready  func(fd uintptr) bool // c.receive, made once; nil without direct

	// set by Attend
	loop   func()
	poller *poller // nil where the reader waits on its goroutine

	// owned by the reader
	head    []byte      // what was read before and not asked for yet
	from    *spare      // what was read into, nil for memory of head's own
	bounds  frameBounds // of what was asked for
	drained bool        // the last read left nothing in the socket
	resting bool        // the goroutine ends for now
	stays   bool        // the reader waits on its goroutine from now on

	// guarded by the poller's mu
	fd int32

	// guarded by mu
	mu      sync.Mutex
	backlog []piece
	corked  []piece // follow the backlog once the last cork is out
	corks   int
	bytes   int // of both
	frames  int
	writing bool // a goroutine writes the backlog; nobody else writes
	idle    bool // the reader has no goroutine
	watched bool // the poller knows the socket
	closing bool // nothing more is taken; half-closed once the backlog is out
	dead    bool // raw is closed
	cause   Cause
}

// piece is a part of a backlog: whole frames of one importance, save that the
// first piece may have lost its beginning to the socket and is then kept.
type piece struct {
	data       []byte
	frames     int
	importance Importance
}

// burst is what one write tries to send. Its data is shared and never changed.
type burst struct {
	data []byte
	runs []run
}

// run is a stretch of whole frames of one importance within a burst.
type run struct {
	end        int
	frames     int
	importance Importance
}

// Init makes c the writer of raw. head is what has been read from raw already.
// It is called once, before anything else.
func (c *Conn) Init(f *Fanout, raw net.Conn, head []byte) {
	c.raw, c.fanout, c.head = raw, f, head
	if s, ok := raw.(syscall.Conn); ok {
		if direct, err := s.SyscallConn(); err == nil {
			c.direct, c.ready = direct, c.receive
		}
	}
}

// Send sends whole frames of one importance, which are not changed afterwards.
// It reports false when the connection takes nothing any more.
func (c *Conn) Send(frames []byte, n int, importance Importance) bool {
	w := c.fanout.borrow()
	defer c.fanout.spareWriters.Put(w)
	return c.send(w, w.uniform(frames, n, importance))
}

// Write sends whole frames for the websocket library, which reuses b. It fails
// only on a connection that takes nothing any more.
func (c *Conn) Write(b []byte) (int, error) {
	if !c.Send(append([]byte(nil), b...), 1, 0) {
		return 0, net.ErrClosed
	}
	return len(b), nil
}

// send writes b as far as the socket takes it and keeps the rest. The write is
// made under the lock, since it does not block and order depends on it.
//
// Hot: once for each client of each flush; nothing in it may allocate or wait
// (BenchmarkFlood, BenchmarkOneAtATime).
func (c *Conn) send(w *writer, b burst) bool {
	c.mu.Lock()
	if c.closing || c.dead {
		c.mu.Unlock()
		return false
	}
	sent := 0
	if !c.writing && c.corks == 0 && c.direct != nil {
		var err error
		if sent, err = w.write(c.direct, b.data); err != nil {
			c.die(CauseBroken)
			c.mu.Unlock()
			return false
		}
		if sent == len(b.data) {
			c.mu.Unlock()
			return true
		}
		c.fanout.counters.Waits.Add(1)
	}
	c.keep(b, sent)
	alive := !c.dead
	c.startWriter()
	c.mu.Unlock()
	return alive
}

// startWriter starts the goroutine that writes the backlog. The caller holds mu.
func (c *Conn) startWriter() {
	if c.writing || c.dead || len(c.backlog) == 0 {
		return
	}
	c.writing = true
	c.fanout.writers.Go(c.writeBacklog)
}

// die closes the socket; the reader finds out by its error. The caller holds mu.
func (c *Conn) die(cause Cause) {
	if c.dead {
		return
	}
	if cause == CauseSlow {
		c.fanout.counters.ClosedSlow.Add(1)
	}
	c.dead, c.cause = true, cause
	c.resume()
	c.backlog, c.corked, c.bytes, c.frames = nil, nil, 0, 0
	// The socket is closed once, and nothing is to be done about an error. Under
	// TLS that is the socket below: closing the session would write.
	if session, ok := c.raw.(interface{ NetConn() net.Conn }); ok {
		_ = session.NetConn().Close()
		return
	}
	_ = c.raw.Close()
}

// Cork keeps back what is sent from now on, within the bounds of the backlog,
// until as many calls of Uncork. What was sent before goes out.
func (c *Conn) Cork() {
	c.mu.Lock()
	c.corks++
	c.mu.Unlock()
}

// Uncork sends frames ahead of everything that was kept back, and lets that go
// when it is the last.
func (c *Conn) Uncork(frames []byte, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.corks == 0 || c.closing || c.dead {
		return
	}
	if n > 0 {
		c.corked = slices.Insert(c.corked, 0, piece{data: frames, frames: n, importance: Kept})
		c.bytes += len(frames)
		c.frames += n
	}
	if c.corks--; c.corks == 0 {
		c.pour()
	}
	c.bound()
}

// pour moves what was kept back to the backlog. The caller holds mu.
func (c *Conn) pour() {
	c.backlog = append(c.backlog, c.corked...)
	c.corked = nil
	c.startWriter()
}

// CloseWith sends a close frame after all that waits, and lets nothing follow.
// The client has the linger timeout to answer.
func (c *Conn) CloseWith(code protocol.CloseCode) {
	c.finish(AppendClose(nil, code))
}

// Close ends the writing side once the backlog is out, as CloseWith without a
// frame of its own. The websocket library calls it when it is done; the socket
// stays open for Discard.
func (c *Conn) Close() error {
	c.finish(nil)
	return nil
}

func (c *Conn) finish(last []byte) {
	w := c.fanout.borrow()
	defer c.fanout.spareWriters.Put(w)
	if last != nil {
		c.send(w, w.uniform(last, 1, 0))
	}
	c.mu.Lock()
	if c.closing || c.dead {
		c.mu.Unlock()
		return
	}
	c.closing = true
	c.corks = 0
	c.pour()
	writing := c.writing
	deadline := time.Now().Add(c.fanout.cfg.LingerTimeout)
	_ = c.raw.SetReadDeadline(deadline)
	c.resume()
	if writing {
		// The writer does the rest, and does not wait for a client that has
		// stopped reading longer than for one that has stopped talking.
		_ = c.raw.SetWriteDeadline(deadline)
	}
	c.mu.Unlock()
	if !writing {
		c.halfClose()
	}
}

// halfClose tells the client that nothing more comes. Nothing else is written
// any more, so that no lock is needed, nor is one held: TLS writes here.
func (c *Conn) halfClose() {
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// Abort closes the socket at once.
func (c *Conn) Abort() {
	c.mu.Lock()
	c.die(CauseAborted)
	c.mu.Unlock()
}

// Discard reads until the client closes, the linger timeout ends or it has
// sent more than it could have had on the way, and closes the socket. The
// reader calls it last: a socket closed over unread bytes is reset, and the
// client might never see why.
func (c *Conn) Discard() {
	if err := c.Close(); err == nil {
		_, _ = io.CopyN(io.Discard, c.raw, maxDiscard)
	}
	c.Abort()
}

// maxDiscard is as much as a client may have had on the way when it was closed.
const maxDiscard = 64 << 10

// Cause returns why the writing side closed the socket.
func (c *Conn) Cause() Cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Open reports whether the connection still takes frames.
func (c *Conn) Open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closing && !c.dead
}

// Backlog returns the bytes and frames that wait for the client.
func (c *Conn) Backlog() (bytes, frames int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes, c.frames
}

// Unread reports whether the socket holds bytes that nobody has read yet. For
// sockets that can't be asked it is false.
func (c *Conn) Unread() bool {
	if c.direct == nil {
		return false
	}
	unread := false
	// Control, not Read: the reader waits in Read and holds its lock.
	err := c.direct.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		unread = n > 0 && err == nil
	})
	return err == nil && unread
}

// LocalAddr returns the socket's.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the socket's.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline does nothing: the websocket library calls it around the
// handshake's write, which does not block here, and heartbeats are judged
// without deadlines.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, see SetDeadline.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetDeadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = (*Conn)(nil)
