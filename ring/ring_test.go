package ring_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
)

// small keeps property tests quick while overflow is still common.
var small = ring.Config{Partitions: 509, Replication: 40}

func names(n int) []protocol.NodeID {
	out := make([]protocol.NodeID, n)
	for i := range out {
		out[i] = protocol.NodeID(fmt.Sprintf("node%d", i))
	}
	return out
}

func mustNew(t interface{ Fatal(...any) }, cfg ring.Config, members []protocol.NodeID) *ring.Ring {
	r, err := ring.New(cfg, members)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func drawMembers(t *rapid.T) []protocol.NodeID {
	return rapid.SliceOfNDistinct(
		rapid.Custom(func(t *rapid.T) protocol.NodeID {
			return protocol.NodeID(rapid.StringMatching(`[a-z0-9_.-]{1,12}`).Draw(t, "name"))
		}), 1, 24, rapid.ID[protocol.NodeID]).Draw(t, "members")
}

func TestOrderAndRepetitionMakeNoDifference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		first := mustNew(t, small, members)
		again := slices.Concat(rapid.Permutation(members).Draw(t, "order"), members[:len(members)/2])
		second := mustNew(t, small, again)
		if moves := ring.Diff(first, second); len(moves) != 0 {
			t.Fatalf("%d partitions differ: %v", len(moves), moves[0])
		}
		if first.Digest() != second.Digest() {
			t.Fatal("equal rings, different digests")
		}
		if !slices.Equal(first.Members(), second.Members()) || !slices.IsSorted(first.Members()) {
			t.Fatalf("members %v and %v", first.Members(), second.Members())
		}
	})
}

func TestNobodyExceedsTheBound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := small
		cfg.Load = rapid.Float64Range(1.1, 3).Draw(t, "load")
		members := drawMembers(t)
		r := mustNew(t, cfg, members)
		bound := int(math.Ceil(float64(cfg.Partitions) / float64(len(members)) * cfg.Load))
		total := 0
		for _, id := range members {
			owned := r.Owned(id)
			if len(owned) > bound {
				t.Fatalf("%s owns %d, bound %d", id, len(owned), bound)
			}
			for _, p := range owned {
				if owner, ok := r.Owner(p); !ok || owner != id {
					t.Fatalf("partition %d: owned by %s, but its owner is %s", p, id, owner)
				}
			}
			total += len(owned)
		}
		if total != cfg.Partitions {
			t.Fatalf("%d partitions owned, of %d", total, cfg.Partitions)
		}
	})
}

func TestDigestTellsEveryDifference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawMembers(t), drawMembers(t)
		slices.Sort(a)
		slices.Sort(b)
		equal := slices.Equal(a, b)
		if got := mustNew(t, small, a).Digest() == mustNew(t, small, b).Digest(); got != equal {
			t.Fatalf("digests equal: %v, members equal: %v\n%v\n%v", got, equal, a, b)
		}
	})
	base := ring.Config{Partitions: 101, Replication: 10, Load: 1.5}
	digests := map[uint64]string{mustNew(t, base, names(3)).Digest(): "base"}
	for what, cfg := range map[string]ring.Config{
		"partitions":  {Partitions: 103, Replication: 10, Load: 1.5},
		"replication": {Partitions: 101, Replication: 11, Load: 1.5},
		"load":        {Partitions: 101, Replication: 10, Load: 1.6},
	} {
		d := mustNew(t, cfg, names(3)).Digest()
		if other, taken := digests[d]; taken {
			t.Errorf("another %s has the digest of %s", what, other)
		}
		digests[d] = what
	}
	joined := mustNew(t, base, []protocol.NodeID{"ab", "c"})
	split := mustNew(t, base, []protocol.NodeID{"a", "bc"})
	if joined.Digest() == split.Digest() {
		t.Error("the digest runs names together")
	}
}

