package outbox

import (
	"errors"
	"io"
	"runtime"
	"syscall"
)

// readChunk is what one read takes at most. What a client has sent since the
// last is rarely more than a heartbeat.
const readChunk = 4 << 10

// spare is memory to read into. Connections share it: one holds it from the
// moment that its socket has something until all of that has been asked for,
// so that an idle connection has none.
type spare struct {
	chunk [readChunk]byte
	err   error // why nothing was read
}

// Read reads what was read ahead, at first that of the handshake's end, then
// from the socket.
//
// Hot: twice or so for each frame of a client (BenchmarkConnRead).
func (c *Conn) Read(b []byte) (int, error) {
	if len(c.head) == 0 {
		if c.direct == nil {
			return c.raw.Read(b)
		}
		if len(b) == 0 {
			return 0, nil
		}
		if c.drained && c.mayRest() {
			c.resting = true
			runtime.Goexit()
		}
		// The runtime calls ready until it says that it is done, and waits in
		// between until the socket has something.
		if err := c.direct.Read(c.ready); err != nil {
			return 0, err
		}
		if c.resting {
			runtime.Goexit()
		}
		if len(c.head) == 0 {
			err := c.from.err
			c.giveBack()
			if !errors.Is(err, io.EOF) {
				c.reset()
			}
			return 0, err
		}
	}
	n := copy(b, c.head)
	if c.poller != nil {
		c.bounds.pass(b[:n])
	}
	if c.head = c.head[n:]; len(c.head) == 0 {
		c.head = nil
		c.giveBack()
	}
	return n, nil
}

// reset takes note that the client's side is gone. Nothing is written any more:
// the library answers every end with a close frame.
func (c *Conn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.die(CauseBroken)
	}
}

// receive reads once without blocking. It reports false when there is nothing
// yet and the reader waits for it.
func (c *Conn) receive(fd uintptr) bool {
	into, ok := c.fanout.spareReads.Get().(*spare)
	if !ok {
		into = new(spare)
	}
	c.from, into.err = into, nil
	for {
		n, err := syscall.Read(int(fd), into.chunk[:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			c.giveBack()
			c.resting = c.mayRest()
			return c.resting
		case err != nil:
			into.err = err
		case n == 0:
			into.err = io.EOF
		default:
			c.head = into.chunk[:n]
			c.drained = n < len(into.chunk)
		}
		return true
	}
}

// giveBack returns the shared memory, if there is some.
func (c *Conn) giveBack() {
	if c.from != nil {
		c.fanout.spareReads.Put(c.from)
		c.from = nil
	}
}
