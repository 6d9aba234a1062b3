// Package webhook posts the events of partitions' outboxes to the backend.
//
// An outbox is committed with the changes that its events tell of, so an event
// is posted at least once whatever crashes: it stays in the outbox until the
// receiver has taken it. A partition's events are posted in their order, one
// post at a time; partitions do not wait for one another, and one that the
// receiver refuses holds up only itself.
//
// # A post
//
// The body is {"events":[…]}, the events as they were committed. Where the
// outbox was full and lost some, {"event":"gap","missed":N} stands in their
// place. With a key there is a header
//
//	X-Rollcall-Signature: t=1767323045,v1=<hex of HMAC-SHA256(key, "1767323045." + body)>
//
// that a receiver checks together with the age of t. Any status but 2xx, and
// no answer in time, mean that the post is made again after a pause, for ever.
//
// # Goroutines
//
// All of them are started by Run and end with it: some that post, and one that
// tells them when.
package webhook
