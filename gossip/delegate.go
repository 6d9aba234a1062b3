package gossip

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/faac1247/rollcall/protocol"
)

// delegate is what memberlist calls back, mostly while it holds its lock:
// every method copies, updates the roster, and returns.
type delegate struct{ g *Gossip }

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.AliveDelegate    = delegate{}
	_ memberlist.MergeDelegate    = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
	_ memberlist.PingDelegate     = delegate{}
)

// NodeMeta returns what this node advertises.
func (d delegate) NodeMeta(int) []byte { return *d.g.encoded.Load() }

// NotifyMsg takes the farewell of a member. Nodes say everything else by the
// inbox.
func (d delegate) NotifyMsg(msg []byte) {
	if len(msg) > 0 && msg[0] == msgFarewell {
		d.g.roster.farewell(protocol.Incarnation(msg[1:]))
	}
}

// GetBroadcasts, LocalState and MergeRemoteState carry user data, of which
// there is none.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// NotifyJoin lists a member that came or came back.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.list(n) }

// NotifyUpdate lists what a member advertises now, which may be another life.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.list(n) }

// NotifyLeave marks a member that left or failed.
func (d delegate) NotifyLeave(n *memberlist.Node) { d.g.roster.gone(protocol.NodeID(n.Name)) }

func (d delegate) list(n *memberlist.Node) {
	meta, err := DecodeMeta(n.Meta)
	if err != nil {
		return // NotifyAlive lets nothing in that can't be read
	}
	d.g.roster.set(protocol.NodeID(n.Name), n.Address(), meta)
}

// NotifyAlive refuses members that must not be in this cluster. memberlist
// logs the reason.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if err := d.g.admit(n); err != nil {
		d.g.counts.refused.Add(1)
		return err
	}
	return nil
}

// NotifyMerge refuses a whole cluster that this node must not merge with, so
// that the join fails and says why.
func (d delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect {
			continue
		}
		if err := d.g.admit(n); err != nil {
			d.g.counts.refused.Add(1)
			return err
		}
	}
	return nil
}

// NotifyConflict reports two nodes with one name.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.g.conflict(Claim{Addr: existing.Address(), Incarnation: incarnationOf(existing)},
		Claim{Addr: other.Address(), Incarnation: incarnationOf(other)})
}

// AckPayload tells whoever probes which life it has reached.
func (d delegate) AckPayload() []byte { return []byte(*d.g.boot.Load()) }

// NotifyPingComplete compares the life that was reached with the one listed.
func (d delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, payload []byte) {
	addr, differs := d.g.roster.answered(protocol.NodeID(n.Name), string(payload))
	if !differs {
		return
	}
	select {
	case d.g.greet <- addr:
	default: // the next probe says so again
	}
}

// admit says why a node must not be a member, if so.
func (g *Gossip) admit(n *memberlist.Node) error {
	if !protocol.ValidName(n.Name) {
		return fmt.Errorf("node id %q: %w", n.Name, ErrMetaMalformed)
	}
	meta, err := DecodeMeta(n.Meta)
	if err != nil {
		return fmt.Errorf("member %s: %w", n.Name, err)
	}
	if meta.Shape != g.shape {
		return fmt.Errorf("member %s: %w: it has %+v, this node %+v", n.Name, ErrOtherShape, meta.Shape, g.shape)
	}
	return nil
}

// incarnationOf returns the life that a node advertises, with no boot id when
// it can't be read.
func incarnationOf(n *memberlist.Node) protocol.Incarnation {
	meta, err := DecodeMeta(n.Meta)
	if err != nil {
		return protocol.NewIncarnation(protocol.NodeID(n.Name), "")
	}
	return protocol.NewIncarnation(protocol.NodeID(n.Name), meta.Boot)
}
