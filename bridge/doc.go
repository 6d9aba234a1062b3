// Package bridge keeps what outlives a node: the lives of incarnations, the
// fenced journal of partitions, the outbox of events, the records of users, and
// the pub/sub channels of the inbox. It is the only user of go-redis.
//
// There are two stores. Redis talks to a Redis or Valkey server, alone, behind
// Sentinel or as a Cluster. Memory lives in one process and can be made slow,
// silent, forgetful or unreachable, client by client, for tests in virtual time.
// Both pass the same suite, and a node is given either through the interfaces
// that it declares itself.
//
// Everything that must be atomic is a script in scripts/. A script touches one
// partition or the leases, whose keys share a hash tag, declares all its keys,
// reads the clock of its own server and decides before it writes, so that it is
// applied whole or not at all. No call is ever repeated by the client library.
//
// Keys, under the prefix and for partition 7:
//
//	{leases}:leases       sorted set: incarnation by the end of its lease
//	{leases}:tombstones   sorted set: incarnation by the moment of its death
//	{leases}:shape        what all nodes have in common, JSON
//	{leases}:store        a name drawn when the store was empty
//	{leases}:pubsub       sharded or classic; Cluster only
//	{p7}:o                header of the journal: format, epoch, position, owner
//	{p7}:j                hash: the journal's entries
//	{p7}:q and {p7}:n     list: the outbox; hash: how many were added and posted
//	{p7}:u                hash: the records of users, JSON
//	{p7}:e                sorted set: "edge user connection", all of score 0
//	{p7}:i                hash: intents, JSON, by "incarnation user version"
//	{p7}:k                hash: a user's last 16 idempotency keys, JSON
//
// The connections of all edges are in one sorted set, in which those of an edge
// are neighbours, rather than in a set for each edge: which edge a connection
// supersedes is not known before the record is read, and keys are declared
// before that.
//
// Every error of a store that could not be asked wraps protocol.ErrStoreAway:
// the call may or may not have taken effect. ErrBusy, the refusals named in
// package protocol, and protocol.Error values mean that it has not.
//
// Subscribe and SubscribeEvents run on their caller's goroutine and end what
// they start. Calls that are laid together into pipelines need no goroutine:
// one of the callers carries them all.
package bridge
