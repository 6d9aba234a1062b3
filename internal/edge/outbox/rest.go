package outbox

import "encoding/binary"

// Attend has loop read the connection until it returns, on a goroutine that is
// there only while there is something to read: when loop asks for more between
// two of the client's frames and the socket has nothing, its goroutine ends,
// running what loop has deferred, and loop is called anew on another one when
// the socket has something or the writing side ends. loop keeps nothing on its
// stack between frames, therefore. Its calls never overlap, and it returns
// once: when a read has failed.
//
// An idle connection so costs no stack. Where the socket can't be watched, as
// under TLS, loop stays on one goroutine and waits there.
func (c *Conn) Attend(loop func()) {
	c.loop = loop
	if c.direct != nil {
		c.poller = c.fanout.watch()
	}
	if c.poller != nil && len(c.head) == 0 {
		c.resting = true
		c.rest() // most clients listen first
		return
	}
	go c.attend()
}

// attend is one goroutine of the reader.
func (c *Conn) attend() {
	defer c.rest()
	c.loop()
	if c.poller != nil {
		c.poller.forget(c)
	}
}

// mayRest reports whether the reader may end its goroutine instead of waiting.
func (c *Conn) mayRest() bool { return c.poller != nil && !c.stays && c.bounds.between() }

// rest leaves the socket to the poller, if the reader's goroutine has ended for
// that. Whoever finds the connection idle from then on starts the next.
func (c *Conn) rest() {
	if !c.resting {
		return
	}
	c.resting, c.drained = false, false
	c.mu.Lock()
	if c.closing || c.dead {
		// What is left to read has a deadline, which only a waiting read sees.
		c.stays = true
		c.mu.Unlock()
		go c.attend()
		return
	}
	c.idle = true
	first := !c.watched
	c.watched = true
	c.mu.Unlock()
	if err := c.poller.arm(c, first); err == nil {
		return
	}
	c.mu.Lock()
	if c.idle {
		c.stays = true
		c.resume()
	}
	c.mu.Unlock()
}

// wake starts the reader if the connection is idle.
func (c *Conn) wake() {
	c.mu.Lock()
	c.resume()
	c.mu.Unlock()
}

// resume is wake for who holds mu.
func (c *Conn) resume() {
	if c.idle {
		c.idle = false
		go c.attend()
	}
}

// frameBounds follows a client's frames as far as to know where one ends.
type frameBounds struct {
	left uint64 // bytes of the frame under way that follow its length
	head [10]byte
	n    uint8 // bytes of head that have come
}

// between reports whether what has come so far ends with a whole frame.
func (f *frameBounds) between() bool { return f.n == 0 && f.left == 0 }

// pass takes note of what has come.
func (f *frameBounds) pass(b []byte) {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(b)))
			f.left -= n
			b = b[n:]
			continue
		}
		f.head[f.n] = b[0]
		f.n++
		b = b[1:]
		if f.n >= 2 {
			f.begin()
		}
	}
}

// begin begins the frame's rest once its length is known.
func (f *frameBounds) begin() {
	const mask = 4
	length := uint64(f.head[1] & 0x7f)
	switch {
	case length == 126 && f.n == 4:
		length = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case length == 127 && f.n == 10:
		// The library refuses what is far too long; here it only must not wrap.
		length = min(binary.BigEndian.Uint64(f.head[2:]), 1<<62)
	case length >= 126:
		return
	}
	if f.head[1]&0x80 != 0 {
		length += mask
	}
	f.left, f.n = length, 0
}
