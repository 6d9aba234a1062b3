package clustertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"gopkg.in/yaml.v3"

	"github.com/faac1247/rollcall/bridge"
	"github.com/faac1247/rollcall/mns"
)

// Every metric that a document, an alert or a dashboard names is served: by a
// node, by its store or by its chat pipeline.
func TestDocumentsNameRealMetrics(t *testing.T) {
	const operations, alerts, dashboard = "../../docs/operations.md", "../../deploy/alerts.yaml", "../../deploy/grafana.json"
	texts := map[string]string{}
	for _, f := range [...]string{operations, alerts, dashboard} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = string(b)
	}
	if err := yaml.Unmarshal([]byte(texts[alerts]), new(any)); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal([]byte(texts[dashboard]), new(any)); err != nil {
		t.Error(err)
	}
	beside := besideNode(t)
	bubble(t, func(t *testing.T) {
		c := New(t, 1, Options{})
		served := c.metrics(1)
		is := func(name string) bool { return beside[name] || strings.Contains(served, "# TYPE "+name+" ") }
		for f, text := range texts {
			for _, name := range regexp.MustCompile(`rollcall_[a-z_]+`).FindAllString(text, -1) {
				// A histogram is queried by its parts; a name cut short ends in "_".
				whole := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
				if !strings.HasSuffix(name, "_") && !is(name) && !is(whole) {
					t.Errorf("%s names %s, which nobody serves", f, name)
				}
			}
		}
	})
}

// besideNode returns the metrics of what main puts beside a node's own.
func besideNode(t *testing.T) map[string]bool {
	t.Helper()
	names := described{}
	store, err := bridge.Open(bridge.Config{URL: "redis://127.0.0.1:1", Registerer: names}) // never asked
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Disconnect() })
	keys := []mns.Key{{ID: "id", Secret: "secret"}}
	if _, err := mns.New(mns.Config{Store: bridge.NewMNS(store, "n1"), Keys: keys, Registerer: names}); err != nil {
		t.Fatal(err)
	}
	return names
}

// described is a prometheus.Registerer that keeps the names only, those of
// labelled metrics that have not counted yet among them.
type described map[string]bool

var descName = regexp.MustCompile(`fqName: "([a-z_]+)"`)

func (d described) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	for desc := range descs {
		if m := descName.FindStringSubmatch(desc.String()); m != nil {
			d[m[1]] = true
		}
	}
	return nil
}

func (d described) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = d.Register(c) // it can't fail
	}
}

func (d described) Unregister(prometheus.Collector) bool { return false }

// metrics returns what node n's admin door serves.
func (c *Cluster) metrics(n int) string {
	c.tb.Helper()
	req, err := newRequest(c.ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/metrics", host(n), adminPort), nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.tb.Fatal(err)
	}
	return string(b)
}
