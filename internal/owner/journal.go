package owner

import (
	"context"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// journalTimeout bounds one request to the journal.
	journalTimeout = 2 * time.Second
	// journalRetry is the pause before an unanswered request is repeated.
	journalRetry = 50 * time.Millisecond
)

// journaler carries a loop's commits, restores and releases to the journal,
// one request at a time; what gathers meanwhile leaves with the next.
type journaler struct {
	// set by newJournaler
	loop     *loop
	requests chan journalRequest

	// owned by the loop
	busy bool
	next journalRequest
}

type journalRequest struct {
	restores []protocol.Restore
	commits  []protocol.Commit
	releases []protocol.Release
}

// journalAnswer holds a status per item, 0 where it is unknown.
type journalAnswer struct {
	request  journalRequest
	restores []protocol.CommitStatus
	commits  []protocol.CommitStatus
	releases []protocol.CommitStatus
}

func newJournaler(l *loop) *journaler {
	return &journaler{loop: l, requests: make(chan journalRequest, 1)}
}

// ask sends what has gathered, unless a request is under way.
func (j *journaler) ask() {
	if j.busy || len(j.next.restores)+len(j.next.commits)+len(j.next.releases) == 0 {
		return
	}
	j.busy = true
	j.requests <- j.next
	j.next = journalRequest{}
}

func (j *journaler) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-j.requests:
			j.loop.post(j.perform(ctx, r))
		}
	}
}

func (j *journaler) perform(ctx context.Context, r journalRequest) journalAnswer {
	ctx, cancel := context.WithTimeout(ctx, journalTimeout)
	defer cancel()
	store := j.loop.owner.cfg.Journal
	a := journalAnswer{
		request:  r,
		restores: make([]protocol.CommitStatus, len(r.restores)),
		commits:  make([]protocol.CommitStatus, len(r.commits)),
		releases: make([]protocol.CommitStatus, len(r.releases)),
	}
	var err error
	for i, restore := range r.restores {
		if a.restores[i], err = store.Restore(ctx, restore); err != nil {
			j.loop.log.Warn("restore not answered", "partition", restore.Partition, "err", err)
		}
	}
	if len(r.commits) > 0 {
		start := time.Now()
		statuses, err := store.Commit(ctx, r.commits)
		copy(a.commits, statuses)
		if err != nil {
			j.loop.log.Warn("commit not answered", "partitions", len(r.commits), "err", err)
		}
		j.loop.owner.metrics.commit.Observe(time.Since(start).Seconds())
	}
	if len(r.releases) > 0 {
		statuses, err := store.Release(ctx, r.releases)
		copy(a.releases, statuses)
		if err != nil {
			j.loop.log.Warn("release not answered", "partitions", len(r.releases), "err", err)
		}
	}
	return a
}

func (a journalAnswer) apply(l *loop) {
	l.journal.busy = false
	for i, r := range a.request.restores {
		if p := l.partitions[r.Partition]; p.holds(r.Epoch) && p.restoring {
			l.restored(p, a.restores[i])
		}
	}
	for i, c := range a.request.commits {
		if p := l.partitions[c.Partition]; p.holds(c.Epoch) && p.inflight != nil && p.inflight.commit.After == c.After {
			l.committed(p, a.commits[i])
		}
	}
	for i, r := range a.request.releases {
		if p := l.partitions[r.Partition]; p.holds(r.Epoch) && p.state == handing {
			l.released(p, a.releases[i])
		}
	}
}

// holds reports whether p is still what a request was made for.
func (p *partition) holds(e protocol.Epoch) bool {
	return p != nil && (p.state == owned || p.state == handing) && p.epoch == e
}

// flushBatches closes the open batches of partitions that have none in flight.
func (l *loop) flushBatches() {
	for p := range l.dirty {
		if p.inflight != nil || p.restoring {
			continue
		}
		delete(l.dirty, p)
		if p.open == nil {
			continue
		}
		b := p.open
		p.open = nil
		if len(b.commit.Changes) == 0 {
			l.performAll(p, b, p.volatile)
			continue
		}
		l.closeBatch(p, b)
		if l.mode == StoreAway {
			l.unstored(p, b)
			continue
		}
		p.inflight = b
		l.journal.next.commits = append(l.journal.next.commits, b.commit)
	}
}

