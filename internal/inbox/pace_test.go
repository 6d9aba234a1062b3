package inbox

import (
	"slices"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// pace returns when a link with one call publishes, each outcome being the same.
func pace(receivers int, err error, times int) []time.Duration {
	l := newLink("a@1", "b@1", Config{}.withDefaults().terms())
	_, _ = l.call(dawn(), 1, nil, nil) // an empty window takes it
	now := dawn()
	var paces []time.Duration
	for len(paces) < times {
		if b, _ := l.compose(now, nil); len(b) > 0 {
			paces = append(paces, now.Sub(dawn()))
			l.published(now, receivers, err)
		}
		now = now.Add(l.wait(now))
	}
	return paces
}

func TestPaceOfRepeats(t *testing.T) {
	t.Parallel()
	ms := func(ns ...int) []time.Duration {
		ds := make([]time.Duration, len(ns))
		for i, n := range ns {
			ds[i] = time.Duration(n) * time.Millisecond
		}
		return ds
	}
	if got, want := pace(1, nil, 7), ms(0, 250, 750, 1750, 3750, 5750, 7750); !slices.Equal(got, want) {
		t.Errorf("unanswered: %v, want %v", got, want)
	}
	if got, want := pace(0, protocol.ErrStoreAway, 6), ms(0, 250, 750, 1750, 3750, 5750); !slices.Equal(got, want) {
		t.Errorf("failed: %v, want %v", got, want)
	}
	got := pace(0, nil, 12)
	for i := range got {
		got[i] = got[i].Truncate(time.Millisecond)
	}
	if want := ms(0, 0, 15, 46, 109, 234, 484, 984, 1984, 3984, 5984, 7984); !slices.Equal(got, want) {
		t.Errorf("unheard: %v, want %v", got, want)
	}
}

// A silent receiver is not flooded with the whole window at every repeat.
func TestRepeatProbes(t *testing.T) {
	t.Parallel()
	l := newLink("a@1", "b@1", Config{MaxPayload: 1000}.withDefaults().terms())
	for range 100 {
		_, err := l.call(dawn(), 1, make([]byte, 100), nil)
		must(t, err)
	}
	publish := func(now time.Time) (payloads int) {
		for {
			b, _ := l.compose(now, nil)
			if len(b) == 0 {
				return payloads
			}
			payloads++
			l.published(now, 1, nil)
		}
	}
	first := publish(dawn())
	if again := publish(dawn().Add(250 * time.Millisecond)); first < 10 || again != 1 {
		t.Errorf("%d payloads at first, %d as repeat; want one", first, again)
	}
}

// A publish that left before our subscription was renewed and fails after it
// does not slow anything down.
func TestRenewedWhilePublishing(t *testing.T) {
	t.Parallel()
	l := newLink("a@1", "b@1", smallTerms())
	_, err := l.call(dawn(), 1, nil, nil)
	must(t, err)
	now := dawn()
	for range 5 {
		now = now.Add(l.wait(now))
		l.compose(now, nil)
		l.published(now, 0, protocol.ErrStoreAway)
	}
	now = now.Add(l.wait(now))
	l.compose(now, nil)
	l.renewed()
	l.published(now, 0, protocol.ErrStoreAway)
	if wait := l.wait(now); wait != 0 {
		t.Errorf("waits %v", wait)
	}
	l.compose(now, nil)
	l.published(now, 0, protocol.ErrStoreAway)
	if wait := l.wait(now); wait != l.terms.repeat {
		t.Errorf("waits %v after the first new failure", wait)
	}
}

// Whoever is heard again after a silence is spoken to at the usual pace.
func TestPaceAfterSilence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err       error
		receivers int
		most      time.Duration
	}{
		"unanswered": {nil, 1, 250 * time.Millisecond},
		"failed":     {protocol.ErrStoreAway, 0, 16 * time.Millisecond},
		"unheard":    {nil, 0, 16 * time.Millisecond},
	} {
		l := newLink("a@1", "b@1", Config{}.withDefaults().terms())
		_, err := l.call(dawn(), 1, nil, nil)
		must(t, err)
		now := dawn()
		for range 12 {
			now = now.Add(l.wait(now))
			if b, _ := l.compose(now, nil); len(b) > 0 {
				l.published(now, c.receivers, c.err)
			}
		}
		if wait := l.wait(now); wait != 2*time.Second {
			t.Errorf("%s: waits %v in silence", name, wait)
		}
		_, _, err = l.take(now, header{serial: 1}, nil, nil)
		must(t, err)
		if wait := l.wait(now); wait > c.most {
			t.Errorf("%s: waits %v once heard", name, wait)
		}
	}
}
