package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSpeaksTLS runs over real sockets.
func TestSpeaksTLS(t *testing.T) {
	t.Parallel()
	f := &fake{tb: t, peers: make(chan *peer, 8)}
	resumed := make(chan bool, 8) // of each websocket's TLS session
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			resumed <- r.TLS.DidResume
		}
		f.ServeHTTP(w, r)
	}))
	defer server.Close()
	f.set(func() {
		f.answer = fmt.Sprintf(`{"error_code":0,"end_point":"wss://%s"}`, server.Listener.Addr())
		f.token = `{"action":"create_token","online_token":"tok"}`
	})
	run := func(trust *tls.Config) (context.CancelFunc, chan Disconnected) {
		told := make(chan Disconnected, 64)
		c, err := New(Config{
			EndPoints: []string{server.URL}, SID: testSID, HTTPClient: server.Client(), TLS: trust,
			OnDisconnect: func(d Disconnected) { told <- d },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = c.Run(ctx) }()
		return func() { cancel(); <-done }, told
	}
	stop, _ := run(server.Client().Transport.(*http.Transport).TLSClientConfig)
	for _, want := range []bool{false, true} { // who comes back needs no whole handshake
		select {
		case p := <-f.peers:
			if got := <-resumed; got != want {
				t.Errorf("resumed a TLS session: %t, want %t", got, want)
			}
			p.drop()
		case <-time.After(10 * time.Second):
			t.Fatal("no connection")
		}
	}
	stop()
	stop, told := run(nil)
	if d := <-told; d.Open || !strings.Contains(d.Err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %+v", d)
	}
	stop()
}
