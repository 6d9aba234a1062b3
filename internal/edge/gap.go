package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxGapFrames and maxGapBytes bound what is kept while a room's missed
	// publications are fetched. Over it the room goes on without them.
	maxGapFrames = 512
	maxGapBytes  = 256 << 10
	// maxFetchers is how many rooms are fetched for at a time, maxFetches how
	// many more may wait. A room over it goes on without.
	maxFetchers = 16
	maxFetches  = 4096
	// fetchTimeout bounds the fetching for one room.
	fetchTimeout = 2 * time.Second
)

// gap keeps a room's publications in order while those before them are fetched,
// once for all subscribers.
type gap struct {
	kept  []protocol.Publication
	bytes int
}

// keep copies a publication for later. It reports false when the gap is full.
func (g *gap) keep(pub *protocol.Publication) bool {
	if len(g.kept) >= maxGapFrames || g.bytes+len(pub.Frame) > maxGapBytes {
		return false
	}
	kept := *pub
	kept.Frame = append([]byte(nil), pub.Frame...)
	g.kept = append(g.kept, kept)
	g.bytes += len(pub.Frame)
	return true
}

// fetches are the rooms whose missed publications are to be fetched, and the
// goroutines that do it, which exist only while there are some.
type fetches struct {
	// guarded by mu
	mu       sync.Mutex
	queue    []fetch
	fetchers int
}

// fetch is what a room has missed, or one late subscription to it.
type fetch struct {
	partition *partition
	room      *room

	late        *subscription // nil for the whole room
	from, until track         // what it is to get
}

// openGap begins to fetch what the room has missed. The caller holds the
// partition's mu.
func (e *Edge) openGap(p *partition, r *room) {
	e.metrics.gaps.Inc()
	r.gap = &gap{}
	e.queueFetch(fetch{partition: p, room: r})
}

func (e *Edge) queueFetch(next fetch) {
	f := &e.fetches
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) >= maxFetches {
		e.metrics.gapsLost.Inc()
		e.crew.start(func() { e.finish(next, nil) })
		return
	}
	f.queue = append(f.queue, next)
	if f.fetchers < maxFetchers {
		f.fetchers++
		e.crew.start(e.fetchAll)
	}
}

func (e *Edge) fetchAll() {
	f := &e.fetches
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.queue = nil
			f.fetchers--
			f.mu.Unlock()
			return
		}
		next := f.queue[0]
		f.queue[0] = fetch{}
		f.queue = f.queue[1:]
		f.mu.Unlock()
		e.fetch(next)
	}
}

// fetch asks the owner for what came after the room's track. A new owner that
// does not know the old epoch is asked for its own from the beginning.
func (e *Edge) fetch(f fetch) {
	ctx, cancel := e.within(fetchTimeout)
	defer cancel()
	from, user := f.from, protocol.UserID(0)
	if f.late != nil {
		user = f.late.session.user
	} else {
		f.partition.mu.Lock()
		from = f.room.track
		f.partition.mu.Unlock()
	}
	view, err := e.sync(ctx, f.room.id, user, from)
	if err == nil && view.Resync != nil && view.Epoch > from.epoch {
		view, err = e.sync(ctx, f.room.id, user, track{epoch: view.Epoch})
	}
	if err != nil || view.Resync != nil {
		e.metrics.gapsLost.Inc()
		view = nil
	}
	e.finish(f, view)
}

// sync asks a room's owner for what was published after a place, on behalf of
// a user or, with user 0, of all who are here.
func (e *Edge) sync(ctx context.Context, id protocol.RoomID, user protocol.UserID, after track) (*protocol.SyncView, error) {
	reply := e.cfg.Owners.Do(ctx, protocol.Command{
		Verb: protocol.VerbSync, Room: id, User: user, Epoch: after.epoch, Seq: after.seq,
	})
	if err := reply.Err(); err != nil {
		return nil, err
	}
	var view protocol.SyncView
	if err := json.Unmarshal(reply.Body, &view); err != nil {
		return nil, fmt.Errorf("answer to sync of room %q: %w", id, err)
	}
	if view.Resync != nil {
		view.Epoch = max(view.Epoch, view.Resync.Epoch)
	}
	return &view, nil
}

// finish ends a fetch, with nothing when it came to nothing.
func (e *Edge) finish(f fetch, view *protocol.SyncView) {
	if f.late != nil {
		f.caughtUp(view)
		return
	}
	f.partition.mu.Lock()
	defer f.partition.mu.Unlock()
	if f.room.gap != nil {
		e.fill(f.partition, f.room, view)
	}
}

// fill delivers what was fetched, then what was kept meanwhile, and closes the
// gap. Without a view the room goes on with a hole, which its clients see by
// the numbers. The caller holds the partition's mu.
func (e *Edge) fill(p *partition, r *room, view *protocol.SyncView) {
	kept := r.gap.kept
	r.gap = nil
	if view != nil && view.Epoch >= p.epoch {
		for _, frame := range view.Frames {
			r.deliverMissed(frame)
		}
		if view.Epoch > r.track.epoch || view.Epoch == r.track.epoch && view.Seq > r.track.seq {
			r.track = track{epoch: view.Epoch, seq: view.Seq}
		}
	}
	for i := range kept {
		pub := &kept[i]
		if pub.Epoch < p.epoch {
			e.metrics.stale.Inc()
			continue
		}
		if next := (track{epoch: pub.Epoch, seq: pub.Seq}); pub.Seq != 0 && r.lost(next) {
			r.track = track{epoch: pub.Epoch, seq: pub.Seq - 1}
		}
		e.publish(p, r, pub)
	}
	r.start()
}

// lost reports whether a publication that was kept does not follow on what has
// been delivered by now: what is between can't be had.
func (r *room) lost(next track) bool {
	ahead := r.track
	return ahead.take(next.epoch, next.seq) == missed
}

// deliverMissed delivers a fetched frame. It says itself where it belongs; the
// one who caused it, whom the owner would have excepted, is named by user_id.
func (r *room) deliverMissed(frame []byte) {
	o, err := protocol.ParseObject(frame)
	if err != nil {
		return
	}
	f := outbox.Frame{Payload: frame}
	action, _ := o.Field("action").Text()
	switch protocol.Action(action) {
	case protocol.ActionEnterRoom, protocol.ActionUp, protocol.ActionDown:
		n, _ := o.Field("user_id").Int()
		f.Except = protocol.UserID(n)
	}
	r.audience.Publish(f)
}

// catchUp fetches, for one late subscription, what was published after from and
// up to where it was admitted. What comes meanwhile waits in its connection, so
// that the client gets everything in order. The caller holds the partition's
// mu.
func (e *Edge) catchUp(p *partition, own *subscription, from track) {
	e.metrics.catchUps.Inc()
	own.session.Cork()
	e.queueFetch(fetch{partition: p, room: own.in, late: own, from: from, until: own.in.track})
}

// caughtUp sends a late subscriber what it missed, and lets go of what has
// waited.
func (f fetch) caughtUp(view *protocol.SyncView) {
	var missed []byte
	n := 0
	if view != nil && view.Epoch == f.until.epoch {
		for _, frame := range view.Frames {
			o, err := protocol.ParseObject(frame)
			if err != nil {
				continue
			}
			if seq, _ := o.Field("seq").Uint(); protocol.Seq(seq) <= f.until.seq {
				missed = outbox.AppendText(missed, frame)
				n++
			}
		}
	}
	f.late.session.Uncork(missed, n)
}
