package bridge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// slowLane returns a lane whose pipelines take a second each, and the sizes of
// those that were carried to their end.
func slowLane(flights, limit int) (*lane, func() []int) {
	var mu sync.Mutex
	var sizes []int
	m, _ := newMetrics(nil, nil)
	l := newLane("test", flights, Config{Timeout: time.Minute, Queue: limit}, func(ctx context.Context, c []*command) {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, len(c))
	}, m)
	return l, func() []int {
		mu.Lock()
		defer mu.Unlock()
		return append([]int(nil), sizes...)
	}
}

func TestLaneGathersWhileAPipelineIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sizes := slowLane(1, 1000)
		var wg sync.WaitGroup
		start := time.Now()
		for range 601 {
			wg.Go(func() { check(t, l.do(t.Context(), &command{})) })
			synctest.Wait()
		}
		wg.Wait()
		if got := sizes(); len(got) != 3 || got[0] != 1 || got[1] != maxPipeline || got[2] != 600-maxPipeline {
			t.Errorf("pipelines of %v", got)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		if l.flying != 0 || len(l.queue) != 0 {
			t.Errorf("left: %d flying, %d queued", l.flying, len(l.queue))
		}
	})
}

func TestLaneDoesNotWaitForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sizes := slowLane(2, 1000)
		start := time.Now()
		for range 3 {
			check(t, l.do(t.Context(), &command{}, &command{}))
		}
		if got := sizes(); len(got) != 3 || got[0] != 2 || time.Since(start) != 3*time.Second {
			t.Errorf("pipelines of %v in %s", got, time.Since(start))
		}
	})
}

func TestLaneRefusesWhenItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := slowLane(2, 3)
		results := make(chan error, 10)
		for range 7 {
			go func() { results <- l.do(t.Context(), &command{}) }()
		}
		synctest.Wait()
		for range 2 {
			if err := <-results; !errors.Is(err, ErrBusy) || protocol.CodeOf(err) != protocol.CodeBusy || errors.Is(err, protocol.ErrStoreAway) {
				t.Errorf("a full lane answered %v", err)
			}
		}
		for range 5 {
			check(t, <-results)
		}
		check(t, l.do(t.Context(), &command{}))
	})
}

func TestLaneWithdrawsWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sizes := slowLane(1, 1000)
		var wg sync.WaitGroup
		wg.Go(func() { check(t, l.do(t.Context(), &command{})) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for range 3 {
			wg.Go(func() {
				if err := l.do(ctx, &command{}); !errors.Is(err, protocol.ErrStoreAway) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("giving up was answered with %v", err)
				}
			})
		}
		wg.Go(func() { check(t, l.do(t.Context(), &command{})) })
		wg.Wait()
		if got := sizes(); len(got) != 2 || got[1] != 1 {
			t.Errorf("pipelines of %v", got)
		}
		if err := l.do(ctx, &command{}); !errors.Is(err, protocol.ErrStoreAway) {
			t.Errorf("a call after its end was answered with %v", err)
		}
	})
}

// The one who carries a pipeline carries it to its end, whatever becomes of its
// own call, and hands on what has gathered.
func TestLaneCarrierServesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sizes := slowLane(1, 1000)
		var wg sync.WaitGroup
		call := func(limit time.Duration) {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				_ = l.do(ctx, &command{})
			})
			synctest.Wait()
		}
		var served atomic.Int64
		call(time.Millisecond)        // carries the first pipeline, gives up under way
		call(1500 * time.Millisecond) // is to carry the second, gives up under way
		for range 5 {
			wg.Go(func() {
				check(t, l.do(t.Context(), &command{}))
				served.Add(1)
			})
			synctest.Wait()
		}
		wg.Wait()
		if got := sizes(); served.Load() != 5 || len(got) != 2 || got[1] != 6 {
			t.Errorf("%d served by pipelines of %v", served.Load(), got)
		}
		if l.flying != 0 || len(l.queue) != 0 {
			t.Errorf("left: %d flying, %d queued", l.flying, len(l.queue))
		}
	})
}
