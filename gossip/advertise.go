package gossip

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/faac1247/rollcall/protocol"
)

// The pace of telling the others: at most one change of the meta a period, and
// no longer than a patience for memberlist to have passed it on.
const (
	updatePeriod   = 200 * time.Millisecond
	updatePatience = 500 * time.Millisecond
	leavePatience  = time.Second
)

// SetMeta changes what the node advertises. Changes are collected: the others
// hear of the latest within half a second of it, not of each. change is called
// at once and must not keep the pointer.
//
// An error means that nothing was changed: the new meta would be too long, or
// have another shape. Boot may change, when the node goes on as a new life.
func (g *Gossip) SetMeta(change func(*Meta)) error {
	g.metaMu.Lock()
	defer g.metaMu.Unlock()
	meta := g.meta
	change(&meta)
	if meta.Shape != g.shape {
		return fmt.Errorf("advertise: %w: from %+v to %+v", ErrOtherShape, g.shape, meta.Shape)
	}
	encoded, err := meta.Encode()
	if err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	g.meta = meta
	g.boot.Store(&meta.Boot)
	if former := g.encoded.Swap(&encoded); former != nil && string(*former) == string(encoded) {
		return nil
	}
	signal(g.dirty)
	return nil
}

// Meta returns what the node advertises.
func (g *Gossip) Meta() Meta {
	g.metaMu.Lock()
	defer g.metaMu.Unlock()
	return g.meta
}

// Leave tells the others that this node leaves, so that they list it as left
// and do not wait for it to fail. It returns once the word is out, or with
// ctx. The node goes on gossiping until Run ends but is no member any more.
func (g *Gossip) Leave(ctx context.Context) error {
	if !g.started.Load() {
		return ErrNotRunning
	}
	reply := make(chan error, 1)
	select {
	case g.leaving <- reply:
	case <-g.stopped:
		return ErrNotRunning
	case <-ctx.Done():
		return fmt.Errorf("leave the cluster: %w", ctx.Err())
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("leave the cluster: %w", ctx.Err())
	}
}

// advertise is the one goroutine that makes memberlist speak for this node,
// until ctx ends. memberlist's UpdateNode must not run twice at a time.
func (g *Gossip) advertise(ctx context.Context, list *memberlist.Memberlist) {
	for {
		select {
		case <-ctx.Done():
			return
		case reply := <-g.leaving:
			reply <- g.goodbye(list)
		case <-g.dirty:
			g.update(list)
			select {
			case <-ctx.Done():
				return
			case <-time.After(updatePeriod):
			}
		}
	}
}

// update advertises the meta as it is now, and again later if a message that
// refuted a rumour overtook it.
func (g *Gossip) update(list *memberlist.Memberlist) {
	wanted := g.Meta()
	if !g.outdated(wanted) {
		return
	}
	g.counts.updates.Add(1)
	_ = list.UpdateNode(updatePatience) // an error means that not everyone was told yet
	if g.outdated(wanted) {
		signal(g.dirty)
	}
}

// outdated reports whether this node is a member with another meta.
func (g *Gossip) outdated(wanted Meta) bool {
	self, ok := g.View().Member(g.config.Node)
	return ok && self.State == Alive && self.Meta != wanted
}

// msgFarewell begins the message that a node leaves, before its incarnation.
const msgFarewell = 1

// goodbye says that the node leaves, then leaves. memberlist does not tell
// those who hear of it whether a member has left or failed, so they have to
// have heard it from the member: in its meta, and directly, because gossip may
// carry the meta slower than the news that follows it.
func (g *Gossip) goodbye(list *memberlist.Memberlist) error {
	if g.disputed() {
		return fmt.Errorf("leave the cluster: another node claims to be %s", g.config.Node)
	}
	if err := g.SetMeta(func(m *Meta) { m.State = Leaving }); err != nil {
		return err
	}
	g.update(list)
	meta := g.Meta()
	farewell := append([]byte{msgFarewell}, protocol.NewIncarnation(g.config.Node, meta.Boot)...)
	for _, m := range g.View().Members {
		if m.State == Alive && m.Node != g.config.Node {
			// Best effort, like gossip: lost words make it look like a failure.
			_ = list.SendToAddress(memberlist.Address{Addr: m.Addr, Name: string(m.Node)}, farewell)
		}
	}
	if err := list.Leave(leavePatience); err != nil {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	return nil
}
