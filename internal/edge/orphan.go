package edge

import (
	"context"
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
// nothing any more: where a room went with its owner and the store at once, no
// list names those who were in it, and nobody would ever miss it.
func (e *Edge) seekOrphans(ctx context.Context) {
	ticker := time.NewTicker(orphanInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if orphans := e.orphans(e.now()); len(orphans) > 0 {
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

// Forget takes a connection out of a room that knows nothing of it, unless it
// has come in again since.
func (e *Edge) Forget(sub protocol.Subscription) { e.unsubscribe(e.partition(sub.Room), sub) }
