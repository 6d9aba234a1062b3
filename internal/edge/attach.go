package edge

import (
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Attach compares an owner's list of who is here with who is, and takes over
// what the list knows better: a subscription that was lost is made, and what
// was published and has not arrived is fetched.
//
// The answer names the connections that the owner has and that are not here,
// and those that are here and that the owner does not have. Who is right about
// the latter stands in the user's record, which it is for the owner to read; a
// subscription that the owner's next list leaves out too is dropped. That
// happens where an owner died between an exit and the word of it.
func (e *Edge) Attach(a protocol.Attach) protocol.Attached {
	if int(a.Partition) >= len(e.partitions) {
		return protocol.Attached{}
	}
	p := &e.partitions[a.Partition]
	p.mu.Lock()
	if !p.hear(a.Epoch) {
		defer p.mu.Unlock()
		return protocol.Attached{Outranked: p.epoch}
	}
	p.attached = e.now()
	differs := p.hash != a.Hash
	p.mu.Unlock()
	if !a.Full {
		if differs {
			e.metrics.attachDiffers.Inc()
		}
		return protocol.Attached{Differs: differs}
	}
	var answer protocol.Attached
	listed := make(map[protocol.RoomID]map[protocol.UserID]protocol.ConnNumber, len(a.Rooms))
	for _, r := range a.Rooms {
		users := make(map[protocol.UserID]protocol.ConnNumber, len(r.Occupants))
		listed[r.Room] = users
		for _, o := range r.Occupants {
			users[o.User] = o.Conn
			sub := protocol.Subscription{
				Room: r.Room, User: o.User, Conn: o.Conn, Version: o.Version, Owner: a.Owner, Epoch: a.Epoch, Seq: r.Seq,
			}
			if !e.subscribe(p, sub) {
				answer.Absent = append(answer.Absent, sub)
			}
		}
	}
	p.mu.Lock()
	for _, r := range a.Rooms {
		if here := p.rooms[r.Room]; here != nil && here.gap == nil && here.track.reached(a.Epoch, r.Seq) {
			e.openGap(p, here)
		}
	}
	unlisted, expired := p.unlisted(listed, e.now())
	for _, own := range expired {
		p.drop(own)
	}
	for _, own := range unlisted {
		answer.Unlisted = append(answer.Unlisted, protocol.Subscription{
			Room: own.room, User: own.session.user, Conn: own.session.conn, Version: own.version, Owner: a.Owner, Epoch: a.Epoch,
		})
	}
	p.mu.Unlock()
	for _, own := range expired {
		e.left(own, 0, "unlisted")
	}
	return answer
}

// unlistedGrace is how long a subscription may be missing from its owner's
// lists. Lists come at longer intervals, so that two of them have to agree.
const unlistedGrace = 5 * time.Second

// unlisted returns the subscriptions that the owner's list leaves out, and
// those of them that earlier lists did too. The caller holds mu.
func (p *partition) unlisted(
	listed map[protocol.RoomID]map[protocol.UserID]protocol.ConnNumber, now time.Duration,
) (missing, expired []*subscription) {
	for id, r := range p.rooms {
		for s := range r.audience.Subscribers {
			own := s.Of.(*subscription)
			switch {
			case listed[id][s.User] == own.session.conn:
				own.unlisted = 0
				continue
			case own.unlisted == 0:
				own.unlisted = max(now, 1)
			case now-own.unlisted >= unlistedGrace:
				expired = append(expired, own)
			}
			missing = append(missing, own)
		}
	}
	return missing, expired
}
