package webhook

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faac1247/rollcall/protocol"
)

func TestPostsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(c *Config) { c.Batch = 3 })
		for p := protocol.PartitionID(1); p <= 3; p++ {
			s.outbox.commit(p, 10)
			s.poster.Wake(p)
		}
		synctest.Wait()
		for p := protocol.PartitionID(1); p <= 3; p++ {
			s.to.wantAll(p, 10)
			if n := s.outbox.waiting(p); n != 0 {
				t.Errorf("%d events of partition %d left", n, p)
			}
		}
		if n := s.to.count(); n != 12 {
			t.Errorf("%d posts for 3 times 10 events in batches of 3, want 12", n)
		}
		if n := testutil.ToFloat64(s.poster.metrics.events); n != 30 {
			t.Errorf("%v events counted, want 30", n)
		}
	})
}

// What nobody woke is found by looking; what was woken does not wait for that.
func TestWakeAndPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil)
		synctest.Wait()
		s.outbox.commit(1, 1)
		pass(2*time.Second - 1)
		synctest.Wait()
		s.to.wantAll(1, 0)
		pass(1)
		synctest.Wait()
		s.to.wantAll(1, 1)
		s.outbox.commit(2, 1)
		s.poster.Wake(2)
		synctest.Wait()
		s.to.wantAll(2, 1)
	})
}

// An event that comes while its partition is being posted does not wait for the
// next look either.
func TestWakeWhileBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil)
		synctest.Wait()
		s.to.status = func(p protocol.PartitionID, n int) int {
			if n == 0 {
				s.outbox.commit(p, 1)
				s.poster.Wake(p)
			}
			return 200
		}
		s.outbox.commit(1, 1)
		s.poster.Wake(1)
		synctest.Wait()
		s.to.wantAll(1, 2)
	})
}

// A receiver that fails gets the same again, after pauses that grow, until it
// takes it; partitions that it takes do not wait.
func TestFailingReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(c *Config) { c.Batch = 1 })
		synctest.Wait()
		began := time.Now()
		var tries []time.Duration
		s.to.status = func(p protocol.PartitionID, _ int) int {
			if p != 1 || len(tries) == 12 {
				return 201
			}
			if tries = append(tries, time.Since(began)); len(tries) < 12 {
				return 500
			}
			return 200
		}
		s.outbox.commit(1, 2)
		s.poster.Wake(1)
		synctest.Wait()
		if n := testutil.ToFloat64(s.poster.metrics.failing); n != 1 {
			t.Errorf("%v partitions failing, want 1", n)
		}
		for range 10 {
			s.outbox.commit(2, 1)
			pass(2 * time.Second)
		}
		s.to.wantAll(2, 10)
		pass(12 * time.Minute)
		s.to.wantAll(1, 2)
		pause := 500 * time.Millisecond
		for i := 1; i < len(tries); i++ {
			if got := tries[i] - tries[i-1]; got < pause/2-time.Millisecond || got > pause {
				t.Errorf("pause %d is %v, want %v to %v", i, got, pause/2, pause)
			}
			pause = min(2*pause, time.Minute)
		}
		if len(tries) != 12 {
			t.Errorf("%d tries, want 12", len(tries))
		}
		if n := testutil.ToFloat64(s.poster.metrics.failing); n != 0 {
			t.Errorf("%v partitions failing, want 0", n)
		}
	})
}

func TestReceiverThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := begin(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		synctest.Wait()
		var asked atomic.Int32
		s.to.overlaps = true // what timed out is over as far as the poster can know
		s.to.status = func(protocol.PartitionID, int) int {
			if asked.Add(1) == 1 {
				time.Sleep(time.Minute)
			}
			return 200
		}
		s.outbox.commit(1, 1)
		s.poster.Wake(1)
		pass(10*time.Second + 1)
		if n := testutil.ToFloat64(s.poster.metrics.posts.WithLabelValues("failed")); n != 1 {
			t.Errorf("%v posts failed, want 1", n)
		}
		pass(2 * time.Minute)
		if n := s.outbox.waiting(1); n != 0 {
			t.Errorf("%d events left", n)
		}
		for _, want := range []string{"posts fail", "deadline", "taken again", "backend.example"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q: %s", want, log.String())
			}
		}
		if strings.Contains(log.String(), "token") {
			t.Errorf("the log gives the address's secret away: %s", log.String())
		}
	})
}

