package outbox

import (
	"sync"
	"testing"
	"testing/synctest"
)

// The helper leaves a long queue and a large audience to the others, is called
// once the queue is short, and where the other worker has no time.
func TestHelperLeavesALongQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := New(Config{Workers: 2})
		push := func(n int) {
			for range n {
				f.push(&lane{audience: NewAudience(f, new(sync.Mutex))}, false)
			}
		}
		large := NewAudience(f, new(sync.Mutex))
		push(helpUpTo + 3)
		helped := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for f.next(true) != nil {
				helped++
			}
		}()
		helps := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if helped != want {
				t.Errorf("helped %d times %s, want %d", helped, when, want)
			}
		}
		helps(0, "beside a long queue")
		f.next(false)
		f.next(false)
		helps(0, "beside a long queue, still")
		f.next(false)
		helps(helpUpTo, "once the queue was short")
		go f.next(false) // a worker that is busy from its first lane on
		synctest.Wait()
		push(1)
		helps(helpUpTo, "beside an idle worker")
		push(1)
		helps(helpUpTo+1, "beside a busy worker")
		f.push(&lane{audience: large}, true)
		push(1)
		helps(helpUpTo+1, "beside a large audience")
		f.next(false)
		helps(helpUpTo+2, "once the large audience was served")
		f.mu.Lock()
		f.stopped = true
		f.mu.Unlock()
		f.help.Broadcast()
		<-done
	})
}

// No lane is forgotten, however workers and publishers meet.
func TestEveryLaneIsServed(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			f := New(Config{Workers: workers})
			var served, running sync.WaitGroup
			for n := range workers {
				running.Go(func() {
					for f.next(n > 0 && n == workers-1) != nil {
						served.Done()
					}
				})
			}
			for range 4 {
				go func() {
					for range 500 {
						served.Add(1)
						f.push(&lane{audience: NewAudience(f, new(sync.Mutex))}, false)
					}
				}()
			}
			synctest.Wait()
			served.Wait() // for ever, that is a deadlock, if one was forgotten
			f.mu.Lock()
			f.stopped = true
			f.mu.Unlock()
			f.wake.Broadcast()
			f.help.Broadcast()
			running.Wait()
		})
	}
}
