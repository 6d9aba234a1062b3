package owner

import (
	"slices"
	"strings"

	"github.com/faac1247/rollcall/protocol"
)

// RoomCount is one line of a list of rooms.
type RoomCount struct {
	Room  protocol.RoomID `json:"room_id"`
	Epoch protocol.Epoch  `json:"epoch"`
	Count int             `json:"count"`
}

func compareRooms(a, b RoomCount) int { return strings.Compare(string(a.Room), string(b.Room)) }

// attachAll tells every edge with occupants here, as one hash a partition, whom
// this owner believes there.
func (l *loop) attachAll() {
	byEdge := make(map[protocol.Incarnation][]protocol.Attach)
	for _, p := range l.partitions {
		if p.state != owned || p.inflight != nil || p.open != nil {
			continue // a list in motion would differ for no reason; the next turn comes
		}
		for edge, a := range l.attachments(p) {
			a.Rooms = nil
			byEdge[edge] = append(byEdge[edge], *a)
		}
	}
	for edge, attaches := range byEdge {
		l.sendAttach(edge, attaches)
	}
}

// attach tells the edges of a partition in full whom this owner believes
// there; all of them, or those in only.
func (l *loop) attach(p *partition, only []protocol.Incarnation) {
	for edge, a := range l.attachments(p) {
		if only == nil || slices.Contains(only, edge) {
			a.Full = true
			l.sendAttach(edge, []protocol.Attach{*a})
		}
	}
}

// attachments builds the list for each edge of a partition.
func (l *loop) attachments(p *partition) map[protocol.Incarnation]*protocol.Attach {
	byEdge := make(map[protocol.Incarnation]*protocol.Attach)
	for _, id := range p.sortedRooms() {
		r := p.rooms[id].room
		for edge, occupant := range r.Occupants() {
			if edge == "" {
				continue
			}
			a := byEdge[edge]
			if a == nil {
				a = &protocol.Attach{Partition: p.id, Owner: l.owner.cfg.Self, Epoch: p.epoch}
				byEdge[edge] = a
			}
			if n := len(a.Rooms); n == 0 || a.Rooms[n-1].Room != id {
				a.Rooms = append(a.Rooms, protocol.AttachRoom{Room: id, Seq: r.Seq()})
			}
			last := &a.Rooms[len(a.Rooms)-1]
			last.Occupants = append(last.Occupants, occupant)
			a.Hash += occupant.Fingerprint(id)
		}
	}
	return byEdge
}

func (l *loop) sendAttach(edge protocol.Incarnation, attaches []protocol.Attach) {
	l.suspect(edge)
	l.owner.cfg.Edges.Attach(edge, attaches, func(answers []protocol.Attached, err error) {
		if err == nil && len(answers) == len(attaches) {
			l.post(attached{edge: edge, attaches: attaches, answers: answers})
		}
	})
}

// suspect has the node look whether an incarnation is dead.
func (l *loop) suspect(inc protocol.Incarnation) {
	if l.owner.cfg.Suspect != nil {
		l.owner.cfg.Suspect(inc)
	}
}

// attached is a message: an edge's answers.
type attached struct {
	edge     protocol.Incarnation
	attaches []protocol.Attach
	answers  []protocol.Attached
}

func (m attached) apply(l *loop) {
	var repair []protocol.Subscription
	for i, a := range m.attaches {
		p := l.partitions[a.Partition]
		if !p.holds(a.Epoch) {
			continue
		}
		answer := m.answers[i]
		if answer.Outranked > p.epoch {
			p.heard = answer.Outranked
			l.openBatch(p).commit.Changes = append(l.openBatch(p).commit.Changes, probe)
			continue
		}
		if answer.Differs && !a.Full {
			l.attach(p, []protocol.Incarnation{m.edge})
		}
		repair = append(repair, answer.Absent...)
		repair = append(repair, answer.Unlisted...)
	}
	if len(repair) > 0 {
		l.owner.metrics.repairs.Add(float64(len(repair)))
		l.owner.cfg.Places.Repair(repair)
	}
}

// probe is a change that changes nothing: committing it shows whether this
// owner was outranked.
var probe = protocol.Change{Key: "probe"}

// listRooms is a message: which rooms come after this one?
type listRooms struct {
	after  protocol.RoomID
	limit  int
	answer chan<- []RoomCount
}

func (m listRooms) apply(l *loop) {
	var rooms []RoomCount
	for _, p := range l.partitions {
		if p.state != owned && p.state != handing {
			continue
		}
		for id, s := range p.rooms {
			if id > m.after && !id.IsCall() {
				rooms = append(rooms, RoomCount{Room: id, Epoch: p.epoch, Count: s.room.Count()})
			}
		}
	}
	slices.SortFunc(rooms, compareRooms)
	m.answer <- rooms[:min(m.limit, len(rooms))]
}
