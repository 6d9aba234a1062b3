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
package mns
