package push

import (
	"sync"
	"syscall"
	"time"
)

// writers bring what waits to the sockets that take it at once. Connections with
// something to write are in line, each once, and a worker gives each of them all
// that waits for it in one write. There is no timer: one line leaves at once;
// while lines come faster than a turn of the line takes, they share writes.
//
// A connection whose socket is full leaves the line for a goroutine of its own,
// until the socket has taken what waits.
type writers struct {
	// guarded by mu
	mu      sync.Mutex
	wake    sync.Cond // for workers
	help    sync.Cond // for the last one, which helps while few wait
	line    []*Conn   // bounded by the number of connections
	head    int
	idle    int  // workers that wait and were not woken
	resting bool // the helper waits and was not woken
	stopped bool
}

// helpUpTo is how many connections may wait for the last worker to help. Where
// more do it would take the processor from who publishes, and what waits is
// written together.
const helpUpTo = 2 * turn

func newWriters() *writers {
	w := &writers{}
	w.wake.L, w.help.L = &w.mu, &w.mu
	return w
}

// push puts connections in line that are not.
func (w *writers) push(conns ...*Conn) {
	w.mu.Lock()
	if w.head > 64 && w.head > len(w.line)/2 {
		n := copy(w.line, w.line[w.head:])
		clear(w.line[n:])
		w.line, w.head = w.line[:n], 0
	}
	w.line = append(w.line, conns...)
	w.rouse()
	w.mu.Unlock()
}

// rouse wakes who is to serve what waits. The caller holds mu.
func (w *writers) rouse() {
	switch waiting := len(w.line) - w.head; {
	case waiting == 0:
	case w.idle > 0:
		w.idle--
		w.wake.Signal()
	case w.resting && waiting <= helpUpTo:
		w.resting = false
		w.help.Signal()
	}
}

// next takes the connections of one turn off the line, and none when the workers
// are to stop and all is written. The helper leaves a long line to the others.
func (w *writers) next(into []*Conn, helper bool) []*Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head == len(w.line) || helper && len(w.line)-w.head > helpUpTo {
		switch {
		case w.stopped:
			return nil
		case helper:
			w.resting = true
			w.help.Wait()
		default:
			w.idle++
			w.wake.Wait()
		}
	}
	n := copy(into, w.line[w.head:])
	clear(w.line[w.head : w.head+n])
	w.head += n
	w.rouse()
	return into[:n]
}

// stop lets the workers end once the line is empty.
func (w *writers) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.wake.Broadcast()
	w.help.Broadcast()
}

// turn is how many connections a worker takes off the line at once.
const turn = 16

// worker writes without waiting.
type worker struct {
	try func(fd uintptr) bool // attempt, made once
	buf *[writeSize]byte

	// of the write under way
	data []byte
	n    int
	err  error
}

// work serves the line until it ends.
func (w *writers) work(helper bool) {
	k := &worker{buf: new([writeSize]byte)}
	k.try = k.attempt
	var conns [turn]*Conn
	for {
		batch := w.next(conns[:], helper)
		if len(batch) == 0 {
			return
		}
		now := time.Now()
		for _, c := range batch {
			k.serve(c, now)
		}
	}
}

// attempt makes one write.
func (k *worker) attempt(fd uintptr) bool {
	for {
		k.n, k.err = syscall.Write(int(fd), k.data)
		if k.err != syscall.EINTR {
			return true
		}
	}
}

// serve writes what waits for a connection.
//
// Hot: once for each viewer of each line (BenchmarkLine, BenchmarkFlood).
func (k *worker) serve(c *Conn, now time.Time) {
	k.data = c.take(k.buf[:0])
	if len(k.data) == 0 {
		return
	}
	err := c.direct.Write(k.try)
	if err == nil && k.err == syscall.EAGAIN {
		k.n, k.err = 0, nil
	}
	if err != nil || k.err != nil {
		c.abort()
		return
	}
	c.hub.stats.Writes.Add(1)
	c.active.Store(now.UnixNano())
	if k.n == len(k.data) {
		c.again()
		return
	}
	rest := append([]byte(nil), k.data[k.n:]...)
	c.hub.running.Go(func() { c.write(rest) })
}

// again ends a connection's turn: it has another one if something waits by now.
func (c *Conn) again() {
	c.mu.Lock()
	waits := c.waits() && !c.dead
	if !waits {
		c.rest()
	}
	c.mu.Unlock()
	if waits {
		c.hub.writers.push(c)
	}
}
