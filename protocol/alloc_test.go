//go:build !race

package protocol

import "testing"

// The race detector makes sync.Pool forget at random, so these counts hold only
// without it.

func TestHeartbeatAllocatesNothing(t *testing.T) {
	var v Verifier
	for _, key := range []string{benchKey, ""} {
		raw, err := AppendSigned(nil, []byte(signVector), key)
		if err != nil {
			t.Fatal(err)
		}
		allocs := testing.AllocsPerRun(1000, func() {
			f, err := ParseClientFrame(raw)
			if err != nil || f.Action != ActionPing || v.HMAC(&f, key) == v.MD5(&f) {
				t.Fatal("the heartbeat is refused")
			}
		})
		if allocs != 0 {
			t.Errorf("key %q: %v allocations", key, allocs)
		}
	}
}

func TestUnknownActionAllocatesNothing(t *testing.T) {
	raw := []byte(`{"action":"an action that no version of the protocol has ever known","room_id":"r-1","gift":{"id":1}}`)
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, err := ParseClientFrame(raw); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestEncodersAllocateNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for name, encode := range encoders() {
		if allocs := testing.AllocsPerRun(100, func() { encode(dst) }); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func TestNumberAllocatesNothing(t *testing.T) {
	dst, frame := make([]byte, 0, 4096), []byte(topicMessage)
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, err := Number(dst, frame, "12345", 1<<50, 7); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
