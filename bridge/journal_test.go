package bridge

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

// take claims one partition.
func take(t testing.TB, s store, op protocol.Take) protocol.Taken {
	t.Helper()
	return must(s.Take(t.Context(), []protocol.Take{op}))(t)[0]
}

// commit applies one batch.
func commit(t testing.TB, s store, op protocol.Commit) protocol.CommitStatus {
	t.Helper()
	return must(s.Commit(t.Context(), []protocol.Commit{op}))(t)[0]
}

func release(t testing.TB, s store, op protocol.Release) protocol.CommitStatus {
	t.Helper()
	return must(s.Release(t.Context(), []protocol.Release{op}))(t)[0]
}

func restore(t testing.TB, s store, op protocol.Restore) protocol.CommitStatus {
	t.Helper()
	return must(s.Restore(t.Context(), op))(t)
}

// step is the commit of one entry, from position n to n+1.
func step(owner protocol.Incarnation, e protocol.Epoch, n uint64) protocol.Commit {
	return protocol.Commit{
		Partition: 7, Owner: owner, Epoch: e, Before: n, After: n + 1,
		Changes: []protocol.Change{{Key: fmt.Sprintf("k%d", n), Value: []byte(owner)}},
		Events:  [][]byte{fmt.Appendf(nil, "e%d", n)},
	}
}

// journalOf reads a partition by claiming it behind everybody's back.
func journalOf(t testing.TB, s store, p protocol.PartitionID) (map[string]string, uint64) {
	t.Helper()
	got := take(t, s, protocol.Take{Partition: p, Owner: "reader@x"})
	if got.Epoch == 0 {
		got = take(t, s, protocol.Take{Partition: p, Owner: "reader@x", Dead: []protocol.Incarnation{got.Holder}})
	}
	entries := make(map[string]string)
	for k, v := range got.Entries {
		entries[k] = string(v)
	}
	return entries, got.Position
}

func wantStatus(t testing.TB, what string, got, want protocol.CommitStatus) {
	t.Helper()
	if got != want {
		t.Errorf("%s: status %d, want %d", what, got, want)
	}
}

func TestTakeOfAPartitionThatNobodyUsed(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		for range 2 { // the second shows that the first has created nothing
			got := take(t, s, protocol.Take{Partition: 7, Owner: n1, IfAny: true})
			if got.Epoch != 0 || got.Holder != "" || got.Entries != nil {
				t.Fatalf("an unused partition was answered with %+v", got)
			}
		}
		before := must(s.Now(t.Context()))(t).UnixMilli()
		got := take(t, s, protocol.Take{Partition: 7, Owner: n1})
		if int64(got.Epoch) < before-60_000 || got.Position != 0 || len(got.Entries) != 0 || got.Holder != "" {
			t.Errorf("the first take was answered with %+v", got)
		}
		if again := take(t, s, protocol.Take{Partition: 7, Owner: n1, IfAny: true}); again.Epoch <= got.Epoch || again.Former != got.Epoch || got.Former != 0 {
			t.Errorf("a take got %+v after %+v", again, got)
		}
	})
}

func TestTakeFromALivingOwnerIsRefused(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		held := take(t, s, protocol.Take{Partition: 7, Owner: n1})
		got := take(t, s, protocol.Take{Partition: 7, Owner: n2, Heard: held.Epoch + 9, Dead: []protocol.Incarnation{n3, "n1@aaaaa", "n1"}})
		if got.Epoch != 0 || got.Holder != n1 || got.Former != held.Epoch {
			t.Errorf("a held partition was answered with %+v", got)
		}
		wantStatus(t, "commit of the living owner", commit(t, s, step(n1, held.Epoch, 0)), protocol.Committed)
	})
}

func TestTakeOfWhatIsHeldOnly(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		again := protocol.Take{Partition: 7, Owner: n1, IfHeld: true}
		if got := take(t, s, again); got.Epoch != 0 || got.Holder != "" {
			t.Errorf("an unused partition was answered with %+v", got)
		}
		held := take(t, s, protocol.Take{Partition: 7, Owner: n1})
		got := take(t, s, again)
		if got.Epoch <= held.Epoch || got.Former != held.Epoch {
			t.Errorf("the holder was answered with %+v", got)
		}
		if other := take(t, s, protocol.Take{Partition: 7, Owner: n2, IfHeld: true}); other.Epoch != 0 || other.Holder != "" {
			t.Errorf("another was answered with %+v", other)
		}
		wantStatus(t, "release", release(t, s, protocol.Release{Partition: 7, Owner: n1, Epoch: got.Epoch}), protocol.Committed)
		if free := take(t, s, again); free.Epoch != 0 || free.Holder != "" {
			t.Errorf("a partition that was let go was answered with %+v", free)
		}
	})
}

