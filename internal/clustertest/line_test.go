package clustertest

import (
	"net"
	"os"
	"syscall"
	"time"
)

// line is a node's connection to the embedded Redis: a pipe whose bytes the
// depot holds up, throws away or breaks off. All of it is guarded by the
// depot's mu, and whoever waits does so on its cond.
//
// The client library holds a mutex while it greets the server, and virtual time
// stands still while somebody waits for a mutex: so greetings are never held up.
type line struct {
	net.Conn
	depot *redisDepot
	node  int

	out, in  []chunk
	greeting bool  // what was written last is a greeting
	ended    error // what reads end with, once everything is read
	closed   bool  // by the node
	deadline time.Time
}

// chunk is something on its way.
type chunk struct {
	bytes    []byte
	at       time.Time // when it arrives at the earliest
	greeting bool
}

// greets reports whether a command is the first of a connection.
func greets(b []byte) bool {
	return len(b) > 13 && b[0] == '*' && string(b[8:13]) == "hello"
}

func (d *redisDepot) newLine(n int, conn net.Conn) *line {
	l := &line{Conn: conn, depot: d, node: n}
	d.lines[l] = struct{}{}
	d.loops.Go(l.send)
	d.loops.Go(l.receive)
	return l
}

// Write puts bytes on their way. They arrive even if the node closes the line.
func (l *line) Write(b []byte) (int, error) {
	d := l.depot
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case l.closed:
		return 0, net.ErrClosed
	case l.ended != nil:
		return 0, syscall.EPIPE
	}
	l.greeting = greets(b)
	l.out = append(l.out, d.chunk(b, l.greeting))
	return len(b), nil
}

// send brings the server what was written.
func (l *line) send() {
	d := l.depot
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case l.ended != nil, l.closed && len(l.out) == 0:
			_ = l.Conn.Close() // a pipe
			return
		case len(l.out) == 0 || !d.arrived(l.node, l.out[0]):
			d.cond.Wait()
			continue
		}
		b := l.out[0].bytes
		l.out = l.out[1:]
		d.mu.Unlock()
		_, err := l.Conn.Write(b)
		d.mu.Lock()
		if err != nil {
			l.end(err)
		}
	}
}

// receive takes what the server answers.
func (l *line) receive() {
	d := l.depot
	for {
		b := make([]byte, 16<<10)
		n, err := l.Conn.Read(b)
		d.mu.Lock()
		if n > 0 && (!d.lost[l.node] || l.greeting) {
			l.in = append(l.in, d.chunk(b[:n], l.greeting))
		}
		if err != nil {
			l.end(err)
			d.mu.Unlock()
			return
		}
		d.cond.Broadcast()
		d.mu.Unlock()
	}
}

// Read returns what has arrived.
func (l *line) Read(b []byte) (int, error) {
	d := l.depot
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case l.closed:
			return 0, net.ErrClosed
		case len(l.in) > 0 && d.arrived(l.node, l.in[0]):
			n := copy(b, l.in[0].bytes)
			if l.in[0].bytes = l.in[0].bytes[n:]; len(l.in[0].bytes) == 0 {
				l.in = l.in[1:]
			}
			return n, nil
		case len(l.in) == 0 && l.ended != nil:
			return 0, l.ended
		case !l.deadline.IsZero() && !time.Now().Before(l.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		d.cond.Wait()
	}
}

// end breaks the line off. The caller holds mu.
func (l *line) end(err error) {
	if l.ended == nil {
		l.ended = err
	}
	delete(l.depot.lines, l)
	l.depot.cond.Broadcast()
}

// Close ends the line at the node's side.
func (l *line) Close() error {
	l.depot.mu.Lock()
	defer l.depot.mu.Unlock()
	l.closed = true
	l.depot.cond.Broadcast()
	return nil
}

// SetDeadline bounds reads; writes don't wait.
func (l *line) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetWriteDeadline has nothing to bound.
func (l *line) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline bounds reads.
func (l *line) SetReadDeadline(t time.Time) error {
	l.depot.mu.Lock()
	defer l.depot.mu.Unlock()
	l.deadline = t
	if !t.IsZero() {
		l.depot.wake(time.Until(t))
	}
	return nil
}
