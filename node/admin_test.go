package node

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// An admin key lets in whoever brings the whole of it, and nothing else does.
func TestAdminDoorAsksForItsKey(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name, given string
		keys        []string
		want        int
	}{
		{"one of the keys", "Bearer second", []string{"first", "second"}, http.StatusAccepted},
		{"nothing", "", []string{"first"}, http.StatusUnauthorized},
		{"another key", "Bearer third", []string{"first", "second"}, http.StatusUnauthorized},
		{"the start of a key", "Bearer fir", []string{"first"}, http.StatusUnauthorized},
		{"a key without its scheme", "first", []string{"first"}, http.StatusUnauthorized},
		{"an empty key where one is set", "Bearer ", []string{""}, http.StatusUnauthorized},
		{"an empty key where none is set", "Bearer ", nil, http.StatusUnauthorized},
	} {
		n := &Node{cfg: Config{Admin: ":8201", AdminKeys: one.keys}, drain: make(chan struct{})}
		r := httptest.NewRequest(http.MethodPost, "http://n1:8201/drain", nil)
		r.Header.Set("Authorization", one.given)
		w := httptest.NewRecorder()
		newAdmin(n).ServeHTTP(w, r)
		if w.Code != one.want || n.leaving() != (one.want == http.StatusAccepted) {
			t.Errorf("%s: %d, drained %v; want %d", one.name, w.Code, n.leaving(), one.want)
		}
	}
}

// A page of another site cannot drain a node through the operator's browser,
// under whatever name it reaches the open door; a command and the door's own
// page can.
func TestForeignPageCannotDrain(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name, host string
		header     map[string]string
		want       int
	}{
		{"a foreign page", "127.0.0.1:8201", map[string]string{"Origin": "https://elsewhere.example"}, http.StatusForbidden},
		{"a page of nowhere", "127.0.0.1:8201", map[string]string{"Origin": "null"}, http.StatusForbidden},
		{"a foreign page's form", "127.0.0.1:8201", map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
		{"a page under a name of its own", "elsewhere.example:8201", map[string]string{"Origin": "http://elsewhere.example:8201"}, http.StatusForbidden},
		{"a command", "127.0.0.1:8201", nil, http.StatusAccepted},
		{"the door's own page", "localhost:8201", map[string]string{"Origin": "http://localhost:8201", "Sec-Fetch-Site": "same-origin"}, http.StatusAccepted},
	} {
		n := &Node{cfg: Config{Admin: "127.0.0.1:8201"}, drain: make(chan struct{})}
		r := httptest.NewRequest(http.MethodPost, "http://"+one.host+"/drain", nil)
		for name, value := range one.header {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		newAdmin(n).ServeHTTP(w, r)
		if w.Code != one.want || n.leaving() != (one.want == http.StatusAccepted) {
			t.Errorf("POST /drain of %s: %d, drained %v; want %d", one.name, w.Code, n.leaving(), one.want)
		}
	}
}
