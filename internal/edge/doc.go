// Package edge is a node's websocket side: it holds the clients' connections,
// judges their heartbeats, delivers what owners publish, and passes on to
// owners what clients say. It decides nothing about rooms: who is in one is the
// owner's word, which comes as subscriptions, and where a user is stands in the
// user's record, which an edge changes in two ways only, by a connection that
// came and by one that is gone.
//
// The life of a connection. A request is let in, its sid judged, the socket
// upgraded (door.go, connect.go). The store gives the connection its number;
// create_token is the first frame; from then on the session is found by its
// user (registry.go) and the owners of the user's places hear of it. Its frames
// are read by one goroutine (reader.go), which does what they ask for or puts
// it into the session's queue of tasks (action.go). Its end is decided once, as
// one of four fates (session.go): lost, kicked, superseded or sent away. Only
// the first two are told: to the store, and when the store says that no newer
// connection has come, to the owners (loss.go).
//
// The life of a publication. It is held against the place in its room that was
// reached (track.go, room.go); what is missing is fetched once for all (gap.go);
// then it goes to the room's audience in package outbox, which owns all writing.
//
// Locks, of which at most one is held at a time, save that taking one of a
// later line under one of an earlier line is allowed:
//
//	a partition's mu
//	fetches.mu, session.mu
//	losses.mu, wheel.mu, a shard's mu, an outbox's own
//
// Goroutines: Run starts the judge of heartbeats and the outbox's workers.
// Connections have one reader each. Workers of tasks, losses and fetches exist
// while there is work, bounded each. Run waits for all.
package edge
