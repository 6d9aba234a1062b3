package inbox

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestCastsAtMostOnceAndInOrder(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		n.set(faults{lose: 0.2, repeat: 0.5, nobody: 0.1, fail: 0.1, delay: 20 * time.Millisecond})
		for i := range 100 {
			if err := a.Cast("b@1", 3, []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Second)
		got := b.caught()
		if len(got) < 10 {
			t.Errorf("%d of 100 casts arrived", len(got))
		}
		for i := 1; i < len(got); i++ {
			if got[i].body <= got[i-1].body {
				t.Errorf("cast %x acted on after %x", got[i].body, got[i-1].body)
			}
		}
		if testutil.ToFloat64(a.metrics.drops.WithLabelValues(dropCast)) == 0 {
			t.Error("no lost cast was counted")
		}
	})
}

func TestCastsThatWaitAreBounded(t *testing.T) {
	pair(t, func(c *Config) { c.Window = 2; c.WindowBytes = 1000 }, func(t *testing.T, n *network, a, _ *actor) {
		n.set(faults{hang: true})
		count := func(size int) (accepted int) {
			for range 100 {
				if a.Cast("b@1", 1, make([]byte, size)) == nil {
					accepted++
				}
			}
			return accepted
		}
		if got := count(1); got != 16 {
			t.Errorf("%d casts wait, want 16", got)
		}
		synctest.Wait() // what waited is under way
		if got := count(400); got != 2 {
			t.Errorf("%d casts of 400 bytes wait, want 2", got)
		}
		if err := a.Cast("b@1", 1, make([]byte, 1001)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a cast larger than a window: %v", err)
		}
	})
}
