package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	items     *prometheus.CounterVec
	panics    prometheus.Counter
	streams   prometheus.Gauge
	dropped   *prometheus.CounterVec
	malformed prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_api_requests_total", Help: "Requests of the backend, by call and code; a stream counts when it ends.",
		}, []string{"call", "code"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_api_request_seconds", Help: "Time to answer a request of the backend, streams aside.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16), NativeHistogramBucketFactor: 1.1,
			NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"call"}),
		items: f.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_api_batch_publications_total", Help: "Publications in batches, by code.",
		}, []string{"code"}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_api_panics_total", Help: "Panics in a request; each costs that request.",
		}),
		streams: f.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_api_streams", Help: "Event streams that are open.",
		}),
		dropped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_api_streams_dropped_total", Help: "Event streams that were ended because their reader was too slow, or with the node.",
		}, []string{"reason"}),
		malformed: f.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_api_events_malformed_total", Help: "Events that could not be streamed.",
		}),
	}
}

// codeLabel returns the code of an error as a label, ok for none.
func codeLabel(err error) string {
	if err == nil {
		return "ok"
	}
	_, public := refusal(err)
	return string(public.Code)
}

func (m *metrics) observe(call string, err error, took time.Duration, stream bool) {
	m.requests.WithLabelValues(call, codeLabel(err)).Inc()
	if !stream {
		m.seconds.WithLabelValues(call).Observe(took.Seconds())
	}
}

func (m *metrics) item(err error) { m.items.WithLabelValues(codeLabel(err)).Inc() }
