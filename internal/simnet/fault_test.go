package simnet_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/internal/simnet"
)

// readWithin reads once, for at most d.
func readWithin(c *simnet.Conn, d time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(d))
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}

func TestCutStreamStallsAndGoesOn(t *testing.T) {
	for name, fault := range map[string]func(*simnet.Network){
		"cut":     func(n *simnet.Network) { n.Cut("a", "b") },
		"one way": func(n *simnet.Network) { n.CutOneWay("a", "b") },
		"isolate": func(n *simnet.Network) { n.Isolate("b") },
		"from":    func(n *simnet.Network) { n.Isolate("a") },
		"split":   func(n *simnet.Network) { n.Split([]string{"a"}, []string{"b", "c"}) },
		"pause":   func(n *simnet.Network) { n.Pause("b") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, simnet.Config{StreamBuffer: 10}, func(t *testing.T, n *simnet.Network) {
				near, far := connect(t, n)
				fault(n)
				_ = near.SetWriteDeadline(time.Now().Add(time.Second))
				wrote, err := near.Write([]byte("0123456789abc"))
				wantErr(t, "write", err, os.ErrDeadlineExceeded)
				if wrote != 10 {
					t.Errorf("%d bytes buffered", wrote)
				}
				_, err = readWithin(far, time.Minute)
				wantErr(t, "read", err, os.ErrDeadlineExceeded)
				n.Heal()
				n.Resume("b")
				if got, err := readWithin(far, time.Minute); got != "0123456789" {
					t.Errorf("after the heal: %q, %v", got, err)
				}
			})
		})
	}
}

