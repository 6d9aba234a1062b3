//go:build linux

// Command speed measures whole processes against each other: `rollcall serve`,
// with a redis-server and everything on (HS256 sids, signed frames, seq and
// history, metrics), and a bare websocket server on the same library that keeps
// rooms in a map and sends with its Broadcaster. Both are driven by the same
// client in the same run, one after the other.
//
//	go run ./internal/speed                 # every row, once
//	go run ./internal/speed -runs 5 flood   # the median of five
//
// A server's CPU is what the kernel charged its process (/proc/PID/stat). The
// client is one reader over epoll that counts frames by their headers and never
// looks into them: on a machine that it shares with the servers, what it takes
// is taken from them.
//
// It is no load generator for clusters of others; that is loadtest.
package main
