package push

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// Conn is one websocket. It is the net.Conn that the websocket library writes
// to: nothing written blocks, and what the library and publications write does
// not mix.
type Conn struct {
	// set by Hub.Serve
	hub    *Hub
	raw    net.Conn
	direct syscall.RawConn // nil when a write to raw may block
	ack    bool

	// active is when a frame went either way last, in nanoseconds since 1970.
	active atomic.Int64

	// owned by the reader
	head   []byte // read before the handshake was over
	topics map[chat.TopicName]*audience

	// guarded by mu
	mu            sync.Mutex
	waiting       *queue // nil when one frame waits at most
	single        []byte // that frame, nil for none
	singleIs      chat.Importance
	writing       bool // in line for a worker, or a goroutine of its own writes
	closing       bool // nothing more is taken
	unread        bool // the reader has ended
	dead          bool // raw is closed
	subscriptions int
	since         time.Time // when it had no subscription last
	deadline      time.Time // of writes

	// guarded by hub.mu
	index int
}

// Ack reports whether the client wants to be told what became of its control
// messages.
func (c *Conn) Ack() bool { return c.ack }

// Subscriptions returns how many the connection has.
func (c *Conn) Subscriptions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscriptions
}

// RemoteAddr returns the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// Say sends a text that is no publication. It is kept.
func (c *Conn) Say(text []byte) { c.push(urgent, textFrame(text)) }

// push queues a frame. It does not block: what does not fit is dropped or
// closes the connection.
func (c *Conn) push(i chat.Importance, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.dead {
		return
	}
	if c.queue(i, frame) {
		c.hub.writers.push(c)
	}
	c.limit()
}

// give is push for a publication to many: it reports whether the caller has to
// put the connection in line for its writing.
func (c *Conn) give(i chat.Importance, frame []byte) (line bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.dead {
		return false
	}
	line = c.queue(i, frame)
	c.limit()
	return line
}

// limit drops what is too much, and closes the connection when that is not
// enough. The caller holds mu.
func (c *Conn) limit() {
	if c.waiting == nil {
		return
	}
	limit := &c.hub.cfg
	for c.waiting.frames > limit.MaxFrames || c.waiting.bytes > limit.MaxBytes {
		dropped, ok := c.waiting.drop()
		if !ok {
			c.hub.stats.Slow.Add(1)
			c.close(CodeSlow, "too slow", true)
			return
		}
		c.hub.stats.Dropped[dropped].Add(1)
	}
}

// queue adds a frame and has it written; it reports whether the caller has to
// put the connection in line for that. The caller holds mu.
func (c *Conn) queue(i chat.Importance, frame []byte) (line bool) {
	switch {
	case c.waiting != nil:
		c.waiting.push(i, frame)
	case c.single == nil && len(frame) <= c.hub.cfg.MaxBytes:
		c.single, c.singleIs = frame, i
	default:
		c.waiting = queues.Get().(*queue)
		if c.single != nil {
			c.waiting.push(c.singleIs, c.single)
			c.single = nil
		}
		c.waiting.push(i, frame)
	}
	if c.writing {
		return false
	}
	c.writing = true
	if c.direct == nil {
		c.hub.running.Go(func() { c.write(nil) })
		return false
	}
	return true
}

// waits reports whether something is to be written. The caller holds mu.
func (c *Conn) waits() bool { return c.single != nil || c.waiting != nil && c.waiting.frames > 0 }

var (
	queues  = sync.Pool{New: func() any { return new(queue) }}
	buffers = sync.Pool{New: func() any { return new([writeSize]byte) }}
)

// writeSize is how much one write takes at most, larger frames aside.
const writeSize = 32 << 10

// write writes rest, then what waits, until nothing does. It may block; workers
// do not use it.
func (c *Conn) write(rest []byte) {
	buf := buffers.Get().(*[writeSize]byte)
	defer buffers.Put(buf)
	for data := rest; ; data = nil {
		if len(data) == 0 {
			data = c.take(buf[:0])
		}
		if len(data) == 0 {
			return
		}
		c.bound()
		if _, err := c.raw.Write(data); err != nil {
			c.abort()
			return
		}
		c.hub.stats.Writes.Add(1)
		c.active.Store(time.Now().UnixNano())
	}
}

// bound has a write that may block end in time.
func (c *Conn) bound() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Renewed when half of it is over: setting it costs as much as a small
	// write's share of the loop.
	if now := time.Now(); c.deadline.Sub(now) < c.hub.cfg.StallTimeout/2 && !c.unread {
		c.deadline = now.Add(c.hub.cfg.StallTimeout)
		_ = c.raw.SetWriteDeadline(c.deadline)
	}
}

