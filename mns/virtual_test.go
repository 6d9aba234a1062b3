package mns_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/memory"
)

// bubble runs a test with one server on a store in memory, in virtual time.
func bubble(t *testing.T, test func(t *testing.T, s *mns.Server, store *memory.Node)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New().Node("n1")
		s, err := mns.New(mns.Config{Store: store, Keys: []mns.Key{{ID: keyID, Secret: secret}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = s.Run(ctx) })
		synctest.Wait()
		test(t, s, store)
		cancel()
		running.Wait()
	})
}

// serve has the server answer one request without a network.
func serve(t *testing.T, s *mns.Server, method, target, body string) *reply {
	t.Helper()
	start := time.Now()
	w := httptest.NewRecorder()
	request := newRequest(t, method, "http://h"+target, body)
	request.RequestURI = target
	s.ServeHTTP(w, request)
	return newReply(t, w.Code, w.Header(), w.Body.String(), time.Since(start))
}

// TestLongestWait is about C23 and the clients' read timeouts, of which the
// shortest is 31 s.
func TestLongestWait(t *testing.T) {
	bubble(t, func(t *testing.T, s *mns.Server, _ *memory.Node) {
		serve(t, s, "PUT", "/queues/q", "<Queue/>")
		got := serve(t, s, "GET", "/queues/q/messages?waitseconds=30", "")
		if got.status != 404 || got.took != 30*time.Second {
			t.Errorf("%d after %v", got.status, got.took)
		}
	})
}

// hijackable is a response whose connection can be taken over.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// dialBubble connects a websocket without a network.
func dialBubble(t *testing.T, s *mns.Server) *socket {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close() })
	go func() {
		in := bufio.NewReader(far)
		request, err := http.ReadRequest(in)
		if err != nil {
			t.Errorf("handshake: %v", err)
			return
		}
		s.ServeHTTP(hijackable{httptest.NewRecorder(), far}, request)
	}()
	return handshake(t, near)
}

// TestSocketTimeouts is about C35 and C40 with the timeouts that clients meet.
func TestSocketTimeouts(t *testing.T) {
	bubble(t, func(t *testing.T, s *mns.Server, _ *memory.Node) {
		serve(t, s, "PUT", "/topics/t", "<Topic/>")
		serve(t, s, "PUT", "/topics/t/subscriptions/s", "<Subscription><Endpoint>websocket</Endpoint></Subscription>")
		const late = 250 * time.Millisecond

		start := time.Now()
		nobody := dialBubble(t, s)
		nobody.closedAfter(4001, start, 10*time.Second, late)

		start = time.Now()
		silent := dialBubble(t, s)
		silent.subscribe("t", "s")
		silent.closedAfter(4002, start, 30*time.Second, late)

		pinging := dialBubble(t, s)
		pinging.subscribe("t", "s")
		for range 6 {
			time.Sleep(20 * time.Second)
			pinging.ping("x")
		}

		// What is pushed counts as traffic too.
		for range 3 {
			time.Sleep(29 * time.Second)
			serve(t, s, "POST", "/topics/t/messages", message("m", ""))
			pinging.expect("m")
		}

		// Without its last subscription the clock of the first one runs again.
		pinging.control(controlFor("UNSUBSCRIBE", "t", "s"))
		start = time.Now()
		pinging.closedAfter(4001, start, 10*time.Second, late)
	})
}

// closedAfter reads a close frame that comes at a moment, or a little later.
func (s *socket) closedAfter(code uint16, start time.Time, after, late time.Duration) {
	s.Helper()
	op, got, err := s.read(time.Minute)
	if took := time.Since(start); err != nil || op != opClose || uint16(got[0])<<8|uint16(got[1]) != code || took < after || took > after+late {
		s.Fatalf("read frame %d %q, %v after %v, want close %d after %v", op, got, err, took, code, after)
	}
}

// TestStoreAway has the store fail under a request and a wait.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		s, err := mns.New(mns.Config{Store: store.Node("n1"), Keys: []mns.Key{{ID: keyID, Secret: secret}}})
		if err != nil {
			t.Fatal(err)
		}
		store.Fail(errAway)
		for _, target := range []string{"/queues/q", "/queues/q/messages", "/queues", "/topics/t"} {
			if got := serve(t, s, "GET", target, ""); got.status != 503 || strings.Contains(got.body, errAway.Error()) {
				t.Errorf("%s: %d %s", target, got.status, got.body)
			}
		}
		store.Fail(nil)
		if got := serve(t, s, "GET", "/queues/q", ""); got.status != 404 {
			t.Errorf("after its return: %d", got.status)
		}
	})
}

// TestPanic has the store panic under a request.
func TestPanic(t *testing.T) {
	t.Parallel()
	s, err := mns.New(mns.Config{Store: panicking{}, Keys: []mns.Key{{ID: keyID, Secret: secret}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := serve(t, s, "GET", "/queues/q", ""); got.status != 500 || got.text("Code") != "InternalError" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

type panicking struct{ mns.Store }

var errAway = context.DeadlineExceeded
