// Package gossip tells a node who the other nodes are.
//
// It wraps memberlist, whose only user it is beside the network that tests run
// on, and turns its callbacks into immutable views: every member, the life it
// is in, what it advertises, and whether it is alive, has left or has failed.
// A member that crashes is failed in every view in less than two seconds, and
// one that was cut off is back within ten seconds of the heal.
//
// A view is hearsay. It says whom to ask and whom to suspect, never who owns
// what: that is decided by leases and epochs in the store. Two nodes may hold
// different views for as long as news takes to spread, and a pause of a second
// makes a member fail here that was never gone.
//
// Run starts all goroutines and returns after the last. memberlist calls back
// while it holds its own lock, so a callback copies what it is given, updates
// the roster behind the package's one lock, and returns; nothing here calls
// memberlist from a callback or while that lock is held.
//
// Whoever holds a gossip key is trusted: it can announce and denounce any
// member. Without keys that is everyone who reaches the port.
package gossip
