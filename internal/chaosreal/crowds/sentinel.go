//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// failEvery is the time between two kills of the master.
	failEvery = 60 * time.Second
	// masterName is what the Sentinels call it.
	masterName = "crowds"
	// sentinels is how many there are, quorum how many must agree.
	sentinels, quorum = 3, 2
	// downAfter is how long the Sentinels wait for a sign of the master's.
	downAfter = 2 * time.Second
	// failoverLimit is how long they may take to name another one, and who was
	// killed to follow it.
	failoverLimit = 60 * time.Second
)

// guarded is a master and its replica, and the Sentinels that watch them.
type guarded struct {
	stage     *stage
	pair      []*store
	sentinels []*store
}

// sentinel has the master killed every minute while people live. It comes back,
// and becomes the other's replica, as soon as that is the master. What it had
// acknowledged and not passed on is lost with it.
func sentinel(l *lab) error {
	g := &guarded{}
	l.stores = func(st *stage) (string, error) {
		g.stage = st
		return g.open()
	}
	return l.live(trouble{what: "masters killed, and failed over from", every: failEvery, spares: true, strike: func(int) error {
		i, err := g.master()
		if err != nil {
			return err
		}
		at := time.Now()
		_ = g.pair[i].end(syscall.SIGKILL, storeLimit) // the error is that it was killed
		err = within(failoverLimit, func() error {
			if now, err := g.master(); err != nil || now == i {
				return fmt.Errorf("the Sentinels name nobody else: %w", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		named := time.Since(at)
		if err := g.pair[i].start(); err != nil {
			return err
		}
		err = within(failoverLimit, g.whole)
		l.note("another master after %s, and it has a replica after %s", named.Round(time.Millisecond), time.Since(at).Round(time.Millisecond))
		return err
	}})
}

// open starts them all and returns the URL by which nodes find the master.
func (g *guarded) open() (string, error) {
	master, err := g.stage.openStore(durable()...)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(master.address)
	if err != nil {
		return "", err
	}
	replica, err := g.stage.openStore(append(durable(), "--replicaof", host, port)...)
	if err != nil {
		return "", err
	}
	g.pair = []*store{master, replica}
	var addresses []string
	for range sentinels {
		s, err := g.stage.openSentinel(fmt.Sprintf("sentinel monitor %s %s %s %d\nsentinel down-after-milliseconds %s %d\nsentinel failover-timeout %s %d\n",
			masterName, host, port, quorum, masterName, downAfter.Milliseconds(), masterName, (5 * downAfter).Milliseconds()))
		if err != nil {
			return "", err
		}
		g.sentinels, addresses = append(g.sentinels, s), append(addresses, s.address)
	}
	return "redis://" + strings.Join(addresses, ",") + "?master=" + masterName, within(failoverLimit, g.whole)
}

// openSentinel starts a Sentinel.
func (st *stage) openSentinel(settings string) (*store, error) {
	s, err := newStore(st.dir, st.address(0))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "sentinel.conf") // which it rewrites
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return nil, err
	}
	s.command = []string{"redis-server", file, "--sentinel", "--bind", host, "--port", port, "--protected-mode", "no", "--dir", s.dir}
	st.stores = append(st.stores, s)
	return s, s.start()
}

// master is the number of the one that the Sentinels name.
func (g *guarded) master() (int, error) {
	said, err := g.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
	if err != nil {
		return 0, err
	}
	for i, s := range g.pair {
		if net.JoinHostPort(firstTwo(said)) == s.address {
			return i, nil
		}
	}
	return 0, fmt.Errorf("the Sentinels name %q", said)
}

// firstTwo splits an answer of two lines.
func firstTwo(lines string) (host, port string) {
	host, port, _ = strings.Cut(lines, "\n")
	return host, port
}

// whole is nil while the master has a replica that keeps up, and enough Sentinels
// see that to fail over to it.
func (g *guarded) whole() error {
	i, err := g.master()
	if err != nil {
		return err
	}
	faults := []error{
		g.pair[i].says("role:master", "INFO", "replication"), g.pair[i].says("state=online", "INFO", "replication"),
		g.pair[1-i].says("master_link_status:up", "INFO", "replication"),
	}
	for _, s := range g.sentinels {
		faults = append(faults, s.says("OK", "SENTINEL", "CKQUORUM", masterName),
			s.says("slaves=1,sentinels=3", "INFO", "sentinel"), s.says("status=ok", "INFO", "sentinel"))
	}
	return errors.Join(faults...)
}