func TestTakeFromADeadOwner(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		held := take(t, s, protocol.Take{Partition: 7, Owner: n1})
		wantStatus(t, "commit", commit(t, s, step(n1, held.Epoch, 0)), protocol.Committed)
		dead := make([]protocol.Incarnation, 0, 600)
		for i := range 600 {
			dead = append(dead, protocol.Incarnation(fmt.Sprintf("old@%d", i)))
		}
		takes := []protocol.Take{
			{Partition: 6, Owner: n2, Dead: append(dead, n1)},
			{Partition: 7, Owner: n2, Dead: append(dead, n1)},
		}
		taken := must(s.Take(t.Context(), takes))(t)
		if taken[0].Epoch == 0 || len(taken[0].Entries) != 0 {
			t.Errorf("the unused partition was answered with %+v", taken[0])
		}
		got := taken[1]
		if got.Epoch <= held.Epoch || got.Position != 1 || string(got.Entries["k0"]) != string(n1) || len(got.Entries) != 1 {
			t.Errorf("the dead owner's partition was answered with %+v", got)
		}
		wantStatus(t, "commit of the dead owner", commit(t, s, step(n1, held.Epoch, 1)), protocol.Outranked)
		wantStatus(t, "commit of the heir", commit(t, s, step(n2, got.Epoch, 1)), protocol.Committed)
	})
}

func TestTakeGoesBeyondWhatWasHeard(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		heard := protocol.Epoch(must(s.Now(t.Context()))(t).UnixMilli() + 3_600_000)
		if got := take(t, s, protocol.Take{Partition: 7, Owner: n1, Heard: heard}); got.Epoch != heard+1 {
			t.Errorf("epoch %d after one heard of, %d", got.Epoch, heard)
		}
		if got := take(t, s, protocol.Take{Partition: 7, Owner: n1, Heard: 5}); got.Epoch != heard+2 {
			t.Errorf("epoch %d after %d", got.Epoch, heard+1)
		}
		_, err := s.Take(t.Context(), []protocol.Take{{Partition: 7, Owner: n1, Heard: 1 << 60}})
		if protocol.CodeOf(err) != protocol.CodeBadRequest {
			t.Errorf("an epoch that cannot be counted was answered with %v", err)
		}
	})
}

func TestOneOfManyTakersWins(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		const takers = 8
		taken := make([]protocol.Taken, takers)
		var wg sync.WaitGroup
		for i := range takers {
			s := b.client(t)
			wg.Go(func() {
				owner := protocol.Incarnation(fmt.Sprintf("n%d@x", i))
				answers, err := s.Take(t.Context(), []protocol.Take{{Partition: 7, Owner: owner}})
				if err != nil {
					t.Error(err)
					return
				}
				taken[i] = answers[0]
			})
		}
		wg.Wait()
		winners := 0
		for _, got := range taken {
			if got.Epoch != 0 {
				winners++
			} else if got.Holder == "" {
				t.Error("a refusal names no holder")
			}
		}
		if winners != 1 {
			t.Errorf("%d takers won: %+v", winners, taken)
		}
	})
}

func TestCommitChangesEntries(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		binary := "\x00\xff\r\n{}"
		wantStatus(t, "sets", commit(t, s, protocol.Commit{
			Partition: 7, Owner: n1, Epoch: e, Before: 0, After: 1,
			Changes: []protocol.Change{
				{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte{}}, {Key: binary, Value: []byte(binary)}, {Key: "d", Value: []byte("4")},
			},
		}), protocol.Committed)
		wantStatus(t, "sets and deletions", commit(t, s, protocol.Commit{
			Partition: 7, Owner: n1, Epoch: e, Before: 1, After: 2,
			Changes: []protocol.Change{
				{Key: "a"}, {Key: "c", Value: []byte("3")}, {Key: "absent"},
				{Key: "d"}, {Key: "d", Value: []byte("5")}, // the last change of a key counts
				{Key: "e", Value: []byte("6")}, {Key: "e"},
			},
		}), protocol.Committed)
		entries, position := journalOf(t, s, 7)
		want := map[string]string{"b": "", binary: binary, "c": "3", "d": "5"}
		if !maps.Equal(entries, want) || position != 2 {
			t.Errorf("position %d holds %q", position, entries)
		}
	})
}

