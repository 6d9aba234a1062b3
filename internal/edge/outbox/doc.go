// Package outbox is the writing side of websocket connections: how frames that
// were encoded once reach thousands of sockets, and what happens when one of
// them does not read.
//
// A Conn is a net.Conn that never blocks its writer. What is sent goes out in
// one non-blocking write; what the socket does not take stays in a bounded
// backlog, and one goroutine writes it with a deadline until it is empty. A
// connection that keeps up has no goroutine here. Connections whose write may
// block (TLS, in memory) are always written by that goroutine.
//
// An Audience is the subscribers of one room. What is published is laid end to
// end in shared pages; a Fanout's workers take the audiences with something
// new in turn, and give each subscriber everything since its last turn in one
// write. There is no timer: at a low rate each frame leaves at once, at a high
// rate frames share writes.
//
// Reading is the websocket library's; a Conn only sees to it that a client who
// says nothing costs no goroutine (Attend).
//
// The package knows frames of a websocket and nothing of rooms, users' places
// or owners. Goroutines: the workers belong to Fanout.Run, which also waits for
// the writers that connections started, and the poller of idle connections.
package outbox
