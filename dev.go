package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/faac1247/rollcall/bridge"
)

const (
	devNodes = 3
	// devReady bounds how long the nodes of a local cluster may take to be ready.
	devReady = 30 * time.Second
	// devStop bounds how long a stopped node may take before it is killed.
	devStop = 5 * time.Second
)

// devCommand is a local cluster of real processes.
type devCommand struct {
	Up    devUpCommand    `cmd:"" default:"withargs" help:"Start the cluster (the default)."`
	Start devStartCommand `cmd:"" help:"Bring a killed node of the running cluster back."`
	Add   devAddCommand   `cmd:"" help:"Add one more node to the running cluster."`
}

type devUpCommand struct {
	Nodes    int  `default:"3" help:"How many nodes."`
	Embedded bool `help:"Use the embedded store even where a redis-server is installed."`
	Quiet    bool `help:"Do not show the nodes' logs."`
}

type devStartCommand struct {
	Node string `arg:"" help:"n1, n2, …"`
}

type devAddCommand struct{}

// Run keeps the cluster until ctx ends.
func (c *devUpCommand) Run(ctx context.Context, p *program) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.terminate:
			cancel()
		case <-ctx.Done():
		}
	}()
	d := &devCluster{program: p, quiet: c.Quiet, nodes: map[string]*devNode{}}
	defer d.stop()
	if err := d.listen(); err != nil {
		return err
	}
	if err := d.startStore(ctx, c.Embedded); err != nil {
		return err
	}
	if c.Nodes < 1 || c.Nodes > 20 {
		return &usageError{fmt.Errorf("nodes %d: use 1 to 20", c.Nodes)}
	}
	for i := range c.Nodes {
		if err := d.startNode(i + 1); err != nil {
			return err
		}
	}
	for i := range c.Nodes {
		if err := d.awaitReady(ctx, i+1); err != nil {
			return err
		}
	}
	d.banner()
	<-ctx.Done()
	return nil
}

// devCluster is the launcher's side: a store and some node processes.
type devCluster struct {
	program *program
	quiet   bool
	redis   string // URL
	kind    string
	dir     string
	store   *exec.Cmd
	control net.Listener
	closers []func()

	mu    sync.Mutex
	nodes map[string]*devNode
}

type devNode struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// devSocket is where the running cluster of this user takes requests.
func devSocket() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("rollcall-dev-%d.sock", os.Getuid()))
}

// listen opens the control socket; a second cluster of the same user is
// refused, for it would want the same ports.
func (d *devCluster) listen() error {
	path := devSocket()
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return errors.New("a local cluster is running already: stop it first, or add to it with: rollcall dev add")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a former cluster's socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	d.control = l
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start/{node}", d.handleStart)
	mux.HandleFunc("POST /add", d.handleAdd)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }() // ends with stop
	d.closers = append(d.closers, func() { _ = server.Close() })
	return nil
}

func (d *devCluster) handleStart(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(strings.TrimPrefix(r.PathValue("node"), "n"))
	if err != nil || n < 1 || n > 20 {
		http.Error(w, "no such node; use n1, n2, …", http.StatusNotFound)
		return
	}
	d.handleNode(w, r, n)
}

func (d *devCluster) handleAdd(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	n := len(d.nodes) + 1
	d.mu.Unlock()
	d.handleNode(w, r, n)
}

func (d *devCluster) handleNode(w http.ResponseWriter, r *http.Request, n int) {
	if err := d.startNode(n); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	if err := d.awaitReady(r.Context(), n); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, d.describe(n))
}

// startStore starts a redis-server of our own on a free port where one is
// installed, else the embedded store.
func (d *devCluster) startStore(ctx context.Context, embedded bool) error {
	path, err := exec.LookPath("redis-server")
	if err != nil || embedded {
		store, err := bridge.ListenEmbedded()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); _ = store.Run(ctx) }() // ends without an error
		d.closers = append(d.closers, func() { cancel(); <-done })
		d.redis, d.kind = store.URL(), "embedded store (development only: in memory, not Redis)"
		return nil
	}
	if d.dir, err = os.MkdirTemp("", "rollcall-dev-"); err != nil {
		return fmt.Errorf("make a directory for redis-server: %w", err)
	}
	d.closers = append(d.closers, func() { _ = os.RemoveAll(d.dir) })
	port, err := freePort()
	if err != nil {
		return err
	}
	d.store = exec.Command(path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", d.dir,
		"--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction", "--loglevel", "warning")
	d.store.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.store.Start(); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	d.closers = append(d.closers, func() {
		_ = d.store.Process.Kill() // development data; it is thrown away
		_ = d.store.Wait()
	})
	d.redis, d.kind = fmt.Sprintf("redis://127.0.0.1:%d", port), fmt.Sprintf("%s, pid %d", path, d.store.Process.Pid)
	return awaitStore(ctx, fmt.Sprintf("127.0.0.1:%d", port))
}

