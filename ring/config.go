package ring

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/faac1247/rollcall/protocol"
)

// What a zero Config means. Measured over 20 sets of names: joins move 1/(N+1)
// of the partitions, none of them between two members that stay, and the
// fullest of ten members has 1.17 times the average.
const (
	DefaultPartitions  = 4093
	DefaultReplication = 100
	DefaultLoad        = 1.25
)

// Hash names the hash function and the placement algorithm with its version.
// Nodes with different values place partitions differently and must not share
// a cluster. consistent 0.10 and 1.0 differ, so the library is pinned.
const Hash = "consistent1-xxhash64"

// The limits that Validate holds a Config to. Below minLoad the last members
// on the ring are filled by overflow and a join moves partitions between
// members that stay; below 1 there is no room for all partitions.
const (
	maxPartitions  = 1 << 16
	maxReplication = 1000
	minLoad        = 1.1
	maxLoad        = 16
)

// userPrefix keeps users and rooms apart before the hash. No room has it: a
// room's name has no slash, a call's begins with another word.
const userPrefix = "user/"

// Config fixes how partitions are numbered and placed. It is the same on all
// nodes for the life of a cluster. The zero value is the default.
type Config struct {
	// Partitions is how many partitions there are, at most 65536. A prime
	// spreads keys best. 0 is DefaultPartitions.
	Partitions int
	// Replication is how many points a member has on the ring. More points
	// balance better and take longer to place. 0 is DefaultReplication.
	Replication int
	// Load bounds a member's share: no member has more than
	// ceil(Partitions/members × Load) partitions. A lower one balances better
	// at the price of moves between members that stay. 0 is DefaultLoad.
	Load float64
}

// Validate reports all faults of the configuration at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	if c.Partitions < 1 || c.Partitions > maxPartitions {
		faults = append(faults, fmt.Errorf("ring partitions %d: not within 1 to %d", c.Partitions, maxPartitions))
	}
	if c.Replication < 1 || c.Replication > maxReplication {
		faults = append(faults, fmt.Errorf("ring replication %d: not within 1 to %d", c.Replication, maxReplication))
	}
	if !(c.Load >= minLoad && c.Load <= maxLoad) {
		faults = append(faults, fmt.Errorf("ring load %v: not within %v to %v", c.Load, minLoad, maxLoad))
	}
	return errors.Join(faults...)
}

// Room returns the partition of a room or call.
func (c Config) Room(room protocol.RoomID) protocol.PartitionID {
	return PartitionOf(string(room), c.Partitions)
}

// User returns the partition that holds a user's record.
func (c Config) User(user protocol.UserID) protocol.PartitionID {
	var key [len(userPrefix) + 20]byte
	b := strconv.AppendInt(append(key[:0], userPrefix...), int64(user), 10)
	return partition(xxhash.Sum64(b), c.Partitions)
}

// Shape returns what all nodes of the cluster must have in common.
func (c Config) Shape() protocol.ClusterShape {
	c = c.withDefaults()
	return protocol.ClusterShape{
		Partitions:  c.Partitions,
		Hash:        Hash,
		Load:        c.Load,
		Replication: c.Replication,
	}
}

// PartitionOf returns the partition of a key among a number of partitions, 0
// for DefaultPartitions. The answer never changes: records are stored by it.
func PartitionOf(key string, partitions int) protocol.PartitionID {
	return partition(xxhash.Sum64String(key), partitions)
}

func partition(hash uint64, partitions int) protocol.PartitionID {
	if partitions == 0 {
		partitions = DefaultPartitions
	}
	return protocol.PartitionID(hash % uint64(partitions))
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = DefaultPartitions
	}
	if c.Replication == 0 {
		c.Replication = DefaultReplication
	}
	if c.Load == 0 {
		c.Load = DefaultLoad
	}
	return c
}
