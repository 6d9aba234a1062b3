package protocol

import "errors"

// Change sets one entry of a partition's journal, or deletes it when Value is
// nil. Keys are made by package room and opaque to the store.
type Change struct {
	Key   string
	Value []byte
}

// Commit is one fenced change of a partition. The store applies all of it or
// nothing.
//
// After is the position that the partition has once the commit is applied. An
// owner numbers its commits without gaps: the next commit's Before is this
// one's After.
type Commit struct {
	Partition     PartitionID
	Epoch         Epoch
	Owner         Incarnation
	Before, After uint64
	Changes       []Change
	// Events go to the partition's outbox with the change. Empty when nobody
	// subscribed to events.
	Events [][]byte
}

// CommitStatus is the store's verdict on a Commit, Restore or Release.
type CommitStatus uint8

const (
	// Committed: the change is in the store, by this call or by an earlier one
	// whose answer was lost.
	Committed CommitStatus = iota + 1
	// Behind: the store holds an older state of this partition, or none. The
	// owner answers with a Restore of all it holds.
	Behind
	// Outranked: a later epoch owns the partition. The sender stops at once.
	Outranked
)

// Take claims a partition for Owner.
type Take struct {
	Partition PartitionID
	Owner     Incarnation
	// Heard is the highest epoch of this partition that the claimant has
	// heard of, from whomever.
	Heard Epoch
	// Dead lists incarnations that have a tombstone. A partition that one of
	// them holds is free.
	Dead []Incarnation
	// IfAny leaves a partition alone that has never held anything.
	IfAny bool
	// IfHeld leaves a partition alone that the claimant does not hold already.
	IfHeld bool
}

// Taken is the answer to a Take.
type Taken struct {
	// Epoch is the claimant's, 0 when the claim was refused or not needed.
	// It is higher than every epoch that the partition had before.
	Epoch Epoch
	// Position is where the journal stands; the first commit's Before.
	Position uint64
	// Entries is the whole journal of the partition.
	Entries map[string][]byte
	// Former is the partition's epoch before the claim, 0 for none.
	Former Epoch
	// Holder is the living owner that refuses the claim, in the epoch Former.
	Holder Incarnation
}

// Restore replaces a partition in a store that holds an older state of it.
type Restore struct {
	Partition PartitionID
	Epoch     Epoch
	Owner     Incarnation
	Position  uint64
	Entries   map[string][]byte
}

// Release gives a partition up, so that anyone may take it.
type Release struct {
	Partition PartitionID
	Epoch     Epoch
	Owner     Incarnation
	Position  uint64
}

// OutboxEntry is one committed event that waits to be posted.
type OutboxEntry struct {
	ID    string
	Event []byte
}

// ErrStoreAway is wrapped by every error of a store that could not be asked:
// nothing is known about whether the call took effect.
var ErrStoreAway = errors.New("store is away")
