package node

import (
	"context"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// restoreStore puts back what this node holds into a store that was replaced.
func (l *life) restoreStore() {
	l.owner.StoreReturned()
	l.crew.do(l.restoreUsers)
}

// restoreUsers puts the records of the users connected here into a store that
// lost them, and ends there the connections that have ended here meanwhile: a
// store that lost its last writes may hold them open again.
//
// Owners and other edges do the same at the same time, and some may die of what
// the store died of. So records and sessions are compared twice more.
func (l *life) restoreUsers(ctx context.Context) {
	ok := insistent(ctx, func() error { return l.store.Register(ctx, l.ring.Shape()) })
	for p, records := range l.sessionRecords() {
		ok = ok && insistent(ctx, func() error { return l.restorePartition(ctx, p, records) })
	}
	ok = ok && insistent(ctx, func() error { return l.sweeper.own(ctx) })
	for range comparisons {
		if !ok || !pause(ctx, comparePause) {
			return
		}
		for p, records := range l.sessionRecords() {
			ok = ok && insistent(ctx, func() error { return l.compare(ctx, p, records) })
		}
	}
}

const (
	// comparisons follow the restoring of a store, at a mean of comparePause:
	// the first when what died with the store has been taken over, the second
	// when those have been declared lost who did not come back.
	comparisons  = 2
	comparePause = 20 * time.Second
)

// sessionRecords spells out the sessions here as records.
func (l *life) sessionRecords() map[protocol.PartitionID][]protocol.UserRecord {
	byPartition := make(map[protocol.PartitionID][]protocol.UserRecord)
	for s := range l.edge.Sessions {
		p := l.userPartition(s.User)
		byPartition[p] = append(byPartition[p], protocol.UserRecord{
			User: s.User, Conn: s.Conn, Edge: l.inc, Room: s.Room, Call: s.Call, Version: s.Version, Since: s.Since,
		})
	}
	return byPartition
}

// insistent tries until f succeeds, and reports false when ctx ended first.
func insistent(ctx context.Context, f func() error) bool {
	for f() != nil {
		if !pause(ctx, tellPause) {
			return false
		}
	}
	return true
}

// restorePartition puts one partition's records back, and compares.
func (l *life) restorePartition(ctx context.Context, p protocol.PartitionID, records []protocol.UserRecord) error {
	if err := l.store.RestoreUsers(ctx, p, records); err != nil {
		l.log.Warn("users not restored", "partition", p, "users", len(records), "err", err)
		return err
	}
	return l.compare(ctx, p, records)
}

// compare holds records against the store's. A user who was moved before they
// were put back, when the store knew nothing, is in two rooms now: the store's
// later word counts, and the room before hears of it.
func (l *life) compare(ctx context.Context, p protocol.PartitionID, records []protocol.UserRecord) error {
	at := make([]protocol.UserAt, len(records))
	for i, r := range records {
		at[i] = protocol.UserAt{Partition: p, User: r.User}
	}
	stored, err := l.store.Users(ctx, at)
	if err != nil {
		return err
	}
	for i, now := range stored {
		was := records[i]
		for _, ids := range [][2]protocol.RoomID{{was.Room, now.Room}, {was.Call, now.Call}} {
			if ids[0] != ids[1] {
				l.differ(was, now, ids[:])
			}
		}
	}
	return nil
}

// differ has both places looked at of a user whom record and edge put into
// different ones. An edge that missed where its user went would put back an old
// place the next time.
func (l *life) differ(was, now protocol.UserRecord, ids []protocol.RoomID) {
	if now.Conn == was.Conn && now.Version > was.Version && ids[0] != "" {
		l.edge.Forget(protocol.Subscription{Room: ids[0], User: was.User, Conn: was.Conn, Version: now.Version})
	}
	for n, id := range ids {
		if id != "" {
			version := was.Version
			if n == 1 {
				version = now.Version
			}
			l.places.Repair([]protocol.Subscription{{Room: id, User: was.User, Conn: was.Conn, Version: version}})
		}
	}
}
