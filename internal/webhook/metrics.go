package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	posts     *prometheus.CounterVec
	seconds   prometheus.Histogram
	events    prometheus.Counter
	missed    prometheus.Counter
	malformed prometheus.Counter
	store     prometheus.Counter
	failing   prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &metrics{
		posts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_webhook_posts_total", Help: "Posts to the webhook: taken, refused by an answer, or failed without one.",
		}, []string{"result"}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "rollcall_webhook_post_seconds", Help: "Time that a post took, taken or not.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), NativeHistogramBucketFactor: 1.1,
			NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}),
		events:    counter("rollcall_webhook_events_total", "Events that the webhook's receiver has taken, repeats included."),
		missed:    counter("rollcall_webhook_events_missed_total", "Events that a full outbox lost, as the receiver was told."),
		malformed: counter("rollcall_webhook_events_malformed_total", "Events that are no JSON and were not posted."),
		store:     counter("rollcall_webhook_outbox_errors_total", "Questions to an outbox that failed."),
		failing: f.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_webhook_partitions_failing", Help: "Partitions whose latest post, or its outbox, failed.",
		}),
	}
}
