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

	"github.com/prometheus/client_golang/prometheus"
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

func TestDeadEndsEverything(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		b.dawdle(true)
		var ended []int
		for i := range 10 {
			a.Go("b@1", 1, nil, func(_ []byte, err error) {
				if !errors.Is(err, ErrDead) {
					t.Errorf("call %d: %v", i, err)
				}
				ended = append(ended, i)
			})
		}
		a.Dead("b@1")
		if len(ended) != 10 || !slices.IsSorted(ended) {
			t.Errorf("ended before Dead returned: %v", ended)
		}
		if _, err := a.Call(t.Context(), "b@1", 1, nil); !errors.Is(err, ErrDead) {
			t.Errorf("call to the dead: %v", err)
		}
		if err := a.Cast("b@1", 1, nil); !errors.Is(err, ErrDead) {
			t.Errorf("cast to the dead: %v", err)
		}
		b.Go("a@1", 1, nil, nil)
		if err := b.Cast("a@1", 1, nil); err != nil {
			t.Error(err)
		}
		for _, answer := range b.dawdle(false) {
			answer(nil)
		}
		time.Sleep(time.Minute)
		if len(a.took()) != 0 || len(a.caught()) != 0 {
			t.Errorf("acted on the word of the dead: %v, %v", a.took(), a.caught())
		}
		if s := a.Stats(); len(s.Peers) != 0 || s.Dead != 1 {
			t.Errorf("what is kept of the dead: %+v", s)
		}
		if after := n.publishes(); after > 100 {
			t.Errorf("%d payloads in a minute", after)
		}
	})
}

// What a payload still holds of a sender that dies meanwhile is not acted on.
func TestDeadWhileActing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		var b *actor
		var took atomic.Int32
		b = newActor(t, n, "b@1", func(c *Config) {
			c.Handle = func(from protocol.Incarnation, _ Kind, _ []byte, answer func([]byte)) {
				took.Add(1)
				b.Dead(from)
				answer(nil)
			}
		}).run(t.Context())
		a := newActor(t, n, "a@1", nil)
		for range 10 { // they leave together
			a.Go("b@1", 1, nil, nil)
		}
		a.run(t.Context())
		time.Sleep(time.Minute)
		if took.Load() != 1 {
			t.Errorf("acted on %d calls", took.Load())
		}
	})
}

// The next life of a node is another sender: nothing of the former one is mixed
// into it, neither numbers nor answers.
func TestNextLifeBeginsAnew(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		for range 5 {
			if _, err := a.Call(t.Context(), "b@1", 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		b.stop()
		synctest.Wait()
		var dead error
		a.Go("b@1", 1, []byte("lost"), func(_ []byte, err error) { dead = err })
		next := newActor(t, n, "b@2", nil).run(t.Context())
		if _, err := a.Call(t.Context(), "b@2", 1, []byte("first")); err != nil {
			t.Fatal(err)
		}
		a.Dead("b@1")
		if got, want := next.took(), []acted{{"a@1", 1, "first"}}; !slices.Equal(got, want) || !errors.Is(dead, ErrDead) {
			t.Errorf("the next life acted on %v; the former's call: %v", got, dead)
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

func TestCastsAtMostOnceAndInOrder(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		n.set(faults{lose: 0.2, repeat: 0.5, nobody: 0.1, fail: 0.1, delay: 20 * time.Millisecond})
		for i := range 100 {
			if err := a.Cast("b@1", 3, []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Second)
		got := b.caught()
		if len(got) < 10 {
			t.Errorf("%d of 100 casts arrived", len(got))
		}
		for i := 1; i < len(got); i++ {
			if got[i].body <= got[i-1].body {
				t.Errorf("cast %x acted on after %x", got[i].body, got[i-1].body)
			}
		}
		if testutil.ToFloat64(a.metrics.drops.WithLabelValues(dropCast)) == 0 {
			t.Error("no lost cast was counted")
		}
	})
}

func TestCastsThatWaitAreBounded(t *testing.T) {
	pair(t, func(c *Config) { c.Window = 2; c.WindowBytes = 1000 }, func(t *testing.T, n *network, a, _ *actor) {
		n.set(faults{hang: true})
		count := func(size int) (accepted int) {
			for range 100 {
				if a.Cast("b@1", 1, make([]byte, size)) == nil {
					accepted++
				}
			}
			return accepted
		}
		if got := count(1); got != 16 {
			t.Errorf("%d casts wait, want 16", got)
		}
		synctest.Wait() // what waited is under way
		if got := count(400); got != 2 {
			t.Errorf("%d casts of 400 bytes wait, want 2", got)
		}
		if err := a.Cast("b@1", 1, make([]byte, 1001)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a cast larger than a window: %v", err)
		}
	})
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

func TestPeersAreBounded(t *testing.T) {
	pair(t, func(c *Config) { c.MaxPeers = 1 }, func(t *testing.T, n *network, a, b *actor) {
		if _, err := a.Call(t.Context(), "b@1", 1, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Call(t.Context(), "c@1", 1, nil); !errors.Is(err, ErrFull) {
			t.Errorf("call to a second peer: %v", err)
		}
		c := newActor(t, n, "c@1", nil).run(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Call(ctx, "a@1", 1, nil); !errors.Is(err, ErrWithdrawn) || len(a.took()) != 0 {
			t.Errorf("call of a second peer: %v", err)
		}
		a.Dead("b@1")
		if _, err := c.Call(t.Context(), "a@1", 1, nil); err != nil {
			t.Errorf("once there is room: %v", err)
		}
	})
}

func TestRunEnds(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		b.dawdle(true)
		var ended []error
		for _, to := range []protocol.Incarnation{"b@1", "b@1", "a@1"} {
			a.Go(to, 1, nil, func(_ []byte, err error) { ended = append(ended, err) })
		}
		a.stop()
		if err := <-a.over; err != nil {
			t.Errorf("run: %v", err)
		}
		if len(ended) != 3 {
			t.Fatalf("%d of 3 calls ended with Run", len(ended))
		}
		for _, err := range ended {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("ended with %v", err)
			}
		}
		if _, err := a.Call(t.Context(), "b@1", 1, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("call after Run: %v", err)
		}
		if err := a.Run(t.Context()); err == nil {
			t.Error("runs twice")
		}
		for _, answer := range b.dawdle(false) {
			answer(nil) // nobody hears it
		}
		if waiting, peers := testutil.ToFloat64(a.metrics.waiting), testutil.ToFloat64(a.metrics.peers); waiting != 0 || peers != 0 {
			t.Errorf("after Run, %v calls to %v peers are counted", waiting, peers)
		}
	})
}

// deaf is a transport whose subscription ends.
type deaf struct {
	*network
	err error
}

func (d deaf) Subscribe(context.Context, protocol.Incarnation, func([]byte), func()) error {
	return d.err
}

func TestSubscriptionThatEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct{ got, want error }{{broken, broken}, {nil, errEnded}} {
		a := newActor(t, deaf{newNetwork(1), c.got}, "a@1", nil)
		if err := a.Run(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("run: %v, want %v", err, c.want)
		}
	}
}

func TestWhatCanNotBeReadIsDropped(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		call := item{tag: tagCall, number: 1, gap: 1}
		other := compose(header{from: "c@1", to: "b@1"}, call)
		other[0]++
		for reason, payload := range map[string][]byte{
			"nothing":            {},
			"other format":       other,
			"cut short":          compose(header{from: "c@1", to: "b@1"}, call)[:14],
			"for somebody else":  compose(header{from: "c@1", to: "b@2"}, call),
			"from ourselves":     compose(header{from: "b@1", to: "b@1"}, call),
			"answer to nothing":  compose(header{from: "c@1", to: "b@1", callsTaken: 1}, call),
			"half of it is good": append(compose(header{from: "c@1", to: "b@1"}, call), tagCast),
		} {
			n.subscriber("b@1").mail <- payload
			synctest.Wait()
			if got := b.took(); len(got) != 0 {
				t.Fatalf("%s: acted on %v", reason, got)
			}
		}
		drops := b.metrics.drops
		bad, wrong := testutil.ToFloat64(drops.WithLabelValues(dropMalformed)), testutil.ToFloat64(drops.WithLabelValues(dropMisaddressed))
		if bad != 5 || wrong != 2 {
			t.Errorf("counted %v malformed and %v misaddressed, want 5 and 2", bad, wrong)
		}
		if _, err := a.Call(t.Context(), "b@1", 1, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Window: -1, Repeat: time.Microsecond})
	for _, fault := range []string{"incarnation", "transport", "negative", "millisecond"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("no word of %s in %v", fault, err)
		}
	}
	a := newActor(t, newNetwork(1), "a@1", nil)
	for _, to := range []protocol.Incarnation{"", protocol.Incarnation(strings.Repeat("x", maxName+1))} {
		if err := a.Cast(to, 1, nil); protocol.CodeOf(err) != protocol.CodeBadRequest {
			t.Errorf("cast to %q: %v", to, err)
		}
	}
}

