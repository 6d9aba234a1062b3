package owner

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/room"
)

const (
	// claimsAtOnce bounds one request to the journal, so that a claim that
	// somebody waits for is not behind thousands that nobody waits for.
	claimsAtOnce = 256
	// claimRetry is the pause before a claim is repeated that the store did not
	// answer or that a living holder refused.
	claimRetry = 250 * time.Millisecond
	// heldPatience is how long a living holder may keep a partition that the
	// ring gives to us before it is told so. A handover is over by then, and an
	// owner that the store forgot has put back what it holds.
	heldPatience = 5 * time.Second
)

// claimer carries a loop's claims to the journal, one request at a time.
type claimer struct {
	// set by newClaimer
	loop     *loop
	requests chan []protocol.Take

	// owned by the loop
	busy bool

	// owned by run
	unanswered bool // the latest request was not answered, and that is logged
}

func newClaimer(l *loop) *claimer {
	return &claimer{loop: l, requests: make(chan []protocol.Take, 1)}
}

// ask sends the claims that are wanted, those with waiting commands first.
func (c *claimer) ask() {
	l := c.loop
	if c.busy || len(l.claim) == 0 {
		return
	}
	wanted := make([]*partition, 0, len(l.claim))
	for p := range l.claim {
		if p.state != claiming {
			delete(l.claim, p) // a claim made meanwhile was decided without it
			continue
		}
		wanted = append(wanted, p)
	}
	if len(wanted) == 0 {
		return
	}
	slices.SortFunc(wanted, func(a, b *partition) int {
		if d := len(b.waiting) - len(a.waiting); d != 0 {
			return d
		}
		return int(a.id) - int(b.id)
	})
	wanted = wanted[:min(claimsAtOnce, len(wanted))]
	takes := make([]protocol.Take, 0, len(wanted))
	for _, p := range wanted {
		delete(l.claim, p)
		owner, ok := l.assigned(p.id)
		takes = append(takes, protocol.Take{
			Partition: p.id,
			Owner:     l.owner.cfg.Self,
			Heard:     max(p.heard, protocol.Epoch(l.owner.cfg.Latest().UnixMilli())),
			Dead:      l.assignment.Dead,
			IfAny:     len(p.waiting) == 0 && p.arrived == nil,
			// What is another's is not taken from under it while it is on its
			// way there: what was handed over with it would be worthless.
			IfHeld: ok && owner != l.owner.cfg.Self,
		})
	}
	c.busy = true
	c.requests <- takes
}

func (c *claimer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case takes := <-c.requests:
			c.loop.post(c.perform(ctx, takes))
		}
	}
}

func (c *claimer) perform(ctx context.Context, takes []protocol.Take) claimed {
	ctx, cancel := context.WithTimeout(ctx, journalTimeout)
	defer cancel()
	taken, err := c.loop.owner.cfg.Journal.Take(ctx, takes)
	if err != nil || len(taken) != len(takes) {
		if !c.unanswered {
			c.loop.log.Warn("claims not answered, asking on", "partitions", len(takes), "err", err)
		}
		c.unanswered, taken = true, nil
	} else {
		c.unanswered = false
	}
	return claimed{takes: takes, taken: taken}
}

// claimed is a message: the journal's answers, nil when there were none.
type claimed struct {
	takes []protocol.Take
	taken []protocol.Taken
}

func (m claimed) apply(l *loop) {
	l.claims.busy = false
	for i, take := range m.takes {
		p := l.partition(take.Partition)
		if p.state != claiming {
			continue
		}
		if m.taken == nil {
			p.fail(protocol.Reply{Code: protocol.CodeUnavailable, Message: "the store is away and this room is not known here; ask again later"})
			p.state = unowned
			l.retry(p, claimRetry)
			continue
		}
		l.decide(p, take, m.taken[i])
	}
}

// decide takes one answer of the journal.
func (l *loop) decide(p *partition, take protocol.Take, t protocol.Taken) {
	switch {
	case t.Epoch != 0:
		l.load(p, t)
	case t.Holder != "":
		if _, freed := l.claim[p]; freed {
			return // since the store was asked; it is asked again
		}
		if p.holder != t.Holder || p.heldSince.IsZero() {
			p.holder, p.heldSince = t.Holder, time.Now()
		} else if time.Since(p.heldSince) > heldPatience {
			l.log.Warn("the store's owner of a partition does not hand it over; telling it", "partition", p.id, "holder", t.Holder)
			l.owner.cfg.Peers.Reclaim(t.Holder, p.id)
			p.heldSince = time.Now()
		}
		p.state = held
		p.heard = max(p.heard, t.Former)
		l.suspect(t.Holder)
		l.resume(p)
		l.retry(p, claimRetry)
	case take.IfAny && len(p.waiting) > 0:
		l.claim[p] = struct{}{} // somebody asked for it meanwhile
	default:
		p.state = unowned
		l.resume(p)
	}
}

