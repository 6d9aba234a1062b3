package owner

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	refused     prometheus.Counter
	commits     prometheus.Counter
	commit      prometheus.Histogram
	restores    prometheus.Counter
	taken       prometheus.Counter
	handedOver  prometheus.Counter
	outranked   prometheus.Counter
	panics      prometheus.Counter
	quarantined prometheus.Gauge
	repairs     prometheus.Counter
	events      *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		refused: counter("rollcall_commands_refused_total", "Commands refused because a partition loop's mailbox was full."),
		commits: counter("rollcall_commits_total", "Batches that the journal committed."),
		commit: f.NewHistogram(prometheus.HistogramOpts{
			Name: "rollcall_commit_seconds", Help: "Time for one request of commits to the journal.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}),
		restores:    counter("rollcall_restores_total", "Partitions put back into a store that held an older state."),
		taken:       counter("rollcall_partitions_taken_total", "Partitions claimed."),
		handedOver:  counter("rollcall_partitions_handed_over_total", "Partitions handed over to another node."),
		outranked:   counter("rollcall_partitions_outranked_total", "Partitions lost to a later epoch."),
		panics:      counter("rollcall_room_panics_total", "Panics in a room; each costs its partition a reload."),
		quarantined: f.NewGauge(prometheus.GaugeOpts{Name: "rollcall_partitions_quarantined", Help: "Partitions whose journal can't be loaded."}),
		repairs:     counter("rollcall_attach_repairs_total", "Occupants on whom owner and edge did not agree."),
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_room_events_total", Help: "What happened in rooms and calls, by event: entered, exited, lost, unreported and so on.",
		}, []string{"event"}),
	}
	m.events.WithLabelValues("lost")
	m.events.WithLabelValues("unreported")
	return m
}
