package edge

import "github.com/faac1247/rollcall/protocol"

// Attach compares an owner's list of who is here with who is, and takes over
// what the list knows better: a subscription that was lost is made, and what
// was published and has not arrived is fetched.
//
// The answer names the connections that the owner has and that are not here,
// and those that are here and that the owner does not have. The latter stay
// subscribed: it is for the owner to find out, by the user's record, which of
// the two is right.
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
	defer p.mu.Unlock()
	for _, r := range a.Rooms {
		if here := p.rooms[r.Room]; here != nil && here.gap == nil && here.track.reached(a.Epoch, r.Seq) {
			e.openGap(p, here)
		}
	}
	for id, r := range p.rooms {
		for s := range r.audience.Subscribers {
			own := s.Of.(*subscription)
			if listed[id][s.User] != own.session.conn {
				answer.Unlisted = append(answer.Unlisted, protocol.Subscription{
					Room: id, User: s.User, Conn: own.session.conn, Version: own.version,
					Owner: a.Owner, Epoch: a.Epoch, Seq: r.track.seq,
				})
			}
		}
	}
	return answer
}
