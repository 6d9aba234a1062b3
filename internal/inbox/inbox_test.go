package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faac1247/rollcall/protocol"
)

// pair runs a test with two actors, in a bubble.
func pair(t *testing.T, change func(*Config), test func(t *testing.T, n *network, a, b *actor)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		a := newActor(t, n, "a@1", change).run(t.Context())
		b := newActor(t, n, "b@1", change).run(t.Context())
		synctest.Wait()
		test(t, n, a, b)
	})
}

func TestCallIsAnswered(t *testing.T) {
	pair(t, nil, func(t *testing.T, _ *network, a, b *actor) {
		began := time.Now()
		answer, err := a.Call(t.Context(), "b@1", 7, []byte("enter"))
		if err != nil || string(answer) != "enter from b@1" {
			t.Fatalf("answer %q, %v", answer, err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		if got, want := b.took(), []acted{{"a@1", 7, "enter"}}; !slices.Equal(got, want) {
			t.Errorf("acted on %v, want %v", got, want)
		}
	})
}

func TestCallsBeforeRunWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		a := newActor(t, n, "a@1", nil)
		done := make(chan error, 1)
		a.Go("b@1", 1, nil, func(_ []byte, err error) { done <- err })
		a.run(t.Context())
		newActor(t, n, "b@1", nil).run(t.Context())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Messages to ourselves take no transport, and never act on the caller's
// goroutine: it may hold what the handler needs.
func TestOwnMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		n.set(faults{away: true})
		var mu sync.Mutex
		var got []int
		a := newActor(t, n, "a@1", func(c *Config) {
			c.Handle = func(_ protocol.Incarnation, _ Kind, body []byte, answer func([]byte)) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, int(body[0]))
				answer(body)
			}
		}).run(t.Context())
		var answers atomic.Int32
		mu.Lock()
		for i := range 100 {
			a.Go("a@1", 1, numbered(i), func(answer []byte, err error) {
				if err == nil && int(answer[0]) == i {
					answers.Add(1)
				}
			})
		}
		mu.Unlock()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 100 || !slices.IsSorted(got) || answers.Load() != 100 {
			t.Errorf("acted on %v, %d answers", got, answers.Load())
		}
	})
}

func TestWindowRefusesWhenFull(t *testing.T) {
	pair(t, func(c *Config) { c.Window = 3; c.WindowBytes = 100 }, func(t *testing.T, _ *network, a, b *actor) {
		b.dawdle(true)
		var ended []error
		call := func(size int) {
			a.Go("b@1", 1, make([]byte, size), func(_ []byte, err error) { ended = append(ended, err) })
		}
		for range 4 {
			call(10)
		}
		if len(ended) != 1 || !errors.Is(ended[0], ErrFull) || protocol.CodeOf(ended[0]) != protocol.CodeBusy {
			t.Fatalf("fourth call of a window of three: %v", ended)
		}
		synctest.Wait()
		for _, answer := range b.dawdle(true) {
			answer(nil)
		}
		synctest.Wait()
		if len(ended) != 4 {
			t.Fatalf("%d calls ended, want 4", len(ended))
		}
		call(60)
		call(60) // more bytes than the window has left
		call(101)
		if got := ended[4:]; len(got) != 2 || !errors.Is(got[0], ErrFull) || !errors.Is(got[1], ErrTooLarge) {
			t.Errorf("bytes beyond the window: %v", got)
		}
		for _, reason := range []string{dropFull, dropLarge} {
			if n := testutil.ToFloat64(a.metrics.drops.WithLabelValues(reason)); n == 0 {
				t.Errorf("nothing counted as %s", reason)
			}
		}
	})
}

func TestWithdrawnCallIsNotTakenLater(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		n.set(faults{lose: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := a.Call(ctx, "b@1", 1, []byte("first"))
		if !errors.Is(err, ErrWithdrawn) || !errors.Is(err, context.DeadlineExceeded) || protocol.CodeOf(err) != protocol.CodeUnavailable {
			t.Errorf("given up with %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("given up after %v", took)
		}
		n.set(faults{})
		if _, err := a.Call(t.Context(), "b@1", 1, []byte("second")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got, want := b.took(), []acted{{"a@1", 1, "second"}}; !slices.Equal(got, want) {
			t.Errorf("acted on %v, want %v", got, want)
		}
		if _, err := a.Call(ctx, "b@1", 1, nil); !errors.Is(err, ErrWithdrawn) {
			t.Errorf("call with an ended context: %v", err)
		}
	})
}

// A call that is acted on and answered late is taken once, and is not sent
// again while the answer is awaited.
func TestLateAnswer(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		b.dawdle(true)
		var answer string
		a.Go("b@1", 1, []byte("take"), func(body []byte, err error) { answer = fmt.Sprint(string(body), err) })
		time.Sleep(time.Second)
		sent := n.publishes()
		if sent != 2 {
			t.Errorf("%d payloads, want the call and the word that it was taken", sent)
		}
		time.Sleep(time.Hour)
		if more := n.publishes() - sent; more != 0 {
			t.Errorf("%d payloads while the answer was awaited", more)
		}
		kept := b.dawdle(false)
		if len(kept) != 1 {
			t.Fatalf("acted on %d times", len(kept))
		}
		kept[0]([]byte("taken"))
		kept[0]([]byte("again"))
		synctest.Wait()
		if answer != "taken<nil>" {
			t.Errorf("answer %q", answer)
		}
		time.Sleep(time.Second)
		if s := b.Stats().Peers[0]; s.Answers != 0 || s.Running != 0 {
			t.Errorf("kept after the answer was taken: %+v", s)
		}
	})
}

