package outbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// startFanout runs a fanout that ends with the test. Connections are closed by then.
func startFanout(t *testing.T, cfg Config) *Fanout {
	f := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

// narrowPair is a tcpPair that holds little on its way, and always as little.
func narrowPair(t *testing.T) (server, client net.Conn) {
	server, client = tcpPair(t)
	if err := errors.Join(server.(*net.TCPConn).SetWriteBuffer(4096), client.(*net.TCPConn).SetReadBuffer(4096)); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// pair returns both ends of a connection: the server's as a Conn.
func pair(t *testing.T, f *Fanout, server, client net.Conn) (*Conn, net.Conn) {
	c := &Conn{}
	c.Init(f, server, nil)
	t.Cleanup(func() { c.Abort(); client.Close() })
	return c, client
}

// frames of a text that says their number and is as long as asked.
func numbered(n, size int) []byte {
	return AppendText(nil, append(fmt.Appendf(nil, "%08d", n), bytes.Repeat([]byte("."), size)...))
}

// readNumbers reads frames and calls next with each one's number until that
// returns false.
func readNumbers(r io.Reader, next func(int) bool) error {
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return err
		}
		size := int(head[1])
		if size == 126 {
			if _, err := io.ReadFull(r, head[2:4]); err != nil {
				return err
			}
			size = int(binary.BigEndian.Uint16(head[2:4]))
		}
		if head[0] != finText {
			return fmt.Errorf("frame begins with %#x", head[0])
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscanf(string(body[:8]), "%d", &n); err != nil {
			return fmt.Errorf("frame %q: %w", body[:8], err)
		}
		if !next(n) {
			return nil
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 100_000} {
		b := AppendText([]byte("before"), make([]byte, size))[len("before"):]
		if frameLen(b) != len(b) || b[0] != finText {
			t.Errorf("%d bytes: frame of %d said to be %d long", size, len(b), frameLen(b))
		}
	}
	if b := AppendClose(nil, protocol.CloseSlow); !bytes.Equal(b, []byte("\x88\x06\x0f\xa5slow")) {
		t.Errorf("%q", b)
	}
}

// A reader that is slow for a while gets everything, in order, whatever share
// of it the socket took.
func TestOrderOfSlowReader(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{MaxBacklogBytes: 1 << 30, MaxBacklogFrames: 1 << 30})
	server, client := tcpPair(t)
	c, client := pair(t, f, server, client)
	const count = 2000 // together more than any socket takes
	var sent sync.WaitGroup
	sent.Go(func() {
		for n := range count {
			if !c.Send(numbered(n, rand.IntN(16_000)), 1, Kept) {
				t.Errorf("frame %d refused", n)
				return
			}
		}
	})
	sent.Wait() // nobody has read
	if f.Counters().Waits.Load() == 0 {
		t.Error("the socket took all: the backlog was not tried")
	}
	want := 0
	err := readNumbers(client, func(n int) bool {
		if n != want {
			t.Errorf("frame %d, want %d", n, want)
			return false
		}
		want++
		return want < count
	})
	if err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if b, n := c.Backlog(); b == 0 && n == 0 {
			return
		}
	}
	t.Error("the backlog is not empty")
}

// Over the bound the least important frames go first; what is kept comes out
// whole and in order.
func TestShedding(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{MaxBacklogBytes: 64 << 10})
	server, client := narrowPair(t)
	c, client := pair(t, f, server, client)
	fillSocket(t, c)
	const count = 600
	for n := range count {
		importance := Importance(9 + n%8)
		if n%20 == 0 {
			importance = Kept
		}
		if !c.Send(numbered(n, 600), 1, importance) {
			t.Fatalf("frame %d refused", n)
		}
		if b, _ := c.Backlog(); b > 64<<10 {
			t.Fatalf("backlog of %d bytes", b)
		}
	}
	if f.Counters().DroppedSlow.Load() == 0 {
		t.Error("nothing was dropped")
	}
	var got []int
	last := numbered(count, 0)
	if !c.Send(last, 1, Kept) {
		t.Fatal("refused")
	}
	if err := readNumbers(client, func(n int) bool {
		if n < 1_000_000 {
			got = append(got, n)
		}
		return n != count
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(got) {
		t.Error("out of order")
	}
	for n := 0; n < count; n += 20 {
		if !slices.Contains(got, n) {
			t.Errorf("frame %d, which is never dropped, is missing", n)
		}
	}
	if len(got) == count+1 {
		t.Error("all came")
	}
}

// fillSocket sends until the socket is full and more than a chunk of the backlog
// waits, which the socket will not take.
func fillSocket(t *testing.T, c *Conn) {
	t.Helper()
	for n := 1_000_000; ; n++ {
		if !c.Send(numbered(n, 30_000), 1, Kept) {
			t.Fatal("refused")
		}
		if b, _ := c.Backlog(); b > writeChunk/2 {
			return
		}
	}
}

// What may not be dropped closes the connection.
func TestTooSlow(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"bytes":  {MaxBacklogBytes: 64 << 10},
		"frames": {MaxBacklogFrames: 50},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFanout(t, cfg)
			server, client := narrowPair(t)
			c, _ := pair(t, f, server, client)
			fillSocket(t, c)
			for n := 0; c.Send(numbered(n, 100), 1, Kept); n++ {
				if n > 10_000 {
					t.Fatal("never closed")
				}
			}
			if c.Cause() != CauseSlow || f.Counters().ClosedSlow.Load() != 1 || c.Open() {
				t.Errorf("cause %d", c.Cause())
			}
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("the reader does not find out")
			}
			if b, n := c.Backlog(); b != 0 || n != 0 {
				t.Errorf("%d bytes and %d frames are still held", b, n)
			}
		})
	}
}

