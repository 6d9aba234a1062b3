package owner

import (
	"fmt"
	"maps"
	"slices"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// handoffsAtOnce bounds the partitions that one loop has frozen at a time.
	handoffsAtOnce = 16
	// handoffBytes bounds one Handoff message.
	handoffBytes = 192 << 10
	// handoffRetry is the pause before a handoff that failed is tried again.
	handoffRetry = 20 * claimRetry / 10
)

// Handoff carries a part of a partition's unjournaled state, history, counting
// and timers, to its next owner; the last one, with Free, says that the
// partition is released. What it holds counts only if the journal still stands
// at Position when the next owner takes it.
type Handoff struct {
	Partition protocol.PartitionID       `json:"partition"`
	Epoch     protocol.Epoch             `json:"epoch"`
	Position  uint64                     `json:"position"`
	Rooms     map[protocol.RoomID][]byte `json:"rooms,omitempty"`
	Free      bool                       `json:"free,omitempty"`
}

// arrival gathers the Handoffs of one partition.
type arrival struct {
	from     protocol.Incarnation
	epoch    protocol.Epoch
	position uint64
	rooms    map[protocol.RoomID][]byte
}

// tryHandoff starts to hand a partition over that the ring gives to another
// node, once it is at rest.
func (l *loop) tryHandoff(p *partition) {
	if p.handTo == "" || p.state != owned || l.mode != StoreHere {
		return
	}
	if p.inflight != nil || p.open != nil || p.restoring || p.volatile {
		return // proceed comes back here
	}
	if l.handing >= handoffsAtOnce {
		l.retry(p, claimRetry/10)
		return
	}
	defer l.recovered(p, nil)
	p.state = handing
	l.handing++
	if len(p.rooms) == 0 {
		l.release(p)
		return
	}
	l.export(p)
}

// export sends the rooms in parts; the inbox keeps their order, so the answer
// to the last one is the answer to all.
func (l *loop) export(p *partition) {
	h := Handoff{Partition: p.id, Epoch: p.epoch, Position: p.position, Rooms: make(map[protocol.RoomID][]byte)}
	size := 0
	ids := p.sortedRooms()
	for i, id := range ids {
		state, err := p.rooms[id].room.Export()
		if err != nil {
			panic(fmt.Sprintf("export room %q: %v", id, err))
		}
		h.Rooms[id] = state
		size += len(state)
		if last := i == len(ids)-1; last || size >= handoffBytes {
			l.send(p, h, last)
			h.Rooms, size = make(map[protocol.RoomID][]byte), 0
		}
	}
}

func (l *loop) send(p *partition, h Handoff, last bool) {
	to, id, epoch := p.handTo, p.id, p.epoch
	l.owner.cfg.Peers.Handoff(to, h, func(err error) {
		if last || err != nil {
			l.post(handoffAnswered{p: id, epoch: epoch, err: err})
		}
	})
}

// handoffAnswered is a message: the next owner has what we exported.
type handoffAnswered struct {
	p     protocol.PartitionID
	epoch protocol.Epoch
	err   error
}

func (m handoffAnswered) apply(l *loop) {
	p := l.partitions[m.p]
	if p == nil || p.state != handing || p.epoch != m.epoch {
		return
	}
	if m.err != nil {
		l.log.Warn("handoff refused", "partition", p.id, "to", p.handTo, "err", m.err)
		l.unfreeze(p)
		l.retry(p, handoffRetry)
		return
	}
	l.release(p)
}

// unfreeze goes on owning a partition that could not be handed over.
func (l *loop) unfreeze(p *partition) {
	p.state = owned
	l.handing--
	l.resume(p)
}

func (l *loop) release(p *partition) {
	l.journal.next.releases = append(l.journal.next.releases, protocol.Release{
		Partition: p.id, Epoch: p.epoch, Owner: l.owner.cfg.Self, Position: p.position,
	})
}

// released is the journal's verdict on a release.
func (l *loop) released(p *partition, status protocol.CommitStatus) {
	switch status {
	case protocol.Committed:
		to := p.handTo
		free := Handoff{Partition: p.id, Epoch: p.epoch, Position: p.position, Free: true}
		if to != "" {
			l.owner.cfg.Peers.Handoff(to, free, func(error) {})
		}
		l.owner.metrics.handedOver.Inc()
		l.drop(p, moved(to))
		l.reclaimReturned(p)
	case protocol.Behind:
		l.unfreeze(p)
		l.restore(p, p.position)
	case protocol.Outranked:
		l.outranked(p)
	default:
		l.retry(p, journalRetry)
	}
}

// reclaimReturned takes a partition again that the ring gave back to us while
// we were handing it over.
func (l *loop) reclaimReturned(p *partition) {
	if owner, ok := l.assigned(p.id); ok && owner == l.owner.cfg.Self {
		p.state = claiming
		l.claim[p] = struct{}{}
	}
}

// handed is a message: another owner hands us a partition.
type handed struct {
	from    protocol.Incarnation
	handoff Handoff
	done    func(error)
}

func (m handed) apply(l *loop) {
	defer m.done(nil)
	h := m.handoff
	p := l.partition(h.Partition)
	if p.state == owned || p.state == handing || p.state == quarantined {
		return // a late word: we own it already
	}
	p.heard = max(p.heard, h.Epoch)
	if h.Free {
		if owner, ok := l.assigned(p.id); ok && owner == l.owner.cfg.Self {
			p.state = claiming
			l.claim[p] = struct{}{}
		}
		return
	}
	a := p.arrived
	if a != nil && a.epoch > h.Epoch {
		return // a later owner has handed it over since
	}
	if a == nil || a.from != m.from || a.epoch != h.Epoch || a.position != h.Position {
		p.arrived = &arrival{from: m.from, epoch: h.Epoch, position: h.Position, rooms: make(map[protocol.RoomID][]byte)}
	}
	maps.Copy(p.arrived.rooms, h.Rooms)
}

// listOwned is a message: which partitions are owned?
type listOwned struct{ answer chan<- []protocol.PartitionID }

func (m listOwned) apply(l *loop) {
	var ids []protocol.PartitionID
	for _, p := range l.partitions {
		if p.state == owned || p.state == handing {
			ids = append(ids, p.id)
		}
	}
	slices.Sort(ids)
	m.answer <- ids
}