// awaitStore waits until a redis-server listens, so that the nodes need not say
// that they wait for it.
func awaitStore(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, devStop)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis-server at %s does not answer: %w", address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// nodeArgs are the settings of node n of a local cluster.
func (d *devCluster) nodeArgs(n int) []string {
	args := []string{
		"serve", "--node-id", fmt.Sprintf("n%d", n),
		"--listen", fmt.Sprintf("127.0.0.1:%d", 8000+n),
		"--advertise", fmt.Sprintf("ws://127.0.0.1:%d", 8000+n),
		"--api", fmt.Sprintf("127.0.0.1:%d", 8100+n), "--api-key", "dev",
		"--admin", fmt.Sprintf("127.0.0.1:%d", 8200+n),
		"--mns", fmt.Sprintf("127.0.0.1:%d", 8300+n), "--mns-key", "dev:dev",
		"--gossip", fmt.Sprintf("127.0.0.1:%d", 7945+n),
		"--redis", d.redis, "--sid-auth", "dev", "--frame-sign", "off",
		"--log-format", "text", "--log-level", "warn",
	}
	for i := range devNodes {
		if i+1 != n {
			args = append(args, "--join", fmt.Sprintf("127.0.0.1:%d", 7946+i))
		}
	}
	return args
}

// startNode starts a node that is not running.
func (d *devCluster) startNode(n int) error {
	id := fmt.Sprintf("n%d", n)
	d.mu.Lock()
	defer d.mu.Unlock()
	if running := d.nodes[id]; running != nil {
		select {
		case <-running.done:
		default:
			return fmt.Errorf("%s is running (pid %d)", id, running.cmd.Process.Pid)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, d.nodeArgs(n)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	logs, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("read the logs of %s: %w", id, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	node := &devNode{cmd: cmd, done: make(chan struct{})}
	d.nodes[id] = node
	go d.watch(id, node, logs)
	return nil
}

// watch shows a node's log lines and says when it ends.
func (d *devCluster) watch(id string, n *devNode, logs io.Reader) {
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !d.quiet {
			fmt.Fprintf(d.program.stderr, "%s | %s\n", id, lines.Text())
		}
	}
	err := n.cmd.Wait()
	close(n.done)
	d.mu.Lock()
	stopping := d.nodes == nil
	d.mu.Unlock()
	if stopping {
		return
	}
	fmt.Fprintf(d.program.stderr, "%s ended (%v); bring it back with: rollcall dev start %s\n", id, err, id)
}

// awaitReady waits until a node says that it is ready.
func (d *devCluster) awaitReady(ctx context.Context, n int) error {
	id := fmt.Sprintf("n%d", n)
	d.mu.Lock()
	node := d.nodes[id]
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, devReady)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if isReady(ctx, 8200+n) {
			return nil
		}
		select {
		case <-node.done:
			return fmt.Errorf("%s did not start; its last lines are above. If a port is in use, a former cluster may still run: pkill -f 'rollcall serve --node-id n'", id)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", id, ctx.Err())
		case <-tick.C:
		}
	}
}

func isReady(ctx context.Context, port int) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", port), nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

func (d *devCluster) describe(n int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	pid := 0
	if node := d.nodes[fmt.Sprintf("n%d", n)]; node != nil {
		pid = node.cmd.Process.Pid
	}
	return fmt.Sprintf("n%d  pid %-7d clients ws://127.0.0.1:%d  api http://127.0.0.1:%d  admin http://127.0.0.1:%d  mns http://127.0.0.1:%d",
		n, pid, 8000+n, 8100+n, 8200+n, 8300+n)
}

// banner says what runs where, and what to try.
func (d *devCluster) banner() {
	w := d.program.stdout
	fmt.Fprintf(w, "\nRollcall is up. Store: %s\n\n", d.kind)
	for n := 1; n <= len(d.nodes); n++ {
		fmt.Fprintln(w, " ", d.describe(n))
	}
	fmt.Fprint(w, `
Try it (api key "dev"; a sid here is any "<user id>s<anything>"):

  curl -s 'http://127.0.0.1:8001/api/websocket/end_point?sid=1s&room_id=42'
  curl -s -X PUT -H 'Authorization: Bearer dev' -d '{"nickname":"Ann","role":"host"}' http://127.0.0.1:8101/v1/rooms/42/occupants/1
  curl -s -H 'Authorization: Bearer dev' http://127.0.0.1:8102/v1/rooms/42

  dashboard  http://127.0.0.1:8201/
  demo room  http://127.0.0.1:8201/demo

Kill a node (kill -9 its pid) and watch; bring it back with: rollcall dev start n2. Ctrl-C ends everything.
`)
}

// stop ends everything at once, without a drain: two SIGTERMs a node.
func (d *devCluster) stop() {
	d.mu.Lock()
	nodes := d.nodes
	d.nodes = nil
	d.mu.Unlock()
	for _, n := range nodes {
		_ = n.cmd.Process.Signal(syscall.SIGINT) // gone already is as good
	}
	deadline := time.After(devStop)
	for _, n := range nodes {
		select {
		case <-n.done:
		case <-deadline:
			_ = n.cmd.Process.Kill()
			<-n.done
		}
	}
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
}

// Run asks the running cluster to start a node.
func (c *devStartCommand) Run(ctx context.Context, p *program) error {
	return devRequest(ctx, p, "/start/"+c.Node)
}

// Run asks the running cluster to add a node.
func (c *devAddCommand) Run(ctx context.Context, p *program) error {
	return devRequest(ctx, p, "/add")
}

func devRequest(ctx context.Context, p *program, path string) error {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", devSocket())
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://dev"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return errors.New("no local cluster runs; start one with: rollcall dev")
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(body)))
	}
	fmt.Fprint(p.stdout, string(body))
	return nil
}
