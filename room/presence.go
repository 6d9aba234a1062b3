package room

import (
	"maps"
	"slices"

	"github.com/faac1247/rollcall/protocol"
)

// presence collects who came and went since the last flush, as version 2
// clients are told.
type presence struct {
	changes map[protocol.UserID]presenceChange
	// many: more have changed than a frame names.
	many bool
}

// presenceChange is one user's net change.
type presenceChange struct {
	known  bool // was there at the last flush
	in     bool // is there now
	reason string
}

func (p *presence) enters(user protocol.UserID) {
	c := p.changes[user]
	c.in = true
	p.note(user, c)
}

// differs tells anew of somebody who is there.
func (p *presence) differs(user protocol.UserID) {
	if _, ok := p.changes[user]; !ok {
		p.note(user, presenceChange{known: true, in: true})
	}
}

func (p *presence) leaves(user protocol.UserID, reason string) {
	c, ok := p.changes[user]
	if ok && !c.known {
		delete(p.changes, user)
		return
	}
	p.note(user, presenceChange{known: true, reason: reason})
}

func (p *presence) note(user protocol.UserID, c presenceChange) {
	if p.many {
		return
	}
	if len(p.changes) == namedAtMost {
		if _, ok := p.changes[user]; !ok {
			p.many, p.changes = true, nil
			return
		}
	}
	if p.changes == nil {
		p.changes = make(map[protocol.UserID]presenceChange)
	}
	p.changes[user] = c
}

// FlushPresence returns the frame that tells version 2 clients who came and
// went since the last call, false if nobody did. Large rooms and large changes
// are told by the count alone.
func (r *Room) FlushPresence() (frame []byte, ok bool) {
	p := r.presence
	r.presence = presence{}
	if len(p.changes) == 0 && !p.many || r.id.IsCall() {
		return nil, false
	}
	r.rev++
	f := protocol.Presence{
		Room: r.id, Epoch: r.epoch, Rev: r.rev, Count: len(r.occupants),
		CountOnly: p.many || len(r.occupants) > namedAtMost,
	}
	if !f.CountOnly {
		for _, user := range slices.Sorted(maps.Keys(p.changes)) {
			if c := p.changes[user]; c.in {
				f.In = append(f.In, r.occupants[user].view())
			} else {
				f.Out = append(f.Out, protocol.PresenceOut{User: user, Reason: c.reason})
			}
		}
	}
	return protocol.AppendPresence(nil, f), true
}
