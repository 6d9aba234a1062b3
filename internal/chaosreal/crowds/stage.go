//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/internal/chaosreal/lan"
	"github.com/faac1247/rollcall/protocol"
)

const (
	apiKey   = "crowds-key"
	loopback = "127.0.0.1"
	// lastNode and phones are machines of a network: one for the last node, one
	// for those who lose their network.
	lastNode, phones = 1, 2
	// readyLimit is how long a node may take to start, and to see the others.
	readyLimit = 30 * time.Second
	// lowPort and highPort bound the ports of nodes: below those that the kernel
	// gives to clients, so that a node finds its own free when it comes back.
	lowPort, highPort = 16_000, 32_000
)

// process is a server of the stage.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed once it has ended
	err  error         // how, set before done is closed
}

func startProcess(log string, cmd *exec.Cmd) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	cmd.Stdout, cmd.Stderr = out, out
	// Whatever ends this program ends its servers.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// end sends a signal and waits for the process's end.
func (p *process) end(sig syscall.Signal, limit time.Duration) error {
	_ = p.cmd.Process.Signal(sig) // who is gone already shows below
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		return fmt.Errorf("process %d is still there %s after %s", p.cmd.Process.Pid, limit, sig)
	}
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// resident returns the resident memory in MiB.
func (p *process) resident() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20)
}

// node is one `rollcall serve`, in whichever of its lives.
type node struct {
	*process
	listen, api   string
	admin, gossip string
	args          []string
	machine       int // of the network, 0 for this one
	files         int // its file limit, 0 for that of this process
}

// stage is where a story plays.
type stage struct {
	dir, binary, scheme string
	lan                 *lan.LAN // nil for the loopback
	stores              []*store // all that closes with the stage
	nodes               []*node
	given               int // ports on other machines
}

// newStage starts the store that the story wants, and n nodes.
func newStage(l *lab, n int, flags ...string) (*stage, error) {
	st := &stage{dir: l.dir, binary: l.binary, scheme: "http", lan: l.lan}
	if l.secure {
		cert, key, err := certificate(l.dir)
		if err != nil {
			return nil, err
		}
		st.scheme, flags = "https", append(flags, "--tls-cert", cert, "--tls-key", key)
	}
	if l.lan != nil {
		flags = append(flags, "--insecure-gossip", "--admin-key", apiKey) // nobody else is on that network
	}
	open := l.stores
	if open == nil {
		open = oneStore()
	}
	url, err := open(st)
	if err != nil {
		return st, err
	}
	var joins []string
	for i := range n {
		nd := &node{files: l.files}
		if i == n-1 && l.lan != nil {
			nd.machine = lastNode
		}
		for _, door := range []*string{&nd.gossip, &nd.listen, &nd.api, &nd.admin} {
			*door = st.address(nd.machine)
		}
		joins = append(joins, "--join", nd.gossip)
		st.nodes = append(st.nodes, nd)
	}
	for i, nd := range st.nodes {
		nd.args = append([]string{
			"serve", "--node-id", fmt.Sprintf("n%d", i+1), "--cluster", "crowds", "--redis", url,
			"--listen", nd.listen, "--api", nd.api, "--api-key", apiKey, "--admin", nd.admin, "--gossip", nd.gossip,
			"--sid-auth", "dev", "--log-level", "info", "--log-format", "text",
		}, slices.Concat(joins, flags)...)
		if err := st.start(nd); err != nil {
			return st, err
		}
	}
	return st, st.settle()
}

// address returns one that nobody listens on, of a machine.
func (st *stage) address(machine int) string {
	host := loopback
	if st.lan != nil {
		host = st.lan.Host(machine)
	}
	if machine == 0 {
		return freeAddress(host)
	}
	st.given++ // the machine is ours alone
	return net.JoinHostPort(host, strconv.Itoa(lowPort+st.given))
}

// oneStore starts a redis-server for the nodes.
func oneStore(args ...string) func(*stage) (string, error) {
	return func(st *stage) (string, error) {
		s, err := st.openStore(args...)
		if err != nil {
			return "", err
		}
		return "redis://" + s.address, nil
	}
}

// openStore starts a redis-server.
func (st *stage) openStore(args ...string) (*store, error) {
	s, err := newStore(st.dir, st.address(0), args...)
	if err != nil {
		return nil, err
	}
	st.stores = append(st.stores, s)
	return s, s.start()
}

