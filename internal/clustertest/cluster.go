// Package clustertest boots whole nodes in one process: real gossip, rings,
// owners, edges and doors over a network and a store in memory. Inside a
// testing/synctest bubble all of it runs in virtual time, and a goroutine that
// outlives the test fails it.
//
// A Cluster's methods are verbs of a story: Kill, Cut, Heal, Drain, Settle. They
// are called from the test's goroutine alone.
package clustertest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/faac1247/rollcall/bridge"
	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/internal/simnet"
	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// Partitions keeps schedules fast; production has 4093.
	Partitions = 61
	apiKey     = "key"
	clientPort = 8001
	apiPort    = 8101
	adminPort  = 8201
	gossipPort = 7946
	// settleTimeout is how long Settle waits for the nodes to agree.
	settleTimeout = 30 * time.Second
	// drainLimit is more than any drain may take.
	drainLimit = 2 * time.Minute
)

// Options of a Cluster; the zero value works.
type Options struct {
	// Config changes a node's configuration before it starts.
	Config func(n int, c *node.Config)
	// Log shows the nodes' logs in the test's output.
	Log bool
	// OpenStore connects a life of a node with a store, in place of the one in
	// memory; cut ends the connection at once, and may be called from any
	// goroutine.
	OpenStore func(c *Cluster, n int) (s node.Store, cut func(), err error)
	// WrapStore puts something between a node and its store, to break it on
	// purpose.
	WrapStore func(n int, s node.Store) node.Store
}

// Cluster is a set of nodes, numbered from 1.
type Cluster struct {
	Net   *simnet.Network
	Store *bridge.Memory

	tb    testing.TB
	opts  Options
	nodes map[int]*member
	users *simnet.Host
	// phones are those that Keep was given, by user.
	phones map[int]*Phone
	marks  int
	size   int // nodes that there may be, for persons who try one after another
	http   *http.Client
	ctx    context.Context //nolint:containedctx // the test's own, ended by Close
	stop   context.CancelFunc
}

