package clustertest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
)

// sabotages are nodes that break a promise on purpose.
var sabotages = map[string]func(*Options){
	// They go on although they are dead, with partitions that others have taken.
	"skip fencing": onStore(func(s node.Store) node.Store { return &unfenced{Store: s} }),
	// A departure is never told to anybody.
	"forget departures": onClients(func(b []byte) int {
		if bytes.Contains(b, []byte(`"action":"exit_room"`)) {
			return 0
		}
		return 1
	}),
	// A connection that ends is never told of.
	"keep ghosts": onStore(func(s node.Store) node.Store { return haunted{s} }),
	// Clients get publications twice.
	"double deliveries": onClients(func(b []byte) int {
		if bytes.Contains(b, []byte(`"action":"probe"`)) {
			return 2
		}
		return 1
	}),
}

// onClients has what nodes write to their clients written so many times.
func onClients(times func(b []byte) int) func(*Options) {
	return func(o *Options) {
		o.Config = func(_ int, c *node.Config) {
			listen := c.Listener
			c.Listener = func(network, address string) (net.Listener, error) {
				l, err := listen(network, address)
				return repeatingDoor{l, times}, err
			}
		}
	}
}

func onStore(wrap func(node.Store) node.Store) func(*Options) {
	return func(o *Options) {
		inner := o.WrapStore
		o.WrapStore = func(n int, s node.Store) node.Store {
			return wrap(inner(n, s))
		}
	}
}

type unfenced struct {
	node.Store
	latest protocol.Leases
	at     time.Time
}

// Commit says that everything was committed.
func (u *unfenced) Commit(ctx context.Context, commits []protocol.Commit) ([]protocol.CommitStatus, error) {
	statuses, err := u.Store.Commit(ctx, commits)
	for i := range statuses {
		if statuses[i] == protocol.Outranked {
			statuses[i] = protocol.Committed
		}
	}
	return statuses, err
}

// Renew never says that the lease has ended.
func (u *unfenced) Renew(ctx context.Context, r protocol.LeaseRenewal) (protocol.Leases, error) {
	leases, err := u.Store.Renew(ctx, r)
	if err == nil {
		u.latest, u.at = leases, time.Now()
	}
	if !errors.Is(err, protocol.ErrBuried) || u.latest.Until == nil {
		return leases, err
	}
	leases = u.latest
	leases.Now = leases.Now.Add(time.Since(u.at))
	leases.Until, leases.Tombstones = maps.Clone(leases.Until), maps.Clone(leases.Tombstones)
	leases.Until[r.Incarnation] = leases.Now.Add(r.Length)
	return leases, nil
}

type haunted struct{ node.Store }

// Close closes nothing.
func (h haunted) Close(context.Context, protocol.Close) (protocol.Closed, error) {
	return protocol.Closed{}, nil
}

type repeatingDoor struct {
	net.Listener
	times func([]byte) int
}

func (d repeatingDoor) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	return repeatingConn{c, d.times}, err
}

type repeatingConn struct {
	net.Conn
	times func([]byte) int
}

func (c repeatingConn) Write(b []byte) (int, error) {
	for range c.times(b) {
		if n, err := c.Conn.Write(b); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// sabotageLimit is within how many schedules each sabotaged node has to be
// caught.
const sabotageLimit = 100

// The judge itself: whoever breaks a promise is caught.
func TestChaosCatchesSabotage(t *testing.T) {
	for name, sabotage := range sabotages {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			draw := rapid.Custom(drawSchedule)
			for seed := range sabotageLimit {
				if err := runSabotaged(t, draw.Example(seed), sabotage); err != nil {
					t.Logf("caught in schedule %d: %v", seed+1, err)
					return
				}
			}
			t.Errorf("not caught in %d schedules", sabotageLimit)
		})
	}
}
