//go:build !linux

package main

import "syscall"

// bindLate has no counterpart here.
func bindLate(string, string, syscall.RawConn) error { return nil }
