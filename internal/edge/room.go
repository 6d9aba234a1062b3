package edge

import (
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

// partition is this edge's share of one partition: its rooms that have
// subscribers here.
type partition struct {
	// guarded by mu
	mu    sync.Mutex
	epoch protocol.Epoch // the highest heard; owners of lower ones are outranked
	hash  uint64         // sum of the subscriptions' fingerprints
	// attached is when an owner last spoke of who is here, by the edge's clock.
	attached time.Duration
	rooms    map[protocol.RoomID]*room
}

// room is one room's subscriptions at this edge, guarded by its partition's mu.
type room struct {
	id       protocol.RoomID
	audience *outbox.Audience
	track    track
	gap      *gap // nil unless publications are missing
	// held subscriptions wait for the publication that they begin after.
	held []*subscription
}

// subscription is a session's place in a room.
type subscription struct {
	outbox.Subscriber

	// set by subscribe
	session *session
	room    protocol.RoomID

	// guarded by the session's mu
	said protocol.Version // the latest that an owner said for it

	// guarded by the partition's mu
	version protocol.Version
	after   protocol.Seq // what the subscription begins after
	in      *room        // nil before it is in and once it is out
	out     bool
	// unlisted is since when the owner's lists leave it out, by the edge's
	// clock; 0 for listed.
	unlisted time.Duration
}

// partition returns the one that holds a room.
func (e *Edge) partition(id protocol.RoomID) *partition {
	return &e.partitions[e.cfg.RoomPartition(id)]
}

// hear notes an epoch, and reports false for that of an outranked owner. The
// caller holds mu.
func (p *partition) hear(epoch protocol.Epoch) bool {
	if epoch < p.epoch {
		return false
	}
	p.epoch = epoch
	return true
}

// Publish delivers publications to the subscribers of their rooms. It does not
// block, and copies what it keeps.
//
// Hot: once for each batch from an owner (outbox' BenchmarkFlood).
func (e *Edge) Publish(pubs []protocol.Publication) {
	for i := range pubs {
		pub := &pubs[i]
		p := e.partition(pub.Room)
		p.mu.Lock()
		if !p.hear(pub.Epoch) {
			e.metrics.stale.Inc()
		} else if r := p.rooms[pub.Room]; r != nil {
			e.publish(p, r, pub)
		}
		p.mu.Unlock()
	}
}

// publish delivers one publication, or keeps it while others before it are
// missing. The caller holds the partition's mu.
func (e *Edge) publish(p *partition, r *room, pub *protocol.Publication) {
	if r.gap != nil {
		if !r.gap.keep(pub) {
			e.metrics.gapsLost.Inc()
			e.fill(p, r, nil)
			e.publish(p, r, pub)
		}
		return
	}
	if pub.Seq != 0 {
		switch r.track.take(pub.Epoch, pub.Seq) {
		case repeated:
			e.metrics.repeated.Inc()
			return
		case missed:
			e.openGap(p, r)
			r.gap.keep(pub)
			return
		case inOrder:
		}
	}
	r.audience.Publish(outbox.Frame{
		Payload: pub.Frame, Importance: outbox.Importance(pub.Importance),
		Except: pub.Except, Only: pub.Only, V2: pub.V2,
	})
	if len(r.held) > 0 {
		r.start()
	}
}

// start lets held subscriptions begin that have waited for what was delivered
// by now.
func (r *room) start() {
	r.held = slices.DeleteFunc(r.held, func(s *subscription) bool {
		if s.out {
			return true
		}
		if s.after > r.track.seq {
			return false
		}
		r.audience.Start(&s.Subscriber)
		return true
	})
}

// Subscribe adds connections to rooms and takes them out. It does not block. It
// returns those that name a connection which is not here; what names one that
// is being made waits until it is.
func (e *Edge) Subscribe(subs []protocol.Subscription) (refused []protocol.Subscription) {
	for _, sub := range subs {
		p := e.partition(sub.Room)
		p.mu.Lock()
		current := p.hear(sub.Epoch)
		p.mu.Unlock()
		switch {
		case !current:
			e.metrics.stale.Inc()
		case sub.Off:
			if _, waits := e.registry.find(sub); !waits {
				e.unsubscribe(p, sub)
			}
		case !e.subscribe(p, sub):
			refused = append(refused, sub)
		}
	}
	return refused
}

// subscribe reports false when the connection is not here, nor being made.
func (e *Edge) subscribe(p *partition, sub protocol.Subscription) bool {
	s, waits := e.registry.find(sub)
	if waits {
		return true
	}
	if s == nil || s.conn != sub.Conn {
		e.disown(sub.User, sub.Conn)
		return false
	}
	own, stale, fresh := s.subscription(sub)
	if own == nil {
		return false
	}
	for _, former := range stale {
		e.unsubscribe(e.partition(former.room), protocol.Subscription{Room: former.room, User: s.user, Conn: s.conn, Version: sub.Version})
	}
	if fresh {
		e.note(s, "entered", sub.Room, "")
	}
	if len(sub.Entered) > 0 && s.v2 {
		s.deliver(sub.Entered)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if own.out {
		return true // it has left meanwhile
	}
	if own.in != nil {
		p.setVersion(own, sub.Version)
		return true
	}
	e.admit(p, own, sub)
	return true
}

// subscription finds the session's subscription to a room, or adds one. A user
// is in one voice room and one call at most, and the higher version says in
// which: stale are the subscriptions to give up. It returns nil when a later
// version, or the user's record as it was at the connect, is somewhere else or
// nowhere, or the session is out of all rooms for good.
func (s *session) subscription(sub protocol.Subscription) (own *subscription, stale []*subscription, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, nil, false
	}
	for _, other := range s.subscriptions {
		switch {
		case other.room == sub.Room:
			own = other
		case other.room.IsCall() != sub.Room.IsCall():
		case other.said > sub.Version:
			return nil, nil, false
		default:
			stale = append(stale, other)
		}
	}
	place, said := s.where(sub.Room)
	if own == nil && (sub.Version < *said || sub.Version <= s.recorded && *place != sub.Room) {
		return nil, nil, false
	}
	s.place(sub.Room, sub.Version, true)
	if own != nil {
		own.said = max(own.said, sub.Version)
		return own, stale, false
	}
	own = &subscription{
		Subscriber: outbox.Subscriber{Conn: &s.Conn, User: s.user, V2: s.v2},
		session:    s, room: sub.Room, said: sub.Version, version: sub.Version, after: sub.Seq,
	}
	own.Of = own
	s.subscriptions = append(s.subscriptions, own)
	return own, stale, true
}

// admit puts a subscription into its room. The caller holds mu.
func (e *Edge) admit(p *partition, own *subscription, sub protocol.Subscription) {
	p.attached = e.now()
	r := p.rooms[sub.Room]
	if r == nil {
		r = &room{
			id: sub.Room, audience: outbox.NewAudience(e.fanout, &p.mu),
			track: track{epoch: sub.Epoch, seq: sub.Seq},
		}
		if p.rooms == nil {
			p.rooms = make(map[protocol.RoomID]*room)
		}
		p.rooms[sub.Room] = r
	}
	own.in = r
	r.audience.Add(&own.Subscriber)
	p.hash += own.fingerprint()
	r.track.reached(sub.Epoch, sub.Seq)
	switch {
	case sub.Seq > r.track.seq:
		// Subscriptions overtake the publications of their turn. Those that the
		// client has no need of are on their way.
		r.audience.Hold(&own.Subscriber)
		r.held = append(r.held, own)
	case sub.Seq < r.track.seq:
		// The subscription itself was late; what it missed is with the owner.
		e.catchUp(p, own, track{epoch: sub.Epoch, seq: sub.Seq})
	}
}

func (s *subscription) fingerprint() uint64 {
	return protocol.Occupant{User: s.session.user, Conn: s.session.conn, Version: s.version}.Fingerprint(s.room)
}

// setVersion makes a subscription's version newer. The caller holds mu.
func (p *partition) setVersion(own *subscription, v protocol.Version) {
	if v > own.version {
		p.hash -= own.fingerprint()
		own.version = v
		p.hash += own.fingerprint()
	}
}

// unsubscribe takes a connection out of a room, unless it has come in again
// since.
func (e *Edge) unsubscribe(p *partition, sub protocol.Subscription) {
	s := e.registry.session(sub.User)
	if s == nil || sub.Conn != 0 && s.conn != sub.Conn {
		return
	}
	s.mu.Lock()
	i := slices.IndexFunc(s.subscriptions, func(own *subscription) bool { return own.room == sub.Room })
	if i < 0 {
		s.place(sub.Room, sub.Version, false)
		s.mu.Unlock()
		return
	}
	own := s.subscriptions[i]
	s.mu.Unlock()
	p.mu.Lock()
	if own.version > sub.Version {
		p.mu.Unlock()
		return
	}
	p.drop(own)
	p.mu.Unlock()
	e.left(own, sub.Version, "")
}

// left makes a session forget a subscription that was dropped.
func (e *Edge) left(own *subscription, v protocol.Version, reason string) {
	s := own.session
	s.mu.Lock()
	s.subscriptions = slices.DeleteFunc(s.subscriptions, func(other *subscription) bool { return other == own })
	s.place(own.room, v, false)
	s.mu.Unlock()
	e.note(s, "left", own.room, reason)
}

// drop takes a subscription out of its room, and the room out of the partition
// when it was the last. The caller holds mu.
func (p *partition) drop(own *subscription) {
	own.out = true
	r := own.in
	if r == nil {
		return
	}
	own.in = nil
	p.hash -= own.fingerprint()
	r.audience.Remove(&own.Subscriber)
	if r.audience.Len() == 0 {
		delete(p.rooms, r.id)
	}
}

// leaveAll takes a session out of all its rooms, for good.
func (e *Edge) leaveAll(s *session) {
	s.mu.Lock()
	all := s.subscriptions
	s.subscriptions, s.gone = nil, true
	s.mu.Unlock()
	for _, own := range all {
		p := e.partition(own.room)
		p.mu.Lock()
		p.drop(own)
		p.mu.Unlock()
	}
}