// TestJoinMovesOnlyWhatItMust measures on fixed names, because a handful of
// sets out of many do overflow; the tolerances are twice what was measured.
func TestJoinMovesOnlyWhatItMust(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 5, 10, 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var moved, needless, total int
			for set := range 8 {
				members := make([]protocol.NodeID, n+1)
				for i := range members {
					members[i] = protocol.NodeID(fmt.Sprintf("set%d-n%d", set, i))
				}
				before := mustNew(t, ring.Config{}, members[:n])
				after := mustNew(t, ring.Config{}, members)
				for _, m := range ring.Diff(before, after) {
					moved++
					if m.To != members[n] {
						needless++
					}
				}
				total += before.Partitions()
			}
			share, ideal := float64(moved)/float64(total), 1/float64(n+1)
			if math.Abs(share-ideal) > 0.15*ideal {
				t.Errorf("a join to %d moves %.4f, ideal %.4f", n, share, ideal)
			}
			if rate := float64(needless) / float64(total); rate > 0.002 {
				t.Errorf("%.4f of the partitions move between members that stay", rate)
			}
		})
	}
}

func TestLeaveMirrorsJoin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		gone := rapid.SampledFrom(members).Draw(t, "gone")
		all := mustNew(t, small, members)
		fewer := mustNew(t, small, slices.DeleteFunc(slices.Clone(members), func(id protocol.NodeID) bool { return id == gone }))
		forth, back := ring.Diff(all, fewer), ring.Diff(fewer, all)
		if len(forth) != len(back) {
			t.Fatalf("%d moves forth, %d back", len(forth), len(back))
		}
		for i := range forth {
			if forth[i].From != back[i].To || forth[i].To != back[i].From {
				t.Fatalf("move %v is not undone by %v", forth[i], back[i])
			}
		}
		if lost := len(all.Owned(gone)); lost > len(forth) {
			t.Fatalf("%s had %d partitions and only %d moved", gone, lost, len(forth))
		}
	})
}

func TestEmptyRing(t *testing.T) {
	t.Parallel()
	empty := mustNew(t, ring.Config{}, nil)
	if owner, ok := empty.Owner(7); ok {
		t.Errorf("an empty ring gives partition 7 to %q", owner)
	}
	if empty.Partitions() != ring.DefaultPartitions || len(empty.Members()) != 0 || empty.Owned("n1") != nil || empty.Has("n1") {
		t.Error("an empty ring has partitions and nothing else")
	}
	one := mustNew(t, ring.Config{}, names(1))
	if got := len(ring.Diff(empty, one)); got != ring.DefaultPartitions {
		t.Errorf("the first member takes %d partitions", got)
	}
	if got := len(ring.Diff(one, nil)); got != ring.DefaultPartitions {
		t.Errorf("the last member gives up %d partitions", got)
	}
	if len(ring.Diff(nil, nil)) != 0 {
		t.Error("nothing moves between nothing and nothing")
	}
}

func TestOwnerOutsideTheRing(t *testing.T) {
	t.Parallel()
	r := mustNew(t, ring.Config{Partitions: 101}, names(3))
	if _, ok := r.Owner(101); ok {
		t.Error("partition 101 of 101 has an owner")
	}
	if !r.Has("node0") || r.Has("node9") || r.Owned("node9") != nil {
		t.Error("membership is wrong")
	}
}

