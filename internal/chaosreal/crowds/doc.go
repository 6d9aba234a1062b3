// Command crowds has thousands of clients meet what a cluster of real processes
// goes through on a bad day: a rolling restart, drains, nodes or Redis or the
// master of Sentinels killed over and over, Redis away, a storm of reconnects, ten
// times the load that fits, clients that do not read, and the file limit; and
// takes the time until departures are told where nodes and people are killed,
// frozen, silent and cut off.
//
//	go run ./internal/chaosreal/crowds [-clients N] [-times N] [-lasts D] [-every D] [-tls] STORY…
//
// A story starts a redis-server and three nodes, connects its clients with
// package client, makes its trouble and then judges. What it judges by is the
// clients' own record: when each was without a connection, what it heard and in
// which order, and of whose departure it was told. The cluster's counters are
// only asked for what was shed.
//
// All runs on one machine, the clients in this one process: a time that a story
// states has the clients' own work on the same processors in it.
package main
