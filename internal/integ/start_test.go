package integ

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// launch starts a node with flags of the test's own behind the usual ones. The
// last of two flags counts.
func (c *cluster) launch(i int, name string, flags ...string) *process {
	c.tb.Helper()
	p, err := startProcess(filepath.Join(lab.dir, c.name, name+".log"), lab.binary, append(c.flags(i), flags...)...)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(p.kill)
	return p
}

// says is a condition: a process has said every part.
func says(p *process, parts ...string) func() error {
	return func() error {
		out := p.output()
		for _, part := range parts {
			if !strings.Contains(out, part) {
				return fmt.Errorf("%q is not in what it says:\n%s", part, out)
			}
		}
		return nil
	}
}

// fails fails the test unless a process ends with a status of its own and says
// why in words that name every part.
func fails(t *testing.T, p *process, parts ...string) {
	t.Helper()
	if status := p.exit(t, 15*time.Second); status <= 0 {
		t.Errorf("exits with %d, want an error's status", status)
	}
	if err := says(p, parts...)(); err != nil {
		t.Error(err)
	}
}

// What keeps a node from starting is said in words that tell what to change,
// and harms nobody who runs.
func TestNodeThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{nodes: 2})
	beside := c.phone(newUser(), 1, phoneOptions{})
	c.place(3)

	t.Run("a second node of the same id", func(t *testing.T) {
		c := &cluster{tb: t, nodes: c.nodes}
		fails(t, c.launch(3, "same-id", "--node-id", nodeID(2)), "--node-id", nodeID(2))
	})
	for _, door := range []string{"listen", "api", "admin", "mns", "gossip"} {
		t.Run("the port of "+door+" in use", func(t *testing.T) {
			c := &cluster{tb: t, nodes: c.nodes}
			l, err := net.Listen("tcp", net.JoinHostPort(lab.host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			flags := []string{"--" + door, l.Addr().String()}
			if door == "mns" {
				flags = append(flags, "--mns-key", "id:secret")
			}
			fails(t, c.launch(3, "port-"+door, flags...), "--"+door, l.Addr().String(), "in use")
		})
	}
	t.Run("another shape of cluster", func(t *testing.T) {
		c := &cluster{tb: t, nodes: c.nodes}
		fails(t, c.launch(3, "sid-auth", "--sid-auth", "jwt"), "jwt")
	})
	c.settle()
	stands(t, beside)
	c.check()
}

// Every setting that can be wrong is wrong at once: one message names them all,
// and nothing is started.
func TestEveryFlagWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	args := []string{"serve"}
	var names []string
	for name, value := range map[string]string{
		"node-id": "a b", "listen": "8001", "advertise": "http://here", "api": "0.0.0.0:8101", "admin": "nowhere",
		"mns": "8301", "mns-key": "no-secret", "gossip": "0.0.0.0:7946", "gossip-advertise": "here:port", "join": "no-port",
		"gossip-key": "not base64!", "redis": "http://:hidden-9954@127.0.0.1", "sid-auth": "trust", "jwt-key": "short", "jwks-url": "nowhere",
		"auth-url": "ftp://here", "frame-sign": "rot13", "ping-interval": "soon", "heartbeat-timeout": "-1s", "loss-grace": "x",
		"crash-grace": "x", "report-timeout": "x", "departure-deadline": "x", "drain-timeout": "x", "room-delivery": "some", "room-spread": "-1",
		"webhook": "not an address", "cluster": "a b", "tls-cert": "/no/such.pem", "tls-key": "/no/such.key", "allowed-origins": "example.com",
		"trusted-proxies": "10.0.0.0", "max-conns": "many", "max-conns-per-ip": "-1", "log-level": "loud", "log-format": "xml",
	} {
		args = append(args, "--"+name+"="+value)
		names = append(names, name)
	}
	p, err := startProcess(filepath.Join(lab.dir, "flags.log"), lab.binary, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if status := p.exit(t, 15*time.Second); status != 2 {
		t.Errorf("exits with %d, want 2", status)
	}
	out := p.output()
	if n := strings.Count(out, "rollcall: "); n != 1 {
		t.Errorf("%d messages, want one:\n%s", n, out)
	}
	for _, name := range names {
		// A name counts where it stands by itself, not as another's beginning.
		if !regexp.MustCompile(`(^|[\s,])` + name + `([\s,:]|$)`).MatchString(out) {
			t.Errorf("%s is not named:\n%s", name, out)
		}
	}
	for _, secret := range []string{"hidden-9954", "not base64!", "no-secret"} {
		if strings.Contains(out, secret) {
			t.Errorf("%q is in the message:\n%s", secret, out)
		}
	}
}

// A node that has the wrong password for Redis says so, without the password,
// and serves as soon as Redis takes it.
func TestWrongRedisPassword(t *testing.T) {
	t.Parallel()
	const right, wrong = "the-right-one-7312", "not-the-one-9954"
	dir := filepath.Join(lab.dir, fmt.Sprintf("redis-%d", names.Add(1)))
	url, err := startRedis(dir, "--requirepass", right)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(url, "redis://")
	n := &nodes{
		name: fmt.Sprintf("c%d", names.Add(1)), opts: clusterOptions{redis: "redis://:" + wrong + "@" + address},
		ports: map[int]doors{}, running: map[int]*process{},
	}
	n.place(1)
	c := &cluster{tb: t, nodes: n}
	p := c.launch(1, "password")
	eventually(t, 15*time.Second, says(p, "correct the user and password of --redis", "WRONGPASS"))
	if !p.running() {
		t.Errorf("the node has ended:\n%s", p.output())
	}
	if out := p.output(); strings.Contains(out, wrong) {
		t.Errorf("the password is in the log:\n%s", out)
	}
	if out, err := exec.Command("redis-cli", "-h", lab.host, "-p", address[strings.LastIndex(address, ":")+1:],
		"-a", right, "--no-auth-warning", "config", "set", "requirepass", wrong).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli: %v: %s", err, out)
	}
	eventually(t, 15*time.Second, says(p, "msg=serving"))
}

// The first SIGTERM drains: clients are told and sent away, and the node ends
// with status 0. A second one ends it at once.
func TestTerminate(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	p := c.phone(newUser(), 3, phoneOptions{})
	c.drain(3)
	eventually(t, 2*time.Second, closedWith(p, 1012))
	if n := len(p.heard("drain")); n != 1 {
		t.Errorf("%d drain frames, want 1", n)
	}

	stuck := c.phone(newUser(), 2, phoneOptions{})
	node := c.node(2)
	c.freeze(1) // nobody takes the partitions over, so that a drain would wait
	defer c.thaw(1)
	c.signal(2, syscall.SIGTERM)
	eventually(t, 5*time.Second, says(node, "draining"))
	asked := time.Now()
	c.signal(2, syscall.SIGTERM)
	node.exit(t, 10*time.Second)
	if d := time.Since(asked); d > 5*time.Second {
		t.Errorf("ends %s after the second SIGTERM", d)
	}
	eventually(t, 2*time.Second, func() error {
		if stuck.gone() == nil {
			return errors.New("its client is still connected")
		}
		return nil
	})
	c.forget(2)
}
