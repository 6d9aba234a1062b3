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
	server := httptest.NewTLSServer(f)
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
	select {
	case <-f.peers:
	case <-time.After(10 * time.Second):
		t.Error("no connection")
	}
	stop()
	stop, told := run(nil)
	if d := <-told; d.Open || !strings.Contains(d.Err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %+v", d)
	}
	stop()
}
