package owner

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/room"
)

// state is where a partition stands between this node and the journal.
type state uint8

const (
	// unowned: not ours, or ours and never used.
	unowned state = iota
	// claiming: a Take is wanted or on its way; commands wait.
	claiming
	// owned: commands are served.
	owned
	// handing: exported for its next owner and frozen; commands wait for the
	// outcome.
	handing
	// held: ours by the ring, but another living incarnation holds it.
	held
	// quarantined: its journal makes loading panic. It stays ours, so that no
	// second node tries.
	quarantined
)

func (s state) String() string {
	return [...]string{"unowned", "claiming", "owned", "handing", "held", "quarantined"}[s]
}

// partition is what one loop knows of one partition. Only that loop touches it.
type partition struct {
	id    protocol.PartitionID
	state state

	// valid while owned or handing
	epoch    protocol.Epoch
	position uint64 // of the last commit that was closed, committed or not
	rooms    map[protocol.RoomID]*slot
	open     *batch // collects what was applied since the last close
	inflight *batch // at the journal
	// restoring: the journal has been sent all that this owner holds; no commit
	// leaves until it answered.
	restoring bool
	// volatile: changes took effect that the store lacks.
	volatile bool
	minted   uint64 // departures
	told     uint64 // events
	panics   int
	// departed remembers for rooms that do not exist.
	departed departed
	// counted is the highest seq of the rooms that are over: one that comes back
	// in this epoch counts on from there.
	counted protocol.Seq

	// valid while claiming, held or handing
	waiting []command
	holder  protocol.Incarnation
	// heldSince is since when holder refuses our claims, or was last told so;
	// zero for no refusal.
	heldSince time.Time
	heard     protocol.Epoch
	retryAt   time.Time

	handTo  protocol.Incarnation // the ring's owner, while we still own it
	arrived *arrival             // what a former owner handed us
}

// slot is a room and when it wants its next Tick.
type slot struct {
	room *room.Room
	next time.Time
}

// batch is what leaves for the journal together, and what follows from it.
type batch struct {
	commit  protocol.Commit
	effects []effect
	rooms   map[*slot]struct{} // changed in this batch
}

// effect is one room's answer to one event, held back until it is committed.
type effect struct {
	slot   *slot
	result room.Result
	done   func(protocol.Reply)
	// moves: done answers a move, which is told until the store has it. That
	// it was done before is no comfort while the store lacks it.
	moves bool
}

func (l *loop) partition(id protocol.PartitionID) *partition {
	p := l.partitions[id]
	if p == nil {
		p = &partition{id: id}
		l.partitions[id] = p
	}
	return p
}

// command is a message: something is asked of a room.
type command struct {
	p    protocol.PartitionID
	cmd  protocol.Command
	done func(protocol.Reply)
}

func (c command) apply(l *loop) {
	p := l.partition(c.p)
	switch p.state {
	case owned:
		l.serve(p, c)
	case claiming, handing:
		l.wait(p, c)
	case held:
		c.done(moved(p.holder))
	case quarantined:
		c.done(protocol.Reply{Code: protocol.CodeUnavailable, Message: fmt.Sprintf("partition %d is quarantined: its journal can't be loaded", p.id)})
	case unowned:
		switch owner, ok := l.assigned(p.id); {
		case !ok:
			c.done(protocol.Reply{Code: protocol.CodeUnavailable, Message: "no node serves this room yet"})
		case owner != l.owner.cfg.Self:
			c.done(moved(owner))
		default:
			p.state = claiming
			l.claim[p] = struct{}{}
			l.wait(p, c)
		}
	}
}

func moved(to protocol.Incarnation) protocol.Reply {
	return protocol.Reply{Code: protocol.CodeMoved, Message: "another node owns this room", Owner: to}
}

// wait keeps a command until the partition's claim or handoff is decided.
func (l *loop) wait(p *partition, c command) {
	if len(p.waiting) >= maxWaiting {
		l.owner.metrics.refused.Inc()
		c.done(protocol.Reply{Code: protocol.CodeBusy, Message: "too many requests wait for this room's owner; ask again shortly"})
		return
	}
	p.waiting = append(p.waiting, c)
}

// resume serves, redirects or refuses the commands that waited.
func (l *loop) resume(p *partition) {
	waiting := p.waiting
	p.waiting = nil
	for _, c := range waiting {
		c.apply(l)
	}
}

// fail answers the commands that waited.
func (p *partition) fail(reply protocol.Reply) {
	waiting := p.waiting
	p.waiting = nil
	for _, c := range waiting {
		c.done(reply)
	}
}