func TestOneWayCutLeavesTheOtherWay(t *testing.T) {
	inBubble(t, simnet.Config{}, func(t *testing.T, n *simnet.Network) {
		near, far := connect(t, n)
		n.CutOneWay("a", "b")
		_, _ = far.Write([]byte("still"))
		if got, err := readWithin(near, time.Second); got != "still" {
			t.Errorf("%q, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := n.Host("b").Dial(ctx, "a:80")
		wantErr(t, "a dial needs both ways", err, context.DeadlineExceeded)
	})
}

func TestDialWaitsForTheHeal(t *testing.T) {
	inBubble(t, simnet.Config{}, func(t *testing.T, n *simnet.Network) {
		if _, err := n.Host("b").Listen(":80"); err != nil {
			t.Fatal(err)
		}
		n.Cut("a", "b")
		time.AfterFunc(5*time.Second, n.Heal)
		start := time.Now()
		if _, err := n.Host("a").Dial(t.Context(), "b:80"); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestKillResetsStreamsAndVanishStallsThem(t *testing.T) {
	inBubble(t, simnet.Config{}, func(t *testing.T, n *simnet.Network) {
		near, far := connect(t, n)
		l, err := n.Host("b").Listen(":90")
		if err != nil {
			t.Fatal(err)
		}
		old := n.Host("b")
		accepted := make(chan error)
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		n.Kill("b")
		if err := <-accepted; err == nil {
			t.Error("a dead host accepts")
		}
		_, err = readWithin(near, time.Second)
		wantErr(t, "far end of a killed host", err, syscall.ECONNRESET)
		if _, err := far.Write([]byte("x")); err == nil {
			t.Error("a dead host writes")
		}
		if _, err := old.Dial(t.Context(), "a:80"); err == nil {
			t.Error("a dead host dials")
		}
		if _, err := old.Listen(":91"); err == nil {
			t.Error("a dead host listens")
		}
		_, err = n.Host("a").Dial(t.Context(), "b:80")
		wantErr(t, "dial a killed host", err, syscall.ECONNREFUSED)

		near, _ = connect(t, n) // on a new host b
		n.Vanish("b")
		if _, err := near.Write([]byte("x")); err != nil {
			t.Errorf("write to a vanished host: %v", err)
		}
		_, err = readWithin(near, time.Hour)
		wantErr(t, "read from a vanished host", err, os.ErrDeadlineExceeded)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = n.Host("a").Dial(ctx, "b:80")
		wantErr(t, "dial a vanished host", err, context.DeadlineExceeded)
		n.Host("b")
		_, err = readWithin(near, time.Hour)
		wantErr(t, "read once a new host answers", err, syscall.ECONNRESET)
	})
}

func TestIdleStreamLearnsOfARestartWhenItWrites(t *testing.T) {
	inBubble(t, simnet.Config{}, func(t *testing.T, n *simnet.Network) {
		near, _ := connect(t, n)
		n.Vanish("b")
		n.Host("b")
		_, err := readWithin(near, time.Hour)
		wantErr(t, "idle", err, os.ErrDeadlineExceeded)
		_ = near.SetDeadline(time.Time{})
		_, _ = near.Write([]byte("x"))
		_, err = near.Read(make([]byte, 1))
		wantErr(t, "after a write", err, syscall.ECONNRESET)
	})
}

func TestKillAcrossACutStaysUnseen(t *testing.T) {
	inBubble(t, simnet.Config{}, func(t *testing.T, n *simnet.Network) {
		near, _ := connect(t, n)
		n.Cut("a", "b")
		n.Kill("b")
		_, err := readWithin(near, time.Minute)
		wantErr(t, "during the cut", err, os.ErrDeadlineExceeded)
		n.Heal()
		_, err = readWithin(near, time.Minute)
		wantErr(t, "after it", err, syscall.ECONNRESET)
	})
}

// twoTransports returns gossip ports on 10.0.0.1 and 10.0.0.2.
func twoTransports(t *testing.T, n *simnet.Network) (a, b *simnet.Transport) {
	t.Helper()
	a, err := n.Host("10.0.0.1").Transport(7946)
	if err != nil {
		t.Fatal(err)
	}
	b, err = n.Host("10.0.0.2").Transport(7946)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// received empties a transport's queue.
func received(tr *simnet.Transport) []string {
	var got []string
	for {
		select {
		case p := <-tr.PacketCh():
			got = append(got, string(p.Buf))
		default:
			return got
		}
	}
}

func TestPackets(t *testing.T) {
	cfg := simnet.Config{PacketQueue: 3, Quality: simnet.Quality{Latency: time.Millisecond}}
	inBubble(t, cfg, func(t *testing.T, n *simnet.Network) {
		a, b := twoTransports(t, n)
		send := func(texts ...string) {
			for _, text := range texts {
				buf := []byte(text)
				if _, err := a.WriteTo(buf, "10.0.0.2:7946"); err != nil {
					t.Error(err)
				}
				buf[0] = '?' // the sender may use its buffer again
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
		}
		expect := func(what string, want ...string) {
			t.Helper()
			if got := received(b); !slices.Equal(got, want) {
				t.Errorf("%s: received %q, want %q", what, got, want)
			}
		}
		send("1", "2")
		expect("open", "1", "2")
		n.CutOneWay("10.0.0.1", "10.0.0.2")
		send("3")
		n.Heal()
		expect("a cut drops")
		n.Pause("10.0.0.2")
		send("4", "5", "6", "7")
		expect("a pause holds")
		if full := n.Stats().Full; full != 1 {
			t.Errorf("a pause holds three packets and has dropped %d of four", full)
		}
		n.Resume("10.0.0.2")
		expect("then delivers what it has room for", "4", "5", "6")
		n.Pause("10.0.0.1")
		send("8")
		expect("a paused sender holds")
		n.Resume("10.0.0.1")
		expect("then sends", "8")
		send("9", "10", "11", "12")
		expect("a full queue drops", "9", "10", "11")
		_ = b.Shutdown()
		send("13")
		if got, want := n.Stats(), (simnet.Stats{Sent: 13, Delivered: 9, Cut: 1, Full: 2, Down: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
		n.Kill("10.0.0.1")
		if _, err := a.WriteTo([]byte("14"), "10.0.0.2:7946"); err == nil {
			t.Error("a dead host sends")
		}
	})
}

func TestLossIsSeeded(t *testing.T) {
	inBubble(t, simnet.Config{}, func(t *testing.T, _ *simnet.Network) {
		run := func() []string {
			n := simnet.New(simnet.Config{
				Quality: simnet.Quality{Loss: 0.5},
				Rand:    rand.New(rand.NewPCG(7, 7)),
			})
			defer n.Close()
			a, b := twoTransports(t, n)
			for i := range 200 {
				_, _ = a.WriteTo(fmt.Append(nil, i), "10.0.0.2:7946")
			}
			n.SetLink("10.0.0.1", "10.0.0.2", simnet.Quality{})
			_, _ = a.WriteTo([]byte("sure"), "10.0.0.2:7946")
			return received(b)
		}
		first, second := run(), run()
		if !slices.Equal(first, second) {
			t.Error("one seed, two outcomes")
		}
		if len(first) < 70 || len(first) > 130 || first[len(first)-1] != "sure" {
			t.Errorf("%d of 200 packets arrived", len(first))
		}
	})
}

func TestTransportStreams(t *testing.T) {
	inBubble(t, simnet.Config{}, func(t *testing.T, n *simnet.Network) {
		a, b := twoTransports(t, n)
		c, err := a.DialTimeout("10.0.0.2:7946", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		far := <-b.StreamCh()
		_, _ = c.Write([]byte("state"))
		_ = c.Close()
		if got, _ := io.ReadAll(far); string(got) != "state" {
			t.Errorf("got %q", got)
		}
		ip, port, err := b.FinalAdvertiseAddr("", 0)
		if err != nil || ip.String() != "10.0.0.2" || port != 7946 {
			t.Errorf("advertises %v:%d, %v", ip, port, err)
		}
		n.Cut("10.0.0.1", "10.0.0.2")
		time.AfterFunc(time.Second, func() { _ = a.Shutdown() })
		start := time.Now()
		if _, err := a.DialTimeout("10.0.0.2:7946", time.Hour); err == nil || time.Since(start) != time.Second {
			t.Errorf("dial at shutdown: %v after %v", err, time.Since(start))
		}
	})
}

func TestCloseEndsEveryWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{StreamBuffer: 1})
		near, _ := connect(t, n)
		_, far := connect(t, n)
		l, err := n.Host("b").Listen(":90")
		if err != nil {
			t.Fatal(err)
		}
		n.Host("c")
		n.Isolate("c")
		var results [4]chan error
		for i, wait := range []func() error{
			func() error { _, err := near.Read(make([]byte, 1)); return err },
			func() error { _, err := far.Write(make([]byte, 9)); return err },
			func() error { _, err := l.Accept(); return err },
			func() error { _, err := n.Host("a").Dial(t.Context(), "c:1"); return err },
		} {
			results[i] = make(chan error)
			go func() { results[i] <- wait() }()
		}
		synctest.Wait()
		n.Pause("b")
		n.Close()
		for i, r := range results {
			if err := <-r; err == nil {
				t.Errorf("wait %d ended without an error", i)
			}
		}
		if _, err := n.Host("new").Listen(":1"); err == nil {
			t.Error("a closed network listens")
		}
	})
}