// However many calls are answered, only the answers that are not known to have
// arrived are remembered.
func TestMemoryOfAnswersIsBounded(t *testing.T) {
	pair(t, func(c *Config) { c.Window = 16 }, func(t *testing.T, n *network, a, b *actor) {
		n.set(faults{lose: 0.3, repeat: 0.3})
		most := 0
		for range 2000 {
			if _, err := a.Call(t.Context(), "b@1", 1, nil); err != nil {
				t.Fatal(err)
			}
			most = max(most, b.Stats().Peers[0].Answers)
		}
		if most > 16 {
			t.Errorf("%d answers were kept for a window of 16", most)
		}
		if got := len(b.took()); got != 2000 {
			t.Errorf("acted on %d calls, want 2000", got)
		}
	})
}

// What nobody heard is sent again as soon as somebody listens, long before the
// ordinary repeat.
func TestNobodyListening(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		a := newActor(t, n, "a@1", nil).run(t.Context())
		ended := make(chan time.Time, 1)
		a.Go("b@1", 1, nil, func(_ []byte, err error) { ended <- time.Now() })
		time.Sleep(20 * time.Millisecond)
		newActor(t, n, "b@1", nil).run(t.Context())
		began := time.Now()
		if took := (<-ended).Sub(began); took > 40*time.Millisecond {
			t.Errorf("heard after %v", took)
		}
	})
}

// Who hears nothing of what is sent is missing, until it hears something or
// nothing more is sent.
func TestMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		a := newActor(t, n, "a@1", nil).run(t.Context())
		if a.Missing("b@1") {
			t.Error("missing before anything was sent")
		}
		a.Go("b@1", 1, nil, func([]byte, error) {})
		time.Sleep(10 * time.Millisecond)
		if a.Missing("b@1") {
			t.Error("missing after 10 ms, as who subscribes again would be")
		}
		time.Sleep(90 * time.Millisecond)
		if !a.Missing("b@1") {
			t.Error("not missing after 100 ms")
		}
		newActor(t, n, "b@1", nil).run(t.Context())
		time.Sleep(3 * time.Second / 2)
		if a.Missing("b@1") {
			t.Error("missing though it hears")
		}
		for range missingAfter {
			if err := a.Cast("c@1", 1, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if !a.Missing("c@1") {
			t.Error("not missing though nothing was heard")
		}
		time.Sleep(missingFor)
		if a.Missing("c@1") {
			t.Error("missing for good")
		}
	})
}

func TestRenewedSubscriptionRepeatsAtOnce(t *testing.T) {
	for _, who := range []protocol.Incarnation{"a@1", "b@1"} {
		t.Run(string(who), func(t *testing.T) {
			pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
				if _, err := a.Call(t.Context(), "b@1", 1, nil); err != nil { // they know each other
					t.Fatal(err)
				}
				n.set(faults{lose: 1})
				ended := make(chan time.Time, 1)
				a.Go("b@1", 1, nil, func(_ []byte, err error) { ended <- time.Now() })
				time.Sleep(2 * time.Second) // repeats are slow by now
				n.set(faults{})
				began := time.Now()
				n.renew(who)
				if took := (<-ended).Sub(began); took != 0 {
					t.Errorf("repeated after %v", took)
				}
			})
		})
	}
}

func TestStoreAwayKeepsEverything(t *testing.T) {
	for name, f := range map[string]faults{"fails": {away: true}, "hangs": {hang: true}} {
		t.Run(name, func(t *testing.T) {
			pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
				n.set(f)
				var ended atomic.Int32
				began := time.Now()
				for i := range 100 {
					a.Go("b@1", 1, numbered(i), func(_ []byte, err error) {
						if err == nil {
							ended.Add(1)
						}
					})
					if err := a.Cast("b@1", 1, nil); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("callers were blocked for %v", took)
				}
				time.Sleep(time.Minute)
				if n.publishes() > 60 {
					t.Errorf("%d attempts in a minute", n.publishes())
				}
				n.set(faults{})
				time.Sleep(5 * time.Second)
				got := b.took()
				sorted := slices.IsSortedFunc(got, func(x, y acted) int { return strings.Compare(x.body, y.body) })
				if ended.Load() != 100 || len(got) != 100 || !sorted {
					t.Errorf("%d answers, acted on %d, in order %v", ended.Load(), len(got), sorted)
				}
			})
		})
	}
}

// A node whose lease has ended by its own clock says nothing until it is
// renewed.
func TestMaySendHoldsEverything(t *testing.T) {
	var may atomic.Bool
	pair(t, func(c *Config) { c.MaySend = may.Load }, func(t *testing.T, n *network, a, b *actor) {
		ended := make(chan time.Time, 1)
		a.Go("b@1", 1, nil, func([]byte, error) { ended <- time.Now() })
		time.Sleep(time.Minute)
		if n.publishes() != 0 {
			t.Errorf("%d payloads left", n.publishes())
		}
		began := time.Now()
		may.Store(true)
		if took := (<-ended).Sub(began); took > 40*time.Millisecond {
			t.Errorf("answered after %v", took)
		}
	})
}
