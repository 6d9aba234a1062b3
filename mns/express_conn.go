package mns

import (
	"context"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// expressConn is one connection that was taken over. It is the context of its
// requests, too: one that ends when the client goes. To look whether a client is
// there takes a goroutine, so nobody looks before somebody asks for Done, which
// only those do who wait for long.
type expressConn struct {
	// set by take
	express *express
	raw     net.Conn
	request *http.Request // reused, with its header

	// owned by serve
	in       []byte             // what was read and is not consumed yet
	head     [maxHeaders]string // the values of the header's fields
	deadline time.Time          // of reads and writes, as last set
	second   int64              // that date is of
	date     string

	// guarded by sending, which whoever writes holds
	sending sync.Mutex
	out     []byte // answers that have not left

	// guarded by mu
	mu       sync.Mutex
	serving  bool          // a request
	watching chan struct{} // closed when the watch has ended; nil without
	gone     bool
	early    [1]byte // of the next request, read by the watch
	isEarly  bool

	done chan struct{} // closed when the client has gone
}

// run serves the connection to its end, or until net/http has it. first tells
// whether the answer to the first request went out.
func (x *expressConn) run(first bool) {
	defer x.express.running.Done()
	if first && x.serve() {
		x.express.giveBack(x)
		return
	}
	_ = x.raw.Close()
	x.express.leave(x)
}

// serve serves requests until the client goes, and reports whether the
// connection is to be given back instead.
func (x *expressConn) serve() (giveBack bool) {
	s := x.express.server
	for {
		head, length, verdict := x.read(s.cfg.MaxBody)
		if verdict != plain {
			return x.flush() && verdict == special
		}
		c := s.calls.Get().(*call)
		c.http, c.arrived = x.request, true
		c.body.Write(x.in[head : head+length])
		x.in = x.in[:copy(x.in, x.in[head+length:])]
		if len(x.in) == 0 && cap(x.in) > maxPooled {
			x.in = make([]byte, 0, maxHead)
		}
		ok := s.answerPlain(x, c)
		c.reset()
		s.calls.Put(c)
		if !ok {
			return false
		}
	}
}

// answerPlain serves a request and sends its answer.
func (s *Server) answerPlain(x *expressConn, c *call) bool {
	start := time.Now()
	x.mu.Lock()
	x.serving = true
	x.mu.Unlock()
	op, code := s.decide(c, nil)
	ok := x.answer(c)
	s.metrics.served(op.name, code, time.Since(start))
	return ok
}

// verdict is what a request is.
type verdict int

const (
	ended   verdict = iota // there is none any more
	plain                  // one that is served here
	special                // one for net/http
)

// read reads the next request, and returns the lengths of its head and body.
func (x *expressConn) read(most int) (head, length int, v verdict) {
	x.rest(expressIdle)
	for began := false; ; {
		if len(x.in) > 0 {
			head, length, v = parsePlain(x.in, x.request, &x.head)
			if v == special || length > most {
				return 0, 0, special
			}
			if v == plain {
				break
			}
			if len(x.in) >= maxHead {
				return 0, 0, special
			}
			if !began { // the rest is on its way
				began = true
				x.hurry(expressRequest)
			}
		}
		if !x.more(maxHead) {
			return 0, 0, ended
		}
	}
	if head+length > len(x.in) {
		x.hurry(x.express.server.cfg.BodyTimeout)
	}
	for head+length > len(x.in) {
		if !x.more(head + length) {
			return 0, 0, ended
		}
	}
	return head, length, plain
}

// more reads what is there, up to so many bytes in all.
func (x *expressConn) more(size int) bool {
	if !x.flush() {
		return false
	}
	if cap(x.in) < size {
		x.in = slices.Grow(x.in, size-len(x.in))
	}
	n, _ := x.raw.Read(x.in[len(x.in):max(size, len(x.in)+1)])
	x.in = x.in[:len(x.in)+n]
	return n > 0
}

// rest lets the connection be idle for so long. Deadlines cost, so one that is
// nearly right stays.
func (x *expressConn) rest(d time.Duration) {
	if now := time.Now(); x.deadline.Sub(now) < d-patience {
		x.deadline = now.Add(d)
		_ = x.raw.SetReadDeadline(x.deadline)
		_ = x.raw.SetWriteDeadline(now.Add(expressAnswer))
	}
}

// hurry bounds the time of a request that has begun to come.
func (x *expressConn) hurry(d time.Duration) {
	x.deadline = time.Time{}
	_ = x.raw.SetReadDeadline(time.Now().Add(d))
}

// maxHeld is how many bytes of answers wait for a further one at most.
const maxHeld = 16 << 10

// answer sends an answer, and reports whether it went out. It is held, to leave
// with the next one, where the next request has begun to come: clients that ask
// ahead are served for fewer writes. It leaves before that one waits, see Done.
// What must be known to have reached the client is not held.
func (x *expressConn) answer(c *call) bool {
	x.unwatch()
	undelivered := c.undelivered
	ok := !x.gone
	if ok {
		now := time.Now()
		if x.second != now.Unix() {
			x.second, x.date = now.Unix(), now.UTC().Format(http.TimeFormat)
		}
		if x.deadline.IsZero() || len(c.doc.Bytes()) > maxHead {
			_ = x.raw.SetWriteDeadline(now.Add(expressAnswer))
		}
		ok = x.put(c, undelivered == nil && len(x.in) > 0)
	}
	if !ok && undelivered != nil {
		undelivered()
	}
	return ok
}

// put adds an answer to those that have not left, and has them leave unless it
// is to be held.
func (x *expressConn) put(c *call, hold bool) bool {
	x.sending.Lock()
	defer x.sending.Unlock()
	x.out = append(c.appendHead(x.out, x.date), c.doc.Bytes()...)
	return hold && len(x.out) < maxHeld || x.write()
}

// flush has the answers leave that have not, and reports whether they did.
func (x *expressConn) flush() bool {
	x.sending.Lock()
	defer x.sending.Unlock()
	return len(x.out) == 0 || x.write()
}

// write writes the answers. The caller holds sending.
func (x *expressConn) write() bool {
	_, err := x.raw.Write(x.out)
	x.out = x.out[:0]
	if cap(x.out) > maxPooled {
		x.out = nil
	}
	return err == nil
}

// Done implements context.Context. Who asks may wait for long: the client gets
// what was answered before, and begins to be watched while a request is served.
// (A context that was made from this one may ask when it is not any more.)
func (x *expressConn) Done() <-chan struct{} {
	x.flush() // if it fails, so does the watch
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.serving && x.watching == nil && !x.gone && !x.isEarly {
		x.watching = make(chan struct{})
		_ = x.raw.SetReadDeadline(time.Time{})
		go x.watch(x.watching)
	}
	return x.done
}

// watch waits for the client to go, to say more, or for unwatch.
func (x *expressConn) watch(ended chan struct{}) {
	defer close(ended)
	var b [1]byte
	n, err := x.raw.Read(b[:])
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case n == 1:
		x.early, x.isEarly = b, true
	case err != nil && !os.IsTimeout(err):
		x.gone = true
		close(x.done)
	}
}

// unwatch ends the watch, if there is one, so that the connection can be read.
func (x *expressConn) unwatch() {
	x.mu.Lock()
	watching := x.watching
	x.serving, x.watching = false, nil
	x.mu.Unlock()
	if watching == nil {
		return
	}
	_ = x.raw.SetReadDeadline(time.Unix(1, 0))
	<-watching
	_ = x.raw.SetReadDeadline(time.Time{})
	x.deadline = time.Time{}
	if x.isEarly {
		x.in, x.isEarly = append(x.in, x.early[0]), false
	}
}

// Err implements context.Context.
func (x *expressConn) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone {
		return context.Canceled
	}
	return nil
}

// Deadline implements context.Context.
func (x *expressConn) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (x *expressConn) Value(any) any { return nil }
