//go:build !linux

package mns_test

// The benchmarks are for Linux, as what they measure is.
const swarmEnv = "MNS_BENCH_SWARM"

func runSwarm(string) int { return 1 }
