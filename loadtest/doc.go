// Command loadtest puts a Rollcall cluster under load and judges what its users
// see: how long frames take, who is lost, who is still listed but gone.
//
//	go run ./loadtest --clients 10000 --rooms 1000 --scenario steady --duration 30s --report report.html
//
// Every simulated user is a whole client of package client, over a socket of its
// own. What is done is done at times fixed beforehand, whether or not what came
// before has been answered, and latencies count from those times: a server that
// stalls is seen to stall (no coordinated omission). More users than one process
// has file descriptors for are shared out to several; the first one starts the
// others, tells them when to do what, and merges what they measured.
//
// The exit status is 0, 1 when something given as a limit (--max-…) was missed
// or nothing could be measured, 2 for a wrong call.
package main
