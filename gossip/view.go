package gossip

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// MemberState is what gossip believes of a member.
type MemberState uint8

const (
	// Alive: it answers, or is suspected and may still refute.
	Alive MemberState = iota
	// Left: it said goodbye.
	Left
	// Failed: it stopped answering without a word, or its address answers as
	// another life.
	Failed
)

func (s MemberState) String() string {
	switch s {
	case Alive:
		return "alive"
	case Left:
		return "left"
	case Failed:
		return "failed"
	default:
		return fmt.Sprintf("member state %d", uint8(s))
	}
}

// Member is one node as gossip sees it.
type Member struct {
	Node        protocol.NodeID
	Incarnation protocol.Incarnation
	// Addr is where it gossips, host:port.
	Addr string
	// Meta is what it last advertised.
	Meta  Meta
	State MemberState
	// Since is when this node saw it take this state in this incarnation.
	Since time.Time
}

// View is the member set at one moment, as one node sees it. It is immutable:
// nobody may change the slice.
type View struct {
	// Members has one entry a node, in the order of their ids, this node's
	// included. Members that left or failed stay listed for a while.
	Members []Member
	// Version rises with every view of this node. Views of different nodes
	// have nothing to do with each other.
	Version uint64
}

// Member returns the entry of a node.
func (v *View) Member(node protocol.NodeID) (Member, bool) {
	i, ok := slices.BinarySearchFunc(v.Members, node, func(m Member, id protocol.NodeID) int {
		return cmp.Compare(m.Node, id)
	})
	if !ok {
		return Member{}, false
	}
	return v.Members[i], true
}

// Alive reports whether this very life of a node is believed alive.
func (v *View) Alive(incarnation protocol.Incarnation) bool {
	m, ok := v.Member(incarnation.Node())
	return ok && m.State == Alive && m.Incarnation == incarnation
}

// Format returns the highest journal and message format that every live member
// reads: the one to write. It is 0 when nobody is alive.
func (v *View) Format() uint8 {
	var lowest uint8
	found := false
	for _, m := range v.Members {
		if m.State == Alive && (!found || m.Meta.Format < lowest) {
			lowest, found = m.Meta.Format, true
		}
	}
	return lowest
}

func (v *View) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "view %d:", v.Version)
	for _, m := range v.Members {
		fmt.Fprintf(&b, " %s=%s/%s", m.Incarnation, m.State, m.Meta.State)
	}
	return b.String()
}
