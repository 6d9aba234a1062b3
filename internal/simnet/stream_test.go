package simnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/internal/simnet"
)

// inBubble runs a test in virtual time on a network of its own.
func inBubble(t *testing.T, cfg simnet.Config, test func(*testing.T, *simnet.Network)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(cfg)
		defer n.Close()
		test(t, n)
	})
}

// connect returns both ends of a stream from host a to host b.
func connect(t *testing.T, n *simnet.Network) (near, far *simnet.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := n.Host("a").Dial(t.Context(), "b:80")
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*simnet.Conn), accepted.(*simnet.Conn)
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestStreamCarriesBothWays(t *testing.T) {
	inBubble(t, simnet.Config{StreamBuffer: 100}, func(t *testing.T, n *simnet.Network) {
		near, far := connect(t, n)
		sent := make([]byte, 10_000)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range sent {
			sent[i] = byte(rng.Uint32())
		}
		go func() {
			_, _ = io.Copy(far, far)
			_ = far.Close()
		}()
		go func() {
			_, _ = near.Write(sent)
			_ = near.CloseWrite()
		}()
		got, err := io.ReadAll(near)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes came back of %d: %v", len(got), len(sent), err)
		}
		_ = near.Close()
		wantErr(t, "second close", near.Close(), net.ErrClosed)
	})
}

func TestStreamLatencyKeepsOrder(t *testing.T) {
	quality := simnet.Quality{Latency: 50 * time.Millisecond, Jitter: 40 * time.Millisecond}
	inBubble(t, simnet.Config{Quality: quality}, func(t *testing.T, n *simnet.Network) {
		start := time.Now()
		near, far := connect(t, n)
		if d := time.Since(start); d < 100*time.Millisecond || d > 180*time.Millisecond {
			t.Errorf("a dial took %v, want one round trip", d)
		}
		start = time.Now()
		for i := range 100 {
			_, _ = near.Write([]byte{byte(i)})
		}
		_ = near.Close()
		got, err := io.ReadAll(far)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range got {
			if int(b) != i {
				t.Fatalf("byte %d arrived in place %d", b, i)
			}
		}
		if d := time.Since(start); len(got) != 100 || d < 50*time.Millisecond || d > 90*time.Millisecond {
			t.Errorf("%d bytes in %v", len(got), d)
		}
	})
}

// TestResetComesAfterTheData, however the link jitters.
func TestResetComesAfterTheData(t *testing.T) {
	quality := simnet.Quality{Latency: time.Millisecond, Jitter: 50 * time.Millisecond}
	inBubble(t, simnet.Config{Quality: quality}, func(t *testing.T, n *simnet.Network) {
		for range 20 {
			near, far := connect(t, n)
			_, _ = near.Write([]byte("before"))
			near.Abort()
			got, err := io.ReadAll(far)
			wantErr(t, "read after abort", err, syscall.ECONNRESET)
			if string(got) != "before" {
				t.Fatalf("read %q before the reset", got)
			}
		}
	})
}

