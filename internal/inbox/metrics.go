package inbox

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for which a message is refused or dropped.
const (
	dropFull         = "window_full"      // ErrFull
	dropDead         = "dead"             // ErrDead
	dropLarge        = "too_large"        // ErrTooLarge
	dropClosed       = "closed"           // ErrClosed
	dropName         = "unnamed"          // an addressee that can't be
	dropWithdrawn    = "withdrawn"        // a call given up
	dropLate         = "late_answer"      // an answer to a call given up
	dropAnswer       = "answer_too_large" // an answer that could not be kept
	dropCast         = "cast_lost"        // a cast that met nobody or an error
	dropOld          = "repeated"         // taken before
	dropGap          = "out_of_order"     // something before it is missing
	dropRoom         = "no_room"          // too much is held of its sender
	dropMisaddressed = "misaddressed"     // a payload for somebody else
	dropMalformed    = "malformed"        // a payload that can't be read
)

// metrics counts. An incarnation that follows another in the same process
// counts on where that one stopped.
type metrics struct {
	// by what a payload holds, indexed by tag
	sent, taken [tagCast + 1]prometheus.Counter
	repeats     prometheus.Counter

	heard, nobody, failed prometheus.Counter
	bytes                 prometheus.Counter

	drops          *prometheus.CounterVec // by reason
	waiting, peers prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	reg := registry{to: r}
	sent := reg.counters("rollcall_inbox_sent_messages_total",
		"Messages to other nodes that have left, repeats included.", "message")
	taken := reg.counters("rollcall_inbox_taken_messages_total",
		"Messages of other nodes that were acted on.", "message")
	publishes := reg.counters("rollcall_inbox_publishes_total",
		"Payloads published to other nodes, by what became of them.", "outcome")
	m := &metrics{
		repeats: reg.counter("rollcall_inbox_repeated_messages_total",
			"Messages to other nodes that left again because they were not known to have arrived."),
		heard:  publishes.WithLabelValues("heard"),
		nobody: publishes.WithLabelValues("nobody"),
		failed: publishes.WithLabelValues("error"),
		bytes:  reg.counter("rollcall_inbox_published_bytes_total", "Bytes published to other nodes."),
		drops: reg.counters("rollcall_inbox_drops_total",
			"Messages between nodes that were refused or not acted on.", "reason"),
		waiting: reg.gauge("rollcall_inbox_waiting_calls", "Calls to other nodes that wait for their answer."),
		peers:   reg.gauge("rollcall_inbox_peers", "Incarnations spoken with."),
	}
	for tag, name := range map[int]string{tagCall: "call", tagAnswer: "answer", tagCast: "cast"} {
		m.sent[tag] = sent.WithLabelValues(name)
		m.taken[tag] = taken.WithLabelValues(name)
	}
	for _, reason := range [...]string{dropFull, dropCast, dropGap, dropRoom} {
		m.drops.WithLabelValues(reason) // 0 until it happens, so that the first is seen as a rise
	}
	return m, errors.Join(reg.faults...)
}

// registry registers collectors, or finds those that are registered already.
type registry struct {
	to     prometheus.Registerer
	faults []error
}

func (r *registry) counters(name, help, label string) *prometheus.CounterVec {
	return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label}))
}

func (r *registry) counter(name, help string) prometheus.Counter {
	return register(r, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
}

func (r *registry) gauge(name, help string) prometheus.Gauge {
	return register(r, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
}

func register[C prometheus.Collector](r *registry, c C) C {
	if r.to == nil {
		return c
	}
	err := r.to.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if former, ok := already.ExistingCollector.(C); ok {
			return former
		}
	}
	if err != nil {
		r.faults = append(r.faults, err)
	}
	return c
}

func (m *metrics) drop(reason string, n int) {
	if n > 0 {
		m.drops.WithLabelValues(reason).Add(float64(n))
	}
}

// refuse counts a message that was refused with err.
func (m *metrics) refuse(err error) {
	reason := dropName
	switch err {
	case ErrFull:
		reason = dropFull
	case ErrDead:
		reason = dropDead
	case ErrTooLarge:
		reason = dropLarge
	case ErrClosed:
		reason = dropClosed
	}
	m.drop(reason, 1)
}

// published counts a payload and what became of it.
func (m *metrics) published(size int, t tally, receivers int, err error) {
	outcome := m.heard
	switch {
	case err != nil:
		outcome = m.failed
	case receivers == 0:
		outcome = m.nobody
	}
	outcome.Inc()
	if outcome != m.heard {
		m.drop(dropCast, t.casts)
	}
	m.bytes.Add(float64(size))
	m.sent[tagCall].Add(float64(t.calls))
	m.sent[tagAnswer].Add(float64(t.answers))
	m.sent[tagCast].Add(float64(t.casts))
	m.repeats.Add(float64(t.repeats))
}

// received counts what a payload brought.
func (m *metrics) received(ds []delivery, r refusals) {
	var n [tagCast + 1]int
	for i := range ds {
		n[ds[i].tag]++
	}
	for tag := tagCall; tag <= tagCast; tag++ {
		m.taken[tag].Add(float64(n[tag]))
	}
	m.waiting.Sub(float64(n[tagAnswer]))
	m.drop(dropOld, r.old+r.stale)
	m.drop(dropGap, r.gap)
	m.drop(dropRoom, r.room)
	m.drop(dropLate, r.late)
}
