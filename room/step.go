package room

import (
	"encoding/json"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// step is one event on its way through the room, and what it has led to.
type step struct {
	*Room
	now time.Time
	res Result
}

// step begins an event. Times are kept as the journal has them: in UTC, without
// a monotonic reading.
func (r *Room) step(now time.Time) *step {
	now = now.Round(0).UTC()
	s := &step{Room: r, now: now}
	if r.loaded && r.loadedAt.IsZero() {
		r.loadedAt = now
		s.startAging()
	}
	return s
}

// settle ends every step: it draws the conclusions that depend on the whole
// state and not on the event.
func (s *step) settle() {
	if s.Empty() && !s.id.IsCall() {
		for _, d := range s.owed.values() {
			s.discharge(d) // nobody is left to be told
		}
	}
	s.settleEmpty()
	if s.over() {
		s.vanish()
	}
	s.storeSettings()
}

// vanish makes the room one that was never there, but for its counting, its
// history, the versions of those removed and its keys, which go on in memory.
func (s *step) vanish() {
	s.settings.clear()
	for _, m := range s.keys.all() {
		s.erase(s.entryKey(kindKey, m.slot()))
		s.unstored.add(m)
	}
	s.keys.clear()
}

// store journals an entry. v is one of the entry types, which always encode.
func (s *step) store(key string, v any) {
	s.res.Changes = append(s.res.Changes, protocol.Change{Key: key, Value: encode(v)})
}

// erase takes an entry out of the journal.
func (s *step) erase(key string) {
	s.res.Changes = append(s.res.Changes, protocol.Change{Key: key})
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("room: entry can't be encoded: " + err.Error())
	}
	return b
}

// tell numbers a frame and publishes it to the whole room but except.
func (s *step) tell(frame []byte, except protocol.UserID) {
	numbered, err := protocol.Number(nil, frame, s.id, s.epoch, s.seq+1)
	if err != nil {
		s.broken("own frame is refused: %v", err)
	}
	s.deliver(protocol.Publication{Except: except, Frame: numbered})
}

// deliver publishes a frame that carries the next number.
func (s *step) deliver(p protocol.Publication) {
	s.record(p.Frame)
	p.Room, p.Epoch, p.Seq, p.Importance = s.id, s.epoch, s.seq, importance
	s.res.Publications = append(s.res.Publications, p)
}

// importance is that of everything published to a room: the middle.
const importance = 8

// event adds an event to be told; the caller may complete it at once.
func (s *step) event(name string, user protocol.UserID) *protocol.Event {
	e := protocol.Event{Event: name, At: s.now, UserID: user}
	if s.id.IsCall() {
		e.CallNo = s.id.CallNo()
	} else {
		e.RoomID = string(s.id)
	}
	s.res.Events = append(s.res.Events, e)
	return &s.res.Events[len(s.res.Events)-1]
}

// evict takes a user's record out of the room.
func (s *step) evict(o *occupant, reason string) {
	s.res.Evicted = append(s.res.Evicted, Eviction{User: o.user, Version: o.version, Reason: reason})
}

// subscribe brings an occupant's connection into the room at its edge.
func (s *step) subscribe(o *occupant, entered []byte) {
	s.res.Subscriptions = append(s.res.Subscriptions, Subscription{
		Subscription: protocol.Subscription{
			Room: s.id, User: o.user, Conn: o.conn, Version: o.version,
			Epoch: s.epoch, Seq: s.seq, Entered: entered,
		},
		Edge: o.edge,
	})
}

// unsubscribe takes an occupant's connection out of the room at its edge, if
// that edge lives.
func (s *step) unsubscribe(o *occupant) {
	if !o.attached() {
		return
	}
	s.res.Subscriptions = append(s.res.Subscriptions, Subscription{
		Subscription: protocol.Subscription{
			Room: s.id, User: o.user, Conn: o.conn, Version: o.version,
			Epoch: s.epoch, Seq: s.seq, Off: true,
		},
		Edge: o.edge,
	})
}
