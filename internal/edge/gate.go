package edge

import (
	"context"
	"sync"
)

// gate holds sockets back while the store is away.
type gate struct {
	// set by New
	max int

	// guarded by mu
	mu     sync.Mutex
	inside int
	opened chan struct{} // closed while the gate is open
}

func newGate(limit int) *gate {
	g := &gate{max: limit, opened: make(chan struct{})}
	close(g.opened)
	return g
}

// enter counts one in who may have to wait, and reports false when too many do.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside >= g.max {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	g.inside--
	g.mu.Unlock()
}

// wait returns true once the gate is open, false when ctx ends before.
func (g *gate) wait(ctx context.Context) bool {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	select {
	case <-opened:
		return true
	case <-ctx.Done():
		return false
	}
}

// hold shuts the gate, release opens it. Both may be repeated.
func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
		g.opened = make(chan struct{})
	default:
	}
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
	default:
		close(g.opened)
	}
}

// Hold keeps new sockets waiting, and stops telling the store of losses: the
// store is away. Owners are told of losses without it.
func (e *Edge) Hold() {
	e.gate.hold()
	e.losses.hold(true)
}

// Release ends a Hold: the store is back, and hears of the losses meanwhile.
func (e *Edge) Release() {
	e.losses.hold(false)
	e.gate.release()
}

// count returns how many are in, waiting or not.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}