func TestCommitOfManyEntries(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		const entries = 12_000
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		sets := protocol.Commit{Partition: 7, Owner: n1, Epoch: e, Before: 0, After: 1}
		deletions := protocol.Commit{Partition: 7, Owner: n1, Epoch: e, Before: 1, After: 2}
		for i := range entries {
			key := fmt.Sprintf("k%d", i)
			sets.Changes = append(sets.Changes, protocol.Change{Key: key, Value: []byte(key)})
			if i > 0 {
				deletions.Changes = append(deletions.Changes, protocol.Change{Key: key})
			}
		}
		wantStatus(t, "sets", commit(t, s, sets), protocol.Committed)
		got := take(t, s, protocol.Take{Partition: 7, Owner: n1})
		if len(got.Entries) != entries || string(got.Entries["k11999"]) != "k11999" {
			t.Fatalf("%d entries are there", len(got.Entries))
		}
		deletions.Epoch = got.Epoch
		wantStatus(t, "deletions", commit(t, s, deletions), protocol.Committed)
		if left, _ := journalOf(t, s, 7); len(left) != 1 {
			t.Errorf("%d entries are left", len(left))
		}
	})
}

func TestCommitTwiceIsOnce(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		first := step(n1, e, 0)
		wantStatus(t, "first", commit(t, s, first), protocol.Committed)
		first.Changes[0].Value = []byte("not again")
		wantStatus(t, "doubled", commit(t, s, first), protocol.Committed)
		events, gap, err := s.Outbox(t.Context(), 7, 10)
		if err != nil || gap != 0 || len(events) != 1 {
			t.Errorf("outbox holds %d events, gap %d: %v", len(events), gap, err)
		}
		entries, position := journalOf(t, s, 7)
		if position != 1 || entries["k0"] != string(n1) {
			t.Errorf("position %d holds %q", position, entries)
		}
	})
}

func TestCommitOnAnOlderState(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		wantStatus(t, "on nothing", commit(t, s, step(n1, 5, 0)), protocol.Behind)
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		wantStatus(t, "on a lower epoch", commit(t, s, step(n1, e+1, 0)), protocol.Behind)
		wantStatus(t, "on a lower epoch of another's", commit(t, s, step(n2, e+1, 0)), protocol.Behind)
		wantStatus(t, "on a lower position", commit(t, s, step(n1, e, 1)), protocol.Behind)
		entries, position := journalOf(t, s, 7)
		if len(entries) != 0 || position != 0 {
			t.Errorf("position %d holds %q", position, entries)
		}
	})
}

func TestCommitThatIsOutranked(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		wantStatus(t, "0", commit(t, s, step(n1, e, 0)), protocol.Committed)
		wantStatus(t, "1", commit(t, s, step(n1, e, 1)), protocol.Committed)
		wantStatus(t, "on a higher position", commit(t, s, step(n1, e, 0)), protocol.Outranked)
		wantStatus(t, "on a higher epoch", commit(t, s, step(n1, e-1, 2)), protocol.Outranked)
		wantStatus(t, "of another owner", commit(t, s, step(n2, e, 2)), protocol.Outranked)
		wantStatus(t, "of another owner, doubled", commit(t, s, step(n2, e, 1)), protocol.Outranked)
		events, _, err := s.Outbox(t.Context(), 7, 10)
		check(t, err)
		if len(events) != 2 {
			t.Errorf("outbox holds %d events", len(events))
		}
		entries, position := journalOf(t, s, 7)
		if len(entries) != 2 || entries["k0"] != string(n1) || position != 2 {
			t.Errorf("position %d holds %q", position, entries)
		}
	})
}

func TestCommitsOfManyPartitionsAreJudgedOneByOne(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		const partitions = 600 // more than a pipeline holds
		var takes []protocol.Take
		for p := range protocol.PartitionID(partitions) {
			takes = append(takes, protocol.Take{Partition: p, Owner: n1})
		}
		taken := must(s.Take(t.Context(), takes))(t)
		var commits []protocol.Commit
		for p := range protocol.PartitionID(partitions) {
			c := step(n1, taken[p].Epoch, uint64(p%3)/2) // every third is ahead of the store
			c.Partition = p
			if p%5 == 0 {
				c.Epoch--
			}
			commits = append(commits, c)
		}
		got := must(s.Commit(t.Context(), commits))(t)
		for p, status := range got {
			want := protocol.Committed
			if p%3 == 2 {
				want = protocol.Behind
			}
			if p%5 == 0 {
				want = protocol.Outranked
			}
			if status != want {
				t.Fatalf("partition %d: status %d, want %d", p, status, want)
			}
		}
	})
}

func TestCommitMustLeadForward(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		c := step(n1, 5, 3)
		c.After = 3
		if _, err := s.Commit(t.Context(), []protocol.Commit{c}); protocol.CodeOf(err) != protocol.CodeBadRequest {
			t.Errorf("a commit from 3 to 3 was answered with %v", err)
		}
	})
}

