//go:build linux

package main

import (
	"bufio"
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
	"syscall"
	"time"
)

// tick is the kernel's unit of CPU time in /proc, for userland.
const tick = 10 * time.Millisecond

// process is a server that was started for a row.
type process struct {
	cmd *exec.Cmd
	log string
}

func start(log string, cmd *exec.Cmd) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	// Whatever ends this program ends its servers.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, log: log}, nil
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // gone already is as good
	_ = p.cmd.Wait()
}

// cpu returns the CPU time of the process so far.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick
}

// resident returns the resident memory of the process in bytes.
func (p *process) resident() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(strings.Fields(string(b))[1])
	return pages * os.Getpagesize()
}

// stage is where a row's servers run.
type stage struct {
	dir    string
	binary string
	all    []*process
}

func (st *stage) close() {
	for _, p := range st.all {
		p.kill()
	}
	st.all = nil
}

func (st *stage) start(name string, cmd *exec.Cmd) (*process, error) {
	p, err := start(filepath.Join(st.dir, name+".log"), cmd)
	if err == nil {
		st.all = append(st.all, p)
	}
	return p, err
}

// startBare starts the server that we compare with, and returns its address.
func (st *stage) startBare() (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(self, "-role", "bare")
	out, in, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	defer func() { _, _ = out.Close(), in.Close() }()
	cmd.Stdout = in
	p, err := st.start("bare", cmd)
	if err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return p, strings.TrimSpace(line), err
}

// startRedis starts a redis-server that keeps nothing on disk.
func (st *stage) startRedis() (*process, string, error) {
	address := freeAddress()
	_, port, _ := net.SplitHostPort(address)
	p, err := st.start("redis", exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", st.dir))
	if err != nil {
		return nil, "", err
	}
	err = within(15*time.Second, func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return p, "redis://" + address, err
}

// node is one `rollcall serve`.
type node struct {
	*process
	listen, api, admin, gossip string
}

// startNodes starts n nodes of one cluster and waits until all serve.
func (st *stage) startNodes(n int, redis string, flags ...string) ([]*node, error) {
	nodes := make([]*node, n)
	for i := range nodes {
		nodes[i] = &node{listen: freeAddress(), api: freeAddress(), admin: freeAddress(), gossip: freeAddress()}
	}
	for i, nd := range nodes {
		args := []string{
			"serve", "--node-id", fmt.Sprintf("speed%d", i+1), "--cluster", "speed", "--redis", redis,
			"--listen", nd.listen, "--api", nd.api, "--api-key", apiKey, "--admin", nd.admin, "--gossip", nd.gossip,
			"--jwt-key", sidKey, "--log-level", "warn",
		}
		if i > 0 {
			args = append(args, "--join", nodes[0].gossip)
		}
		p, err := st.start(fmt.Sprintf("node%d", i+1), exec.Command(st.binary, append(args, flags...)...))
		if err != nil {
			return nil, err
		}
		nd.process = p
	}
	for _, nd := range nodes {
		if err := within(30*time.Second, func() error { return nd.serves(n) }); err != nil {
			log, _ := os.ReadFile(nd.log) // without it the error says enough
			return nil, fmt.Errorf("%w\n%s", err, log)
		}
	}
	return nodes, nil
}

// serves reports whether a node is ready and sees all members.
func (nd *node) serves(members int) error {
	if _, err := fetch("http://" + nd.admin + "/readyz"); err != nil {
		return err
	}
	body, err := call(http.MethodGet, "http://"+nd.api+"/v1/cluster", nil)
	if err != nil {
		return err
	}
	if n := strings.Count(string(body), `"state":"serving"`); n != members {
		return fmt.Errorf("%d of %d nodes serve", n, members)
	}
	return nil
}

// gauge returns the value of a metric without labels.
func (nd *node) gauge(name string) float64 {
	body, err := fetch("http://" + nd.admin + "/metrics")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return v
		}
	}
	return 0
}

func fetch(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
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

// freeAddress returns an address of the loopback that nobody listens on.
func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("no free port: " + err.Error())
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
