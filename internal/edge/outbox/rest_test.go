package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// clientFrame returns a masked frame of zeros as its mask.
func clientFrame(payload []byte) []byte {
	b := []byte{0x82}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// attended reads a connection's frames as the library does.
type attended struct {
	conn     *Conn
	payloads chan []byte
	ended    chan error
	starts   atomic.Int64
	inside   atomic.Int64
	overlaps atomic.Int64
}

func attend(c *Conn) *attended {
	a := &attended{conn: c, payloads: make(chan []byte, 1<<16), ended: make(chan error, 1)}
	c.Attend(func() {
		a.starts.Add(1)
		if a.inside.Add(1) > 1 {
			a.overlaps.Add(1)
		}
		defer a.inside.Add(-1)
		for {
			payload, err := a.next()
			if err != nil {
				a.ended <- err
				return
			}
			a.payloads <- payload
		}
	})
	return a
}

func (a *attended) next() ([]byte, error) {
	var head [14]byte
	if _, err := io.ReadFull(a.conn, head[:2]); err != nil {
		return nil, err
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		if _, err := io.ReadFull(a.conn, head[2:4]); err != nil {
			return nil, err
		}
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		if _, err := io.ReadFull(a.conn, head[2:10]); err != nil {
			return nil, err
		}
		length = binary.BigEndian.Uint64(head[2:])
	}
	payload := make([]byte, 4+length)
	_, err := io.ReadFull(a.conn, payload)
	return payload[4:], err
}

// rests waits until the reader has no goroutine.
func (a *attended) rests(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		a.conn.mu.Lock()
		idle := a.conn.idle
		a.conn.mu.Unlock()
		if idle && a.inside.Load() == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the reader keeps its goroutine")
		}
	}
}

func (a *attended) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-a.ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the reader goes on")
		return nil
	}
}

// attendedPair returns a connection that is read, once Run runs.
func attendedPair(t *testing.T) (*attended, net.Conn) {
	t.Helper()
	f := startFanout(t, Config{LingerTimeout: 50 * time.Millisecond})
	for end := time.Now().Add(30 * time.Second); f.watch() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing watches idle connections here")
		}
	}
	server, client := tcpPair(t)
	c, client := pair(t, f, server, client)
	return attend(c), client
}

// TestAttend sends frames of all forms in pieces of all sizes, with and without
// pauses, and expects each of them once and in order.
func TestAttend(t *testing.T) {
	t.Parallel()
	a, client := attendedPair(t)
	var sent [][]byte
	var stream []byte
	for i := range 600 {
		size := []int{0, 1, 100, 125, 126, 4000, 70_000}[i%7]
		payload := bytes.Repeat([]byte{byte(i)}, size)
		sent = append(sent, payload)
		stream = append(stream, clientFrame(payload)...)
	}
	got := 0
	for len(stream) > 0 {
		n := min(len(stream), []int{1, 2, 3, 7, 64, 5000, 50_000}[rand.IntN(7)])
		if _, err := client.Write(stream[:n]); err != nil {
			t.Fatal(err)
		}
		if stream = stream[n:]; rand.IntN(4) == 0 {
			for len(a.payloads) > 0 {
				if !bytes.Equal(<-a.payloads, sent[got]) {
					t.Fatalf("frame %d is not what was sent", got)
				}
				got++
			}
		}
	}
	for ; got < len(sent); got++ {
		select {
		case payload := <-a.payloads:
			if !bytes.Equal(payload, sent[got]) {
				t.Fatalf("frame %d is not what was sent", got)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%d of %d frames came", got, len(sent))
		}
	}
	a.rests(t)
	client.Close()
	if err := a.end(t); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
	if n := a.overlaps.Load(); n > 0 {
		t.Errorf("%d overlapping calls", n)
	}
}

// TestIdleHasNoGoroutine: a whole frame lets the goroutine go, half a one does
// not.
func TestIdleHasNoGoroutine(t *testing.T) {
	t.Parallel()
	a, client := attendedPair(t)
	for i := range 100 {
		a.rests(t)
		frame := clientFrame([]byte{byte(i)})
		half := 1 + i%(len(frame)-1)
		if _, err := client.Write(frame[:half]); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			// It waits for the rest where it is, however long that takes.
			for begun := a.starts.Load(); a.inside.Load() == 0; time.Sleep(time.Millisecond) {
				if begun != a.starts.Load() {
					break
				}
			}
		}
		if _, err := client.Write(frame[half:]); err != nil {
			t.Fatal(err)
		}
		if payload := <-a.payloads; !slices.Equal(payload, []byte{byte(i)}) {
			t.Fatalf("frame %d is %v", i, payload)
		}
	}
	a.rests(t)
	if n := a.starts.Load(); n < 100 {
		t.Errorf("%d goroutines for 100 frames with pauses", n)
	}
}

