//go:build linux

package lan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A cut drops what comes from and goes to a machine, and nobody is told; what was
// dropped is sent again once it is mended.
func TestCutAndMend(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 || exec.Command("unshare", "-n", "true").Run() != nil {
		t.Log("no right to make a network: nothing is cut")
		return
	}
	l, err := New(fmt.Sprintf("rlt%d", os.Getpid()), os.Getpid(), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	listener, err := net.Listen("tcp", net.JoinHostPort(l.Host(0), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go echo(listener)

	var conns []net.Conn
	for i := 1; i <= 2; i++ {
		c, err := l.Dial(context.Background(), i, &net.Dialer{Timeout: 5 * time.Second}, "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if got := c.LocalAddr().(*net.TCPAddr).IP.String(); got != l.Host(i) {
			t.Fatalf("machine %d dials from %s, want %s", i, got, l.Host(i))
		}
		conns = append(conns, c)
	}
	says := func(c net.Conn, limit time.Duration) error {
		if _, err := c.Write([]byte{1}); err != nil {
			return err
		}
		return hears(c, limit)
	}
	for _, c := range conns {
		if err := says(c, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Cut(1); err != nil {
		t.Fatal(err)
	}
	if err := says(conns[0], 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("across a cut: %v, want that nothing comes", err)
	}
	if err := says(conns[1], 5*time.Second); err != nil {
		t.Errorf("the other machine: %v", err)
	}
	if err := l.Mend(1); err != nil {
		t.Fatal(err)
	}
	if err := hears(conns[0], 10*time.Second); err != nil {
		t.Errorf("what was said before the cut was mended: %v", err)
	}
}

func hears(c net.Conn, limit time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}
