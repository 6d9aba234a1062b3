package poll_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/memory"
	"github.com/faac1247/rollcall/mns/poll"
)

// world is a store, two nodes and their pollers, in virtual time.
type world struct {
	t     *testing.T
	store *memory.Store
	nodes []*node
}

type node struct {
	*memory.Node
	poller *poll.Poller
	stop   context.CancelFunc
}

func (n *node) Woken(q chat.QueueName, _ chat.Epoch) { n.poller.Woken(q) }
func (n *node) Heard(chat.News)                      {}
func (n *node) Renewed()                             { n.poller.Renewed() }

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(*testing.T, *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: memory.New()}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i := range 2 {
			n := &node{Node: w.store.Node(fmt.Sprintf("n%d", i+1))}
			n.poller = poll.New(poll.Config{Store: n.Node})
			own, stop := context.WithCancel(ctx)
			n.stop = stop
			running.Go(func() { _ = n.Listen(own, n) })
			running.Go(func() { _ = n.poller.Run(own) })
			w.nodes = append(w.nodes, n)
		}
		if _, _, err := w.nodes[0].CreateQueue(ctx, "q", chat.DefaultQueueSettings()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		test(t, w)
		cancel()
		running.Wait()
		for i, n := range w.nodes {
			if left := n.poller.Stats().Waiting.Load(); left != 0 {
				t.Errorf("%d still wait at node %d", left, i+1)
			}
		}
	})
}

// answer is what a receiver got, and when.
type answer struct {
	bodies []string
	err    error
	took   time.Duration
}

// receive starts a receiver and returns where its answer comes.
func (w *world) receive(ctx context.Context, n, max int, wait time.Duration) chan answer {
	out := make(chan answer, 1)
	start := time.Now()
	go func() {
		messages, err := w.nodes[n].poller.Receive(ctx, "q", max, &wait)
		a := answer{err: err, took: time.Since(start)}
		for _, m := range messages {
			a.bodies = append(a.bodies, m.Body)
		}
		out <- a
	}()
	synctest.Wait()
	return out
}

func (w *world) send(body string, delay time.Duration) {
	w.t.Helper()
	d := chat.Draft{ID: "id", Body: body, Priority: 8, Delay: &delay}
	if _, err := w.nodes[0].Send(w.t.Context(), "q", []chat.Draft{d}); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// expect compares an answer and when it came. The store counts milliseconds, so
// a moment may be seen one late.
func (w *world) expect(out chan answer, took time.Duration, bodies ...string) {
	w.t.Helper()
	a := <-out
	if a.err != nil || fmt.Sprint(a.bodies) != fmt.Sprint(bodies) || a.took < took || a.took > took+time.Millisecond {
		w.t.Errorf("got %v, %v after %v, want %v after %v", a.bodies, a.err, a.took, bodies, took)
	}
}

func TestWaitEndsEmpty(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.expect(w.receive(t.Context(), 0, 1, 3*time.Second), 3*time.Second)
	})
}

func TestSendWakes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		out := w.receive(t.Context(), 1, 16, 30*time.Second)
		time.Sleep(12345 * time.Millisecond)
		w.send("m", 0)
		w.expect(out, 12345*time.Millisecond, "m")
	})
}

func TestDueMessageWakes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.send("early", 700*time.Millisecond)
		first := w.receive(t.Context(), 0, 1, 30*time.Second)
		second := w.receive(t.Context(), 0, 1, 30*time.Second)
		w.expect(first, 700*time.Millisecond, "early")
		w.send("later", 5*time.Second) // sent while somebody waits
		w.expect(second, 5700*time.Millisecond, "later")
	})
}

func TestExpiredVisibilityWakes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.send("m", 0)
		got, err := w.nodes[0].Receive(t.Context(), chat.Receive{Queue: "q", Max: 1, Visibility: 10 * time.Second})
		if err != nil || len(got.Messages) != 1 {
			t.Fatal(got, err)
		}
		out := w.receive(t.Context(), 1, 1, 30*time.Second)
		time.Sleep(time.Second)
		if _, err := w.nodes[0].ChangeVisibility(t.Context(), "q", got.Messages[0].Handle, 2*time.Second); err != nil {
			t.Fatal(err)
		}
		w.expect(out, 3*time.Second, "m")
	})
}

func TestFirstComeFirstServed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var outs []chan answer
		for range 100 {
			outs = append(outs, w.receive(t.Context(), 0, 1, 30*time.Second))
		}
		for i := range 100 {
			time.Sleep(10 * time.Millisecond)
			w.send(fmt.Sprint(i), 0)
		}
		for i, out := range outs {
			w.expect(out, time.Duration(i+1)*10*time.Millisecond, fmt.Sprint(i))
		}
	})
}

func TestBatchReturnsOnTheFirst(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		out := w.receive(t.Context(), 0, 16, 30*time.Second)
		w.send("a", 0)
		w.send("b", 0)
		w.expect(out, 0, "a")
	})
}

func TestWhoLeavesBurnsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		gone := w.receive(ctx, 0, 1, 30*time.Second)
		cancel()
		w.send("m", 0)
		if a := <-gone; len(a.bodies) != 0 {
			t.Fatalf("who left got %v", a.bodies)
		}
		w.expect(w.receive(t.Context(), 1, 1, 0), 0, "m")
	})
}

// TestGivenBack has a receiver leave after the store was asked for it.
func TestGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.send("m", 0)
		if a := <-w.receive(ctx, 0, 1, 0); len(a.bodies) != 0 || !errors.Is(a.err, context.Canceled) {
			t.Fatalf("who left got %v, %v", a.bodies, a.err)
		}
		got, err := w.nodes[0].Receive(t.Context(), chat.Receive{Queue: "q", Max: 1})
		if err != nil || len(got.Messages) != 1 || got.Messages[0].DequeueCount != 1 {
			t.Fatalf("left %+v, %v", got.Messages, err)
		}
	})
}

func TestDeletedQueueEndsTheWait(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		old := w.receive(t.Context(), 1, 1, 30*time.Second)
		ctx := t.Context()
		if err := w.nodes[0].DeleteQueue(ctx, "q"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.nodes[0].CreateQueue(ctx, "q", chat.DefaultQueueSettings()); err != nil {
			t.Fatal(err)
		}
		fresh := w.receive(ctx, 1, 1, 30*time.Second)
		w.send("m", 0)
		if a := <-old; !errors.Is(a.err, chat.ErrQueueNotExist) || a.took != 0 {
			t.Errorf("the old wait ended with %v, %v after %v", a.bodies, a.err, a.took)
		}
		w.expect(fresh, 0, "m")
	})
}

// TestLostWake drops the word that a message came: at once when the store says
// so, within the pause between looks when it does not.
func TestLostWake(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		out := w.receive(t.Context(), 1, 1, 30*time.Second)
		d := chat.Draft{ID: "id", Body: "m", Priority: 8}
		if _, err := w.nodes[0].Send(t.Context(), "q", []chat.Draft{d}); err != nil {
			t.Fatal(err)
		}
		w.store.Deafen()
		w.expect(out, 0, "m")

		w.nodes[1].Deaf(true)
		out = w.receive(t.Context(), 1, 1, 30*time.Second)
		time.Sleep(10 * time.Second)
		w.send("n", 0)
		a := <-out
		if len(a.bodies) != 1 || a.took > 26*time.Second {
			t.Errorf("got %v, %v after %v", a.bodies, a.err, a.took)
		}
	})
}

func TestIdleWaitsAskSeldom(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var outs []chan answer
		for range 1000 {
			outs = append(outs, w.receive(t.Context(), 0, 1, 30*time.Second))
		}
		for _, out := range outs {
			w.expect(out, 30*time.Second)
		}
		if n := w.nodes[0].poller.Stats().Checks.Load(); n > 12 {
			t.Errorf("1,000 idle waits of 30 s asked the store %d times", n)
		}
	})
}

func TestStoreAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		away := errors.New("away")
		out := w.receive(t.Context(), 0, 1, 10*time.Second)
		later := w.receive(t.Context(), 0, 1, 30*time.Second)
		time.Sleep(time.Second)
		w.store.Fail(away)
		if a := <-out; !errors.Is(a.err, away) {
			t.Errorf("without a store the wait ended with %v, %v", a.bodies, a.err)
		}
		w.store.Fail(nil)
		w.send("m", 0)
		if a := <-later; len(a.bodies) != 1 || a.took > 11*time.Second {
			t.Errorf("after its return got %v, %v after %v", a.bodies, a.err, a.took)
		}
	})
}

func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		out := w.receive(t.Context(), 0, 1, 30*time.Second)
		time.Sleep(time.Second)
		w.nodes[0].stop()
		w.expect(out, time.Second)
		w.expect(w.receive(t.Context(), 0, 1, 30*time.Second), 0)
	})
}

func TestTooManyWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := memory.New().Node("n1")
		ctx, cancel := context.WithCancel(t.Context())
		if _, _, err := n.CreateQueue(ctx, "q", chat.DefaultQueueSettings()); err != nil {
			t.Fatal(err)
		}
		p := poll.New(poll.Config{Store: n, MaxWaiting: 1})
		var running sync.WaitGroup
		running.Go(func() { _ = p.Run(ctx) })
		wait := 5 * time.Second
		running.Go(func() { _, _ = p.Receive(ctx, "q", 1, &wait) })
		synctest.Wait()
		start := time.Now()
		if got, err := p.Receive(ctx, "q", 1, &wait); len(got) != 0 || err != nil || time.Since(start) != 0 {
			t.Errorf("one too many got %v, %v after %v", got, err, time.Since(start))
		}
		if n := p.Stats().Refused.Load(); n != 1 {
			t.Errorf("%d were refused", n)
		}
		cancel()
		running.Wait()
	})
}
