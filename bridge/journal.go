package bridge

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/faac1247/rollcall/protocol"
)

// takeAnswer is the size that a partition is expected to have, so that the
// answers to one pipeline of takes stay within its timeout.
const takeAnswer = 16 << 10

// Take claims partitions, and answers in their order. With an error the answers
// that came are filled in; what was asked for the others is unknown.
func (r *Redis) Take(ctx context.Context, takes []protocol.Take) ([]protocol.Taken, error) {
	for _, t := range takes {
		if err := checkTake(t); err != nil {
			return nil, err
		}
	}
	// Most partitions are free or nobody's business. The list of the dead is
	// long, so it stays here, and only those that refuse are asked again with
	// the name of their holder.
	taken := make([]protocol.Taken, len(takes))
	all := make([]int, len(takes))
	for i := range takes {
		all[i] = i
	}
	if err := r.take(ctx, takes, all, taken); err != nil {
		return taken, err
	}
	var refused []int
	for i, t := range taken {
		if t.Holder != "" && slices.Contains(takes[i].Dead, t.Holder) {
			refused = append(refused, i)
		}
	}
	if len(refused) == 0 {
		return taken, nil
	}
	return taken, r.take(ctx, takes, refused, taken)
}

// take claims the partitions at the indexes. A claim names the dead one that
// the former answer found to be the holder.
func (r *Redis) take(ctx context.Context, takes []protocol.Take, indexes []int, taken []protocol.Taken) error {
	commands := make([]*command, len(indexes))
	for n, i := range indexes {
		t := takes[i]
		args := []any{string(t.Owner), uint64(t.Heard), takeMode(t)}
		if holder := taken[i].Holder; holder != "" {
			args = append(args, string(holder))
		}
		commands[n] = r.call(r.scripts.take, []string{r.key(t.Partition, "o"), r.key(t.Partition, "j")}, args...)
		commands[n].answer = takeAnswer
	}
	r.exec(ctx, commands)
	var first error
	for n, i := range indexes {
		answer, err := decodeTaken(commands[n])
		if err == nil {
			taken[i] = answer
			continue
		}
		taken[i] = protocol.Taken{}
		if first == nil {
			first = fmt.Errorf("take partition %d: %w", takes[i].Partition, err)
		}
	}
	return first
}

// takeMode is what the script leaves alone.
func takeMode(t protocol.Take) int {
	switch {
	case t.IfHeld:
		return 2
	case t.IfAny:
		return 1
	default:
		return 0
	}
}

func decodeTaken(c *command) (protocol.Taken, error) {
	f, err := c.list()
	if err != nil {
		return protocol.Taken{}, err
	}
	t := protocol.Taken{
		Epoch:    protocol.Epoch(f.int(0)),
		Position: uint64(f.int(1)),
		Holder:   protocol.Incarnation(f.text(2)),
		Former:   protocol.Epoch(f.int(3)),
	}
	if t.Epoch != 0 {
		t.Entries = make(map[string][]byte, (f.len()-4)/2)
		for i := 4; i+1 < f.len(); i += 2 {
			t.Entries[f.text(i)] = []byte(f.text(i + 1))
		}
	}
	return t, f.err
}

// Commit applies changes of partitions, and answers in their order. With an
// error the statuses that came are filled in; 0 is unknown.
func (r *Redis) Commit(ctx context.Context, commits []protocol.Commit) ([]protocol.CommitStatus, error) {
	commands := make([]*command, len(commits))
	for i, c := range commits {
		if err := checkCommit(c); err != nil {
			return nil, err
		}
		commands[i] = r.commit(c)
	}
	r.exec(ctx, commands)
	return statuses("commit", commands, func(i int) protocol.PartitionID { return commits[i].Partition })
}

func (r *Redis) commit(c protocol.Commit) *command {
	const fixed = 4
	args := make([]any, 0, fixed+2*len(c.Changes)+len(c.Events))
	args = append(args, header(c.Epoch, c.Before, c.Owner), header(c.Epoch, c.After, c.Owner), 0, 0)
	changes := lastChanges(c.Changes)
	for _, change := range changes {
		if change.Value != nil {
			args = append(args, change.Key, change.Value)
		}
	}
	sets := len(args) - fixed
	for _, change := range changes {
		if change.Value == nil {
			args = append(args, change.Key)
		}
	}
	args[2], args[3] = sets, len(args)-fixed-sets
	p := c.Partition
	keys := []string{r.key(p, "o"), r.key(p, "j")}
	if len(c.Events) > 0 {
		keys = append(keys, r.key(p, "q"), r.key(p, "n"))
	}
	for _, e := range c.Events {
		args = append(args, e)
	}
	return r.call(r.scripts.commit, keys, args...)
}

// lastChanges returns the changes without those that a later one of the same
// batch overrides: the script sets first and deletes afterwards.
func lastChanges(changes []protocol.Change) []protocol.Change {
	if len(changes) < 2 {
		return changes
	}
	last := make(map[string]int, len(changes))
	for i, change := range changes {
		last[change.Key] = i
	}
	if len(last) == len(changes) {
		return changes
	}
	kept := make([]protocol.Change, 0, len(last))
	for i, change := range changes {
		if last[change.Key] == i {
			kept = append(kept, change)
		}
	}
	return kept
}

// header is what the scripts keep of a partition besides its entries.
func header(e protocol.Epoch, position uint64, owner protocol.Incarnation) string {
	b := make([]byte, 0, 64)
	b = append(b, "1 "...)
	b = strconv.AppendUint(b, uint64(e), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, position, 10)
	b = append(b, ' ')
	b = append(b, owner...)
	return string(b)
}

func statuses(what string, commands []*command, partition func(int) protocol.PartitionID) ([]protocol.CommitStatus, error) {
	answers := make([]protocol.CommitStatus, len(commands))
	var first error
	for i, c := range commands {
		n, err := c.int()
		if err != nil {
			if first == nil {
				first = fmt.Errorf("%s partition %d: %w", what, partition(i), err)
			}
			continue
		}
		answers[i] = protocol.CommitStatus(n)
	}
	return answers, first
}

// Restore replaces a partition that the store holds in an older state.
func (r *Redis) Restore(ctx context.Context, b protocol.Restore) (protocol.CommitStatus, error) {
	if err := checkPlace(b.Owner, b.Epoch, b.Position); err != nil {
		return 0, err
	}
	args := make([]any, 0, 3+2*len(b.Entries))
	args = append(args, uint64(b.Epoch), b.Position, string(b.Owner))
	for k, v := range b.Entries {
		args = append(args, k, v)
	}
	c := r.call(r.scripts.restore, []string{r.key(b.Partition, "o"), r.key(b.Partition, "j")}, args...)
	r.exec(ctx, []*command{c})
	answers, err := statuses("restore", []*command{c}, func(int) protocol.PartitionID { return b.Partition })
	return answers[0], err
}

// Release gives partitions up, and answers in their order, like Commit.
func (r *Redis) Release(ctx context.Context, releases []protocol.Release) ([]protocol.CommitStatus, error) {
	commands := make([]*command, len(releases))
	for i, b := range releases {
		if err := checkPlace(b.Owner, b.Epoch, b.Position); err != nil {
			return nil, err
		}
		commands[i] = r.call(r.scripts.release, []string{r.key(b.Partition, "o")}, uint64(b.Epoch), b.Position, string(b.Owner))
	}
	r.exec(ctx, commands)
	return statuses("release", commands, func(i int) protocol.PartitionID { return releases[i].Partition })
}
