package edge

import "sync"

// crew counts the requests that are inside and the goroutines that they and
// their connections start, so that Run can wait for all. Those who are in may
// start others to the last; once all have left, what still comes from the node
// starts nothing any more.
type crew struct {
	// guarded by mu
	mu    sync.Mutex
	count int
	done  chan struct{} // made by dismiss, closed when the last has left
}

// enter counts the caller in, and reports false once the crew has gone.
func (c *crew) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil && c.count == 0 {
		return false
	}
	c.count++
	return true
}

// leave counts the caller out.
func (c *crew) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count--
	if c.count == 0 && c.done != nil {
		close(c.done)
	}
}

// start runs f on a goroutine of the crew, unless that has gone.
func (c *crew) start(f func()) {
	if !c.enter() {
		return
	}
	go func() {
		defer c.leave()
		f()
	}()
}

// dismiss waits until all have left. It is called once.
func (c *crew) dismiss() {
	c.mu.Lock()
	c.done = make(chan struct{})
	if c.count == 0 {
		close(c.done)
	}
	c.mu.Unlock()
	<-c.done
}
