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

// A page of another site cannot drain a node through the operator's browser.
func TestForeignPageCannotDrain(t *testing.T) {
	t.Parallel()
	door := newAdmin(&Node{cfg: Config{Admin: "127.0.0.1:8201"}})
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8201/drain", nil)
	r.Header.Set("Origin", "https://elsewhere.example")
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("POST /drain of a foreign page: %d, want 403", w.Code)
	}
}