// A client that reads nothing is closed after the stall timeout, also below the
// bound.
func TestStall(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{StallTimeout: 50 * time.Millisecond})
	server, client := narrowPair(t)
	c, _ := pair(t, f, server, client)
	fillSocket(t, c)
	if _, err := c.Read(make([]byte, 1)); err == nil || c.Cause() != CauseSlow {
		t.Errorf("%v, cause %d", err, c.Cause())
	}
}

// The close frame comes after everything before it, and nothing after it. The
// client sees the end at once, whatever it had sent that nobody read.
func TestCloseComesLast(t *testing.T) {
	t.Parallel()
	for name, waiting := range map[string]int{"nothing waits": 0, "a backlog waits": 200 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFanout(t, Config{LingerTimeout: time.Minute})
			server, client := narrowPair(t)
			if waiting > 0 {
				server, client = tcpPair(t)
			}
			c, client := pair(t, f, server, client)
			if _, err := client.Write(make([]byte, 4096)); err != nil {
				t.Fatal(err) // unread bytes, over which a socket would be reset
			}
			sent := 0
			for b := -1; b < waiting && sent < 10_000; sent++ {
				c.Send(numbered(sent, 8000), 1, Kept)
				if b, _ = c.Backlog(); waiting == 0 {
					break
				}
			}
			c.CloseWith(protocol.CloseKicked)
			if c.Send(numbered(0, 0), 1, Kept) {
				t.Error("something may follow the close frame")
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: %v", err)
			}
			c.CloseWith(protocol.CloseSlow) // the first one counts
			_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
			var all bytes.Buffer
			if _, err := io.Copy(&all, client); err != nil {
				t.Fatal(err)
			}
			want := AppendClose(nil, protocol.CloseKicked)
			if !bytes.HasSuffix(all.Bytes(), want) || bytes.Count(all.Bytes(), want) != 1 {
				t.Errorf("%d bytes end with %q", all.Len(), all.Bytes()[max(0, all.Len()-20):])
			}
			client.Close()
			c.Discard()
		})
	}
}

// Discard does not wait for ever.
func TestDiscardEnds(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{LingerTimeout: 50 * time.Millisecond})
	for name, client := range map[string]func(c net.Conn){
		"silent": func(net.Conn) {},
		"chatty": func(c net.Conn) {
			for {
				if _, err := c.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		},
	} {
		server, far := tcpPair(t)
		c, far := pair(t, f, server, far)
		go client(far)
		began := time.Now()
		c.CloseWith(protocol.CloseAbusive)
		c.Discard()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s client: %v", name, took)
		}
		if _, err := server.Write([]byte("x")); err == nil {
			t.Errorf("%s client: the socket is open", name)
		}
	}
}