// start gives a node a life.
func (st *stage) start(nd *node) (err error) {
	command := append([]string{st.binary}, nd.args...)
	if nd.files > 0 {
		command = append([]string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, nd.files)}, command...)
	}
	if nd.machine != 0 {
		command = st.lan.Inside(nd.machine, command...)
	}
	nd.process, err = startProcess(filepath.Join(st.dir, nd.args[2]+".log"), exec.Command(command[0], command[1:]...))
	return err
}

// settle waits until every node is ready and sees all of them.
func (st *stage) settle() error {
	for _, nd := range st.nodes {
		err := within(readyLimit, func() error {
			if _, err := fetch(http.MethodGet, "http://"+nd.admin+"/readyz"); err != nil {
				return err
			}
			body, err := fetch(http.MethodGet, "http://"+nd.api+"/v1/cluster")
			if err != nil {
				return err
			}
			if n := strings.Count(string(body), `"state":"serving"`); n != len(st.nodes) {
				return fmt.Errorf("%s sees %d of %d nodes serve", nd.args[2], n, len(st.nodes))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%w; see %s", err, nd.log)
		}
	}
	return nil
}

func (st *stage) close() {
	for _, nd := range st.nodes {
		if nd.process != nil {
			_ = nd.end(syscall.SIGKILL, readyLimit) // it is over
		}
	}
	for _, s := range st.stores {
		if s.process != nil {
			_ = s.end(syscall.SIGKILL, readyLimit)
		}
	}
}

// fallen returns nil while all nodes run in the life that the story gave them.
func (st *stage) fallen() error {
	for _, nd := range st.nodes {
		if nd.ended() {
			return fmt.Errorf("node %s has ended: %v; see %s", nd.args[2], nd.err, nd.log)
		}
	}
	return nil
}

// endPoints are the nodes' addresses for clients, apis those for backends.
func (st *stage) endPoints() (urls []string) {
	for _, nd := range st.nodes {
		urls = append(urls, st.scheme+"://"+nd.listen)
	}
	return urls
}

// endPointOf is what end_point answers for a node.
func (st *stage) endPointOf(nd *node) string {
	if st.scheme == "https" {
		return "wss://" + nd.listen
	}
	return "ws://" + nd.listen
}

func (st *stage) apis() (urls []string) {
	for _, nd := range st.nodes {
		urls = append(urls, "http://"+nd.api)
	}
	return urls
}

// resident is the memory of all nodes, in MiB.
func (st *stage) resident() (sum float64) {
	for _, nd := range st.nodes {
		sum += nd.resident()
	}
	return sum
}

// lives says in which life each node is.
func (st *stage) lives() (map[protocol.NodeID]protocol.Incarnation, error) {
	lives := map[protocol.NodeID]protocol.Incarnation{}
	for _, nd := range st.nodes {
		body, err := fetch(http.MethodGet, "http://"+nd.api+"/v1/cluster")
		if err != nil {
			return nil, err
		}
		var seen backend.Cluster
		if err := json.Unmarshal(body, &seen); err != nil {
			return nil, err
		}
		for _, m := range seen.Members {
			if m.Node == seen.Node {
				lives[m.Node] = m.Incarnation
			}
		}
	}
	return lives, nil
}

// counted sums metrics of all nodes by their names, or names with labels.
func (st *stage) counted(names ...string) (sums map[string]float64, err error) {
	sums = map[string]float64{}
	for _, nd := range st.nodes {
		body, err := fetch(http.MethodGet, "http://"+nd.admin+"/metrics")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(body)) {
			for _, name := range names {
				if value, ok := strings.CutPrefix(line, name+" "); ok {
					v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
					if err != nil {
						return nil, fmt.Errorf("metric %s: %w", name, err)
					}
					sums[name] += v
				}
			}
		}
	}
	return sums, nil
}

// broken returns what /debug/check of all nodes says, nil for nothing.
func (st *stage) broken() error {
	for _, nd := range st.nodes {
		body, err := fetch(http.MethodGet, "http://"+nd.admin+"/debug/check")
		if err != nil {
			return err
		}
		if text := strings.TrimSpace(string(body)); text != "" && text != `{"broken":[]}` {
			return fmt.Errorf("node %s: %s", nd.args[2], text)
		}
	}
	return nil
}

// fetch makes a call of the operator or the backend.
func fetch(method, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s answers %s: %s", url, resp.Status, body)
	}
	return body, err
}

// within repeats try until it works.
func within(limit time.Duration, try func() error) error {
	end := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freeAddress returns an address of a host's that nobody listens on.
func freeAddress(host string) string {
	for {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(lowPort+rand.IntN(highPort-lowPort))))
		if err != nil {
			continue
		}
		_ = l.Close() // it is to be free
		return l.Addr().String()
	}
}
