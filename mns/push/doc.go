// Package push brings publications to websockets.
//
// A Hub knows which connections want what of which topic, and follows a topic
// only while somebody here does. A publication is laid out as a frame once and
// put into the queue of every connection that wants it; that never blocks, so a
// slow client costs nobody else anything.
//
// A frame that waits alone is held as it is, shared by all who wait for it. More
// need a queue, with a bucket for each importance. What waits leaves with
// the most important first, in the order of publication within one importance,
// as much as there is in one write. When the queue is full the least important
// goes, the oldest first; when only what must be kept is left, the client is too
// slow and is closed. A few workers write to all connections in turn; one has a
// goroutine for its writing only while its socket is full, and memory only while
// something waits.
//
// The package knows nothing of signatures or keys: it hands what clients say to
// its Handler, which subscribes them. Goroutines belong to Run.
//
// Locks are taken in the order Hub, audience, Conn.
package push
