package bridge

import (
	"bytes"
	"context"
	"slices"

	"github.com/faac1247/rollcall/protocol"
)

// Take is like Redis.Take.
func (c *MemoryClient) Take(ctx context.Context, takes []protocol.Take) ([]protocol.Taken, error) {
	for _, t := range takes {
		if err := checkTake(t); err != nil {
			return nil, err
		}
	}
	return ask(ctx, c, func(s *memoryState, now int64) ([]protocol.Taken, error) {
		taken := make([]protocol.Taken, len(takes))
		for i, t := range takes {
			taken[i] = s.partition(t.Partition).take(t, now)
		}
		return taken, nil
	})
}

func (p *memoryPartition) take(t protocol.Take, now int64) protocol.Taken {
	if !p.used && t.IfAny {
		return protocol.Taken{}
	}
	if t.IfHeld && p.owner != t.Owner {
		return protocol.Taken{}
	}
	if p.owner != "" && p.owner != t.Owner && !slices.Contains(t.Dead, p.owner) {
		return protocol.Taken{Holder: p.owner, Former: p.epoch}
	}
	former := p.epoch
	p.used, p.owner = true, t.Owner
	p.epoch = max(following(p.epoch, now), t.Heard+1)
	return protocol.Taken{Epoch: p.epoch, Former: former, Position: p.position, Entries: copyEntries(p.entries)}
}

func copyEntries(entries map[string][]byte) map[string][]byte {
	out := make(map[string][]byte, len(entries))
	for k, v := range entries {
		out[k] = append([]byte{}, v...)
	}
	return out
}

// Commit is like Redis.Commit.
func (c *MemoryClient) Commit(ctx context.Context, commits []protocol.Commit) ([]protocol.CommitStatus, error) {
	for _, b := range commits {
		if err := checkCommit(b); err != nil {
			return nil, err
		}
	}
	return answersOf(ctx, c, commits, func(s *memoryState, b protocol.Commit) protocol.CommitStatus {
		return s.partition(b.Partition).commit(b)
	})
}

// answersOf performs op for each item; without an answer the statuses are 0.
func answersOf[T any](ctx context.Context, c *MemoryClient, items []T, op func(*memoryState, T) protocol.CommitStatus) ([]protocol.CommitStatus, error) {
	statuses, err := ask(ctx, c, func(s *memoryState, _ int64) ([]protocol.CommitStatus, error) {
		statuses := make([]protocol.CommitStatus, len(items))
		for i, item := range items {
			statuses[i] = op(s, item)
		}
		return statuses, nil
	})
	if err != nil {
		return make([]protocol.CommitStatus, len(items)), err
	}
	return statuses, nil
}

// ranks compares what is stored with a claim: 0 if it is the claimant's own,
// Behind or Outranked otherwise.
func (p *memoryPartition) ranks(e protocol.Epoch, owner protocol.Incarnation) protocol.CommitStatus {
	switch {
	case !p.used || p.epoch < e:
		return protocol.Behind
	case p.epoch > e || p.owner != owner:
		return protocol.Outranked
	}
	return 0
}

func (p *memoryPartition) commit(b protocol.Commit) protocol.CommitStatus {
	if status := p.ranks(b.Epoch, b.Owner); status != 0 {
		return status
	}
	switch {
	case p.position == b.After:
		return protocol.Committed
	case p.position > b.After:
		return protocol.Outranked
	case p.position != b.Before:
		return protocol.Behind
	}
	for _, change := range b.Changes {
		if change.Value == nil {
			delete(p.entries, change.Key)
		} else {
			p.entries[change.Key] = bytes.Clone(change.Value)
		}
	}
	p.post(b.Events...)
	p.position = b.After
	return protocol.Committed
}

// Restore is like Redis.Restore.
func (c *MemoryClient) Restore(ctx context.Context, b protocol.Restore) (protocol.CommitStatus, error) {
	if err := checkPlace(b.Owner, b.Epoch, b.Position); err != nil {
		return 0, err
	}
	statuses, err := answersOf(ctx, c, []protocol.Restore{b}, func(s *memoryState, b protocol.Restore) protocol.CommitStatus {
		return s.partition(b.Partition).restore(b)
	})
	return statuses[0], err
}

func (p *memoryPartition) restore(b protocol.Restore) protocol.CommitStatus {
	status := p.ranks(b.Epoch, b.Owner)
	if status == protocol.Outranked || status == 0 && p.position > b.Position {
		return protocol.Outranked
	}
	p.used, p.epoch, p.position, p.owner = true, b.Epoch, b.Position, b.Owner
	p.entries = copyEntries(b.Entries)
	return protocol.Committed
}

// Release is like Redis.Release.
func (c *MemoryClient) Release(ctx context.Context, releases []protocol.Release) ([]protocol.CommitStatus, error) {
	for _, b := range releases {
		if err := checkPlace(b.Owner, b.Epoch, b.Position); err != nil {
			return nil, err
		}
	}
	return answersOf(ctx, c, releases, func(s *memoryState, b protocol.Release) protocol.CommitStatus {
		return s.partition(b.Partition).release(b)
	})
}

func (p *memoryPartition) release(b protocol.Release) protocol.CommitStatus {
	if p.used && p.epoch == b.Epoch && p.owner == "" && p.position == b.Position {
		return protocol.Committed
	}
	if status := p.ranks(b.Epoch, b.Owner); status != 0 {
		return status
	}
	switch {
	case p.position > b.Position:
		return protocol.Outranked
	case p.position < b.Position:
		return protocol.Behind
	}
	p.owner = ""
	return protocol.Committed
}

// Outbox is like Redis.Outbox.
func (c *MemoryClient) Outbox(ctx context.Context, id protocol.PartitionID, limit int) (entries []protocol.OutboxEntry, gap int64, err error) {
	_, err = ask(ctx, c, func(s *memoryState, _ int64) (struct{}, error) {
		p := s.partition(id)
		gone := p.added - int64(len(p.outbox))
		gap = max(0, gone-p.posted)
		for i, event := range p.outbox[:min(len(p.outbox), max(1, limit))] {
			entries = append(entries, protocol.OutboxEntry{
				ID: eventID(gone+1+int64(i), event), Event: bytes.Clone(event),
			})
		}
		return struct{}{}, nil
	})
	if err != nil {
		return nil, 0, err
	}
	return entries, gap, nil
}

// Posted is like Redis.Posted.
func (c *MemoryClient) Posted(ctx context.Context, id protocol.PartitionID, upTo string) error {
	serial, _, err := parseEventID(upTo)
	if err != nil {
		return err
	}
	_, err = ask(ctx, c, func(s *memoryState, _ int64) (struct{}, error) {
		p := s.partition(id)
		gone := p.added - int64(len(p.outbox))
		if serial > p.added {
			return struct{}{}, nil
		}
		if serial > gone {
			if eventID(serial, p.outbox[serial-gone-1]) != upTo {
				return struct{}{}, nil
			}
			p.outbox = slices.Delete(p.outbox, 0, int(serial-gone))
		}
		p.posted = max(p.posted, serial)
		return struct{}{}, nil
	})
	return err
}
