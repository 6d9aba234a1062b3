//go:build !race

// The race detector makes pools forget, so that allocations can't be counted.

package edge

import "testing"

// A heartbeat allocates nothing.
func TestHeartbeatAllocatesNothing(t *testing.T) {
	for _, mode := range []SignMode{SignHMAC, SignMD5, SignOff} {
		s, ping := heartbeat(t, mode)
		n := testing.AllocsPerRun(500, func() {
			s.rate, s.stamped = 0, s.edge.now()
			s.hear(ping, s.edge.now())
		})
		if n > 0.5 || s.lastSeen.Load() == 0 || s.faults != 0 {
			t.Errorf("%s: %v allocations, seen %d, faults %v", mode, n, s.lastSeen.Load(), s.faults)
		}
	}
}