// A process that goes on as another incarnation registers its metrics again and
// counts on.
func TestMetricsOutliveAnIncarnation(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	share := func(c *Config) { c.Registerer = reg }
	n := newNetwork(1)
	for _, inc := range []protocol.Incarnation{"a@1", "a@2"} {
		a := newActor(t, n, inc, share)
		if err := a.Cast("", 1, nil); err == nil {
			t.Fatal("a cast to nobody was accepted")
		}
	}
	want := `
# HELP rollcall_inbox_drops_total Messages between nodes that were refused or not acted on.
# TYPE rollcall_inbox_drops_total counter
rollcall_inbox_drops_total{reason="unnamed"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "rollcall_inbox_drops_total"); err != nil {
		t.Error(err)
	}
	clash := prometheus.NewRegistry()
	clash.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "rollcall_inbox_peers", Help: "something else"}))
	cfg := Config{Self: "a@1", Transport: n, Handle: func(protocol.Incarnation, Kind, []byte, func([]byte)) {}, Registerer: clash}
	if _, err := New(cfg); err == nil {
		t.Error("a clash of metrics was not reported")
	}
}

func TestGravesForgetTheOldest(t *testing.T) {
	t.Parallel()
	g := newGraves(2)
	for _, inc := range []protocol.Incarnation{"a", "b", "b", "a", "c"} {
		g.add(inc)
	}
	if g.has("a") || !g.has("b") || !g.has("c") || g.len() != 2 {
		t.Errorf("remembered: %v", g.known)
	}
}

func TestStats(t *testing.T) {
	pair(t, nil, func(t *testing.T, n *network, a, b *actor) {
		b.dawdle(true)
		a.Go("b@1", 1, make([]byte, 5), nil)
		time.Sleep(3 * time.Second)
		n.set(faults{lose: 1})
		a.Go("b@1", 1, make([]byte, 5), nil)
		got := a.Stats().Peers
		want := []PeerStats{{Peer: "b@1", Waiting: 2, WaitingBytes: 10, Untaken: 1, Oldest: 3 * time.Second}}
		if !slices.Equal(got, want) {
			t.Errorf("caller: %+v, want %+v", got, want)
		}
		if got, want := b.Stats().Peers, []PeerStats{{Peer: "a@1", Running: 1}}; !slices.Equal(got, want) {
			t.Errorf("called: %+v, want %+v", got, want)
		}
	})
}