// A connection whose writes may block is written by its goroutine alone, which
// ends when there is nothing to write.
func TestBlockingConn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := New(Config{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		server, client := net.Pipe()
		c := &Conn{}
		c.Init(f, server, []byte("head"))
		head := make([]byte, 9)
		if n, err := c.Read(head); string(head[:n]) != "head" || err != nil {
			t.Errorf("%q, %v", head[:n], err)
		}
		for n := range 10 {
			c.Send(numbered(n, 10), 1, Kept)
		}
		synctest.Wait()
		want := 0
		if err := readNumbers(client, func(n int) bool {
			if n != want {
				t.Errorf("frame %d, want %d", n, want)
			}
			want++
			return want < 10
		}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if c.writing {
			t.Error("the writer is still there")
		}
		c.Send(numbered(0, 10), 1, Kept) // nobody reads
		time.Sleep(f.cfg.StallTimeout)
		synctest.Wait()
		if c.Cause() != CauseSlow {
			t.Errorf("cause %d", c.Cause())
		}
		client.Close()
		cancel()
		<-done
	})
}

func TestUnread(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{})
	server, client := tcpPair(t)
	c, client := pair(t, f, server, client)
	if c.Unread() {
		t.Error("nothing was sent")
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); !c.Unread(); {
		if time.Now().After(end) {
			t.Fatal("never seen")
		}
	}
	if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil || c.Unread() {
		t.Errorf("%d, %v: the look took the byte", n, err)
	}
}

// What is sent to a corked connection waits, within the bound, and follows what
// Uncork brings; what was sent before does not wait.
func TestCork(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{MaxBacklogBytes: 64 << 10})
	server, client := tcpPair(t)
	c, client := pair(t, f, server, client)
	c.Send(numbered(0, 0), 1, Kept)
	c.Cork()
	c.Cork()
	c.Send(numbered(3, 0), 1, Kept)
	c.Uncork(numbered(2, 0), 1)
	c.Send(numbered(4, 0), 1, Kept)
	if b, n := c.Backlog(); b == 0 || n != 3 {
		t.Errorf("%d bytes, %d frames", b, n)
	}
	c.Uncork(numbered(1, 0), 1)
	c.Send(numbered(5, 0), 1, Kept)
	c.Cork()
	c.Send(numbered(6, 0), 1, Kept)
	c.CloseWith(protocol.CloseKicked) // also lets go
	want := 0
	err := readNumbers(client, func(n int) bool {
		if n != want {
			t.Errorf("frame %d, want %d", n, want)
		}
		want++
		return true
	})
	if want != 7 || err == nil {
		t.Errorf("%d frames, %v", want, err)
	}
	c.Uncork(numbered(7, 0), 1) // comes too late
	if b, n := c.Backlog(); b != 0 || n != 0 {
		t.Errorf("%d bytes, %d frames", b, n)
	}

	server, client = tcpPair(t)
	c, _ = pair(t, f, server, client)
	c.Cork()
	for c.Send(numbered(0, 1000), 1, Kept) {
		if b, _ := c.Backlog(); b > 64<<10 {
			t.Fatalf("%d bytes wait", b)
		}
	}
	if c.Cause() != CauseSlow {
		t.Errorf("cause %d", c.Cause())
	}
}

// A frame that the socket has begun to take is finished, whatever is dropped
// around it.
func TestBegunFrameIsFinished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := New(Config{MaxBacklogBytes: 64 << 10})
		server, client := net.Pipe()
		c := &Conn{}
		c.Init(f, server, nil)
		c.Send(numbered(0, writeChunk+writeChunk/2), 1, lowest)
		synctest.Wait() // the writer has taken its first chunk of it
		for n := range 200 {
			c.Send(numbered(n+1, 1000), 1, lowest)
		}
		if f.Counters().DroppedSlow.Load() == 0 {
			t.Fatal("nothing was dropped")
		}
		c.CloseWith(protocol.CloseDrain)
		var got []int
		err := readNumbers(client, func(n int) bool {
			got = append(got, n)
			return true
		})
		if len(got) == 0 || got[0] != 0 || !slices.IsSorted(got) || err == nil || err.Error() != "frame begins with 0x88" {
			t.Errorf("%v, %v", got, err)
		}
		c.Abort()
		synctest.Wait()
	})
}

// wrapped is a connection over another one, as TLS is, whose Close may block.
type wrapped struct {
	net.Conn
	closed chan struct{}
}

func (w wrapped) NetConn() net.Conn { return w.Conn }

func (w wrapped) Close() error {
	close(w.closed)
	return w.Conn.Close()
}

// Abort, which is called where nothing may block, closes the socket itself.
func TestAbortClosesTheSocketBelow(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{})
	server, client := tcpPair(t)
	above := wrapped{Conn: server, closed: make(chan struct{})}
	c, client := pair(t, f, above, client)
	c.Abort()
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the socket is open")
	}
	select {
	case <-above.closed:
		t.Error("the session was closed, which may write")
	default:
	}
}
