package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faac1247/rollcall/protocol"
)

// listener reads one event stream.
type listener struct {
	t      *testing.T
	lines  *bufio.Scanner
	closed func()
}

// listen opens a stream on a real connection, and returns once it is open.
func (d *door) listen(t *testing.T, query string) *listener {
	t.Helper()
	srv := httptest.NewServer(d.api)
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("%d, %s", resp.StatusCode, ct)
	}
	l := &listener{t: t, lines: bufio.NewScanner(resp.Body), closed: cancel}
	l.want(": events from now on", "")
	return l
}

func (l *listener) want(lines ...string) {
	l.t.Helper()
	for _, want := range lines {
		if !l.lines.Scan() {
			l.t.Fatalf("the stream ended (%v) before %q", l.lines.Err(), want)
		}
		if got := l.lines.Text(); got != want {
			l.t.Fatalf("line %q, want %q", got, want)
		}
	}
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	all, some := d.listen(t, ""), d.listen(t, "?events=exited,lost")
	d.ok(nil, "PUT", "/v1/rooms/r1/occupants/7", "")
	d.ok(nil, "DELETE", "/v1/rooms/r1/occupants/7", "")
	entered := `data: {"id":"e1","event":"entered","at":"2026-01-02T03:04:05Z","node":"n1","user_id":7,"room_id":"r1","epoch":1700000000000}`
	exited := `data: {"id":"e2","event":"exited","at":"2026-01-02T03:04:05Z","node":"n1","user_id":7,"room_id":"r1","epoch":1700000000000}`
	all.want("event: entered", entered, "", "event: exited", exited, "")
	some.want("event: exited", exited, "")
}

func TestEventStreamHeartbeat(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(c *Config) { c.Heartbeat = time.Millisecond })
	d.listen(t, "").want(":", "", ":", "", ":", "")
}

// What is no event on one line can't be put into a stream and does not end it.
func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(c *Config) {
		c.Events = &fakeEvents{raw: []string{
			`{"event":"up",` + "\n" + `"user_id":7}`, `{"event":7}`, `{"event":"a\nb"}`, `garbage`, `{"event":"down"}`,
		}}
	})
	d.listen(t, "").want("event: down", `data: {"event":"down"}`, "")
	if n := testutil.ToFloat64(d.api.metrics.malformed); n != 4 {
		t.Errorf("%v malformed events counted, want 4", n)
	}
}

// fakeEvents is an Events with a fixed past that stays open.
type fakeEvents struct{ raw []string }

func (f *fakeEvents) Subscribe(context.Context) (<-chan []byte, error) {
	events := make(chan []byte, len(f.raw))
	for _, e := range f.raw {
		events <- []byte(e)
	}
	return events, nil
}

// pipeListener is a net.Listener of one connection in memory, on which a write
// waits for a reader.
type pipeListener struct{ conns chan net.Conn }

func (p *pipeListener) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *pipeListener) Close() error   { return nil }
func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// A reader that stops reading is cut off by the deadline of a write, and the
// events behind it block nobody.
func TestStuckReaderIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, nil)
		near, far := net.Pipe()
		l := &pipeListener{conns: make(chan net.Conn, 1)}
		l.conns <- far
		srv := &http.Server{Handler: d.api}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()

		if _, err := io.WriteString(near, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		head, err := bufio.NewReaderSize(near, 16).ReadString('\n')
		if err != nil || !strings.Contains(head, "200") {
			t.Fatalf("%q, %v", head, err)
		}
		began := time.Now()
		synctest.Wait() // the server waits for the rest of its head to be read
		for range subscriberEvents + 1 {
			d.cluster.mu.Lock()
			d.cluster.tell("up", 1, "r")
			d.cluster.mu.Unlock()
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("telling events took %v", took)
		}
		time.Sleep(11 * time.Second)
		if n := testutil.ToFloat64(d.api.metrics.dropped.WithLabelValues(droppedWrite)); n != 1 {
			t.Errorf("%v streams dropped, want 1", n)
		}
		if n := testutil.ToFloat64(d.api.metrics.streams); n != 0 {
			t.Errorf("%v streams open, want 0", n)
		}
		close(l.conns)
		srv.Close()
		near.Close()
		<-served
	})
}

// A stream whose channel was closed says that something is missing.
func TestLaggingReaderIsTold(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	l := d.listen(t, "")
	d.cluster.mu.Lock()
	for _, s := range d.cluster.subscribers {
		s <- []byte(`{"event":"up"}`)
		close(s)
	}
	d.cluster.subscribers = nil
	d.cluster.mu.Unlock()
	l.want("event: up", `data: {"event":"up"}`, "", ": ended here; events after this one are missing", "")
	if l.lines.Scan() {
		t.Errorf("more: %q", l.lines.Text())
	}
	if n := testutil.ToFloat64(d.api.metrics.dropped.WithLabelValues(droppedLagging)); n != 1 {
		t.Errorf("%v streams dropped, want 1", n)
	}
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(c *Config) { c.MaxStreams = 1 })
	l := d.listen(t, "")
	d.wantError("GET", "/v1/events", "", protocol.CodeBusy)
	d.ok(nil, "GET", "/v1/cluster", "")
	l.closed()
	l.lines.Scan()
}