func (l *loop) closeBatch(p *partition, b *batch) {
	for s := range b.rooms {
		if frame, ok := s.room.FlushPresence(); ok {
			b.effects = append(b.effects, presenceEffect(s, frame))
		}
	}
	b.commit.Partition, b.commit.Epoch, b.commit.Owner = p.id, p.epoch, l.owner.cfg.Self
	b.commit.Before = p.position
	p.position++
	b.commit.After = p.position
}

// committed is the journal's verdict on the batch in flight.
func (l *loop) committed(p *partition, status protocol.CommitStatus) {
	switch status {
	case protocol.Committed:
		b := p.inflight
		p.inflight = nil
		l.owner.metrics.commits.Inc()
		l.performAll(p, b, false)
		l.proceed(p)
	case protocol.Behind:
		l.restore(p, p.inflight.commit.Before)
	case protocol.Outranked:
		l.outranked(p)
	default:
		if l.mode == StoreAway {
			l.unstoredInflight(p)
			return
		}
		l.retry(p, journalRetry)
	}
}

// proceed goes on with what waited for the partition to be at rest.
func (l *loop) proceed(p *partition) {
	if p.open != nil {
		l.dirty[p] = struct{}{}
	}
	l.tryHandoff(p)
}

// resend repeats what the journal has not answered. The store knows a commit or
// restore that it has already applied.
func (l *loop) resend(p *partition) {
	switch {
	case p.restoring:
		p.restoring = false
		position := p.position
		if p.inflight != nil {
			position = p.inflight.commit.Before
		}
		l.restore(p, position)
	case p.inflight != nil && l.mode == StoreAway:
		l.unstoredInflight(p)
	case p.inflight != nil:
		l.journal.next.commits = append(l.journal.next.commits, p.inflight.commit)
	case p.state == handing:
		l.release(p)
	}
}

// restore puts the whole partition back into a store that holds an older one.
// What it sends includes changes that are not committed yet: the commits that
// follow set the same entries again.
func (l *loop) restore(p *partition, position uint64) {
	if p.restoring {
		return
	}
	p.restoring = true
	entries := make(map[string][]byte)
	for _, s := range p.rooms {
		for k, v := range s.room.Entries() {
			entries[k] = v
		}
	}
	l.owner.metrics.restores.Inc()
	l.journal.next.restores = append(l.journal.next.restores, protocol.Restore{
		Partition: p.id, Epoch: p.epoch, Owner: l.owner.cfg.Self, Position: position, Entries: entries,
	})
}

// restored is the journal's verdict on a restore.
func (l *loop) restored(p *partition, status protocol.CommitStatus) {
	switch status {
	case protocol.Committed:
		p.restoring, p.volatile = false, false
		if p.inflight != nil {
			l.journal.next.commits = append(l.journal.next.commits, p.inflight.commit)
		}
		l.proceed(p)
	case 0:
		if l.mode == StoreAway {
			p.restoring = false
			if p.inflight != nil {
				l.unstoredInflight(p)
			} else {
				l.proceed(p)
			}
			return
		}
		l.retry(p, journalRetry)
	default:
		l.outranked(p)
	}
}

// unstored lets a batch take effect without the store, for as long as it is
// away for everyone. It is put back on its return.
func (l *loop) unstored(p *partition, b *batch) {
	p.volatile = true
	l.performAll(p, b, true)
}

func (l *loop) unstoredInflight(p *partition) {
	b := p.inflight
	p.inflight = nil
	l.unstored(p, b)
	l.proceed(p)
}

// modeChanged is a message: the store went away or came back for this node.
type modeChanged struct{ mode StoreMode }

func (m modeChanged) apply(l *loop) {
	l.mode = m.mode
	for _, p := range l.partitions {
		if p.state != owned && p.state != handing {
			continue
		}
		switch m.mode {
		case StoreHere:
			if p.volatile && !p.restoring && p.inflight == nil {
				l.restore(p, p.position)
			}
		case Isolated:
			l.drop(p, protocol.Reply{Code: protocol.CodeUnavailable, Message: "this node is cut off"})
		case StoreAway:
			// what is in flight is decided by its answer
		}
	}
}

// storeReturned is a message: the store may hold an older state than before.
type storeReturned struct{}

func (storeReturned) apply(l *loop) {
	for _, p := range l.partitions {
		if p.state == owned && p.inflight == nil && !p.restoring {
			l.restore(p, p.position)
		}
	}
}
