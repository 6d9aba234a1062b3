package mns

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/mns/chat"
)

// metrics counts what the server does. Names of queues and topics are never
// among the labels.
type metrics struct {
	requests                *prometheus.CounterVec
	seconds                 *prometheus.HistogramVec
	sent, received, deleted prometheus.Counter
	published, storeErrors  prometheus.Counter
	controls                *prometheus.CounterVec
	// hot are those of the operations that there are most of.
	hot map[string]operationMetrics
}

// operationMetrics are looked up once.
type operationMetrics struct {
	ok      prometheus.Counter
	seconds prometheus.Observer
}

// newMetrics registers the metrics; with a nil registerer they just count.
func newMetrics(reg prometheus.Registerer, s *Server) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "rollcall", Subsystem: "mns", Name: name, Help: help})
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "rollcall", Subsystem: "mns", Name: "requests_total", Help: "Requests served, by operation and code.",
		}, []string{"operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "rollcall", Subsystem: "mns", Name: "request_seconds",
			Help:                        "Time to serve a request, waiting included.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"operation"}),
		sent:      counter("messages_sent_total", "Messages sent to queues."),
		received:  counter("messages_received_total", "Messages received from queues."),
		deleted:   counter("messages_deleted_total", "Messages deleted from queues."),
		published: counter("messages_published_total", "Messages published to topics through this node."),
		controls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "rollcall", Subsystem: "mns", Name: "control_messages_total",
			Help: "Control messages of websockets, by type and code.",
		}, []string{"type", "code"}),
		storeErrors: counter("store_errors_total", "Requests that the store could not be asked for."),
	}
	m.hot = map[string]operationMetrics{}
	for _, op := range []operation{opSend, opReceive, opDelete, opPublish} {
		m.hot[op.name] = operationMetrics{m.requests.WithLabelValues(op.name, codeOK), m.seconds.WithLabelValues(op.name)}
	}
	if reg == nil {
		return m, nil
	}
	var faults []error
	for _, c := range append(s.collectors(),
		m.requests, m.seconds, m.sent, m.received, m.deleted, m.published, m.controls, m.storeErrors) {
		faults = append(faults, reg.Register(c))
	}
	return m, errors.Join(faults...)
}

func gauge(name, help string, value func() int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "rollcall", Subsystem: "mns", Name: name, Help: help},
		func() float64 { return float64(value()) })
}

func count(name, help string, value func() int64, labels ...string) prometheus.Collector {
	opts := prometheus.CounterOpts{Namespace: "rollcall", Subsystem: "mns", Name: name, Help: help}
	if len(labels) == 2 {
		opts.ConstLabels = prometheus.Labels{labels[0]: labels[1]}
	}
	return prometheus.NewCounterFunc(opts, func() float64 { return float64(value()) })
}

// collectors shows what the parts of the server count themselves.
func (s *Server) collectors() []prometheus.Collector {
	waits, sockets, notes := s.poller.Stats(), s.hub.Stats(), s.notifier.Stats()
	const delivery = "Tries to deliver to queues and HTTP endpoints, by what came of them."
	all := []prometheus.Collector{
		gauge("requests_busy", "Requests under way, waiting ones included.", s.busy.Load),
		gauge("waiting", "Receivers that wait for messages.", waits.Waiting.Load),
		count("wait_checks_total", "Looks into queues for those who wait.", waits.Checks.Load),
		count("wait_refused_total", "Receivers that could not wait because too many did.", waits.Refused.Load),
		count("messages_returned_total", "Messages given back because their receiver had gone.", waits.Returned.Load),
		gauge("websockets", "Websockets.", sockets.Conns.Load),
		gauge("topics_followed", "Topics that some websocket here is subscribed to.", sockets.Topics.Load),
		count("publications_heard_total", "Publications that reached this node.", sockets.Published.Load),
		count("publications_delivered_total", "Publications given to websockets.", sockets.Delivered.Load),
		count("websocket_writes_total", "Writes to websockets.", sockets.Writes.Load),
		count("websocket_slow_total", "Websockets closed because they read too slowly.", sockets.Slow.Load),
		count("websocket_panics_total", "Websockets whose reader panicked.", sockets.Panics.Load),
		count("deliveries_total", delivery, notes.Delivered.Load, "result", "delivered"),
		count("deliveries_total", delivery, notes.Failed.Load, "result", "failed"),
		count("deliveries_total", delivery, notes.GivenUp.Load, "result", "given_up"),
		count("deliveries_total", delivery, notes.Postponed.Load, "result", "postponed"),
	}
	for i := chat.KeptImportance + 1; i <= chat.MaxImportance; i++ {
		all = append(all, count("websocket_dropped_total", "Publications dropped for slow websockets, by importance.",
			sockets.Dropped[i].Load, "importance", strconv.Itoa(int(i))))
	}
	return append(all, s.keeper.collectors()...)
}

func (m *metrics) control(kind, code string) {
	if kind != controlSubscribe && kind != controlUnsubscribe {
		kind = "unknown"
	}
	m.controls.WithLabelValues(kind, code).Inc()
}

// codeOK is what ended well.
const codeOK = "OK"

func (m *metrics) served(operation, code string, took time.Duration) {
	if hot, ok := m.hot[operation]; ok && code == codeOK {
		hot.ok.Inc()
		hot.seconds.Observe(took.Seconds())
		return
	}
	m.requests.WithLabelValues(operation, code).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
}