func TestRestore(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		s := b.client(t)
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		wantStatus(t, "commit", commit(t, s, step(n1, e, 0)), protocol.Committed)
		back := func(owner protocol.Incarnation, e protocol.Epoch, position uint64) protocol.Restore {
			return protocol.Restore{Partition: 7, Owner: owner, Epoch: e, Position: position, Entries: map[string][]byte{"r": []byte(owner)}}
		}
		wantStatus(t, "same position", restore(t, s, back(n1, e, 1)), protocol.Committed)
		wantStatus(t, "higher position", restore(t, s, back(n1, e, 4)), protocol.Committed)
		wantStatus(t, "lower position", restore(t, s, back(n1, e, 3)), protocol.Outranked)
		wantStatus(t, "other owner", restore(t, s, back(n2, e, 9)), protocol.Outranked)
		wantStatus(t, "lower epoch", restore(t, s, back(n1, e-1, 9)), protocol.Outranked)
		entries, position := journalOf(t, s, 7)
		if position != 4 || !maps.Equal(entries, map[string]string{"r": string(n1)}) {
			t.Errorf("position %d holds %q", position, entries)
		}
		higher := take(t, s, protocol.Take{Partition: 7, Owner: n1, Dead: []protocol.Incarnation{"reader@x"}}).Epoch + 1
		wantStatus(t, "higher epoch", restore(t, s, back(n2, higher, 2)), protocol.Committed)
		b.flush(t)
		wantStatus(t, "commit to an empty store", commit(t, s, step(n2, higher, 2)), protocol.Behind)
		wantStatus(t, "restore to an empty store", restore(t, s, back(n2, higher, 2)), protocol.Committed)
		wantStatus(t, "commit after it", commit(t, s, step(n2, higher, 2)), protocol.Committed)
		entries, position = journalOf(t, s, 7)
		if position != 3 || !maps.Equal(entries, map[string]string{"r": string(n2), "k2": string(n2)}) {
			t.Errorf("position %d holds %q", position, entries)
		}
	})
}

func TestRestoreOfManyEntriesAndOfNone(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		entries := make(map[string][]byte)
		for i := range 9000 {
			entries[fmt.Sprintf("k%d", i)] = []byte("v")
		}
		wantStatus(t, "many", restore(t, s, protocol.Restore{Partition: 7, Owner: n1, Epoch: 5, Position: 1, Entries: entries}), protocol.Committed)
		if got := take(t, s, protocol.Take{Partition: 7, Owner: n1}); len(got.Entries) != 9000 || got.Position != 1 {
			t.Errorf("%d entries at position %d", len(got.Entries), got.Position)
		}
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		wantStatus(t, "none", restore(t, s, protocol.Restore{Partition: 7, Owner: n1, Epoch: e, Position: 2}), protocol.Committed)
		if left, _ := journalOf(t, s, 7); len(left) != 0 {
			t.Errorf("%d entries are left", len(left))
		}
	})
}

func TestRelease(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		free := func(owner protocol.Incarnation, e protocol.Epoch, position uint64) protocol.Release {
			return protocol.Release{Partition: 7, Owner: owner, Epoch: e, Position: position}
		}
		wantStatus(t, "of nothing", release(t, s, free(n1, 5, 0)), protocol.Behind)
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		wantStatus(t, "commit", commit(t, s, step(n1, e, 0)), protocol.Committed)
		wantStatus(t, "ahead of the store", release(t, s, free(n1, e, 2)), protocol.Behind)
		wantStatus(t, "of a higher epoch", release(t, s, free(n1, e+1, 1)), protocol.Behind)
		wantStatus(t, "behind the store", release(t, s, free(n1, e, 0)), protocol.Outranked)
		wantStatus(t, "by another", release(t, s, free(n2, e, 1)), protocol.Outranked)
		wantStatus(t, "of a lower epoch", release(t, s, free(n1, e-1, 1)), protocol.Outranked)
		wantStatus(t, "right", release(t, s, free(n1, e, 1)), protocol.Committed)
		wantStatus(t, "doubled", release(t, s, free(n1, e, 1)), protocol.Committed)
		wantStatus(t, "commit afterwards", commit(t, s, step(n1, e, 1)), protocol.Outranked)
		wantStatus(t, "restore afterwards", restore(t, s, protocol.Restore{Partition: 7, Owner: n1, Epoch: e, Position: 5}), protocol.Outranked)
		got := take(t, s, protocol.Take{Partition: 7, Owner: n2, IfAny: true})
		if got.Epoch <= e || got.Position != 1 || len(got.Entries) != 1 {
			t.Errorf("the released partition was answered with %+v", got)
		}
		wantStatus(t, "release after the take", release(t, s, free(n1, e, 1)), protocol.Outranked)
	})
}

