package inbox

import "github.com/faac1247/rollcall/protocol"

// maxGraves bounds the dead that are remembered. It only has to outlast what a
// transport may still hold of the oldest; fences elsewhere stop what comes
// later.
const maxGraves = 4096

// graves remembers the latest dead; the oldest is forgotten for a new one.
type graves struct {
	known map[protocol.Incarnation]struct{}
	ring  []protocol.Incarnation
	next  int
}

func newGraves(limit int) graves {
	return graves{
		known: make(map[protocol.Incarnation]struct{}),
		ring:  make([]protocol.Incarnation, limit),
	}
}

func (g *graves) add(inc protocol.Incarnation) {
	if g.has(inc) {
		return
	}
	delete(g.known, g.ring[g.next])
	g.known[inc] = struct{}{}
	g.ring[g.next] = inc
	g.next = (g.next + 1) % len(g.ring)
}

func (g *graves) has(inc protocol.Incarnation) bool {
	_, ok := g.known[inc]
	return ok
}

func (g *graves) len() int { return len(g.known) }
