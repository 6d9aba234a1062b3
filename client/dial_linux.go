package client

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitUnacknowledged has the system end a connection of which it heard nothing
// for ackTimeout after something was sent.
func limitUnacknowledged(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(ackTimeout.Milliseconds()))
	})
	return errors.Join(err, os.NewSyscallError("setsockopt", failed))
}
