package integ

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	apiKey = "integ-key"
	// settleTimeout bounds how long nodes may take to start, or to agree.
	settleTimeout = 30 * time.Second
)

// clusterOptions say what is special about a cluster.
type clusterOptions struct {
	nodes int    // 3 by default
	redis string // URL, the tests' common one by default
	// redisOf is the URL for node i, where it is not the same for all.
	redisOf func(i int) string
	lan     *lan // where the nodes are, this machine by default
	mns     bool // the chat pipeline's door is open
	// everywhere: clients may come by all of the machine's addresses.
	everywhere bool
	flags      []string // of every node, after the usual ones
}

// cluster is some nodes, numbered from 1, as one test sees them.
type cluster struct {
	tb testing.TB
	*nodes
}

// nodes are the processes of a cluster and where they listen.
type nodes struct {
	// set by startNodes
	name  string
	opts  clusterOptions
	http  *http.Client
	ports map[int]doors

	// guarded by mu
	mu      sync.Mutex
	running map[int]*process
}

// doors are the ports of one node. It keeps them when it is started again.
type doors struct{ listen, api, admin, gossip, mns int }

// names numbers clusters, rooms and users, so that those of two tests never
// meet.
var names atomic.Int64

// startCluster starts nodes for one test, which ends with them.
func startCluster(tb testing.TB, opts clusterOptions) *cluster {
	tb.Helper()
	n, err := startNodes(opts)
	c := &cluster{tb: tb, nodes: n}
	tb.Cleanup(func() {
		c.reveal()
		n.close()
	})
	if err == nil {
		err = n.settled(settleTimeout)
	}
	if err != nil {
		tb.Fatalf("cluster %s: %v", n.name, err)
	}
	return c
}

func startNodes(opts clusterOptions) (*nodes, error) {
	if opts.nodes == 0 {
		opts.nodes = 3
	}
	n := &nodes{
		name: fmt.Sprintf("c%d", names.Add(1)), opts: opts, ports: map[int]doors{}, running: map[int]*process{},
		http: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	for i := range opts.nodes {
		n.place(i + 1)
	}
	if err := n.forward(); err != nil {
		return n, err
	}
	for i := range opts.nodes {
		if err := n.start(i + 1); err != nil {
			return n, err
		}
	}
	return n, nil
}

// place gives node i its ports.
func (n *nodes) place(i int) {
	if _, ok := n.ports[i]; !ok {
		n.ports[i] = doors{listen: lab.ports.next(), api: lab.ports.next(), admin: lab.ports.next(), gossip: lab.ports.next(), mns: lab.ports.next()}
	}
}

// forward makes the doors of nodes on a LAN reachable where those of others are.
func (n *nodes) forward() error {
	for i, d := range n.ports {
		for _, port := range []int{d.listen, d.api, d.admin} {
			if n.opts.lan == nil {
				continue
			}
			if err := n.opts.lan.forward(at(port), n.opts.lan.at(i, port)); err != nil {
				return err
			}
		}
	}
	return nil
}

func at(port int) string { return fmt.Sprintf("%s:%d", lab.host, port) }

// nodeID is no id that rollcall dev uses, for people clean up after that by name.
func nodeID(i int) string { return fmt.Sprintf("integ%d", i) }

// flags are those of node i, which a test may add to.
func (n *nodes) flags(i int) []string {
	d := n.ports[i]
	redis := n.opts.redis
	if redis == "" {
		redis = lab.redis
	}
	if n.opts.redisOf != nil {
		redis = n.opts.redisOf(i)
	}
	here := func(_, port int) string { return at(port) }
	if n.opts.lan != nil {
		here = n.opts.lan.at
	}
	flags := []string{
		"serve", "--node-id", nodeID(i), "--cluster", n.name, "--redis", redis,
		"--listen", here(i, d.listen), "--api", here(i, d.api), "--api-key", apiKey, "--admin", here(i, d.admin), "--gossip", here(i, d.gossip),
		"--sid-auth", "dev", "--frame-sign", "both", "--log-format", "text",
	}
	if n.opts.mns {
		flags = append(flags, "--mns", at(d.mns), "--mns-key", mnsKey+":"+mnsSecret)
	}
	if n.opts.everywhere {
		flags = append(flags, "--listen", fmt.Sprintf("0.0.0.0:%d", d.listen), "--advertise", "ws://"+at(d.listen))
	}
	if n.opts.lan != nil {
		flags = append(flags, "--advertise", "ws://"+at(d.listen), "--admin-key", apiKey, "--gossip-key", gossipKey(1))
	}
	for j, other := range n.ports {
		if j != i {
			flags = append(flags, "--join", here(j, other.gossip))
		}
	}
	return append(flags, n.opts.flags...)
}

func (n *nodes) logFile(i int) string {
	return filepath.Join(lab.dir, n.name, fmt.Sprintf("n%d.log", i))
}

// start starts node i, with the ports it had if it ran before.
func (n *nodes) start(i int) error {
	n.place(i)
	command := append([]string{lab.binary}, n.flags(i)...)
	if n.opts.lan != nil {
		command = n.opts.lan.inside(i, command)
	}
	p, err := startProcess(n.logFile(i), command[0], command[1:]...)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running[i] = p
	return nil
}

func (n *nodes) node(i int) *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running[i]
}

// forget takes a node that has ended, or is ending, out of what runs.
func (n *nodes) forget(i int) *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.running[i]
	delete(n.running, i)
	return p
}

