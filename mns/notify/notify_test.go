package notify_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/memory"
	"github.com/faac1247/rollcall/mns/notify"
	"github.com/faac1247/rollcall/mns/poll"
)

// node is a notifier with what it needs.
type node struct {
	*memory.Node
	poller   *poll.Poller
	notifier *notify.Notifier
}

func (n *node) Woken(q chat.QueueName, _ chat.Epoch) { n.poller.Woken(q) }
func (n *node) Heard(chat.News)                      {}
func (n *node) Renewed()                             { n.poller.Renewed() }

// start runs a notifier; stop ends it and waits.
func start(t *testing.T, store *memory.Store, cfg notify.Config) (n *node, stop func()) {
	n = &node{Node: store.Node(t.Name())}
	n.poller = poll.New(poll.Config{Store: n.Node})
	cfg.Store, cfg.Receiver, cfg.Account = n.Node, n.poller, "1000"
	n.notifier = notify.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Listen(ctx, n) })
	running.Go(func() { _ = n.poller.Run(ctx) })
	running.Go(func() { _ = n.notifier.Run(ctx) })
	return n, func() { cancel(); running.Wait() }
}

func publication(body string) *chat.Publication {
	return &chat.Publication{Topic: "t", ID: "ID", Body: body, MD5: chat.Digest(body), At: time.Now()}
}

// TestStrategies has a queue never come into being, and counts the tries.
func TestStrategies(t *testing.T) {
	t.Parallel()
	for strategy, want := range map[chat.Strategy]struct {
		tries         int64
		atLeast, most time.Duration
	}{
		chat.Backoff: {4, 30 * time.Second, 61 * time.Second},
		chat.Decay:   {177, 23 * time.Hour, 24 * time.Hour},
	} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n, stop := start(t, memory.New(), notify.Config{})
				s := chat.Subscription{Name: "s", Endpoint: "acs:mns:r:a:queues/none", Strategy: strategy}
				if err := n.notifier.Deliver(t.Context(), s, publication("m")); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				stats := n.notifier.Stats()
				for stats.GivenUp.Load() == 0 && time.Since(begin) < 48*time.Hour {
					time.Sleep(100 * time.Millisecond)
				}
				took := time.Since(begin)
				if got := stats.Failed.Load(); got != want.tries || took < want.atLeast || took > want.most {
					t.Errorf("%d tries in %v", got, took)
				}
				if q, err := n.Queue(t.Context(), chat.DeliveryQueue); err != nil || q.Active+q.Inactive+q.Delayed != 0 {
					t.Errorf("left: %+v, %v", q.Counts, err)
				}
				stop()
			})
		})
	}
}

// TestSurvivesItsNode has another node go on with a delivery.
func TestSurvivesItsNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		n, stop := start(t, store, notify.Config{})
		s := chat.Subscription{Name: "s", Endpoint: "acs:mns:r:a:queues/late", Strategy: chat.Backoff, Format: chat.FormatSimplified}
		if err := n.notifier.Deliver(t.Context(), s, publication("m")); err != nil {
			t.Fatal(err)
		}
		stop()
		if _, _, err := n.CreateQueue(t.Context(), "late", chat.DefaultQueueSettings()); err != nil {
			t.Fatal(err)
		}
		_, stop = start(t, store, notify.Config{})
		time.Sleep(30 * time.Second)
		got, err := n.Receive(t.Context(), chat.Receive{Queue: "late", Max: 2})
		if err != nil || len(got.Messages) != 1 || got.Messages[0].Body != "m" {
			t.Errorf("delivered %+v, %v", got.Messages, err)
		}
		stop()
	})
}

// TestPerHost has an endpoint that is slow and one that is not.
func TestPerHost(t *testing.T) {
	t.Parallel()
	var busy, most, slow, quick atomic.Int32
	endpoint := func(done *atomic.Int32, wait time.Duration) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if wait > 0 {
				if n := busy.Add(1); n > most.Load() {
					most.Store(n)
				}
				<-time.After(wait)
				busy.Add(-1)
			}
			done.Add(1)
			w.WriteHeader(http.StatusNoContent)
		}))
		t.Cleanup(s.Close)
		return s
	}
	slowly, quickly := endpoint(&slow, 100*time.Millisecond), endpoint(&quick, 0)
	n, stop := start(t, memory.New(), notify.Config{PerHost: 1, Workers: 4})
	defer stop()
	for i := range 6 {
		for _, e := range []*httptest.Server{slowly, quickly} {
			s := chat.Subscription{Name: "s", Endpoint: e.URL, Strategy: chat.Backoff}
			if err := n.notifier.Deliver(t.Context(), s, publication(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	deadline := time.After(15 * time.Second)
	for slow.Load() < 6 || quick.Load() < 6 {
		select {
		case <-deadline:
			t.Fatalf("%d and %d deliveries", slow.Load(), quick.Load())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if most.Load() != 1 || n.notifier.Stats().Postponed.Load() == 0 {
		t.Errorf("%d at once, %d postponed", most.Load(), n.notifier.Stats().Postponed.Load())
	}
}

// TestNoRedirect: an endpoint cannot send us elsewhere, nor be where it may not.
func TestNoRedirect(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer target.Close()
	redirect := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	defer redirect.Close()
	n, stop := start(t, memory.New(), notify.Config{Allow: func(a netip.Addr) bool { return a.IsLoopback() }})
	defer stop()
	for _, endpoint := range []string{redirect.URL, "http://169.254.169.254/latest"} {
		s := chat.Subscription{Name: "s", Endpoint: endpoint, Strategy: chat.Backoff}
		if err := n.notifier.Deliver(t.Context(), s, publication("m")); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.After(15 * time.Second)
	for n.notifier.Stats().Failed.Load() < 2 {
		select {
		case <-deadline:
			t.Fatalf("%d tries failed", n.notifier.Stats().Failed.Load())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if reached.Load() {
		t.Error("a redirect was followed")
	}
}
