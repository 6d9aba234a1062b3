package outbox

import (
	"slices"
	"time"
)

// writeChunk is how much of a backlog one write takes: what a client must be
// able to read within the stall timeout.
const writeChunk = 32 << 10

// keep puts what is left of b after sent bytes into the backlog, and makes
// room or closes the connection where the backlog is full. The caller holds mu.
func (c *Conn) keep(b burst, sent int) {
	start := 0
	for _, r := range b.runs {
		data, frames := b.data[start:r.end], r.frames
		skip := min(max(sent-start, 0), len(data))
		start = r.end
		if skip > 0 {
			data, frames = c.keepBegun(data, skip, frames)
		}
		if len(data) > 0 {
			c.push(piece{data: data, frames: frames, importance: r.importance})
		}
	}
	c.bound()
}

// bound makes room where there is too much. The caller holds mu.
func (c *Conn) bound() {
	if c.bytes > c.fanout.cfg.MaxBacklogBytes || c.frames > c.fanout.cfg.MaxBacklogFrames {
		c.shed()
	}
}

// keepBegun keeps the rest of the frame that the socket has begun to take, of
// which nothing may be dropped, and returns the whole frames after it.
func (c *Conn) keepBegun(data []byte, sent, frames int) ([]byte, int) {
	at := 0
	for at < sent {
		at += frameLen(data[at:])
		frames--
	}
	if at > sent {
		c.push(piece{data: data[sent:at], frames: 1})
	}
	return data[at:], frames
}

// push appends to the backlog. The caller holds mu and has it bounded after.
func (c *Conn) push(p piece) {
	if c.corks > 0 {
		c.corked = append(c.corked, p)
	} else {
		c.backlog = append(c.backlog, p)
	}
	c.bytes += len(p.data)
	c.frames += p.frames
}

// shed drops the least important frames until the backlog is half empty or
// only what is kept remains; if that is still too much, the client is too slow.
// The caller holds mu.
func (c *Conn) shed() {
	cfg := &c.fanout.cfg
	for level := lowest; level > Kept; level-- {
		if c.bytes <= cfg.MaxBacklogBytes/2 && c.frames <= cfg.MaxBacklogFrames/2 {
			return
		}
		drop := func(p piece) bool {
			if p.importance != level {
				return false
			}
			c.bytes -= len(p.data)
			c.frames -= p.frames
			c.fanout.counters.DroppedSlow.Add(uint64(p.frames))
			return true
		}
		c.backlog = slices.DeleteFunc(c.backlog, drop)
		c.corked = slices.DeleteFunc(c.corked, drop)
	}
	if c.bytes > cfg.MaxBacklogBytes || c.frames > cfg.MaxBacklogFrames {
		c.die(CauseSlow)
	}
}

// writeBacklog writes until the backlog is empty. It is the only writer
// meanwhile.
func (c *Conn) writeBacklog() {
	buf, ok := c.fanout.spareChunks.Get().(*[writeChunk]byte)
	if !ok {
		buf = new([writeChunk]byte)
	}
	defer c.fanout.spareChunks.Put(buf)
	for {
		n := c.take(buf[:])
		if n == 0 {
			c.written()
			return
		}
		if _, err := c.raw.Write(buf[:n]); err != nil {
			cause := CauseBroken
			if isTimeout(err) {
				cause = CauseSlow
			}
			c.mu.Lock()
			c.die(cause)
			c.writing = false
			c.mu.Unlock()
			return
		}
	}
}

// written follows the end of a backlog.
func (c *Conn) written() {
	c.mu.Lock()
	last := c.closing && !c.dead
	c.mu.Unlock()
	if last {
		c.halfClose()
	}
}

// take moves the beginning of the backlog to buf and sets the deadline for its
// write. With 0 the writer's work is done.
func (c *Conn) take(buf []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, whole := 0, 0
	for whole < len(c.backlog) && n < len(buf) {
		p := &c.backlog[whole]
		copied := copy(buf[n:], p.data)
		n += copied
		if copied < len(p.data) {
			p.data, p.importance = p.data[copied:], 0
			break
		}
		c.frames -= p.frames
		whole++
	}
	c.bytes -= n
	c.backlog = slices.Delete(c.backlog, 0, whole)
	if n == 0 {
		c.writing = false
		c.backlog = nil
		if !c.closing {
			_ = c.raw.SetWriteDeadline(time.Time{})
		}
		return 0
	}
	if !c.closing {
		_ = c.raw.SetWriteDeadline(time.Now().Add(c.fanout.cfg.StallTimeout))
	}
	return n
}
