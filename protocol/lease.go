package protocol

import (
	"errors"
	"time"
)

// Leases is what the store answers to a renewal: everything that one node has
// to know about the lives of the others. All times are the store's.
type Leases struct {
	// Now is the store's clock when it answered.
	Now time.Time
	// Until holds the end of every lease that has been granted and neither
	// released nor turned into a tombstone. A past end means that the
	// incarnation may be buried.
	Until map[Incarnation]time.Time
	// Tombstones holds the moment of death of every incarnation known dead.
	Tombstones map[Incarnation]time.Time
	// Store names the store's present life. When it differs from the answer
	// before, the store was emptied, replaced, restarted or failed over and may
	// hold less than it once acknowledged: the nodes register the shape again
	// and put back what they hold. It may change without such a cause.
	Store string
}

// ErrBuried means that the incarnation has a tombstone: it never returns.
var ErrBuried = errors.New("incarnation has a tombstone")

// ErrLeaseLive means that the incarnation's lease has not ended.
var ErrLeaseLive = errors.New("lease has not ended")

// LeaseRenewal asks for a lease of Length from the store's now on.
type LeaseRenewal struct {
	Incarnation Incarnation
	Length      time.Duration
}

// ClusterShape is what all nodes of a cluster must have in common. The first
// node writes it to the store; a node with another one is refused.
type ClusterShape struct {
	Partitions  int
	Hash        string
	Load        float64
	Replication int
}
