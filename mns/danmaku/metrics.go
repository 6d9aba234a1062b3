package danmaku

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// verdict is what became of a line.
type verdict string

const (
	published verdict = "published"
	merged    verdict = "merged" // published as part of another line's publication
	listed    verdict = "word"
	overRate  verdict = "rate"
	refused   verdict = "check"
	before    verdict = "before" // had been published already
	tooLarge  verdict = "too_large"
)

// metrics counts lines and tries.
type metrics struct {
	lines    *prometheus.CounterVec
	failures *prometheus.CounterVec
	held     prometheus.Gauge
	seconds  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "rollcall", Subsystem: "danmaku", Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		lines:    vec("lines_total", "Lines, by what became of them.", "verdict"),
		failures: vec("failures_total", "Tries that failed and are repeated, or were let pass.", "step"),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "rollcall", Subsystem: "danmaku", Name: "held", Help: "Lines received and not deleted yet.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "rollcall", Subsystem: "danmaku", Name: "line_seconds",
			Help:                        "From when a line was sent to when it was published.",
			Buckets:                     []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.lines), reg.Register(m.failures), reg.Register(m.held), reg.Register(m.seconds))
}

func (m *metrics) count(v verdict, n int) { m.lines.WithLabelValues(string(v)).Add(float64(n)) }

func (m *metrics) failed(step string) { m.failures.WithLabelValues(step).Inc() }