func TestMembersIsACopy(t *testing.T) {
	t.Parallel()
	in := names(3)
	slices.Reverse(in)
	r := mustNew(t, small, in)
	owner, _ := r.Owner(0)
	r.Members()[0] = "mallory"
	in[0] = "mallory"
	if after, _ := r.Owner(0); after != owner || r.Has("mallory") {
		t.Error("a caller's slice reaches into the ring")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, bad := range []ring.Config{
		{Partitions: -1}, {Partitions: 1 << 17}, {Replication: -1}, {Replication: 5000},
		{Load: 0.5}, {Load: 1}, {Load: 1.09}, {Load: -2}, {Load: 100}, {Load: math.NaN()},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v passes", bad)
		}
		if _, err := ring.New(bad, names(2)); err == nil {
			t.Errorf("a ring is built from %+v", bad)
		}
	}
	for _, good := range []ring.Config{{}, {Partitions: 1}, {Partitions: 1 << 16, Replication: 1}, {Load: 1.1}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
		if _, err := ring.New(good, names(5)); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	if _, err := ring.New(ring.Config{}, []protocol.NodeID{"n1", ""}); err == nil {
		t.Error("a member without a name passes")
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	want := protocol.ClusterShape{Partitions: 4093, Hash: ring.Hash, Load: 1.25, Replication: 100}
	if got := (ring.Config{}).Shape(); got != want {
		t.Errorf("shape %+v", got)
	}
	if got := mustNew(t, ring.Config{}, names(2)).Shape(); got != want {
		t.Errorf("shape %+v", got)
	}
}

// TestPartitionsNeverChange pins the numbers that stored records depend on: a
// failure here means that a running cluster would lose its rooms.
func TestPartitionsNeverChange(t *testing.T) {
	t.Parallel()
	var cfg ring.Config
	for room, want := range goldenRooms {
		if got := cfg.Room(room); got != want {
			t.Errorf("room %q is in partition %d, was %d", room, got, want)
		}
	}
	for user, want := range goldenUsers {
		if got := cfg.User(user); got != want {
			t.Errorf("user %d is in partition %d, was %d", user, got, want)
		}
		if got := ring.PartitionOf("user/"+user.String(), 0); got != want {
			t.Errorf("user %d: %d by name", user, got)
		}
	}
	r := mustNew(t, cfg, names(12))
	if got := r.Digest(); got != goldenDigest {
		t.Errorf("digest %#x, was %#x", got, uint64(goldenDigest))
	}
	for p, want := range goldenOwners {
		if got, _ := r.Owner(p); got != want {
			t.Errorf("partition %d belongs to %s, was %s", p, got, want)
		}
	}
}

func TestKeysSpread(t *testing.T) {
	t.Parallel()
	cfg := ring.Config{Partitions: 101}
	counts := make(map[protocol.PartitionID]int)
	const keys = 40_000
	for i := range keys / 2 {
		counts[cfg.Room(protocol.RoomID(fmt.Sprint(i)))]++
		counts[cfg.User(protocol.UserID(i+1))]++
	}
	sizes := make([]int, 0, len(counts))
	for _, n := range counts {
		sizes = append(sizes, n)
	}
	slices.SortFunc(sizes, cmp.Compare[int])
	if len(sizes) != cfg.Partitions || sizes[0] < keys/101*3/4 || sizes[len(sizes)-1] > keys/101*5/4 {
		t.Errorf("%d partitions hold %d to %d keys", len(sizes), sizes[0], sizes[len(sizes)-1])
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	r := mustNew(t, ring.Config{}, names(10))
	var cfg ring.Config
	room, user := protocol.RoomID("call/9f1c-77"), protocol.UserID(math.MaxInt64)
	if n := testing.AllocsPerRun(1000, func() {
		owner, _ := r.Owner(cfg.Room(room))
		other, _ := r.Owner(cfg.User(user))
		keep = owner < other
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// keep stops the compiler from leaving out what nobody reads.
var keep bool

func BenchmarkOwnerOfRoom(b *testing.B) {
	r := mustNew(b, ring.Config{}, names(10))
	var cfg ring.Config
	b.ReportAllocs()
	for b.Loop() {
		owner, _ := r.Owner(cfg.Room("1000234"))
		keep = owner == ""
	}
}

func BenchmarkOwnerOfUser(b *testing.B) {
	r := mustNew(b, ring.Config{}, names(10))
	var cfg ring.Config
	b.ReportAllocs()
	for b.Loop() {
		owner, _ := r.Owner(cfg.User(123456789))
		keep = owner == ""
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{3, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			members := names(n)
			rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { members[i], members[j] = members[j], members[i] })
			for b.Loop() {
				mustNew(b, ring.Config{}, members)
			}
		})
	}
}

func BenchmarkDiff(b *testing.B) {
	before, after := mustNew(b, ring.Config{}, names(10)), mustNew(b, ring.Config{}, names(11))
	for b.Loop() {
		keep = len(ring.Diff(before, after)) == 0
	}
}
