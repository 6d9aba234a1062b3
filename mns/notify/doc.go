// Package notify brings publications to the subscriptions that must not miss
// them: queues, rooms, and HTTP endpoints.
//
// A queue or a room gets a publication in the publish itself. What is for an
// HTTP endpoint, or could not be delivered, goes to a queue of our own,
// from which the workers of any node take it; so a delivery outlives the node
// that took the publication. A failed delivery is put back with a delay,
// according to its subscription's strategy, and given up after the last try.
//
// One endpoint gets a few deliveries at a time, so that a slow one does not hold
// up the others; what is over that waits in the queue. Goroutines belong to Run.
package notify