// numbers lists the nodes that run, in order.
func (n *nodes) numbers() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []int
	for i := range n.running {
		list = append(list, i)
	}
	slices.Sort(list)
	return list
}

func (n *nodes) close() {
	for _, i := range n.numbers() {
		n.forget(i).kill()
	}
	n.http.CloseIdleConnections()
}

// settled waits until every node is ready and all have the same ring of all.
func (n *nodes) settled(d time.Duration) error {
	return poll(d, func() error {
		numbers := n.numbers()
		for _, i := range numbers {
			if err := n.agrees(i, len(numbers)); err != nil {
				return err
			}
		}
		return nil
	})
}

// agrees reports whether node i is ready in a ring of size nodes, and knows no
// other ring.
func (n *nodes) agrees(i, size int) error {
	if p := n.node(i); p == nil || !p.running() {
		return fmt.Errorf("node %d: %w", i, errGone)
	}
	if status, err := n.admin(i, "/readyz"); err != nil || status != http.StatusOK {
		return fmt.Errorf("node %d is not ready: %d %v", i, status, err)
	}
	var view struct {
		Agreed  bool
		Members []struct{ Partitions int }
	}
	if _, err := n.request(http.MethodGet, i, "/v1/cluster", nil, &view); err != nil {
		return fmt.Errorf("node %d: %w", i, err)
	}
	in := 0
	for _, m := range view.Members {
		if m.Partitions > 0 {
			in++
		}
	}
	if in != size || !view.Agreed {
		return fmt.Errorf("node %d: %d nodes in the ring, want %d; agreed: %t", i, in, size, view.Agreed)
	}
	return nil
}

// settle waits until the nodes that run agree.
func (c *cluster) settle() {
	c.tb.Helper()
	if err := c.settled(settleTimeout); err != nil {
		c.tb.Fatalf("not settled: %v", err)
	}
}

// start starts node i.
func (c *cluster) start(i int) {
	c.tb.Helper()
	if err := c.nodes.start(i); err != nil {
		c.tb.Fatalf("start node %d: %v", i, err)
	}
}

// kill9 ends node i by SIGKILL and returns when that was sent.
func (c *cluster) kill9(i int) time.Time {
	p := c.forget(i)
	at := time.Now()
	p.kill()
	return at
}

// freeze stops node i's process in its tracks; thaw lets it go on.
func (c *cluster) freeze(i int) { c.signal(i, syscall.SIGSTOP) }

func (c *cluster) thaw(i int) { c.signal(i, syscall.SIGCONT) }

func (c *cluster) signal(i int, s syscall.Signal) {
	c.tb.Helper()
	if err := c.node(i).signal(s); err != nil {
		c.tb.Fatalf("signal node %d: %v", i, err)
	}
}

// drain sends node i SIGTERM and waits until it has left with status 0.
func (c *cluster) drain(i int) {
	c.tb.Helper()
	p := c.node(i)
	c.signal(i, syscall.SIGTERM)
	if status := p.exit(c.tb, 40*time.Second); status != 0 {
		c.tb.Errorf("drained node %d exits with %d", i, status)
	}
	c.forget(i)
}

// check fails the test for every invariant that a node says is broken.
func (c *cluster) check() {
	c.tb.Helper()
	for _, i := range c.numbers() {
		var answer struct{ Broken []string }
		eventually(c.tb, 5*time.Second, func() error {
			if _, err := c.adminInto(i, "/debug/check", &answer); err != nil {
				return err
			}
			if len(answer.Broken) > 0 {
				return fmt.Errorf("node %d: %v", i, answer.Broken)
			}
			return nil
		})
	}
}

// reveal shows the nodes' last lines where a test has failed.
func (c *cluster) reveal() {
	if !c.tb.Failed() {
		return
	}
	for _, i := range c.numbers() {
		p := c.node(i)
		if !p.running() {
			c.tb.Logf("node %d has ended: %v", i, p.err)
		}
		c.tb.Logf("node %d of %s says:\n%s", i, c.name, p.tail())
	}
}

// sharedCluster is started by the first test that asks for it and runs to the
// end.
type sharedCluster struct {
	opts clusterOptions
	once sync.Once
	n    *nodes
	err  error
}

const (
	// both takes either signature; it is where most stories happen.
	both = "both"
	// strict is as a production cluster: signed sids and keyed frames.
	strict = "strict"
	// legacy is as the old app had it: md5, and one relay for a room.
	legacy = "legacy"
)

func sharedClusters() map[string]*sharedCluster {
	return map[string]*sharedCluster{
		both:   {},
		strict: {opts: clusterOptions{flags: []string{"--sid-auth", "jwt", "--jwt-key", jwtKey, "--frame-sign", "hmac"}}},
		legacy: {opts: clusterOptions{nodes: 2, flags: []string{"--frame-sign", "md5", "--room-delivery", "one"}}},
	}
}

// share returns a cluster that other tests use at the same time. No test may
// harm its nodes.
func share(tb testing.TB, kind string) *cluster {
	tb.Helper()
	s := lab.shared[kind]
	s.once.Do(func() {
		if s.n, s.err = startNodes(s.opts); s.err == nil {
			s.err = s.n.settled(settleTimeout)
		}
	})
	c := &cluster{tb: tb, nodes: s.n}
	tb.Cleanup(c.reveal)
	if s.err != nil {
		tb.Fatalf("cluster %s: %v", kind, s.err)
	}
	return c
}