// member is one running node.
type member struct {
	node *node.Node
	cut  func() // off its store
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// New starts n nodes and waits until they agree. The test's cleanup ends them.
func New(tb testing.TB, n int, opts Options) *Cluster {
	tb.Helper()
	c := &Cluster{
		Net: simnet.New(simnet.Config{}), Store: bridge.NewMemory(),
		tb: tb, opts: opts, nodes: make(map[int]*member), phones: make(map[int]*Phone),
	}
	c.size = n
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.users = c.Net.Host("users")
	c.http = &http.Client{Transport: &http.Transport{DialContext: c.users.DialContext}, Timeout: 30 * time.Second}
	for i := range n {
		c.Start(i + 1)
	}
	tb.Cleanup(c.Close)
	c.Settle()
	return c
}

// host is the address of a node's machine.
func host(n int) string { return fmt.Sprintf("10.0.0.%d", n) }

// name is a node's id.
func name(n int) string { return fmt.Sprintf("n%d", n) }

// Start starts node n, on a new machine of the same name if it ran before.
func (c *Cluster) Start(n int) {
	c.tb.Helper()
	h := c.Net.Host(host(n))
	cut := func() {}
	var store node.Store = c.Store.Client(protocol.Incarnation(name(n)))
	if c.opts.OpenStore != nil {
		var err error
		if store, cut, err = c.opts.OpenStore(c, n); err != nil {
			c.tb.Fatal(err)
		}
	}
	if c.opts.WrapStore != nil {
		store = c.opts.WrapStore(n, store)
	}
	who, err := auth.New(auth.Config{Mode: auth.ModeDev})
	if err != nil {
		c.tb.Fatal(err)
	}
	cfg := node.Config{
		NodeID: protocol.NodeID(name(n)),
		Listen: fmt.Sprintf("%s:%d", host(n), clientPort), Advertise: fmt.Sprintf("ws://%s:%d", host(n), clientPort),
		API: fmt.Sprintf("%s:%d", host(n), apiPort), APIKeys: []string{apiKey},
		Admin: fmt.Sprintf("%s:%d", host(n), adminPort), AdminKeys: []string{apiKey},
		Gossip:     node.Gossip{Bind: fmt.Sprintf("%s:%d", host(n), gossipPort), Insecure: true, Join: c.seeds()},
		Partitions: Partitions, SignMode: edge.SignOff,
		Store: store, StoreKind: "memory", Auth: who, SidAuth: auth.ModeDev,
		Listener:  func(_, address string) (net.Listener, error) { return h.Listen(address) },
		Transport: func() (memberlist.NodeAwareTransport, error) { return h.Transport(gossipPort) },
		Logger:    c.logger(),
	}
	if c.opts.Config != nil {
		c.opts.Config(n, &cfg)
	}
	started, err := node.New(cfg)
	if err != nil {
		c.tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(c.ctx)
	m := &member{node: started, cut: cut, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		m.err = started.Run(ctx)
	}()
	c.nodes[n] = m
}

func (c *Cluster) logger() *slog.Logger {
	if !c.opts.Log {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(testWriter{c.tb}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ tb testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.tb.Logf("%s %s", time.Now().Format("05.000"), b)
	return len(b), nil
}

func (c *Cluster) seeds() []string {
	var seeds []string
	for i := range 9 {
		seeds = append(seeds, fmt.Sprintf("%s:%d", host(i+1), gossipPort))
	}
	return seeds
}

// Kill ends node n as kill -9 does: its sockets are reset and it writes nothing
// any more.
func (c *Cluster) Kill(n int) {
	c.tb.Helper()
	m := c.nodes[n]
	c.Strike(n)
	m.stop()
	<-m.done
	c.Store.Client(protocol.Incarnation(name(n))).SetAway(false)
	delete(c.nodes, n)
}

// Strike cuts node n off from everything at once, as the first instant of
// Kill, which has to follow. It may be called from any goroutine.
func (c *Cluster) Strike(n int) {
	c.nodes[n].cut()
	c.Store.Client(protocol.Incarnation(name(n))).SetAway(true)
	c.Net.Kill(host(n))
}

// Keep remembers a phone for checks, in place of the user's former one.
func (c *Cluster) Keep(p *Phone) *Phone {
	c.phones[p.User] = p
	return p
}

// Release hangs up every kept phone.
func (c *Cluster) Release() {
	for _, p := range c.phones {
		p.Hang()
	}
}

// Drain makes node n leave in good order and waits until it has.
func (c *Cluster) Drain(n int) {
	c.tb.Helper()
	m := c.nodes[n]
	m.node.Drain()
	select {
	case <-m.done:
	case <-time.After(drainLimit):
		c.tb.Fatalf("node %d: not drained within %s", n, drainLimit)
	}
	if m.err != nil {
		c.tb.Errorf("node %d: drain: %v", n, m.err)
	}
	delete(c.nodes, n)
}

// Cut stops traffic between two nodes, in both directions.
func (c *Cluster) Cut(a, b int) { c.Net.Cut(host(a), host(b)) }

// Heal ends all cuts.
func (c *Cluster) Heal() { c.Net.Heal() }

// StoreOf is node n's way to the store, to be made to fail.
func (c *Cluster) StoreOf(n int) *bridge.MemoryClient {
	return c.Store.Client(protocol.Incarnation(name(n)))
}

// Node returns a running node.
func (c *Cluster) Node(n int) *node.Node { return c.nodes[n].node }

// Close ends every node; the test fails if one ended by itself with an error.
func (c *Cluster) Close() {
	c.stop()
	for n, m := range c.nodes {
		<-m.done
		if m.err != nil {
			c.tb.Errorf("node %d ended: %v", n, m.err)
		}
	}
	c.nodes = nil
	c.http.CloseIdleConnections()
	c.Net.Close()
}

// Settle waits until every running node is ready and all have the same ring of
// the running nodes.
func (c *Cluster) Settle() {
	c.tb.Helper()
	c.Eventually(settleTimeout, func() error {
		for n := range c.nodes {
			var view struct {
				Digest  string
				Members []struct {
					Node, State, Digest string
					Partitions          int
				}
			}
			if err := c.Get(n, "/v1/cluster", &view); err != nil {
				return fmt.Errorf("node %d: %w", n, err)
			}
			serving := 0
			for _, m := range view.Members {
				if m.Partitions > 0 {
					serving++
				}
				if m.State == "serving" && m.Digest != view.Digest {
					return fmt.Errorf("node %d: %s has another ring", n, m.Node)
				}
			}
			if serving != len(c.nodes) {
				return fmt.Errorf("node %d: %d nodes in the ring, want %d", n, serving, len(c.nodes))
			}
		}
		return nil
	})
}

// Eventually asks until the answer is nil, and fails the test after d.
func (c *Cluster) Eventually(d time.Duration, ok func() error) {
	c.tb.Helper()
	deadline := time.Now().Add(d)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.tb.Fatalf("not within %s: %v", d, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Check fails the test for every invariant that is broken on a running node.
func (c *Cluster) Check() {
	c.tb.Helper()
	for n, m := range c.nodes {
		for _, err := range m.node.Check(c.ctx) {
			c.tb.Errorf("node %d: %v", n, err)
		}
	}
}

// Get asks node n's backend door and decodes the answer.
func (c *Cluster) Get(n int, path string, into any) error {
	_, err := c.request(http.MethodGet, n, path, "", nil, into)
	return err
}

// Call sends a request with a JSON body to node n's backend door. The status is
// 0 when there was no answer.
func (c *Cluster) Call(method string, n int, path string, body any) (status int, answer map[string]any) {
	return c.Keyed("", method, n, path, body)
}

// Keyed is Call with an Idempotency-Key.
func (c *Cluster) Keyed(key, method string, n int, path string, body any) (status int, answer map[string]any) {
	answer = map[string]any{}
	status, err := c.request(method, n, path, key, body, &answer)
	if err != nil && status == 0 {
		answer["err"] = err.Error()
	}
	return status, answer
}

// Must is Call for what has to succeed.
func (c *Cluster) Must(method string, n int, path string, body any) map[string]any {
	c.tb.Helper()
	status, answer := c.Call(method, n, path, body)
	if status/100 != 2 {
		c.tb.Fatalf("%s %s at node %d: %d %v", method, path, n, status, answer)
	}
	return answer
}

// Enter puts a user into a room through node n.
func (c *Cluster) Enter(n int, room string, user int, body map[string]any) {
	c.tb.Helper()
	if body == nil {
		body = map[string]any{}
	}
	c.Must(http.MethodPut, n, fmt.Sprintf("/v1/rooms/%s/occupants/%d", room, user), body)
}

func (c *Cluster) request(method string, n int, path, key string, body, into any) (int, error) {
	req, err := newRequest(c.ctx, method, fmt.Sprintf("http://%s:%d%s", host(n), apiPort, path), body)
	if err != nil {
		return 0, err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, decode(resp.StatusCode, b, into)
}

// OwnerOf returns the number of the node that owns a room, as node 1 (or the
// lowest that runs) sees it.
func (c *Cluster) OwnerOf(room string) int {
	c.tb.Helper()
	for n := 1; n < 10; n++ {
		if c.nodes[n] == nil {
			continue
		}
		answer := map[string]any{}
		status, err := c.ask(n, fmt.Sprintf("/api/websocket/end_point?sid=1s&room_id=%s", room), &answer)
		if err != nil || status != http.StatusOK {
			c.tb.Fatalf("end_point of node %d: %d %v", n, status, err)
		}
		var owner int
		if _, err := fmt.Sscanf(fmt.Sprint(answer["end_point"]), "ws://10.0.0.%d:", &owner); err != nil {
			c.tb.Fatalf("end_point answers %v", answer)
		}
		return owner
	}
	c.tb.Fatal("no node runs")
	return 0
}

// ask asks node n's clients' door.
func (c *Cluster) ask(n int, path string, into any) (int, error) {
	req, err := newRequest(c.ctx, http.MethodGet, fmt.Sprintf("http://%s:%d%s", host(n), clientPort, path), nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, decode(resp.StatusCode, b, into)
}
