package bridge

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// metrics counts what goes to the store.
type metrics struct {
	pipelines     prometheus.Counter
	commands      prometheus.Counter
	sources       prometheus.Counter
	subscriptions prometheus.Counter
	refused       *prometheus.CounterVec
}

type laneMetrics struct{ refused prometheus.Counter }

// newMetrics registers the counters; with a nil registerer they just count.
func newMetrics(reg prometheus.Registerer, client redis.UniversalClient) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "rollcall", Subsystem: "store", Name: name, Help: help})
	}
	m := &metrics{
		pipelines:     counter("pipelines_total", "Pipelines sent to the store."),
		commands:      counter("commands_total", "Commands sent to the store."),
		sources:       counter("script_sources_total", "Scripts sent whole because the store did not know them."),
		subscriptions: counter("subscriptions_total", "Subscriptions made, renewals included."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "rollcall", Subsystem: "store", Name: "refused_total",
			Help: "Calls refused because too many waited.",
		}, []string{"queue"}),
	}
	if reg == nil {
		return m, nil
	}
	var faults []error
	for _, c := range []prometheus.Collector{m.pipelines, m.commands, m.sources, m.subscriptions, m.refused, newPoolCollector(client)} {
		faults = append(faults, reg.Register(c))
	}
	return m, errors.Join(faults...)
}

func (m *metrics) lane(name string) laneMetrics {
	return laneMetrics{refused: m.refused.WithLabelValues(name)}
}

// poolCollector shows the connections of the client.
type poolCollector struct {
	// set by newPoolCollector
	client                      redis.UniversalClient
	connections, idle, timeouts *prometheus.Desc
}

func newPoolCollector(client redis.UniversalClient) *poolCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("rollcall_store_"+name, help, nil, nil)
	}
	return &poolCollector{
		client:      client,
		connections: desc("connections", "Connections to the store."),
		idle:        desc("idle_connections", "Connections to the store that are not in use."),
		timeouts:    desc("connection_timeouts_total", "Waits for a free connection that were given up."),
	}
}

// Describe implements prometheus.Collector.
func (c *poolCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.connections
	ch <- c.idle
	ch <- c.timeouts
}

// Collect implements prometheus.Collector.
func (c *poolCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.client.PoolStats()
	ch <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(s.TotalConns))
	ch <- prometheus.MustNewConstMetric(c.idle, prometheus.GaugeValue, float64(s.IdleConns))
	ch <- prometheus.MustNewConstMetric(c.timeouts, prometheus.CounterValue, float64(s.Timeouts))
}