// A receiver may ask for a longer pause, within bounds.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		s := begin(t, func(c *Config) {
			c.Transport = near{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				after := [...]string{"30", "3600", "-1", "soon"}[min(len(tries), 3)]
				tries = append(tries, time.Now())
				w.Header().Set("Retry-After", after)
				w.WriteHeader(http.StatusServiceUnavailable)
			})}
		})
		s.outbox.commit(1, 1)
		pass(3 * time.Minute)
		if len(tries) < 4 {
			t.Fatalf("%d tries", len(tries))
		}
		for i, want := range [...]struct{ least, most time.Duration }{{30 * time.Second, 30 * time.Second}, {time.Minute, time.Minute}, {time.Second, 2 * time.Second}} {
			if got := tries[i+1].Sub(tries[i]); got < want.least || got > want.most {
				t.Errorf("pause %d is %v, want %v to %v", i, got, want.least, want.most)
			}
		}
	})
}

func TestGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil)
		synctest.Wait()
		s.outbox.keep = 2
		s.outbox.commit(1, 5)
		s.poster.Wake(1)
		synctest.Wait()
		s.outbox.commit(1, 1)
		s.poster.Wake(1)
		synctest.Wait()
		got := strings.Join(s.to.taken(1), " ")
		want := `{"event":"gap","missed":3} ` + event(1, 4) + " " + event(1, 5) + " " + event(1, 6)
		if got != want {
			t.Errorf("took\n     %s\nwant %s", got, want)
		}
		if n := testutil.ToFloat64(s.poster.metrics.missed); n != 3 {
			t.Errorf("%v missed events counted, want 3", n)
		}
	})
}

// Events that go while a post is under way are told by the next gap.
func TestGapWhilePosting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil)
		synctest.Wait()
		s.outbox.keep = 2
		s.to.status = func(p protocol.PartitionID, n int) int {
			if n == 0 {
				s.outbox.commit(p, 4)
				s.poster.Wake(p)
			}
			return 200
		}
		s.outbox.commit(1, 2)
		s.poster.Wake(1)
		synctest.Wait()
		got := strings.Join(s.to.taken(1), " ")
		want := event(1, 1) + " " + event(1, 2) + ` {"event":"gap","missed":2} ` + event(1, 5) + " " + event(1, 6)
		if got != want {
			t.Errorf("took\n     %s\nwant %s", got, want)
		}
	})
}

// A post that was taken is not made again because the outbox could not be told.
func TestOutboxThatCannotBeTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil)
		synctest.Wait()
		s.outbox.set(false, true)
		s.outbox.commit(1, 2)
		s.poster.Wake(1)
		pass(5 * time.Second)
		s.to.wantAll(1, 2)
		s.outbox.commit(1, 1)
		s.poster.Wake(1)
		s.outbox.set(false, false)
		pass(10 * time.Second)
		s.to.wantAll(1, 3)
		if n := s.outbox.waiting(1); n != 0 {
			t.Errorf("%d events left", n)
		}
	})
}

func TestOutboxAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil)
		synctest.Wait()
		s.outbox.set(true, false)
		s.outbox.commit(1, 1)
		pass(10 * time.Minute)
		before := s.outbox.asked()
		pass(10 * time.Minute)
		if n := s.outbox.asked() - before; n > 70 {
			t.Errorf("%d questions for 3 partitions in 10 minutes without an answer", n)
		}
		s.outbox.set(false, false)
		pass(time.Minute)
		s.to.wantAll(1, 1)
	})
}

// A partition is posted by its owner only, from the moment that this changes.
func TestOwnership(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil)
		synctest.Wait()
		s.own(2, 3)
		s.outbox.commit(1, 1)
		s.poster.Wake(1)
		synctest.Wait()
		s.to.wantAll(1, 0)

		s.to.status = func(protocol.PartitionID, int) int { return 500 }
		s.outbox.commit(2, 1)
		s.poster.Wake(2)
		synctest.Wait()
		s.own(1)
		pass(4 * time.Second)
		tries := s.to.count()
		if n := testutil.ToFloat64(s.poster.metrics.failing); n != 1 {
			t.Errorf("%v partitions failing, want only that one that is owned", n)
		}
		s.own(3)
		pass(time.Hour)
		if n := s.to.count(); n > tries+1 {
			t.Errorf("%d posts of what is not owned", n-tries)
		}
		s.poster.mu.Lock()
		if n := len(s.poster.lanes); n != 0 {
			t.Errorf("%d partitions remembered that are idle or gone", n)
		}
		s.poster.mu.Unlock()
		s.to.mu.Lock()
		s.to.status = nil
		s.to.mu.Unlock()
		s.own(1, 2, 3)
		pass(2 * time.Second)
		s.to.wantAll(1, 1)
		s.to.wantAll(2, 1)
	})
}

