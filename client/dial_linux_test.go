package client

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnacknowledgedIsLimited(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	conn, err := NewDialer().Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{
		unix.TCP_USER_TIMEOUT: 6000, unix.TCP_KEEPIDLE: 3, unix.TCP_KEEPINTVL: 1, unix.TCP_KEEPCNT: 3,
	} {
		if err := raw.Control(func(fd uintptr) {
			got, failed := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option)
			if failed != nil || got != want {
				t.Errorf("option %d is %d, want %d (%v)", option, got, want, failed)
			}
		}); err != nil {
			t.Error(err)
		}
	}
}