// TestIdleEnds ends idle connections in each way there is. The reader hears of
// all of them.
func TestIdleEnds(t *testing.T) {
	t.Parallel()
	ends := map[string]func(c *Conn, client net.Conn){
		"client closes":      func(_ *Conn, client net.Conn) { client.Close() },
		"client half closes": func(_ *Conn, client net.Conn) { _ = client.(*net.TCPConn).CloseWrite() },
		"client resets": func(_ *Conn, client net.Conn) {
			_ = client.(*net.TCPConn).SetLinger(0)
			client.Close()
		},
		"aborted":        func(c *Conn, _ net.Conn) { c.Abort() },
		"closed by us":   func(c *Conn, _ net.Conn) { c.CloseWith(protocol.CloseOverloaded) },
		"library closed": func(c *Conn, _ net.Conn) { _ = c.Close() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, client := attendedPair(t)
			a.rests(t)
			end(a.conn, client)
			a.end(t) // by an error, or by the linger timeout
		})
	}
}

// TestManyRest has many connections come, say something, rest and go at once,
// so that file descriptors go from one to the next.
func TestManyRest(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{LingerTimeout: 50 * time.Millisecond})
	done := make(chan error)
	for range 8 {
		go func() {
			var err error
			for i := 0; i < 40 && err == nil; i++ {
				server, client := tcpPair(t)
				c := &Conn{}
				c.Init(f, server, nil)
				a := attend(c)
				for j := byte(0); j < 3 && err == nil; j++ {
					if _, err = client.Write(clientFrame([]byte{j})); err != nil {
						break
					}
					select {
					case payload := <-a.payloads:
						if !slices.Equal(payload, []byte{j}) {
							err = errors.New("another frame")
						}
					case <-time.After(30 * time.Second):
						err = errors.New("a frame is lost")
					}
				}
				if i%2 == 0 {
					c.Abort()
				}
				client.Close()
				<-a.ended
				c.Abort()
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestAttendWithoutRun: a reader that comes before Run waits on its goroutine.
func TestAttendWithoutRun(t *testing.T) {
	t.Parallel()
	server, client := tcpPair(t)
	c, client := pair(t, New(Config{}), server, client)
	a := attend(c)
	if _, err := client.Write(clientFrame([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	<-a.payloads
	client.Close()
	if err := a.end(t); !errors.Is(err, io.EOF) || a.starts.Load() != 1 {
		t.Errorf("ended with %v after %d starts", err, a.starts.Load())
	}
}

// FuzzFrameBounds feeds a stream in two ways of cutting it.
func FuzzFrameBounds(f *testing.F) {
	f.Add(slices.Concat(clientFrame(nil), clientFrame(make([]byte, 126))), 3)
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, 1)
	f.Add([]byte{0x89, 0}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		cut = max(1, cut&0xff)
		var whole, parts frameBounds
		whole.pass(stream)
		for rest := stream; len(rest) > 0; {
			n := min(cut, len(rest))
			parts.pass(rest[:n])
			rest = rest[n:]
		}
		if whole.between() != parts.between() || whole.left != parts.left {
			t.Fatalf("%+v, cut %+v", whole, parts)
		}
		if at, ok := dumbBounds(stream); whole.between() != (ok && at == len(stream)) {
			t.Fatalf("between is %v at %d of %d", whole.between(), at, len(stream))
		}
	})
}

// dumbBounds returns where the last whole frame ends, and whether what follows
// it is not too long to be told.
func dumbBounds(b []byte) (end int, ok bool) {
	for at := 0; at+2 <= len(b); {
		head, length := 2, uint64(b[at+1]&0x7f)
		switch length {
		case 126:
			head = 4
		case 127:
			head = 10
		}
		if at+head > len(b) {
			break
		}
		switch length {
		case 126:
			length = uint64(binary.BigEndian.Uint16(b[at+2:]))
		case 127:
			length = binary.BigEndian.Uint64(b[at+2:])
		}
		if b[at+1]&0x80 != 0 {
			head += 4
		}
		if length > 1<<20 {
			return end, false
		}
		if at += head + int(length); at <= len(b) {
			end = at
		}
	}
	return end, true
}

// BenchmarkAttend measures a frame to a connection that is idle before and
// after.
func BenchmarkAttend(b *testing.B) {
	f := New(Config{})
	f.running = true
	server, client := tcpPair(b)
	c := &Conn{}
	c.Init(f, server, nil)
	a := attend(c)
	frame := clientFrame(make([]byte, 122))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(frame); err != nil {
			b.Fatal(err)
		}
		<-a.payloads
	}
	c.Abort()
	<-a.ended
	f.watcher.close()
}
