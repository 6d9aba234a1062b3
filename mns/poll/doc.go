// Package poll lets receivers wait for messages: long polls.
//
// A receiver that finds nothing waits in line with the others of its queue at
// this node. One goroutine a queue asks the store for all of them at once, when
// the store wakes it, when a message is due, and now and then in case a wake was
// lost. An idle wait costs a goroutine's stack and no Redis connection.
//
// What was received for somebody who has gone meanwhile is given back, as if it
// had never been received. A wait belongs to one life of its queue: when the
// queue is deleted the wait ends, and a queue made anew under the same name does
// not feed it.
//
// The goroutines belong to Run, which ends all waits and returns after the last
// of them.
package poll
