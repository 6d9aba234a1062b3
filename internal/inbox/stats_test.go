package inbox

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faac1247/rollcall/protocol"
)

func TestWhatCanNotBeReadIsDropped(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		call := item{tag: tagCall, number: 1, gap: 1}
		other := compose(header{from: "c@1", to: "b@1"}, call)
		other[0]++
		for reason, payload := range map[string][]byte{
			"nothing":            {},
			"other format":       other,
			"cut short":          compose(header{from: "c@1", to: "b@1"}, call)[:14],
			"for somebody else":  compose(header{from: "c@1", to: "b@2"}, call),
			"from ourselves":     compose(header{from: "b@1", to: "b@1"}, call),
			"answer to nothing":  compose(header{from: "c@1", to: "b@1", callsTaken: 1}, call),
			"half of it is good": append(compose(header{from: "c@1", to: "b@1"}, call), tagCast),
		} {
			n.subscriber("b@1").mail <- payload
			synctest.Wait()
			if got := b.took(); len(got) != 0 {
				t.Fatalf("%s: acted on %v", reason, got)
			}
		}
		drops := b.metrics.drops
		bad, wrong := testutil.ToFloat64(drops.WithLabelValues(dropMalformed)), testutil.ToFloat64(drops.WithLabelValues(dropMisaddressed))
		if bad != 5 || wrong != 2 {
			t.Errorf("counted %v malformed and %v misaddressed, want 5 and 2", bad, wrong)
		}
		if _, err := a.Call(t.Context(), "b@1", 1, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Window: -1, Repeat: time.Microsecond})
	for _, fault := range []string{"incarnation", "transport", "negative", "millisecond"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("no word of %s in %v", fault, err)
		}
	}
	a := newActor(t, newNetwork(1), "a@1", nil)
	for _, to := range []protocol.Incarnation{"", protocol.Incarnation(strings.Repeat("x", maxName+1))} {
		if err := a.Cast(to, 1, nil); protocol.CodeOf(err) != protocol.CodeBadRequest {
			t.Errorf("cast to %q: %v", to, err)
		}
	}
}

// A process that goes on as another incarnation registers its metrics again and
// counts on.
func TestMetricsOutliveAnIncarnation(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	share := func(c *Config) { c.Registerer = reg }
	n := newNetwork(1)
	for _, inc := range []protocol.Incarnation{"a@1", "a@2"} {
		a := newActor(t, n, inc, share)
		if err := a.Cast("", 1, nil); err == nil {
			t.Fatal("a cast to nobody was accepted")
		}
	}
	want := `
# HELP rollcall_inbox_drops_total Messages between nodes that were refused or not acted on.
# TYPE rollcall_inbox_drops_total counter
rollcall_inbox_drops_total{reason="cast_lost"} 0
rollcall_inbox_drops_total{reason="no_room"} 0
rollcall_inbox_drops_total{reason="out_of_order"} 0
rollcall_inbox_drops_total{reason="unnamed"} 2
rollcall_inbox_drops_total{reason="window_full"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "rollcall_inbox_drops_total"); err != nil {
		t.Error(err)
	}
	clash := prometheus.NewRegistry()
	clash.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "rollcall_inbox_peers", Help: "something else"}))
	cfg := Config{Self: "a@1", Transport: n, Handle: func(protocol.Incarnation, Kind, []byte, func([]byte)) {}, Registerer: clash}
	if _, err := New(cfg); err == nil {
		t.Error("a clash of metrics was not reported")
	}
}

func TestStats(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		b.dawdle(true)
		a.Go("b@1", 1, make([]byte, 5), nil)
		time.Sleep(3 * time.Second)
		n.set(faults{lose: 1})
		a.Go("b@1", 1, make([]byte, 5), nil)
		got := a.Stats().Peers
		want := []PeerStats{{Peer: "b@1", Waiting: 2, WaitingBytes: 10, Untaken: 1, Oldest: 3 * time.Second}}
		if !slices.Equal(got, want) {
			t.Errorf("caller: %+v, want %+v", got, want)
		}
		if got, want := b.Stats().Peers, []PeerStats{{Peer: "a@1", Running: 1}}; !slices.Equal(got, want) {
			t.Errorf("called: %+v, want %+v", got, want)
		}
	})
}
