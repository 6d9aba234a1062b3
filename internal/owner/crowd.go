package owner

import (
	"context"

	"github.com/faac1247/rollcall/protocol"
)

// Crowd is a room with more occupants than Config.Large.
type Crowd struct {
	Room  protocol.RoomID
	Count int
	// Edges is how many of them each living edge holds.
	Edges map[protocol.Incarnation]int
}

// countCrowd files a room among the large ones, or takes it out. The cost of
// every change to every other room is one comparison.
func (l *loop) countCrowd(p *partition, s *slot) {
	large := l.owner.cfg.Large > 0 && s.room.Count() > l.owner.cfg.Large
	if !large && len(l.crowds) == 0 {
		return
	}
	before := len(l.crowds)
	if large {
		l.crowds[s] = p
	} else {
		delete(l.crowds, s)
	}
	l.owner.crowded.Add(int64(len(l.crowds) - before))
}

// listCrowds is a message: which rooms are large?
type listCrowds struct{ answer chan<- []Crowd }

func (m listCrowds) apply(l *loop) {
	var list []Crowd
	for s, p := range l.crowds {
		if p.state != owned || p.rooms[s.room.ID()] != s {
			delete(l.crowds, s) // the partition has gone, with all its rooms
			l.owner.crowded.Add(-1)
			continue
		}
		c := Crowd{Room: s.room.ID(), Count: s.room.Count(), Edges: make(map[protocol.Incarnation]int)}
		for edge, n := range s.room.Audience() {
			c.Edges[edge] = n
		}
		list = append(list, c)
	}
	m.answer <- list
}

// Crowds returns the rooms owned here that have more occupants than
// Config.Large, in no order. Without any it asks no loop.
func (o *Owner) Crowds(ctx context.Context) ([]Crowd, error) {
	if o.crowded.Load() == 0 {
		return nil, nil
	}
	var all []Crowd
	for _, l := range o.loops {
		answer := make(chan []Crowd, 1)
		l.post(listCrowds{answer})
		select {
		case list := <-answer:
			all = append(all, list...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return all, nil
}