func TestOutboxKeepsOrderUntilPosted(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		entries, gap, err := s.Outbox(t.Context(), 7, 10)
		if err != nil || len(entries) != 0 || gap != 0 {
			t.Fatalf("an empty outbox was answered with %v, %d, %v", entries, gap, err)
		}
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		for n := range uint64(5) {
			wantStatus(t, "commit", commit(t, s, step(n1, e, n)), protocol.Committed)
		}
		read := func(limit int) (texts, ids []string) {
			entries, gap, err := s.Outbox(t.Context(), 7, limit)
			if err != nil || gap != 0 {
				t.Fatalf("gap %d: %v", gap, err)
			}
			for _, e := range entries {
				texts, ids = append(texts, string(e.Event)), append(ids, e.ID)
			}
			return texts, ids
		}
		texts, ids := read(3)
		if !slices.Equal(texts, []string{"e0", "e1", "e2"}) {
			t.Fatalf("first three are %q", texts)
		}
		check(t, s.Posted(t.Context(), 7, ids[1]))
		check(t, s.Posted(t.Context(), 7, ids[1]))
		check(t, s.Posted(t.Context(), 7, ids[0]))
		if texts, ids = read(10); !slices.Equal(texts, []string{"e2", "e3", "e4"}) {
			t.Fatalf("then come %q", texts)
		}
		check(t, s.Posted(t.Context(), 7, ids[2]))
		if texts, _ = read(10); len(texts) != 0 {
			t.Errorf("then come %q", texts)
		}
		if err := s.Posted(t.Context(), 7, "nonsense"); protocol.CodeOf(err) != protocol.CodeBadRequest {
			t.Errorf("a wrong id was answered with %v", err)
		}
	})
}

func TestOutboxCountsWhatItDrops(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		events := make([][]byte, outboxLimit)
		for i := range events {
			events[i] = fmt.Appendf(nil, "%d", i)
		}
		wantStatus(t, "full", commit(t, s, protocol.Commit{Partition: 7, Owner: n1, Epoch: e, Before: 0, After: 1, Events: events}), protocol.Committed)
		seen, gap, err := s.Outbox(t.Context(), 7, 3)
		if err != nil || gap != 0 || string(seen[0].Event) != "0" {
			t.Fatalf("a full outbox begins with %v, gap %d: %v", seen, gap, err)
		}
		wantStatus(t, "over", commit(t, s, protocol.Commit{Partition: 7, Owner: n1, Epoch: e, Before: 1, After: 2, Events: events[:5]}), protocol.Committed)
		entries, gap, err := s.Outbox(t.Context(), 7, 2)
		if err != nil || gap != 5 || string(entries[0].Event) != "5" {
			t.Fatalf("then it begins with %v, gap %d: %v", entries, gap, err)
		}
		// Three of the five were posted after all, only not forgotten in time.
		check(t, s.Posted(t.Context(), 7, seen[2].ID))
		if _, gap, _ = s.Outbox(t.Context(), 7, 2); gap != 2 {
			t.Errorf("gap %d after three of five were posted", gap)
		}
		check(t, s.Posted(t.Context(), 7, entries[0].ID))
		if entries, gap, _ = s.Outbox(t.Context(), 7, 2); gap != 0 || string(entries[0].Event) != "6" {
			t.Errorf("then it begins with %v, gap %d", entries, gap)
		}
	})
}

func TestPostedKeepsWhatWasNotPosted(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		s := b.client(t)
		e := take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		wantStatus(t, "commit", commit(t, s, step(n1, e, 0)), protocol.Committed)
		entries, _, err := s.Outbox(t.Context(), 7, 1)
		check(t, err)
		b.flush(t) // the tail is lost, and the number is another event's
		check(t, s.Posted(t.Context(), 7, entries[0].ID))
		e = take(t, s, protocol.Take{Partition: 7, Owner: n1}).Epoch
		other := step(n1, e, 0)
		other.Events = [][]byte{[]byte("other")}
		wantStatus(t, "commit", commit(t, s, other), protocol.Committed)
		check(t, s.Posted(t.Context(), 7, entries[0].ID))
		after, gap, err := s.Outbox(t.Context(), 7, 1)
		if err != nil || gap != 0 || len(after) != 1 {
			t.Errorf("left are %v, gap %d: %v", after, gap, err)
		}
	})
}
