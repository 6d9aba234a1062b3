package gossip_test

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/faac1247/rollcall/gossip"
)

// fakeTransport stands where only the presence of a transport matters.
type fakeTransport struct{ memberlist.NodeAwareTransport }

// realNodes runs n nodes on loopback sockets, encrypted, and waits until all
// know all.
func realNodes(t *testing.T, n int) []*node {
	t.Helper()
	var nodes []*node
	t.Cleanup(func() {
		for _, n := range nodes {
			n.stop()
		}
		for _, n := range nodes {
			n.halt(t)
		}
	})
	for i := range n {
		cfg := config(i, "b1")
		cfg.Bind, cfg.Join, cfg.CrashOnStop = "127.0.0.1:0", nil, true
		cfg.Keys = [][]byte{bytes.Repeat([]byte{7}, 32)}
		if i > 0 {
			first, _ := nodes[0].View().Member(nodes[0].id)
			cfg.Join = []string{first.Addr}
		}
		started := run(t, cfg)
		nodes = append(nodes, started)
		started.await(t, 10*time.Second, "bind", func(v *gossip.View) bool { return len(v.Members) > 0 })
	}
	for _, member := range nodes {
		member.await(t, 10*time.Second, "start", func(*gossip.View) bool { return member.counts(gossip.Alive) == n })
	}
	return nodes
}

// await waits for a node's view to become what is wanted.
func (n *node) await(t *testing.T, limit time.Duration, what string, is func(*gossip.View) bool) {
	t.Helper()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for !is(n.View()) {
		select {
		case <-n.Changed():
		case <-timeout.C:
			t.Fatalf("%s: %s not within %v: %v", n.id, what, limit, n.View())
		}
	}
}

// TestRealCrash is TestCrashIsKnownToAllInTwoSeconds on sockets: ten nodes,
// encrypted, one of which falls silent.
func TestRealCrash(t *testing.T) {
	nodes := realNodes(t, 10)
	crashed := nodes[6]
	start := time.Now()
	crashed.stop()
	rest := slices.Concat(nodes[:6], nodes[7:])
	for _, n := range rest {
		n.await(t, 2*time.Second-time.Since(start), "detection", func(*gossip.View) bool {
			return n.sees(crashed.id, "b1", gossip.Failed)
		})
	}
	t.Logf("all know after %v", time.Since(start))
}

// TestRealLoadFailsNobody keeps all processors busy for a while.
func TestRealLoadFailsNobody(t *testing.T) {
	nodes := realNodes(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	for range 2 * runtime.GOMAXPROCS(0) {
		go func() {
			garbage := make([][]byte, 64)
			for i := 0; ctx.Err() == nil; i++ {
				garbage[i%len(garbage)] = bytes.Repeat([]byte{byte(i)}, 4096)
			}
		}()
	}
	<-ctx.Done()
	for _, n := range nodes {
		for _, m := range n.View().Members {
			// Joined once and alive ever since.
			if m.State != gossip.Alive || time.Since(m.Since) < 4*time.Second {
				t.Errorf("%s sees %s %v since %v", n.id, m.Node, m.State, time.Since(m.Since))
			}
		}
	}
}

// TestRealRestart takes the same port again at once.
func TestRealRestart(t *testing.T) {
	nodes := realNodes(t, 3)
	old := nodes[2]
	self, _ := old.View().Member(old.id)
	seed, _ := nodes[0].View().Member(nodes[0].id)
	old.halt(t)
	cfg := config(2, "b2")
	cfg.Bind, cfg.Join, cfg.CrashOnStop = self.Addr, []string{seed.Addr}, true
	cfg.Keys = [][]byte{bytes.Repeat([]byte{7}, 32)}
	restarted := run(t, cfg)
	defer restarted.halt(t)
	for _, n := range nodes[:2] {
		n.await(t, 5*time.Second, "new life", func(*gossip.View) bool { return n.sees(old.id, "b2", gossip.Alive) })
	}
}

func TestAdvertisedNameIsResolved(t *testing.T) {
	t.Parallel()
	cfg := config(0, "b1")
	cfg.Bind, cfg.Join, cfg.CrashOnStop = "127.0.0.1:0", nil, true
	cfg.Advertise, cfg.Resolver = "n1.test:7000", fixedNames{"n1.test": "127.0.0.9"}
	n := run(t, cfg)
	defer n.halt(t)
	n.await(t, 5*time.Second, "bind", func(v *gossip.View) bool { return len(v.Members) == 1 })
	if m := n.View().Members[0]; m.Addr != "127.0.0.9:7000" {
		t.Errorf("advertises %s", m.Addr)
	}
	cfg.Advertise = "unknown.test"
	g, err := gossip.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil {
		t.Error("it runs without an address")
	}
}

// TestBindFails: the port is taken, and Run says so at once.
func TestBindFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := config(0, "b1")
	cfg.Bind = l.Addr().String()
	g, err := gossip.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil {
		t.Error("it runs on a port that is taken")
	}
}

// fixedNames resolves a few names.
type fixedNames map[string]string

func (f fixedNames) LookupHost(_ context.Context, host string) ([]string, error) {
	if ip, ok := f[host]; ok {
		return []string{ip}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}