// take returns what to write next. Nothing means that the writer's work is done.
func (c *Conn) take(buf []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var data []byte
	switch {
	case c.dead:
	case c.waiting != nil:
		data = c.waiting.take(buf)
	default:
		data, c.single = c.single, nil
	}
	if len(data) == 0 {
		c.rest()
	}
	return data
}

// rest ends the writer's work. The caller holds mu.
func (c *Conn) rest() {
	c.writing = false
	if c.waiting != nil && c.waiting.frames == 0 {
		queues.Put(c.waiting)
	}
	c.waiting, c.single = nil, nil
	switch {
	case c.closing:
		c.finish()
	case c.direct != nil && !c.deadline.IsZero():
		// What a worker writes does not block, but would find it over.
		c.deadline = time.Time{}
		_ = c.raw.SetWriteDeadline(c.deadline)
	}
}

// use makes raw the connection's socket.
func (c *Conn) use(raw net.Conn) {
	c.raw = raw
	if s, ok := raw.(syscall.Conn); ok {
		if direct, err := s.SyscallConn(); err == nil {
			c.direct = direct
		}
	}
}

// CloseWith tells the client why, after what waits, and closes.
func (c *Conn) CloseWith(code Code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.close(code, reason, false)
}

// close closes after a close frame, which goes last, or at once when what waits
// is to be dropped. The caller holds mu.
func (c *Conn) close(code Code, reason string, drop bool) {
	if c.closing || c.dead {
		return
	}
	c.hub.closed(code)
	if drop {
		c.single = nil
		if c.waiting != nil {
			*c.waiting = queue{}
		}
	}
	// The last of the last bucket is the last to be written.
	if c.queue(chat.MaxImportance, closeFrame(code, reason)) {
		c.hub.writers.push(c)
	}
	c.closing = true
	c.deadline = time.Now().Add(c.hub.cfg.StallTimeout)
	_ = c.raw.SetWriteDeadline(c.deadline)
}

// finish ends the writing side; the reader waits for the client's end, for a
// moment, so that the close frame is not lost to a reset. The caller holds mu.
func (c *Conn) finish() {
	if c.dead {
		return
	}
	half, ok := c.raw.(interface{ CloseWrite() error })
	if c.unread || !ok || half.CloseWrite() != nil {
		c.dead = true
		_ = c.raw.Close()
		return
	}
	_ = c.raw.SetReadDeadline(time.Now().Add(c.hub.cfg.Linger))
}

// ended is told that the reader has ended. What waits is still written, if the
// client takes it in a moment.
func (c *Conn) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread, c.closing = true, true
	if !c.writing {
		c.finish()
		return
	}
	c.deadline = time.Now().Add(c.hub.cfg.Linger)
	_ = c.raw.SetWriteDeadline(c.deadline)
}

// drain reads on after our end, for a moment: closing a socket with something
// unread in it resets it, and the close frame may be lost.
func (c *Conn) drain() {
	c.mu.Lock()
	dead := c.dead
	if !dead {
		_ = c.raw.SetReadDeadline(time.Now().Add(c.hub.cfg.Linger))
	}
	c.mu.Unlock()
	if !dead {
		_, _ = io.CopyN(io.Discard, c.raw, maxDrain)
	}
}

// maxDrain bounds what drain reads.
const maxDrain = 1 << 20

// abort closes the socket. It is idempotent and never blocks.
func (c *Conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if !c.writing {
		c.waiting, c.single = nil, nil
	}
	if !c.dead {
		c.dead = true
		_ = c.raw.Close()
	}
}

// Write takes what the websocket library writes: the handshake's answer, pongs,
// and the answer to a client's close.
func (c *Conn) Write(b []byte) (int, error) {
	c.push(urgent, append([]byte(nil), b...))
	return len(b), nil
}

// Close is called by the websocket library once it has written its last.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closing = true
		if !c.writing {
			c.finish()
		}
	}
	return nil
}

// Read reads what came with the handshake, then from the socket.
func (c *Conn) Read(b []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(b, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.raw.Read(b)
}

// LocalAddr returns the socket's.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// The library's deadlines are around writes that do not block here, and silence
// is judged without deadlines.

// SetDeadline does nothing.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = (*Conn)(nil)

// verdict returns why a connection is to be closed now, 0 if it is not.
func (c *Conn) verdict(now time.Time, first, idle time.Duration) (Code, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing || c.dead:
		return 0, ""
	case c.subscriptions == 0 && now.Sub(c.since) >= first:
		return CodeNoneInTime, "no valid subscription in time"
	case now.Sub(time.Unix(0, c.active.Load())) >= idle:
		return CodeIdle, "idle"
	default:
		return 0, ""
	}
}

// gained and lost count the connection's subscriptions; lost reports whether it
// was the last.
func (c *Conn) gained() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscriptions++
}

func (c *Conn) lost(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subscriptions -= n; c.subscriptions > 0 {
		return false
	}
	c.since = time.Now()
	return true
}
