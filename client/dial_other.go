//go:build !linux

package client

import "syscall"

// limitUnacknowledged does nothing where the system has no such limit.
func limitUnacknowledged(string, string, syscall.RawConn) error { return nil }
