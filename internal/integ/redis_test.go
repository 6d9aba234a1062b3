package integ

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server is a redis-server of one test. It keeps its port and its files when it
// is started again.
type server struct {
	t    *testing.T
	dir  string
	port int
	args []string
	*process
}

func startServer(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, port: lab.ports.next(), args: args}
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	p, err := startProcess(filepath.Join(lab.dir, fmt.Sprintf("redis-%d.log", s.port)), "redis-server", append([]string{
		"--bind", lab.host, "--port", fmt.Sprint(s.port), "--dir", s.dir, "--save", "", "--protected-mode", "no",
	}, s.args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = p
	eventually(s.t, 15*time.Second, func() error {
		if !p.running() {
			return fmt.Errorf("%w; it says:\n%s", errGone, p.tail())
		}
		return s.answers("PING", "PONG")
	})
}

func (s *server) url() string { return "redis://" + at(s.port) }

// answers is nil if the answer to a command contains some text.
func (s *server) answers(command, text string) error {
	args := append([]string{"-h", lab.host, "-p", fmt.Sprint(s.port)}, strings.Fields(command)...)
	out, err := exec.Command("redis-cli", args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), text) {
		return fmt.Errorf("redis-server answers %q to %s: %v", out, command, err)
	}
	return nil
}

func (s *server) tell(command string) {
	s.t.Helper()
	if err := s.answers(command, "OK"); err != nil {
		s.t.Fatal(err)
	}
}

// survives tells what must hold while a store refuses, and after it: departures
// between local occupants are told, what can't be known is 503 and never an
// empty room, nobody is expelled, and afterwards everything is as it was.
func survives(t *testing.T, c *cluster, fail, mend func()) {
	t.Helper()
	type company struct {
		room                string
		relay, stays, drops *phone
	}
	var all []company
	for _, i := range c.numbers() {
		s := &stage{cluster: c, room: c.roomAt(i)}
		far := i%len(c.numbers()) + 1
		all = append(all, company{s.room, s.relay(i, host), s.come(far, nil), s.come(i, nil)})
	}
	fail()
	for _, i := range c.numbers() {
		eventually(t, 30*time.Second, says(c.node(i), "store is away"))
	}
	for _, g := range all {
		g.drops.hang()
	}
	for _, g := range all {
		eventually(t, 10*time.Second, told(g.relay, "exit_room", g.drops.user, 1))
	}
	throughout(t, 2*time.Second, func() error {
		for n, g := range all {
			r, err := c.room(n+1, g.room)
			said, refused := errors.AsType[*apiError](err)
			if err != nil && (!refused || said.Code != "unavailable") {
				return err
			}
			if err == nil && r.seatOf(g.stays.user) < 0 {
				return fmt.Errorf("room %s is without user %d", g.room, g.stays.user)
			}
		}
		return nil
	})
	mend()
	for _, g := range all {
		eventually(t, 30*time.Second, func() error { return c.lists(g.room, g.relay, g.stays) })
	}
	for n, g := range all {
		p := c.phone(newUser(), n+1, phoneOptions{})
		eventually(t, 10*time.Second, func() error {
			_, err := c.request(http.MethodPut, n+1, fmt.Sprintf("/v1/rooms/%s/occupants/%d", g.room, p.user), fields{}, nil)
			return err
		})
		p.hang()
		eventually(t, 10*time.Second, told(g.relay, "exit_room", p.user, 1))
		stands(t, g.relay, g.stays)
		if gone := g.relay.heardOf("exit_room", g.stays.user); len(gone) > 0 {
			t.Errorf("user %d was told of as gone: %+v", g.stays.user, gone)
		}
		user := struct {
			Online bool
			Room   string `json:"current_room_id"`
		}{}
		c.must(http.MethodGet, n+1, fmt.Sprintf("/v1/users/%d", g.stays.user), nil, &user)
		if !user.Online || user.Room != g.room {
			t.Errorf("user %d in room %s: %+v", g.stays.user, g.room, user)
		}
	}
	c.settle()
	c.check()
}

// A Redis Cluster of three, one of whose masters is killed and comes back with
// its append-only file.
func TestRedisClusterLosesAMaster(t *testing.T) {
	t.Parallel()
	const slots = 16384
	dir := filepath.Join(lab.dir, newRoom())
	var masters []*server
	var urls []string
	var buses []int
	for i := range 3 {
		buses = append(buses, lab.ports.next())
		s := startServer(t, filepath.Join(dir, fmt.Sprint(i)), "--appendonly", "yes", "--appendfsync", "always",
			"--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(buses[i]), "--cluster-node-timeout", "2000", "--cluster-announce-ip", lab.host)
		s.tell(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/3, (i+1)*slots/3-1))
		masters, urls = append(masters, s), append(urls, s.url())
	}
	for _, s := range masters[1:] {
		s.tell(fmt.Sprintf("CLUSTER MEET %s %d %d", lab.host, masters[0].port, buses[0]))
	}
	whole := func() {
		t.Helper()
		for _, s := range masters {
			eventually(t, 20*time.Second, func() error {
				return errors.Join(s.answers("CLUSTER INFO", "cluster_state:ok"), s.answers("CLUSTER INFO", "cluster_known_nodes:3"))
			})
		}
	}
	whole()
	c := startCluster(t, clusterOptions{redis: strings.Join(urls, ",")})
	survives(t, c, masters[1].kill, func() {
		masters[1].start()
		whole()
	})
}

// Redis' disk is full: it refuses to write, with the answers that it has for
// that. Without the right to mount a small disk it refuses for want of replicas.
func TestFullDiskUnderRedis(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(lab.dir, newRoom())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	small := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "rollcall", dir).Run() == nil
	s := startServer(t, dir, "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
	t.Cleanup(func() {
		s.kill()
		if out, err := exec.Command("umount", dir).CombinedOutput(); small && err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	c := startCluster(t, clusterOptions{redis: s.url()})
	survives(t, c, func() {
		if !small {
			s.tell("CONFIG SET min-replicas-to-write 1")
		} else if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err == nil {
			t.Error("the disk is not full")
		}
	}, func() {
		if !small {
			s.tell("CONFIG SET min-replicas-to-write 0")
		} else if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	})
}