func (l *loop) assigned(id protocol.PartitionID) (protocol.Incarnation, bool) {
	if l.assignment.Owner == nil {
		return "", false
	}
	return l.assignment.Owner(id)
}

// serve applies a command to its room.
func (l *loop) serve(p *partition, c command) {
	defer l.recovered(p, c.done)
	if reply, ok := p.departed.reply(c.cmd); ok {
		l.answer(p, reply, c)
		return
	}
	if p.departed.after(c.cmd) {
		l.answer(p, protocol.Reply{Code: protocol.CodeStale, Message: "the user has left this room since"}, c)
		return
	}
	s := p.rooms[c.cmd.Room]
	if s == nil {
		p.departed.note(c.cmd)
		if reply, ok := absent(c.cmd); ok {
			l.answer(p, reply, c)
			return
		}
		s = &slot{room: room.New(c.cmd.Room, &l.owner.cfg.Room, p.epoch, l.minter(p))}
		s.room.Continue(p.counted)
		p.rooms[c.cmd.Room] = s
	}
	result, err := s.room.Apply(c.cmd, l.now())
	if err != nil {
		l.answer(p, errorReply(err), c)
		l.after(p, s)
		return
	}
	l.took(p, effect{slot: s, result: result, done: c.done, moves: c.cmd.Verb.Moves()})
	if c.cmd.Edge != "" && slices.Contains(l.assignment.Dead, c.cmd.Edge) {
		l.took(p, effect{slot: s, result: s.room.EdgeDied(c.cmd.Edge, l.now())}) // a late word of an edge that has died since
	}
}

// absent answers a command for a room that does not exist; ok is false where
// the command makes one.
func absent(cmd protocol.Command) (reply protocol.Reply, ok bool) {
	switch cmd.Verb {
	case protocol.VerbEnter, protocol.VerbConfigure:
		return protocol.Reply{}, false
	case protocol.VerbLoss, protocol.VerbReport:
		return protocol.Reply{}, true
	case protocol.VerbExit, protocol.VerbPresent:
		return protocol.Reply{Code: protocol.CodeNotInRoom, Message: "nobody is in this room"}, true
	}
	if cmd.Room.IsCall() {
		return protocol.Reply{Code: protocol.CodeCallNotFound, Message: fmt.Sprintf("there is no call %q", cmd.Room.CallNo())}, true
	}
	return protocol.Reply{Code: protocol.CodeRoomNotFound, Message: fmt.Sprintf("nobody is in room %q and nothing is set for it", cmd.Room)}, true
}

func errorReply(err error) protocol.Reply {
	reply := protocol.Reply{Code: protocol.CodeOf(err), Message: err.Error()}
	if e, ok := err.(*protocol.Error); ok {
		reply.Message = e.Message
	}
	return reply
}

// answer replies without a change. An answer that may have seen uncommitted
// changes waits for them.
func (l *loop) answer(p *partition, reply protocol.Reply, c command) {
	l.follow(p, effect{result: room.Result{Reply: reply}, done: c.done, moves: c.cmd.Verb.Moves()})
}

// took takes over what a room answered: its changes join the open batch, the
// rest follows once they are committed.
func (l *loop) took(p *partition, e effect) {
	s, result := e.slot, e.result
	for i := range result.Events {
		l.sign(p, &result.Events[i])
	}
	if len(result.Changes) > 0 {
		b := l.openBatch(p)
		b.commit.Changes = append(b.commit.Changes, result.Changes...)
		b.rooms[s] = struct{}{}
		if l.owner.cfg.Outbox {
			b.commit.Events = append(b.commit.Events, encodeEvents(result.Events)...)
		}
	}
	l.follow(p, e)
	l.after(p, s)
}

// follow performs an effect now, or after the changes that came before it.
func (l *loop) follow(p *partition, e effect) {
	if p.open == nil && p.inflight == nil && !p.restoring {
		l.perform(p, e, p.volatile)
		return
	}
	b := l.openBatch(p)
	b.effects = append(b.effects, e)
}

func (l *loop) openBatch(p *partition) *batch {
	if p.open == nil {
		p.open = &batch{rooms: make(map[*slot]struct{})}
		l.dirty[p] = struct{}{}
	}
	return p.open
}

