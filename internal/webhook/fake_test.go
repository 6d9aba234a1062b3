package webhook

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/protocol"
)

// fakeOutbox holds what was committed and not posted, at most keep events a
// partition.
type fakeOutbox struct {
	keep int

	mu    sync.Mutex
	parts map[protocol.PartitionID]*fakePart
	// away fails all questions, deaf only those of Posted.
	away, deaf bool
	reads      int
}

type fakePart struct {
	events        []string
	added, posted int64
}

func newFakeOutbox() *fakeOutbox {
	return &fakeOutbox{keep: 1000, parts: make(map[protocol.PartitionID]*fakePart)}
}

func (o *fakeOutbox) part(p protocol.PartitionID) *fakePart {
	if o.parts[p] == nil {
		o.parts[p] = &fakePart{}
	}
	return o.parts[p]
}

// commit adds events numbered on, of the shape that event gives them.
func (o *fakeOutbox) commit(p protocol.PartitionID, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	part := o.part(p)
	for range n {
		part.added++
		part.events = append(part.events, event(p, part.added))
	}
	if over := len(part.events) - o.keep; over > 0 {
		part.events = part.events[over:]
	}
}

func event(p protocol.PartitionID, n int64) string {
	return fmt.Sprintf(`{"id":"%d-%d","event":"up"}`, p, n)
}

// Outbox implements Outbox.
func (o *fakeOutbox) Outbox(_ context.Context, p protocol.PartitionID, limit int) ([]protocol.OutboxEntry, int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	if o.away {
		return nil, 0, protocol.ErrStoreAway
	}
	part := o.part(p)
	gone := part.added - int64(len(part.events))
	var entries []protocol.OutboxEntry
	for i, e := range part.events[:min(limit, len(part.events))] {
		entries = append(entries, protocol.OutboxEntry{ID: strconv.FormatInt(gone+int64(i)+1, 10), Event: []byte(e)})
	}
	return entries, max(0, gone-part.posted), nil
}

// Posted implements Outbox.
func (o *fakeOutbox) Posted(_ context.Context, p protocol.PartitionID, upTo string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away || o.deaf {
		return protocol.ErrStoreAway
	}
	serial, err := strconv.ParseInt(upTo, 10, 64)
	if err != nil {
		return err
	}
	part := o.part(p)
	gone := part.added - int64(len(part.events))
	if serial > gone {
		part.events = part.events[serial-gone:]
	}
	part.posted = max(part.posted, serial)
	return nil
}

func (o *fakeOutbox) waiting(p protocol.PartitionID) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.part(p).events)
}

// asked returns how often the outbox was read.
func (o *fakeOutbox) asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads
}

func (o *fakeOutbox) set(away, deaf bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away, o.deaf = away, deaf
}

// receiver takes posts and remembers them. It checks what is true of each one.
type receiver struct {
	t   *testing.T
	key string

	mu sync.Mutex
	// status answers a post, 204 if nil; it is called without mu.
	status func(p protocol.PartitionID, n int) int
	posts  []post
	// overlaps allows two posts of a partition at a time.
	overlaps bool
	// busy holds the partitions of which a post is under way.
	busy map[protocol.PartitionID]bool
}

// post is one that has arrived, taken or not.
type post struct {
	partition protocol.PartitionID
	status    int
	body      string
	events    []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Errorf("body: %v", err)
	}
	r.checkSignature(req, body)
	var b struct{ Events []json.RawMessage }
	if err := json.Unmarshal(body, &b); err != nil || req.Method != "POST" || req.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%s of %s %s: %v", req.Method, req.Header.Get("Content-Type"), body, err)
	}
	n, err := strconv.ParseUint(req.Header.Get(PartitionHeader), 10, 16)
	if err != nil {
		r.t.Errorf("partition: %v", err)
	}
	p := post{partition: protocol.PartitionID(n), status: http.StatusNoContent, body: string(body)}
	for _, e := range b.Events {
		p.events = append(p.events, string(e))
	}

	r.mu.Lock()
	if r.busy[p.partition] && !r.overlaps {
		r.t.Errorf("two posts of partition %d at a time", p.partition)
	}
	if r.busy == nil {
		r.busy = make(map[protocol.PartitionID]bool)
	}
	r.busy[p.partition] = true
	number, status := len(r.posts), r.status
	r.mu.Unlock()
	if status != nil {
		p.status = status(p.partition, number)
	}
	r.mu.Lock()
	r.busy[p.partition] = false
	r.posts = append(r.posts, p)
	r.mu.Unlock()
	w.WriteHeader(p.status)
}

func (r *receiver) checkSignature(req *http.Request, body []byte) {
	got := req.Header.Get(SignatureHeader)
	if r.key == "" {
		if got != "" {
			r.t.Errorf("signed without a key: %s", got)
		}
		return
	}
	at, _, _ := strings.Cut(strings.TrimPrefix(got, "t="), ",")
	t, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !hmac.Equal([]byte(got), []byte(Sign(r.key, t, body))) {
		r.t.Errorf("signature %q of %s: %v", got, body, err)
	}
}

// taken returns the events of a partition that were taken, in their order.
func (r *receiver) taken(p protocol.PartitionID) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var events []string
	for _, got := range r.posts {
		if got.partition == p && got.status/100 == 2 {
			events = append(events, got.events...)
		}
	}
	return events
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.posts)
}

// wantAll checks that the first n events of a partition were taken, each once
// and in order.
func (r *receiver) wantAll(p protocol.PartitionID, n int64) {
	r.t.Helper()
	var want []string
	for i := range n {
		want = append(want, event(p, i+1))
	}
	if got := r.taken(p); !slices.Equal(got, want) {
		r.t.Errorf("partition %d: took %d events %q, want %d in order", p, len(got), got, n)
	}
}

// near is a transport to a handler in the same process, for virtual time. It
// gives up with the request, as a connection would.
type near struct{ handler http.Handler }

func (n near) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	served := make(chan struct{})
	go func() {
		defer close(served)
		n.handler.ServeHTTP(w, r)
	}()
	select {
	case <-served:
		return w.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// story is a poster between a fake outbox and a receiver.
type story struct {
	t      *testing.T
	outbox *fakeOutbox
	to     *receiver
	poster *Poster
	owned  []protocol.PartitionID
	mu     sync.Mutex
}

// begin runs a poster of the partitions 1 to 3 until the test ends. change may
// be nil.
func begin(t *testing.T, change func(*Config)) *story {
	t.Helper()
	s := &story{t: t, outbox: newFakeOutbox(), to: &receiver{t: t, key: "secret"}, owned: []protocol.PartitionID{1, 2, 3}}
	cfg := Config{
		URL: "http://backend.example/hook?token=t", Key: s.to.key, Outbox: s.outbox, Transport: near{s.to},
		Owned: func() []protocol.PartitionID {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.owned)
		},
		Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&cfg)
	}
	poster, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.poster = poster
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- poster.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

func (s *story) own(partitions ...protocol.PartitionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owned = partitions
}

// pass lets virtual time pass, and all that is due by then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
