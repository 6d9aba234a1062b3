// Package node is one process of the cluster: the place where gossip, ring,
// owners, edges, inbox and store meet.
//
// A Node lives one life after another. A life has an incarnation; it begins
// with a lease and ends with a drain, with a tombstone (others declared it dead
// while it was paused or cut off) or with isolation. What a life owned, and its
// clients' connections, end with it; the next one starts with a new boot id.
//
// Who changes what:
//   - a partition's rooms: one loop of package internal/owner
//   - who is alive, the ring, the store's state: the membership loop (members.go)
//   - a user's record: scripts of the store, called by places.go and the edge
//   - a connection: its reader and its writer in internal/edge
//
// Everything that must reach another node is routed by router.go and travels
// through internal/inbox.
package node