// As many partitions are posted at a time as may be, and no more.
func TestParallel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(c *Config) { c.Parallel = 2 })
		synctest.Wait()
		var mu sync.Mutex
		var now, most int
		s.to.status = func(protocol.PartitionID, int) int {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return 200
		}
		for p := protocol.PartitionID(1); p <= 3; p++ {
			s.outbox.commit(p, 1)
			s.poster.Wake(p)
		}
		pass(1500 * time.Millisecond)
		if most != 2 || s.to.count() != 2 {
			t.Errorf("%d posts at a time, %d after 1.5 s; want 2 and 2", most, s.to.count())
		}
		pass(time.Second)
		for p := protocol.PartitionID(1); p <= 3; p++ {
			s.to.wantAll(p, 1)
		}
	})
}

// A partition with much to post takes turns with the others.
func TestFairness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(c *Config) { c.Parallel, c.Batch = 1, 1 })
		synctest.Wait()
		s.to.status = func(protocol.PartitionID, int) int { time.Sleep(time.Millisecond); return 200 }
		s.outbox.commit(1, 100)
		s.outbox.commit(2, 1)
		s.poster.Wake(1)
		s.poster.Wake(2)
		pass(10 * time.Millisecond)
		s.to.wantAll(2, 1)
		pass(time.Second)
		s.to.wantAll(1, 100)
	})
}

func TestMalformedEventIsLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(c *Config) { c.Batch = 2 })
		synctest.Wait()
		s.outbox.commit(1, 3)
		s.outbox.commit(2, 2)
		s.outbox.parts[1].events[0] = `{"id":`
		s.outbox.parts[2].events[0], s.outbox.parts[2].events[1] = `]`, ``
		s.poster.Wake(1)
		s.poster.Wake(2)
		synctest.Wait()
		if got := strings.Join(s.to.taken(1), " "); got != event(1, 2)+" "+event(1, 3) {
			t.Errorf("took %s", got)
		}
		if got := s.to.taken(2); got != nil || s.outbox.waiting(2) != 0 {
			t.Errorf("took %q, %d left", got, s.outbox.waiting(2))
		}
		if n := testutil.ToFloat64(s.poster.metrics.malformed); n != 3 {
			t.Errorf("%v malformed events counted, want 3", n)
		}
	})
}

func TestBatchBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(c *Config) { c.BatchBytes = 80 })
		synctest.Wait()
		s.outbox.commit(1, 7)
		s.outbox.parts[1].events[3] = `{"x":"` + strings.Repeat("x", 200) + `"}`
		s.poster.Wake(1)
		synctest.Wait()
		var sizes []int
		for _, p := range s.to.posts {
			sizes = append(sizes, len(p.events))
		}
		if got := fmt.Sprint(sizes); got != "[2 1 1 2 1]" || s.outbox.waiting(1) != 0 {
			t.Errorf("posts of %s events, %d left; want [2 1 1 2 1], with the large one alone", got, s.outbox.waiting(1))
		}
	})
}

// On a real connection: what is not 2xx is not taken, redirects included, and
// without a key there is no signature.
func TestRealReceiver(t *testing.T) {
	t.Parallel()
	taken := make(chan string, 1)
	to := &receiver{t: t}
	answers := []int{http.StatusFound, http.StatusBadRequest, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusOK}
	to.status = func(_ protocol.PartitionID, n int) int {
		if n == len(answers)-1 {
			taken <- "taken"
		}
		return answers[min(n, len(answers)-1)]
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		if r.URL.Path != "/hook" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		to.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s := begin(t, func(c *Config) {
		c.URL, c.Key, c.Transport, c.MinPause = srv.URL+"/hook", "", nil, time.Millisecond
	})
	s.outbox.commit(2, 3)
	s.poster.Wake(2)
	select {
	case <-taken:
	case <-time.After(10 * time.Second):
		t.Fatalf("not taken after %d posts", to.count())
	}
}

// A receiver computes the signature the same way.
func TestSign(t *testing.T) {
	t.Parallel()
	// printf '1767323045.{"events":[]}' | openssl dgst -sha256 -hmac secret
	const want = "t=1767323045,v1=5a69d451f13f28a5623011527d6ff9a1f24763e4ab34fa7099041857d972762b"
	if got := Sign("secret", 1767323045, []byte(`{"events":[]}`)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := New(Config{URL: "ftp://x", Parallel: -1, Poll: -1, MinPause: time.Hour})
	for _, part := range []string{"no http or https address", "required", "limit is negative", "duration is negative", "under the shortest"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New: %v; want it to say %q", err, part)
		}
	}
}