func TestStreamDeadlines(t *testing.T) {
	inBubble(t, simnet.Config{StreamBuffer: 10}, func(t *testing.T, n *simnet.Network) {
		near, far := connect(t, n)
		start := time.Now()
		_ = near.SetReadDeadline(start.Add(time.Second))
		_, err := near.Read(make([]byte, 1))
		wantErr(t, "read", err, os.ErrDeadlineExceeded)
		if d := time.Since(start); d != time.Second {
			t.Errorf("the read waited %v", d)
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		_ = near.SetWriteDeadline(time.Now().Add(time.Second))
		wrote, err := near.Write(make([]byte, 25))
		wantErr(t, "write", err, os.ErrDeadlineExceeded)
		if wrote != 10 {
			t.Errorf("%d bytes left, the buffer holds 10", wrote)
		}
		_ = near.SetDeadline(time.Now().Add(-time.Second))
		_, err = near.Write([]byte{1})
		wantErr(t, "write past its deadline", err, os.ErrDeadlineExceeded)
		_ = near.SetDeadline(time.Time{})
		go func() { _, _ = io.Copy(io.Discard, far) }()
		if _, err := near.Write(make([]byte, 25)); err != nil {
			t.Errorf("write without a deadline: %v", err)
		}
		// A deadline set while a read waits ends it.
		done := make(chan error)
		go func() {
			_, err := near.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		_ = near.SetReadDeadline(time.Now())
		wantErr(t, "waiting read", <-done, os.ErrDeadlineExceeded)
	})
}

func TestStreamEnds(t *testing.T) {
	inBubble(t, simnet.Config{}, func(t *testing.T, n *simnet.Network) {
		near, far := connect(t, n)
		_, _ = near.Write([]byte("last words"))
		_ = near.CloseWrite()
		_, err := near.Write([]byte("more"))
		wantErr(t, "write after CloseWrite", err, syscall.EPIPE)
		if got, err := io.ReadAll(far); err != nil || string(got) != "last words" {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := far.Write([]byte("answer")); err != nil {
			t.Errorf("the other half: %v", err)
		}
		_ = near.Close() // with the answer unread: a reset
		if _, err := far.Read(make([]byte, 1)); err == nil {
			t.Error("a read from a reset stream succeeds")
		}
		if _, err := far.Write([]byte("x")); err == nil {
			t.Error("a write into a reset stream succeeds")
		}
		_, err = near.Read(make([]byte, 1))
		wantErr(t, "read after close", err, net.ErrClosed)

		near, far = connect(t, n)
		_ = near.Close()
		if _, err := far.Write([]byte("first")); err != nil {
			t.Errorf("the first write into a closed stream: %v", err)
		}
		_, err = far.Write([]byte("second"))
		wantErr(t, "the second", err, syscall.ECONNRESET)

		near, far = connect(t, n)
		_, _ = near.Write([]byte("before"))
		near.Abort()
		got, err := io.ReadAll(far)
		wantErr(t, "read after abort", err, syscall.ECONNRESET)
		if string(got) != "before" {
			t.Errorf("read %q before the reset", got)
		}
	})
}

func TestListenAndDialErrors(t *testing.T) {
	inBubble(t, simnet.Config{Backlog: 1}, func(t *testing.T, n *simnet.Network) {
		a, b := n.Host("a"), n.Host("b")
		l, err := b.Listen("b:80")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Listen("0.0.0.0:80")
		wantErr(t, "second listen", err, syscall.EADDRINUSE)
		_, err = b.Listen("a:80")
		wantErr(t, "listen elsewhere", err, syscall.EADDRNOTAVAIL)
		_, err = a.Dial(t.Context(), "b:81")
		wantErr(t, "nobody listens", err, syscall.ECONNREFUSED)
		_, err = a.Dial(t.Context(), "c:80")
		wantErr(t, "no such host", err, syscall.EHOSTUNREACH)
		if _, err = a.Dial(t.Context(), "b"); err == nil {
			t.Error("an address without a port is dialed")
		}

		first, err := a.Dial(t.Context(), "b:80")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err = a.Dial(ctx, "b:80")
		wantErr(t, "full backlog", err, context.DeadlineExceeded)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("gave up after %v", d)
		}
		_ = l.Close()
		_, err = first.Read(make([]byte, 1))
		wantErr(t, "never accepted", err, syscall.ECONNRESET)
		_, err = l.Accept()
		wantErr(t, "accept", err, net.ErrClosed)
		wantErr(t, "second close", l.Close(), net.ErrClosed)

		any, err := b.Listen(":0")
		if err != nil {
			t.Fatal(err)
		}
		n.SetName("www.test", "b")
		if _, err := a.Dial(t.Context(), net.JoinHostPort("www.test", portOf(any))); err != nil {
			t.Errorf("dial by name: %v", err)
		}
	})
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestHTTPRunsInABubble(t *testing.T) {
	quality := simnet.Quality{Latency: 10 * time.Millisecond}
	inBubble(t, simnet.Config{Quality: quality}, func(t *testing.T, n *simnet.Network) {
		l, err := n.Host("10.0.0.1").Listen(":8080")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{
			ReadHeaderTimeout: time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "hello "+r.RemoteAddr[:9])
			}),
		}
		served := make(chan error)
		go func() { served <- server.Serve(l) }()
		transport := &http.Transport{DialContext: n.Host("192.0.2.1").DialContext}
		client := &http.Client{Transport: transport, Timeout: time.Second}
		for range 3 {
			res, err := client.Get("http://10.0.0.1:8080/")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(body) != "hello 192.0.2.1" {
				t.Errorf("got %q", body)
			}
		}
		n.Cut("10.0.0.1", "192.0.2.1")
		start := time.Now()
		if _, err := client.Get("http://10.0.0.1:8080/"); err == nil || time.Since(start) != time.Second {
			t.Errorf("across a cut: %v after %v", err, time.Since(start))
		}
		n.Heal()
		transport.CloseIdleConnections()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wantErr(t, "serve", <-served, http.ErrServerClosed)
	})
}
