package bridge

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// servers are the server processes that the tests share. They are started when
// first needed and ended by TestMain.
type servers struct {
	mu sync.Mutex
	// guarded by mu
	processes  []*process
	singleURL  string
	clusterURL string
	failure    error
}

var testServers servers

func TestMain(m *testing.M) {
	// Each step of a drawn story costs a dozen round trips. The command line
	// still has the last word.
	if err := flag.Set("rapid.checks", "40"); err != nil {
		panic(err)
	}
	code := m.Run()
	testServers.stop()
	os.Exit(code)
}

func (s *servers) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		p.kill()
		_ = os.RemoveAll(p.cmd.Dir)
	}
}

// process is a server that does not outlive this one, however that ends: its
// keeper kills it when it cannot read from here any more.
type process struct {
	cmd   *exec.Cmd
	alive io.Closer
}

// keeper runs its arguments as a command until its input ends.
const keeper = `"$@" & read -r _; kill -9 $!; wait`

func startProcess(dir, path string, args ...string) (*process, error) {
	cmd := exec.Command("sh", append([]string{"-c", keeper, "keeper", path}, args...)...)
	cmd.Dir = dir
	alive, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd: cmd, alive: alive}, cmd.Start()
}

// kill ends the server as kill -9 does.
func (p *process) kill() {
	_ = p.alive.Close()
	_ = p.cmd.Wait()
}

// single returns the URL of a redis-server.
func (s *servers) single(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.singleURL == "" && s.failure == nil {
		var address string
		if address, s.failure = s.start(); s.failure == nil {
			s.singleURL = "redis://" + address
		}
	}
	if s.failure != nil {
		t.Fatal(s.failure)
	}
	return s.singleURL
}

// cluster returns the URL of a Cluster of three masters.
func (s *servers) cluster(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clusterURL == "" && s.failure == nil {
		s.clusterURL, s.failure = s.startCluster()
	}
	if s.failure != nil {
		t.Fatal(s.failure)
	}
	return s.clusterURL
}

// start starts a redis-server on a free port.
func (s *servers) start(args ...string) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	return s.startAt(port, args...)
}

// startAt starts a redis-server without persistence, if args do not ask for it.
func (s *servers) startAt(port string, args ...string) (string, error) {
	return s.run(port, append([]string{"--save", ""}, args...))
}

// startSentinel starts a Sentinel with the settings in a file, which it will
// change.
func (s *servers) startSentinel(settings string) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	return s.run(port, []string{settings, "--sentinel"})
}

// run starts a server process with a directory of its own, if args do not name
// another one.
func (s *servers) run(port string, args []string) (string, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", errors.New("redis-server is not installed: apt-get install redis-server")
	}
	dir, err := os.MkdirTemp("", "rollcall-redis-")
	if err != nil {
		return "", err
	}
	own := []string{"--port", port, "--bind", "127.0.0.1", "--logfile", filepath.Join(dir, "log")}
	if !slices.Contains(args, "--dir") {
		own = append(own, "--dir", dir)
	}
	p, err := startProcess(dir, path, append(args, own...)...)
	if err != nil {
		return "", err
	}
	s.processes = append(s.processes, p)
	address := net.JoinHostPort("127.0.0.1", port)
	return address, waitForServer(address)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

func waitForServer(address string) error {
	return poll("redis-server at "+address, func(ctx context.Context) error {
		c := redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1})
		defer func() { _ = c.Close() }()
		return c.Ping(ctx).Err()
	})
}

func poll(what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startCluster starts three masters that share the slots.
func (s *servers) startCluster() (string, error) {
	const masters, slots = 3, 16384
	var urls []string
	var clients []*redis.Client
	for range masters {
		bus, err := freePort()
		if err != nil {
			return "", err
		}
		address, err := s.start("--cluster-enabled", "yes", "--cluster-port", bus)
		if err != nil {
			return "", err
		}
		urls = append(urls, "redis://"+address)
		c := redis.NewClient(&redis.Options{Addr: address})
		defer func() { _ = c.Close() }()
		clients = append(clients, c)
	}
	ctx := context.Background()
	for i, c := range clients {
		if err := c.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			return "", err
		}
		host, port, _ := net.SplitHostPort(clients[0].Options().Addr)
		bus, err := clients[0].ConfigGet(ctx, "cluster-port").Result()
		if err != nil {
			return "", err
		}
		if err := c.Do(ctx, "cluster", "meet", host, port, bus["cluster-port"]).Err(); err != nil {
			return "", err
		}
	}
	for _, c := range clients {
		err := poll("cluster", func(ctx context.Context) error {
			info, err := c.ClusterInfo(ctx).Result()
			if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3")) {
				err = errors.New(info)
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return strings.Join(urls, ","), nil
}
