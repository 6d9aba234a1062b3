// Package integ has only tests: of Rollcall as its users see it. They build the
// program, run its nodes as processes of their own beside a redis-server, and
// talk to them over sockets; no package of the server is called.
//
// A test's words are verbs of a story, as in package clustertest: a cluster is
// started, a node is killed with kill -9, frozen or drained, a phone dials,
// hangs up, reports. What clients heard is the truth that everything else is
// held against. Nothing waits for a time where it can wait for a state.
//
// Most stories share one of a few clusters, with rooms and users of their own;
// those that harm nodes start their own. All clusters live on one Redis, under
// their own names. The flags -integ.runs, -integ.crash and -integ.scale make
// the figures larger than a plain run has the time for.
package integ
