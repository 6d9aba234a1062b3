package node

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// defaultRoomSpread is the number of occupants that one edge is enough for.
	defaultRoomSpread = 5000
	// maxSpreadEdges bounds the edges of one room: each costs its owner a message
	// for every turn of publications.
	maxSpreadEdges = 64
)

// spreadEdge is one of the edges that a large room's newcomers are sent to, and
// its share of them: a weight among those of the others.
type spreadEdge struct {
	Edge  protocol.Incarnation `json:"edge"`
	Share uint32               `json:"share"`
}

// spreadLoad is what an edge could be given newcomers by.
type spreadLoad struct {
	edge        protocol.Incarnation
	connections int // all it holds
	here        int // of them, occupants of the room
}

// spreadOver says which edges the newcomers of a room go to. There are as many
// as it takes for one to have no more than most of the occupants: the owner,
// those that hold the room already, since they get its publications anyway, and
// the least loaded. The shares even the edges out by all the connections that
// they hold; who holds the most is given some too, so that a figure that is out
// of date turns nobody away for good.
func spreadOver(count, most int, owner protocol.Incarnation, loads []spreadLoad) []spreadEdge {
	wanted := min((count+most-1)/most, len(loads), maxSpreadEdges)
	loads = slices.SortedFunc(slices.Values(loads), func(a, b spreadLoad) int {
		if a.edge == owner || b.edge == owner {
			return cmp.Compare(oneIf(b.edge == owner), oneIf(a.edge == owner))
		}
		return cmp.Or(cmp.Compare(b.here, a.here), cmp.Compare(a.connections, b.connections), cmp.Compare(a.edge, b.edge))
	})[:wanted]
	highest := 0
	for _, l := range loads {
		highest = max(highest, l.connections, l.here)
	}
	edges := make([]spreadEdge, 0, wanted)
	for _, l := range loads {
		edges = append(edges, spreadEdge{Edge: l.edge, Share: uint32(highest - max(l.connections, l.here) + highest/8 + 1)})
	}
	return edges
}

// drawEdge draws one of the edges that take newcomers by their shares; "" when
// none does. Every asking draws anew: who was refused by a full edge shall not
// be sent to it again and again.
func drawEdge(edges []spreadEdge, takes func(protocol.Incarnation) bool) protocol.Incarnation {
	drawn := drawShare(edges)
	if drawn == "" || takes(drawn) {
		return drawn
	}
	return drawShare(slices.DeleteFunc(slices.Clone(edges), func(e spreadEdge) bool { return !takes(e.Edge) }))
}

// drawShare draws by the shares alone; "" where there are none.
func drawShare(edges []spreadEdge) protocol.Incarnation {
	total := uint64(0)
	for _, e := range edges {
		total += uint64(e.Share)
	}
	if total == 0 {
		return ""
	}
	at := rand.Uint64N(total)
	for _, e := range edges {
		if at < uint64(e.Share) {
			return e.Edge
		}
		at -= uint64(e.Share)
	}
	return ""
}

// takesClients reports whether clients may be sent to an incarnation: it is a
// member that serves and reaches the store, as far as this node knows.
func (t *table) takesClients(inc protocol.Incarnation) bool {
	m, ok := t.members[inc.Node()]
	return ok && m.inc == inc && m.alive && m.meta.State == gossip.Serving && !m.meta.StoreAway
}
