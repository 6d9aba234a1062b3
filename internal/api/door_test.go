package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/protocol"
)

// door is an API in front of a fake cluster, as its callers see it.
type door struct {
	t       testing.TB
	cluster *fakeCluster
	api     *API
	metrics *prometheus.Registry
}

// newDoor opens a door; change may be nil.
func newDoor(t testing.TB, change func(*Config)) *door {
	t.Helper()
	c := newFakeCluster()
	d := &door{t: t, cluster: c, metrics: prometheus.NewRegistry()}
	cfg := Config{Rooms: c, Places: c, Users: c, Cluster: c, Events: c, Chats: &fakeChats{}, Registerer: d.metrics}
	if change != nil {
		change(&cfg)
	}
	api, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.api = api
	return d
}

// answer is what came back from a call.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask makes a call; headers come in pairs.
func (d *door) ask(method, path, body string, headers ...string) answer {
	d.t.Helper()
	r := httptest.NewRequest(method, "http://rollcall.example"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.api.ServeHTTP(w, r)
	return answer{status: w.Code, header: w.Header(), body: strings.TrimSpace(w.Body.String())}
}

// want makes a call and checks the whole answer.
func (d *door) want(method, path, body string, status int, want string) {
	d.t.Helper()
	if got := d.ask(method, path, body); got.status != status || got.body != want {
		d.t.Errorf("%s %s %s\n got %d %s\nwant %d %s", method, path, body, got.status, got.body, status, want)
	}
}

// wantError makes a call and checks the refusal: its message must contain
// every part of says.
func (d *door) wantError(method, path, body string, code protocol.Code, says ...string) answer {
	d.t.Helper()
	got := d.ask(method, path, body)
	d.checkError(method+" "+path+" "+clip(body), got, code.Status(), code, says...)
	return got
}

func (d *door) checkError(what string, got answer, status int, code protocol.Code, says ...string) {
	d.t.Helper()
	var e struct{ Error fault }
	if err := json.Unmarshal([]byte(got.body), &e); err != nil {
		d.t.Errorf("%s: answer %d %q: %v", what, got.status, got.body, err)
		return
	}
	if got.status != status || e.Error.Code != code || e.Error.Message == "" {
		d.t.Errorf("%s\n got %d %s\nwant %d %s", what, got.status, got.body, status, code)
	}
	for _, part := range says {
		if !strings.Contains(e.Error.Message, part) {
			d.t.Errorf("%s: message %q does not say %q", what, e.Error.Message, part)
		}
	}
	if ct := got.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		d.t.Errorf("%s: content type %q", what, ct)
	}
}

// ok makes a call that must succeed, and decodes the answer into v if that is
// not nil.
func (d *door) ok(v any, method, path, body string, headers ...string) {
	d.t.Helper()
	got := d.ask(method, path, body, headers...)
	if got.status != http.StatusOK && got.status != http.StatusNoContent {
		d.t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal([]byte(got.body), v); err != nil {
		d.t.Fatalf("%s %s: %s: %v", method, path, got.body, err)
	}
}