// load makes a claimed partition live: from what its former owner handed over
// where that is the very state of the journal, else from the journal alone. What
// an owner before the former one handed over is worthless even where the journal
// has not moved since: the former one has told edges that it counts anew.
func (l *loop) load(p *partition, t protocol.Taken) {
	p.state, p.heldSince = owned, time.Time{}
	delete(l.claim, p) // a second one would outrank this one
	p.epoch, p.position = t.Epoch, t.Position
	p.heard = max(p.heard, t.Epoch)
	p.rooms = make(map[protocol.RoomID]*slot)
	l.owner.metrics.taken.Inc()
	var exported map[protocol.RoomID][]byte
	if p.arrived != nil && p.arrived.epoch == t.Former && p.arrived.position == t.Position {
		exported = p.arrived.rooms
	}
	p.arrived = nil
	if err := l.loadRooms(p, t.Entries, exported); err != nil {
		l.quarantine(p, err)
		return
	}
	for _, s := range p.rooms {
		l.loaded(p, s)
	}
	l.attach(p, nil)
	l.resume(p)
	if owner, ok := l.assigned(p.id); ok && owner != l.owner.cfg.Self {
		p.handTo = owner
		l.tryHandoff(p)
	}
}

func (l *loop) loadRooms(p *partition, entries map[string][]byte, exported map[protocol.RoomID][]byte) (err error) {
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("loading panicked: %v\n%s", e, debug.Stack())
		}
	}()
	byRoom, err := room.Split(entries)
	if err != nil {
		return err
	}
	for id, entries := range byRoom {
		var r *room.Room
		if state := exported[id]; state != nil {
			r, err = room.Import(id, &l.owner.cfg.Room, p.epoch, l.minter(p), entries, state)
		} else {
			r, err = room.Load(id, &l.owner.cfg.Room, p.epoch, l.minter(p), entries)
		}
		if err != nil {
			return fmt.Errorf("load room %q: %w", id, err)
		}
		p.rooms[id] = &slot{room: r}
	}
	return nil
}

// loaded brings a loaded room up to date with the deaths of edges that happened
// while nobody owned it.
func (l *loop) loaded(p *partition, s *slot) {
	for edge := range s.room.Edges() {
		if slices.Contains(l.assignment.Dead, edge) {
			l.took(p, effect{slot: s, result: s.room.EdgeDied(edge, l.now())})
		}
	}
	l.after(p, s)
}

// assigned is a message: a new ring.
type assigned struct{ Assignment }

func (m assigned) apply(l *loop) {
	l.assignment = m.Assignment
	for id := l.index; id < l.owner.cfg.Partitions; id += len(l.owner.loops) {
		l.reassign(protocol.PartitionID(id))
	}
}

func (l *loop) reassign(id protocol.PartitionID) {
	owner, ok := l.assigned(id)
	if !ok {
		return
	}
	mine := owner == l.owner.cfg.Self
	p := l.partitions[id]
	switch {
	case p == nil && !mine:
	case p == nil || mine && (p.state == unowned || p.state == held):
		p = l.partition(id)
		p.state = claiming
		l.claim[p] = struct{}{}
	case mine:
		p.handTo = ""
	case p.state == owned:
		p.handTo = owner
		l.tryHandoff(p)
	case p.state == held, p.state == unowned:
		p.state, p.heldSince = unowned, time.Time{}
		l.resume(p)
	}
}

// reclaimed is a message: another node says that the store has us as the owner
// of a partition. The claim asks the store itself, and leaves alone what we do
// not hold there: the word may have crossed with our handover.
type reclaimed struct{ p protocol.PartitionID }

func (m reclaimed) apply(l *loop) {
	p := l.partition(m.p)
	if p.state == unowned || p.state == held {
		p.state = claiming
		l.claim[p] = struct{}{}
	}
}

// edgeDied is a message: an incarnation has a tombstone.
type edgeDied struct{ edge protocol.Incarnation }

func (m edgeDied) apply(l *loop) {
	for _, p := range l.partitions {
		if p.state != owned {
			continue
		}
		for _, id := range p.sortedRooms() {
			l.edgeDied(p, p.rooms[id], m.edge)
		}
	}
}

func (l *loop) edgeDied(p *partition, s *slot, edge protocol.Incarnation) {
	if s == nil {
		return // dropped by a panic in a room before it
	}
	defer l.recovered(p, nil)
	for e := range s.room.Edges() {
		if e == edge {
			l.took(p, effect{slot: s, result: s.room.EdgeDied(edge, l.now())})
			return
		}
	}
}
