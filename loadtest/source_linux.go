package main

import "syscall"

// bindLate lets a socket have a source address of ours and yet take its port
// only when it connects: the port then has to be free for that one server only,
// not for all.
func bindLate(_, _ string, c syscall.RawConn) error {
	const ipBindAddressNoPort = 24
	var fault error
	err := c.Control(func(fd uintptr) {
		fault = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
	if err != nil {
		return err
	}
	return fault
}
