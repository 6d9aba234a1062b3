// Package simnet is a network in memory for whole nodes in one process: packets
// and streams between named hosts, with latency, loss, cuts, pauses and
// crashes on demand.
//
// It behaves as the real one does where a cluster can tell the difference:
// packets are lost, reordered by jitter and dropped by full queues; streams
// are buffered and ordered, stall without a sign while a path is cut, go on
// where they stopped once it heals, and are reset when the process at the far
// end dies. It does not imitate congestion, retransmission timing or the
// minutes after which a kernel gives a stalled stream up.
//
// Everything blocks on channels and sync.Cond alone and takes its time from
// package time, so a network made inside a testing/synctest bubble runs in
// virtual time. The package starts no goroutine that waits: what comes later
// comes from timers. A network belongs to the bubble that made it.
//
// One mutex guards all state of a Network, the hosts and the streams included.
// It is never held across a wait.
package simnet
