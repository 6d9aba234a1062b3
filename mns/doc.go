// Package mns is the chat pipeline: an HTTP interface compatible with Alibaba
// Cloud MNS (2015-06-06), with its queues, topics and subscriptions, and the
// websocket push at /mns.
//
// What is kept is kept by a Store, which all nodes of a cluster share; a Server
// holds the connections, checks signatures and rights, and speaks XML. Any node
// takes any request. Waiting is package poll's, pushing to websockets package
// push's, delivering to queues and HTTP endpoints package notify's.
//
// The handler runs on its caller's HTTP server; see Server.HTTPServer for one
// with the timeouts that suit it. All else runs in Server.Run.
//
// The connection of a client that has shown its key is taken over from net/http
// as long as its requests are plain; the first that is not gives it back, see
// express.go.
//
// # Conformance
//
// Each point of the conformance list is a test of its number, over real sockets
// with two nodes on one redis-server:
//
//	C01 to C08  conform_http_test.go     signatures, dates, digests, the form of answers
//	C09 to C13  conform_queue_test.go    queues
//	C14 to C22  conform_message_test.go  messages
//	C23 to C30  conform_poll_test.go     long polls
//	C31 to C34  conform_topic_test.go    topics and subscriptions
//	C35 to C43  conform_socket_test.go   websockets, and the whole story
//
// What the tests of messages send at one node they receive at the other, but for
// batches and what is only peeked at. C09, C13, C16, C24 to C26, C28, C30, C31,
// C34, C38, C42 and C43 have more that is begun at one node and seen at the
// other; the rest keeps to one. Waits that last too long for a test on real
// sockets, of C23, C35 and C40, are in virtual time in virtual_test.go; the
// signatures that C01 and C04 must give are in package sign. hostile_test.go has
// what no good client sends.
package mns
