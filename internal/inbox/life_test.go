package inbox

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faac1247/rollcall/protocol"
)

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