// after schedules the room's next Tick and forgets a room that is over.
func (l *loop) after(p *partition, s *slot) {
	l.countCrowd(p, s)
	if s.room.Disposable() {
		delete(p.rooms, s.room.ID())
		p.counted = max(p.counted, s.room.Seq())
		p.departed.take(s.room)
		s.next = time.Time{}
		return
	}
	if next := s.room.Next(); !next.Equal(s.next) {
		s.next = next
		if !next.IsZero() {
			l.schedule(timer{at: next, partition: p, slot: s})
		}
	}
}

// fire is a room's timer.
func (s *slot) fire(l *loop, p *partition, at, now time.Time) {
	if p.state != owned || !at.Equal(s.next) || p.rooms[s.room.ID()] != s {
		return
	}
	defer l.recovered(p, nil)
	s.next = time.Time{}
	l.took(p, effect{slot: s, result: s.room.Tick(now)})
}

// due is the partition's own timer: something is to be tried again.
func (p *partition) due(l *loop, at time.Time) {
	if !at.Equal(p.retryAt) {
		return
	}
	p.retryAt = time.Time{}
	switch p.state {
	case owned, handing:
		l.resend(p)
		l.tryHandoff(p)
	case unowned, held, claiming:
		if owner, ok := l.assigned(p.id); ok && owner == l.owner.cfg.Self {
			p.state = claiming
			l.claim[p] = struct{}{}
		}
	}
}

func (l *loop) retry(p *partition, in time.Duration) {
	p.retryAt = l.now().Add(in)
	l.schedule(timer{at: p.retryAt, partition: p})
}

func (l *loop) minter(p *partition) func() protocol.DepartureID {
	return func() protocol.DepartureID {
		p.minted++
		return protocol.NewDepartureID(p.id, p.epoch, p.minted)
	}
}

// sign completes an event of a room.
func (l *loop) sign(p *partition, e *protocol.Event) {
	p.told++
	e.ID = fmt.Sprintf("%d-%d-%d", p.id, p.epoch, p.told)
	e.Node = l.owner.cfg.Self.Node()
	e.Epoch = p.epoch
}

// recovered turns a panic in a room into the loss of what was not committed:
// the partition is claimed anew and loaded from the journal. A second panic
// quarantines it.
func (l *loop) recovered(p *partition, done func(protocol.Reply)) {
	e := recover()
	if e == nil {
		return
	}
	l.owner.metrics.panics.Inc()
	l.log.Error("room panicked", "partition", p.id, "panic", e, "stack", string(debug.Stack()))
	if done != nil {
		done(protocol.Reply{Code: protocol.CodeInternal, Message: "a fault of ours; the partition's owner has logged it"})
	}
	panics := p.panics + 1
	l.drop(p, protocol.Reply{Code: protocol.CodeUnavailable, Message: "the room's owner is recovering; ask again"})
	p.panics = panics
	if panics > 1 {
		l.quarantine(p, e)
		return
	}
	p.state = claiming
	l.claim[p] = struct{}{}
}

func (l *loop) quarantine(p *partition, why any) {
	p.state = quarantined
	p.rooms = nil
	l.owner.metrics.quarantined.Inc()
	l.log.Error("partition quarantined", "partition", p.id, "reason", fmt.Sprint(why))
	l.resume(p)
}

// drop forgets all that is held of a partition and answers what waits on it.
func (l *loop) drop(p *partition, reply protocol.Reply) {
	for _, b := range []*batch{p.inflight, p.open} {
		if b == nil {
			continue
		}
		for _, e := range b.effects {
			if e.done != nil {
				e.done(reply)
			}
		}
	}
	delete(l.dirty, p)
	delete(l.claim, p)
	delete(l.releases, p)
	p.fail(reply)
	if p.state == handing {
		l.handing--
	}
	*p = partition{id: p.id, heard: max(p.heard, p.epoch)}
}

// outranked drops a partition that a later epoch owns.
func (l *loop) outranked(p *partition) {
	l.owner.metrics.outranked.Inc()
	l.log.Warn("partition outranked", "partition", p.id, "epoch", p.epoch)
	l.drop(p, protocol.Reply{Code: protocol.CodeMoved, Message: "the room has another owner now"})
	l.reclaim(p)
}

// reclaim asks for a partition that the ring gives to this node.
func (l *loop) reclaim(p *partition) {
	if owner, ok := l.assigned(p.id); ok && owner == l.owner.cfg.Self {
		p.state = claiming
		l.claim[p] = struct{}{}
	}
}

func (p *partition) sortedRooms() []protocol.RoomID {
	return slices.Sorted(maps.Keys(p.rooms))
}
