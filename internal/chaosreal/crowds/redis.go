//go:build linux

package main

import (
	"syscall"
	"time"
)

const (
	// redisEvery is the time between two kills of Redis.
	redisEvery = 30 * time.Second
	// redisDown is how long what starts a killed Redis again takes to notice.
	redisDown = time.Second
)

// durable has a redis-server write down what it is told, in the way that
// docs/operations.md wants: a kill may cost what it acknowledged last.
func durable() []string { return []string{"--appendonly", "yes", "--appendfsync", "everysec"} }

// redis has Redis killed every thirty seconds, and started on its files, while
// people live.
func redis(l *lab) error {
	l.stores = oneStore(durable()...)
	return l.live(trouble{what: "Redis killed and started again", every: redisEvery, spares: true, strike: func(int) error {
		s, at := l.stage.stores[0], time.Now()
		_ = s.end(syscall.SIGKILL, storeLimit) // the error is that it was killed
		time.Sleep(redisDown)
		err := s.start()
		l.note("Redis takes commands again %s after its kill", time.Since(at).Round(time.Millisecond))
		return err
	}})
}
