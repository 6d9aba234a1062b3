//go:build !race

// The race detector makes pools forget, so that allocations can't be counted.

package outbox

import (
	"io"
	"testing"
)

// Sending to a client that keeps up allocates nothing.
func TestSendAllocatesNothing(t *testing.T) {
	server, client := tcpPair(t)
	f := New(Config{})
	c, client := pair(t, f, server, client)
	go func() { _, _ = io.Copy(io.Discard, client) }()
	frame := numbered(1, 100)
	if n := testing.AllocsPerRun(1000, func() { c.Send(frame, 1, Kept) }); n > 0.5 {
		t.Errorf("%v allocations a send", n)
	}
}
