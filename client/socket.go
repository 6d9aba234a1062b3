package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"
)

// lastWords is how long a connection is read from whose writing has failed, and
// how long a goodbye may take.
const lastWords = time.Second

// errStuck: those before in the queue take all the time that a write has.
var errStuck = errors.New("earlier writes are stuck")

// socket is a connection's net.Conn, below the websocket library. It writes our
// own frames past the library, for two reasons.
//
// The library closes a connection as soon as a write fails, and what the server
// said last is lost with it: the close code that tells the client to stay away,
// for one. So a failed write is not told to the library. The reader finds out
// how the connection ended, and is given a short time for it.
//
// And the library's writers wait for each other on a mutex, without regard for
// a context or for the end of the connection.
type socket struct {
	net.Conn
	// timeout bounds one write, with the wait for its turn.
	timeout time.Duration
	// turn is held by who writes.
	turn chan struct{}
	// heard is when bytes came last, in Unix nanoseconds.
	heard atomic.Int64
	// failed is why writing is over.
	failed atomic.Pointer[error]
}

func newSocket(c net.Conn, timeout time.Duration) *socket {
	return &socket{Conn: c, timeout: timeout, turn: make(chan struct{}, 1)}
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.heard.Store(time.Now().UnixNano())
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		// Nobody is there to be written to: the library answers every end with a
		// close frame.
		over := fmt.Errorf("read: %w", err)
		s.failed.CompareAndSwap(nil, &over)
	}
	return n, err
}

// Write implements net.Conn for the library, which writes the handshake and
// answers to a close. It reports success after a failure too; err tells.
func (s *socket) Write(b []byte) (int, error) {
	_ = s.write(context.Background(), b, s.timeout) // see above
	return len(b), nil
}

// send writes one frame.
func (s *socket) send(ctx context.Context, op gws.Opcode, payload []byte) error {
	return s.write(ctx, appendFrame(make([]byte, 0, maxHeader+len(payload)), op, payload, rand.Uint32()), s.timeout)
}

func (s *socket) write(ctx context.Context, b []byte, timeout time.Duration) error {
	began := time.Now()
	select {
	case s.turn <- struct{}{}:
	default:
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case s.turn <- struct{}{}:
		case <-timer.C:
			return errStuck
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-s.turn }()
	if err := s.err(); err != nil {
		return err
	}
	err := s.Conn.SetWriteDeadline(began.Add(timeout))
	if err == nil {
		_, err = s.Conn.Write(b)
	}
	if err != nil {
		s.fail(err)
	}
	return err
}

// fail ends the writing and lets the reading end soon.
func (s *socket) fail(err error) {
	if s.failed.CompareAndSwap(nil, &err) {
		_ = s.Conn.SetReadDeadline(time.Now().Add(lastWords)) // on error the reader has ended already
	}
}

// err returns why writing is over, nil while it is not.
func (s *socket) err() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// leave says goodbye, if that does not take long, and closes the socket.
func (s *socket) leave() {
	normal := binary.BigEndian.AppendUint16(nil, 1000)
	_ = s.write(context.Background(), appendFrame(nil, gws.OpcodeCloseConnection, normal, rand.Uint32()), lastWords) // it is over either way
	_ = s.Conn.Close()
}

// maxHeader is how long the head of a client's frame may be.
const maxHeader = 14

// appendFrame appends a whole websocket frame of a client.
func appendFrame(dst []byte, op gws.Opcode, payload []byte, mask uint32) []byte {
	const final, masked = 0x80, 0x80
	dst = append(dst, final|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, masked|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, masked|127), uint64(n))
	}
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], mask)
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	for i := range dst[start:] {
		dst[start+i] ^= key[i&3]
	}
	return dst
}
