// Package owner runs the partitions that this node owns.
//
// Partition p is served by loop p mod Loops and by nothing else: that goroutine
// alone reads and changes the rooms of p, from the claim (take) to the handoff.
// Everything that wants something of a room becomes a message in that loop's
// mailbox: commands from edges and the backend, answers of the store, outcomes
// of notices, changes of the ring, deaths of edges.
//
// What a room answers to a command takes effect in two steps. Its changes join
// the partition's open batch; one batch of a partition is on its way to the
// journal at any time, and the next leaves with the answer. Only when a batch
// is committed are its effects performed: replies, publications, notices,
// subscriptions, events. An owner that learns it was outranked drops the
// partition with everything that was not committed.
//
// Each loop has two helpers, started by Run: one asks the journal, one claims
// partitions. Both hold one request at a time and post the answer to the loop.
//
// The package is not the place where users' records are changed, nor does it
// know how messages reach other nodes: see Journal, Edges and Config.
package owner
