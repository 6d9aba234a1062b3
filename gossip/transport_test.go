package gossip

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/internal/simnet"
)

// TestShutdownEndsEveryStreamAndDial: afterwards nothing of memberlist can
// still wait for the network.
func TestShutdownEndsEveryStreamAndDial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		defer n.Close()
		tr := onSimnet(t, n, new(atomic.Uint64))
		l, err := n.Host("peer").Listen(":1")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		outbound, err := tr.DialTimeout("peer:1", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Host("peer").Dial(t.Context(), "10.0.0.1:7946"); err != nil {
			t.Fatal(err)
		}
		inbound := <-tr.StreamCh()
		n.Host("far")
		n.Isolate("far")
		results := make(chan error, 3)
		for _, wait := range []func() error{
			func() error { _, err := outbound.Read(make([]byte, 1)); return err },
			func() error { _, err := inbound.Read(make([]byte, 1)); return err },
			func() error { _, err := tr.DialTimeout("far:1", time.Hour); return err },
		} {
			go func() { results <- wait() }()
		}
		synctest.Wait()
		_ = tr.Shutdown()
		_ = tr.Shutdown()
		for range 3 {
			if err := <-results; err == nil {
				t.Error("a wait ends without an error")
			}
		}
		if _, err := tr.DialTimeout("peer:1", time.Second); err == nil {
			t.Error("it dials after its end")
		}
		if len(tr.open) != 0 {
			t.Errorf("%d streams are remembered", len(tr.open))
		}
	})
}

func TestInboundStreamsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		defer n.Close()
		var refused atomic.Uint64
		tr := onSimnet(t, n, &refused)
		defer tr.abandon()
		var taken []net.Conn
		for range maxInbound + 5 {
			if _, err := n.Host("peer").Dial(t.Context(), "10.0.0.1:7946"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			select {
			case c := <-tr.StreamCh():
				taken = append(taken, c)
			default:
			}
		}
		if len(taken) != maxInbound || refused.Load() != 5 {
			t.Errorf("%d streams taken, %d refused", len(taken), refused.Load())
		}
		_ = taken[0].Close()
		_ = taken[0].Close()
		if _, err := n.Host("peer").Dial(t.Context(), "10.0.0.1:7946"); err != nil {
			t.Fatal(err)
		}
		<-tr.StreamCh()
		if tr.inbound != maxInbound {
			t.Errorf("%d are counted", tr.inbound)
		}
	})
}

// TestRealDialEndsWithShutdown dials an address that never answers.
func TestRealDialEndsWithShutdown(t *testing.T) {
	t.Parallel()
	tr, err := newTransport(context.Background(), Config{Bind: "127.0.0.1:0"}, newLineLogger(slog.New(slog.DiscardHandler)).std(), new(atomic.Uint64))
	if err != nil {
		t.Fatal(err)
	}
	// The address is reserved for documentation. Whatever this machine's
	// network makes of it, the dial must not outlive the transport.
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := tr.DialTimeout("192.0.2.1:9", time.Hour); err == nil {
			_ = c.Close()
		}
	}()
	tr.abandon()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("the dial goes on after the shutdown")
	}
}

func onSimnet(t *testing.T, n *simnet.Network, refused *atomic.Uint64) *transport {
	t.Helper()
	port, err := n.Host("10.0.0.1").Transport(7946)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTransport(t.Context(), Config{Transport: port}, newLineLogger(slog.New(slog.DiscardHandler)).std(), refused)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
