package node

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

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
