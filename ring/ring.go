// Package ring assigns partitions to nodes.
//
// A Ring is a table computed from a set of members and nothing else: two nodes
// that know the same members have the same table without asking each other. It
// knows nothing of liveness, leases or epochs; what a member may do with a
// partition that the ring gives it is decided by the store.
//
// The package is pure: it starts no goroutine, reads no clock and keeps no
// state. It is the only user of buraksezer/consistent and xxhash.
package ring

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"

	"github.com/faac1247/rollcall/protocol"
)

// maxMembers is how many members the table's two-byte indexes can name.
const maxMembers = math.MaxUint16

// Ring is the assignment of every partition to one member. It is immutable:
// all methods are safe for concurrent use and none takes a lock.
type Ring struct {
	config  Config
	members []protocol.NodeID // sorted, each once
	owners  []uint16          // partition → index in members; nil when empty
	digest  uint64
}

// New computes the ring of a set of members.
//
// The order of members and repetitions in it make no difference. No members
// make an empty ring, where nobody owns anything. Placement takes time that
// grows with the square of the members (see BenchmarkNew), so a caller that
// follows a changing cluster computes one ring per settled view, not one per
// event.
//
// An error means that these members cannot be placed; the caller keeps the
// ring that it has.
func New(cfg Config, members []protocol.NodeID) (*Ring, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	sorted := slices.Clone(members)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	if len(sorted) > maxMembers {
		return nil, fmt.Errorf("ring of %d members: at most %d", len(sorted), maxMembers)
	}
	if len(sorted) > 0 && sorted[0] == "" {
		return nil, fmt.Errorf("ring of %d members: one has no name", len(sorted))
	}
	owners, err := place(cfg, sorted)
	if err != nil {
		return nil, fmt.Errorf("ring of %d members: %w", len(sorted), err)
	}
	return &Ring{config: cfg, members: sorted, owners: owners, digest: digest(cfg, sorted)}, nil
}

// Owner returns the member that holds a partition in this ring, and false when
// the ring is empty or has no such partition.
//
// Nodes that have not heard the same gossip disagree until it converges: who
// acts on the answer sends its epoch along and must be ready to be outranked.
//
// Hot: once for each command and each end_point (BenchmarkOwnerOfRoom,
// BenchmarkOwnerOfUser).
func (r *Ring) Owner(p protocol.PartitionID) (protocol.NodeID, bool) {
	if int(p) >= len(r.owners) {
		return "", false
	}
	return r.members[r.owners[p]], true
}

// Owned returns the partitions of one member in ascending order, none for a
// node that is no member.
func (r *Ring) Owned(node protocol.NodeID) []protocol.PartitionID {
	at, ok := slices.BinarySearch(r.members, node)
	if !ok {
		return nil
	}
	owned := make([]protocol.PartitionID, 0, len(r.owners)/len(r.members)+1)
	for p, owner := range r.owners {
		if int(owner) == at {
			owned = append(owned, protocol.PartitionID(p))
		}
	}
	return owned
}

// Members returns the members in ascending order. The caller may keep and
// change the slice.
func (r *Ring) Members() []protocol.NodeID { return slices.Clone(r.members) }

// Has reports whether a node is a member.
func (r *Ring) Has(node protocol.NodeID) bool {
	_, ok := slices.BinarySearch(r.members, node)
	return ok
}

// Partitions returns how many partitions the ring has, also when it is empty.
func (r *Ring) Partitions() int { return r.config.Partitions }

// Shape returns what all nodes must have in common to compute this ring.
func (r *Ring) Shape() protocol.ClusterShape { return r.config.Shape() }

// Digest fingerprints everything that the table depends on: the members, the
// configuration, the hash and the algorithm. Rings with equal digests are equal
// tables. Digests are equal or not, never older or newer.
func (r *Ring) Digest() uint64 { return r.digest }

// Move is a partition that has another owner in a later ring. From or To is
// empty where that ring is.
type Move struct {
	Partition protocol.PartitionID
	From, To  protocol.NodeID
}

// Diff returns the partitions whose owner differs between two rings of one
// configuration, in ascending order. A nil ring counts as an empty one. It
// panics when the two rings have different numbers of partitions, which no
// running cluster can come to.
func Diff(from, to *Ring) []Move {
	if from != nil && to != nil && from.config.Partitions != to.config.Partitions {
		panic(fmt.Sprintf("ring: diff of %d and %d partitions", from.config.Partitions, to.config.Partitions))
	}
	var moves []Move
	for p := range max(from.placed(), to.placed()) {
		id := protocol.PartitionID(p)
		before, after := from.ownerOrNone(id), to.ownerOrNone(id)
		if before != after {
			moves = append(moves, Move{Partition: id, From: before, To: after})
		}
	}
	return moves
}

func (r *Ring) placed() int {
	if r == nil {
		return 0
	}
	return len(r.owners)
}

func (r *Ring) ownerOrNone(p protocol.PartitionID) protocol.NodeID {
	if r == nil {
		return ""
	}
	owner, _ := r.Owner(p)
	return owner
}

// place runs the library over sorted, distinct members and copies its result.
//
// The library panics when a table cannot be filled and keeps its state behind
// a lock, so it is used for as long as one table takes and never afterwards.
func place(cfg Config, members []protocol.NodeID) (owners []uint16, err error) {
	if len(members) == 0 {
		return nil, nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			owners, err = nil, fmt.Errorf("place %d partitions: %v", cfg.Partitions, cause)
		}
	}()
	placed := make([]consistent.Member, len(members))
	for i, id := range members {
		placed[i] = member{id: id, index: uint16(i)}
	}
	table := consistent.New(placed, consistent.Config{
		Hasher:            hasher{},
		PartitionCount:    cfg.Partitions,
		ReplicationFactor: cfg.Replication,
		Load:              cfg.Load,
	})
	owners = make([]uint16, cfg.Partitions)
	for p := range owners {
		owners[p] = table.GetPartitionOwner(p).(member).index
	}
	return owners, nil
}

// digest lays out everything the table depends on without ambiguity, each name
// behind its length, and hashes it.
func digest(cfg Config, members []protocol.NodeID) uint64 {
	b := append([]byte(nil), Hash...)
	b = binary.AppendUvarint(b, uint64(cfg.Partitions))
	b = binary.AppendUvarint(b, uint64(cfg.Replication))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(cfg.Load))
	for _, id := range members {
		b = binary.AppendUvarint(b, uint64(len(id)))
		b = append(b, id...)
	}
	return xxhash.Sum64(b)
}

// member is a node as the library takes it.
type member struct {
	id    protocol.NodeID
	index uint16
}

func (m member) String() string { return string(m.id) }

// hasher is xxhash as the library takes it. FNV would leave members with more
// than three times the average.
type hasher struct{}

func (hasher) Sum64(b []byte) uint64 { return xxhash.Sum64(b) }
