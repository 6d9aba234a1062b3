package node

import (
	"slices"
	"sync"

	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
)

// heirs knows who will own what, once a member of a ring is gone. It is asked
// about members that may be dead, and where no others are to be placed: the
// rings of at most maxHeirs members at a time are kept.
type heirs struct {
	// guarded by mu
	mu      sync.Mutex
	of      *ring.Ring
	without map[protocol.NodeID]*ring.Ring
}

// maxHeirs bounds the rings that are kept. Computing one takes milliseconds, and
// clients say whom they could not reach.
const maxHeirs = 8

// heir returns who owns a partition in a ring without one of its members.
func (h *heirs) heir(r *ring.Ring, cfg ring.Config, p protocol.PartitionID, gone protocol.NodeID) (protocol.NodeID, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of != r {
		h.of, h.without = r, make(map[protocol.NodeID]*ring.Ring)
	}
	rest := h.without[gone]
	if rest == nil {
		if len(h.without) >= maxHeirs {
			return "", false
		}
		members := slices.DeleteFunc(r.Members(), func(id protocol.NodeID) bool { return id == gone })
		var err error
		if rest, err = ring.New(cfg, members); err != nil {
			return "", false
		}
		h.without[gone] = rest
	}
	return rest.Owner(p)
}

// reachable returns the incarnation that a client is sent to: the one that it
// should go to, unless that seems to be gone. Then it is the one that will own
// the partition if that one has died: it takes the client at once, and the room
// follows. Else it is any other that is not known to be down, and where there is
// none the first choice stays.
func (l *life) reachable(t *table, p protocol.PartitionID, to protocol.Incarnation, gone func(protocol.Incarnation) bool) protocol.Incarnation {
	if !gone(to) {
		return to
	}
	if next, ok := l.heirs.heir(t.ring, l.ring, p, to.Node()); ok && t.mayTake(next, gone) {
		return t.members[next].inc
	}
	members := t.ring.Members()
	for i := range members {
		next := members[(int(p)+i)%len(members)]
		if t.mayTake(next, gone) {
			return t.members[next].inc
		}
	}
	return to
}

// mayTake reports whether a member can be expected to take a client that could
// not be sent to another.
func (t *table) mayTake(node protocol.NodeID, gone func(protocol.Incarnation) bool) bool {
	m, ok := t.members[node]
	return ok && t.takesClients(m.inc) && !gone(m.inc)
}
