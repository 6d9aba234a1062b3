package clustertest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// Every metric that a document or an alert names is served by a node.
func TestDocumentsNameRealMetrics(t *testing.T) {
	files := []string{"../../docs/operations.md", "../../deploy/alerts.yaml"}
	texts := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = string(b)
	}
	if err := yaml.Unmarshal([]byte(texts[files[1]]), new(any)); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) {
		c := New(t, 1, Options{})
		served := c.metrics(1)
		for f, text := range texts {
			for _, name := range regexp.MustCompile(`rollcall_[a-z_]+`).FindAllString(text, -1) {
				name = strings.TrimSuffix(name, "_bucket")
				if !strings.HasSuffix(name, "_") && !strings.Contains(served, "# TYPE "+name+" ") {
					t.Errorf("%s names %s, which no node serves", f, name)
				}
			}
		}
	})
}

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
