package api

import (
	"sync"
	"sync/atomic"
)

// each calls do for every number below n, up to width of them at a time, and
// returns after the last one. A panic in one of them becomes the caller's, so
// that it costs a request and not the process.
func each(n, width int, do func(int)) {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		mu    sync.Mutex
		fault any
	)
	for range min(n, width) {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					mu.Lock()
					fault = p
					mu.Unlock()
				}
			}()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
	if fault != nil {
		panic(fault)
	}
}
