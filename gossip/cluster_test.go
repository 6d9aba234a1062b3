package gossip_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/simnet"
	"github.com/faac1247/rollcall/protocol"
)

// shape is that of every test cluster.
var shape = protocol.ClusterShape{Partitions: 4093, Hash: "h", Load: 1.25, Replication: 100}

// node is one running Gossip.
type node struct {
	*gossip.Gossip
	id   protocol.NodeID
	host string
	stop context.CancelFunc
	done chan error
}

// cluster runs nodes on a network in memory.
type cluster struct {
	t     *testing.T
	net   *simnet.Network
	nodes []*node
}

// inBubble runs a test in virtual time and stops whatever it leaves running.
func inBubble(t *testing.T, test func(*testing.T, *cluster)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runCluster(t, test)
	})
}

func runCluster(t *testing.T, test func(*testing.T, *cluster)) {
	c := &cluster{t: t, net: simnet.New(simnet.Config{
		Quality: simnet.Quality{Latency: 500 * time.Microsecond, Jitter: 500 * time.Microsecond},
		Rand:    rand.New(rand.NewPCG(rand.Uint64(), 1)),
	})}
	defer c.net.Close()
	defer func() {
		for _, n := range c.nodes {
			n.halt(t)
		}
	}()
	test(t, c)
}

// config returns what a node starts with. Its seed is the first node.
func config(i int, boot string) gossip.Config {
	return gossip.Config{
		Node:   protocol.NodeID(fmt.Sprintf("n%02d", i)),
		Meta:   gossip.Meta{Boot: boot, State: gossip.Serving, Shape: shape, Format: 1},
		Join:   []string{address(0)},
		Logger: slog.New(slog.DiscardHandler),
	}
}

func hostOf(i int) string  { return fmt.Sprintf("10.0.0.%d", i+1) }
func address(i int) string { return hostOf(i) + ":7946" }

// start runs the i-th node on its host.
func (c *cluster) start(i int, boot string, changes ...func(*gossip.Config)) *node {
	c.t.Helper()
	return c.startAt(hostOf(i), i, boot, changes...)
}

// startAt runs the i-th node on any host.
func (c *cluster) startAt(host string, i int, boot string, changes ...func(*gossip.Config)) *node {
	c.t.Helper()
	cfg := config(i, boot)
	tr, err := c.net.Host(host).Transport(7946)
	if err != nil {
		c.t.Fatal(err)
	}
	cfg.Transport = tr
	for _, change := range changes {
		change(&cfg)
	}
	n := run(c.t, cfg)
	n.host = host
	c.nodes = append(c.nodes, n)
	return n
}

// run starts a Gossip.
func run(t *testing.T, cfg gossip.Config) *node {
	t.Helper()
	g, err := gossip.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n := &node{Gossip: g, id: cfg.Node, stop: stop, done: make(chan error, 1)}
	go func() { n.done <- g.Run(ctx) }()
	return n
}

// halt stops a node and waits for it. It may be called again.
func (n *node) halt(t *testing.T) {
	t.Helper()
	n.stop()
	if err := <-n.done; err != nil {
		t.Errorf("run of %s: %v", n.id, err)
	}
	n.done <- nil
}

// startAll runs n nodes and waits until all know all.
func (c *cluster) startAll(n int, changes ...func(*gossip.Config)) {
	c.t.Helper()
	for i := range n {
		c.start(i, "b1", changes...)
	}
	c.within(15*time.Second, "start", func() bool { return everyoneSees(c.nodes, n, gossip.Alive) })
}

// kill ends a node as kill -9 does and waits for what is left of it.
func (c *cluster) kill(n *node) {
	c.t.Helper()
	c.net.Kill(n.host)
	n.halt(c.t)
}

// within waits in virtual time for something to become true and returns how
// long that took.
func (c *cluster) within(limit time.Duration, what string, is func() bool) time.Duration {
	c.t.Helper()
	start := time.Now()
	for !is() {
		if time.Since(start) > limit {
			views := make([]string, 0, len(c.nodes))
			for _, n := range c.nodes {
				views = append(views, string(n.id)+" sees "+n.View().String())
			}
			c.t.Fatalf("%s: not within %v\n%s", what, limit, strings.Join(views, "\n"))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// sees reports whether a node's view has a life of a node in a state.
func (n *node) sees(id protocol.NodeID, boot string, state gossip.MemberState) bool {
	m, ok := n.View().Member(id)
	return ok && m.State == state && m.Incarnation == protocol.NewIncarnation(id, boot)
}

// counts returns how many members a node sees in a state.
func (n *node) counts(state gossip.MemberState) int {
	count := 0
	for _, m := range n.View().Members {
		if m.State == state {
			count++
		}
	}
	return count
}

// everyoneSees reports whether each node sees so many members in a state.
func everyoneSees(nodes []*node, count int, state gossip.MemberState) bool {
	return !slices.ContainsFunc(nodes, func(n *node) bool { return n.counts(state) != count })
}

// allSee reports whether each node sees a life of a node in a state.
func allSee(nodes []*node, id protocol.NodeID, boot string, state gossip.MemberState) bool {
	return !slices.ContainsFunc(nodes, func(n *node) bool { return !n.sees(id, boot, state) })
}

// sinceOf returns since when each node sees a node as it does.
func sinceOf(nodes []*node, id protocol.NodeID) []time.Time {
	times := make([]time.Time, 0, len(nodes))
	for _, n := range nodes {
		m, _ := n.View().Member(id)
		times = append(times, m.Since)
	}
	return times
}
