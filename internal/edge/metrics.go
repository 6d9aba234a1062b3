package edge

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

// metrics counts what an edge does. Nothing has a room's or user's name in a
// label.
type metrics struct {
	refusals, closes, rejected *prometheus.CounterVec

	frames, stale, repeated, gaps, gapsLost, catchUps prometheus.Counter
	panics, closeErrors, closesForgotten, provisional prometheus.Counter
	departuresForgotten, reportsLost, presentsLost    prometheus.Counter
	attachDiffers, disowned, orphans                  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, e *Edge) *metrics {
	make := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return make.NewCounter(prometheus.CounterOpts{Name: "rollcall_edge_" + name, Help: help})
	}
	vec := func(name, help string) *prometheus.CounterVec {
		return make.NewCounterVec(prometheus.CounterOpts{Name: "rollcall_edge_" + name, Help: help}, []string{"reason"})
	}
	gauge := func(name, help string, value func() int) {
		make.NewGaugeFunc(prometheus.GaugeOpts{Name: "rollcall_edge_" + name, Help: help}, func() float64 { return float64(value()) })
	}
	gauge("connections", "open websockets, those being made among them", e.door.inside)
	gauge("losses_waiting", "connections gone of which the store has not heard", e.losses.count)
	gauge("held_sockets", "sockets that wait for their user's record", e.gate.count)
	exportOutbox(make, e.fanout.Counters())
	m := &metrics{
		refusals:            vec("refused_total", "requests and connections not let in"),
		closes:              vec("closed_total", "connections closed by the server"),
		rejected:            vec("frames_rejected_total", "client frames without effect"),
		frames:              counter("frames_total", "good client frames, reports that were owed aside"),
		stale:               counter("stale_total", "messages of outranked owners"),
		repeated:            counter("publications_repeated_total", "publications that were here before"),
		gaps:                counter("gaps_total", "times that publications of a room were missing"),
		gapsLost:            counter("gaps_lost_total", "times that they could not be fetched"),
		catchUps:            counter("catch_ups_total", "subscriptions that came after what they begin with"),
		panics:              counter("reader_panics_total", "readers that panicked; each cost its connection"),
		closeErrors:         counter("close_errors_total", "losses that the store could not be told of at once"),
		closesForgotten:     counter("closes_forgotten_total", "losses given up because too many wait for the store"),
		provisional:         counter("losses_provisional_total", "losses told to owners without the store"),
		departuresForgotten: counter("departures_forgotten_total", "departures put to a client that had too many"),
		reportsLost:         counter("reports_lost_total", "reports whose owner could not be reached"),
		presentsLost:        counter("presents_lost_total", "connections whose owner could not be told"),
		disowned:            counter("disowned_total", "connections that only the store and an owner believed in"),
		attachDiffers:       counter("attach_differs_total", "owners' lists that were not as here"),
		orphans:             counter("orphans_total", "subscriptions that no owner spoke of for 30 s, handed over for repair"),
	}
	// What has not happened yet is 0: the first time is to be seen as a rise.
	for _, why := range [...]refusal{"full", "address", "held", "auth_unavailable"} {
		m.refusals.WithLabelValues(string(why))
	}
	for _, code := range [...]protocol.CloseCode{
		protocol.CloseDrain, protocol.CloseOverloaded, protocol.CloseSuperseded, protocol.CloseTimeout,
		protocol.CloseKicked, protocol.CloseUnauthenticated, protocol.CloseSlow, protocol.CloseAbusive,
	} {
		m.closes.WithLabelValues(code.Reason())
	}
	for _, why := range [...]string{"rate", "malformed"} {
		m.rejected.WithLabelValues(why)
	}
	return m
}

// exportOutbox shows the outbox's own counters.
func exportOutbox(make promauto.Factory, c *outbox.Counters) {
	for _, one := range [...]struct {
		name, help string
		load       func() uint64
	}{
		{"deliveries_total", "frames given to subscribers' connections", c.Deliveries.Load},
		{"delivered_bytes_total", "bytes given to subscribers' connections", c.Bytes.Load},
		{"delivery_writes_total", "writes that the deliveries took", c.Writes.Load},
		{"write_waits_total", "writes that a socket did not take whole", c.Waits.Load},
		{"frames_dropped_slow_total", "frames dropped for clients that read too slowly", c.DroppedSlow.Load},
		{"frames_dropped_pending_total", "frames dropped because a room was published to too fast", c.DroppedPending.Load},
		{"closed_slow_total", "connections closed because they read too slowly", c.ClosedSlow.Load},
	} {
		make.NewCounterFunc(
			prometheus.CounterOpts{Name: "rollcall_edge_" + one.name, Help: one.help},
			func() float64 { return float64(one.load()) },
		)
	}
}

func (m *metrics) refused(why refusal)  { m.refusals.WithLabelValues(string(why)).Inc() }
func (m *metrics) closed(reason string) { m.closes.WithLabelValues(reason).Inc() }
