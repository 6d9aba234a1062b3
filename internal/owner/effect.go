package owner

import (
	"encoding/json"

	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/room"
)

// outgoing gathers what one turn of a loop sends to each edge, so that all
// rooms of a turn share one message.
type outgoing struct {
	subs map[protocol.Incarnation][]protocol.Subscription
	pubs map[protocol.Incarnation][]protocol.Publication
	// notices leave last: who is told of a departure has been told before of
	// all that preceded it.
	notices []notice
}

type notice struct {
	partition protocol.PartitionID
	epoch     protocol.Epoch
	notice    room.Notice
}

func (o *outgoing) reset() {
	o.subs = make(map[protocol.Incarnation][]protocol.Subscription)
	o.pubs = make(map[protocol.Incarnation][]protocol.Publication)
	o.notices = nil
}

func (l *loop) performAll(p *partition, b *batch, volatile bool) {
	for _, e := range b.effects {
		l.perform(p, e, volatile)
	}
}

// perform lets one effect out: it is committed, or the store is away for
// everyone (volatile).
func (l *loop) perform(p *partition, e effect, volatile bool) {
	r := &e.result
	for _, s := range r.Subscriptions {
		s.Owner, s.Epoch = l.owner.cfg.Self, p.epoch
		l.out.subs[s.Edge] = append(l.out.subs[s.Edge], s.Subscription)
	}
	if len(r.Publications) > 0 {
		for edge := range e.slot.room.Edges() {
			l.out.pubs[edge] = append(l.out.pubs[edge], r.Publications...)
		}
	}
	for _, n := range r.Notices {
		l.out.notices = append(l.out.notices, notice{partition: p.id, epoch: p.epoch, notice: n})
	}
	for _, gone := range r.Evicted {
		l.owner.cfg.Places.Evict(e.slot.room.ID(), gone)
	}
	for i := range r.Events {
		l.owner.metrics.events.WithLabelValues(r.Events[i].Event).Inc()
	}
	if len(r.Events) > 0 && l.owner.cfg.Events != nil {
		l.owner.cfg.Events(r.Events)
	}
	if e.done != nil {
		r.Reply.Volatile = r.Reply.Volatile || volatile && (e.moves || len(r.Changes) > 0)
		e.done(r.Reply)
	}
}

// flush hands the gathered messages to the edges.
func (o *outgoing) flush(l *loop) {
	if len(o.subs)+len(o.pubs)+len(o.notices) == 0 {
		return
	}
	edges := l.owner.cfg.Edges
	for edge, subs := range o.subs {
		edges.Subscribe(edge, subs)
	}
	for edge, pubs := range o.pubs {
		edges.Publish(edge, pubs)
	}
	for _, n := range o.notices {
		l.notify(n)
	}
	o.reset()
}

// notify sends one notice. The outcome of a departure's comes back as a
// message: a relay that is gone makes room for the next at once.
func (l *loop) notify(n notice) {
	if n.notice.Departure == "" {
		l.owner.cfg.Edges.Notify(n.notice.Edge, n.notice.Notice, func(protocol.NoticeOutcome, error) {})
		return
	}
	l.owner.cfg.Edges.Notify(n.notice.Edge, n.notice.Notice, func(outcome protocol.NoticeOutcome, err error) {
		if err == nil && outcome != protocol.NoticeDelivered {
			l.post(noticed{notice: n, outcome: outcome})
		}
	})
}

// noticed is a message: a departure's frame did not reach its relay.
type noticed struct {
	notice  notice
	outcome protocol.NoticeOutcome
}

func (m noticed) apply(l *loop) {
	p := l.partitions[m.notice.partition]
	if p == nil || p.state != owned || p.epoch != m.notice.epoch {
		return
	}
	n := m.notice.notice
	s := p.rooms[n.Room]
	if s == nil {
		return
	}
	defer l.recovered(p, nil)
	l.took(p, effect{slot: s, result: s.room.Noticed(n.Departure, n.User, n.Conn, m.outcome, l.now())})
}

// presenceEffect is the version 2 presence frame of a room's batch.
func presenceEffect(s *slot, frame []byte) effect {
	return effect{slot: s, result: room.Result{Publications: []protocol.Publication{{
		Room: s.room.ID(), Epoch: s.room.Epoch(), V2: true, Frame: frame,
	}}}}
}

func encodeEvents(events []protocol.Event) [][]byte {
	out := make([][]byte, 0, len(events))
	for _, e := range events {
		b, err := json.Marshal(e)
		if err != nil {
			panic("event can't be encoded: " + err.Error()) // plain strings and numbers
		}
		out = append(out, b)
	}
	return out
}
