package edge

import (
	"context"
	"slices"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// orphanAge is how long a partition's owner may be silent. It attaches at a
	// third of that.
	orphanAge = 30 * time.Second
	// orphanInterval is how often partitions are looked at for that.
	orphanInterval = 10 * time.Second
	// orphansAtOnce bounds the subscriptions handed over at a time; the others
	// follow with the next turns.
	orphansAtOnce = 1000
)

// seekOrphans hands over the subscriptions of partitions whose owners say
// nothing any more, and the places of users that no owner has subscribed: where
// a room went with its owner and the store at once, no list names those who were
// in it, and nobody would ever miss it.
func (e *Edge) seekOrphans(ctx context.Context) {
	ticker := time.NewTicker(orphanInterval)
	defer ticker.Stop()
	var strays strays
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		orphans := append(e.orphans(e.now()), strays.look(e)...)
		if len(orphans) > 0 {
			e.metrics.orphans.Add(float64(len(orphans)))
			e.cfg.Owners.Orphaned(orphans)
		}
	}
}

func (e *Edge) orphans(now time.Duration) []protocol.Subscription {
	var orphans []protocol.Subscription
	for i := range e.partitions {
		p := &e.partitions[i]
		p.mu.Lock()
		if now-p.attached >= orphanAge {
			for id, r := range p.rooms {
				for s := range r.audience.Subscribers {
					own := s.Of.(*subscription)
					orphans = append(orphans, protocol.Subscription{Room: id, User: s.User, Conn: own.session.conn, Version: own.version})
				}
			}
		}
		p.mu.Unlock()
		if len(orphans) >= orphansAtOnce {
			return orphans[:orphansAtOnce]
		}
	}
	return orphans
}

// strays counts for how many looks in a row a user was in a place, as the record
// said when the connection was made, to which no owner has subscribed it.
type strays map[stray]int

type stray struct {
	user protocol.UserID
	conn protocol.ConnNumber
	room protocol.RoomID
}

// strayLooks is after how many looks a stray is handed over: an owner that takes
// over has had the time to list it.
const strayLooks = int(orphanAge / orphanInterval)

// look returns the strays that have been for long enough, and again at every
// look until they are none.
func (st *strays) look(e *Edge) (orphans []protocol.Subscription) {
	now := make(strays)
	for s := range e.registry.all {
		s.mu.Lock()
		version := s.version
		for _, id := range [...]protocol.RoomID{s.room, s.call} {
			if id == "" || s.fate != fateNone || s.gone || s.follows(id) {
				continue
			}
			at := stray{s.user, s.conn, id}
			if now[at] = (*st)[at] + 1; now[at] >= strayLooks && len(orphans) < orphansAtOnce {
				orphans = append(orphans, protocol.Subscription{Room: id, User: s.user, Conn: s.conn, Version: version})
			}
		}
		s.mu.Unlock()
	}
	*st = now
	return orphans
}

// follows reports whether an owner has subscribed the session to a room. The
// caller holds mu.
func (s *session) follows(id protocol.RoomID) bool {
	return slices.ContainsFunc(s.subscriptions, func(own *subscription) bool { return own.room == id })
}

// Forget takes a connection out of a room that knows nothing of it, unless it
// has come in again since.
func (e *Edge) Forget(sub protocol.Subscription) { e.unsubscribe(e.partition(sub.Room), sub) }
