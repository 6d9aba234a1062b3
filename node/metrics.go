package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	castsDropped  prometheus.Counter
	eventsDropped prometheus.Counter
	streamsCut    prometheus.Counter
}

func newMetrics(l *life) *metrics {
	f := promauto.With(l.registry)
	gauge := func(name, help string, value func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	gauge("rollcall_members_alive", "Members that gossip sees alive, this one included.", func() float64 { return float64(l.members.pairs.Load()) })
	gauge("rollcall_ring_members", "Nodes that the ring gives partitions to.", func() float64 { return float64(len(l.members.table().ring.Members())) })
	gauge("rollcall_ring_disagreement", "Members whose ring digest differs from ours.", func() float64 { return float64(l.disagreeing()) })
	gauge("rollcall_store_away", "1 while the store is away for this node.", func() float64 { return oneIf(l.members.storeAway()) })
	gauge("rollcall_lease_valid", "1 while this node may own.", func() float64 { return oneIf(l.members.mayAct()) })
	gauge("rollcall_draining", "1 from the start of a drain.", func() float64 { return oneIf(l.draining.Load()) })
	gauge("rollcall_large_rooms", "Rooms owned here whose newcomers are spread over several edges.", func() float64 { return float64(l.crowds.spread.Load()) })
	gauge("rollcall_large_rooms_unspread", "Large rooms owned here that are not spread because there are too many.", func() float64 { return float64(l.crowds.over.Load()) })
	gauge("rollcall_tls_handshakes_waiting", "TLS handshakes that wait for a processor's turn.", func() float64 { return float64(l.node.turns.waiting.Load()) })
	for _, door := range l.node.doors() {
		f.NewCounterFunc(prometheus.CounterOpts{
			Name: "rollcall_door_refused_total", Help: "Connections closed unread because a door has too many that are no websockets.",
			ConstLabels: prometheus.Labels{"door": door},
		}, func() float64 { return l.node.refusedAt(door) })
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &metrics{
		castsDropped:  counter("rollcall_casts_dropped_total", "Batches of publications that did not leave for another node; its edge asks for them."),
		eventsDropped: counter("rollcall_events_dropped_total", "Live events that other nodes were not told."),
		streamsCut:    counter("rollcall_event_streams_cut_total", "Event streams cut because they lagged."),
	}
}

// disagreeing counts the living members whose ring is not ours.
func (l *life) disagreeing() int {
	t := l.members.table()
	n := 0
	for _, m := range t.members {
		if m.alive && m.inc != l.inc && m.meta.Digest != t.ring.Digest() {
			n++
		}
	}
	return n
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
