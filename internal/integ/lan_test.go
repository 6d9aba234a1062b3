package integ

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// lan is a network on which each node is a machine of its own: a namespace with
// a cable to a bridge. All that nodes say to each other over it is gossip. Their
// doors and Redis are reached by forwarders. Without the right to make networks
// it is this machine, and nothing can be cut.
type lan struct {
	// set by newLAN
	t    *testing.T
	name string
	own  bool
	net  int // one of the 8192 networks of 16 addresses in 198.18.0.0/15
	wg   sync.WaitGroup

	// guarded by mu
	mu     sync.Mutex
	ends   []io.Closer
	closed bool
}

func newLAN(t *testing.T, nodes int) *lan {
	t.Helper()
	n := int(lab.lans.Add(1))
	l := &lan{t: t, name: fmt.Sprintf("rl%d-%d", os.Getpid(), n), net: (4*os.Getpid() + n) % 8192}
	t.Cleanup(l.close)
	if exec.Command("ip", "link", "add", l.name, "type", "bridge").Run() != nil {
		t.Log("no right to make a network: nothing will be cut")
		return l
	}
	l.own = true
	lab.reaper.network(l.name)
	l.ip("addr add %s/28 dev %s", l.host(0), l.name)
	l.ip("link set %s up", l.name)
	for i := 1; i <= nodes; i++ {
		l.ip("netns add %s", l.space(i))
		l.ip("link add %s type veth peer name eth0 netns %s", l.space(i), l.space(i))
		l.ip("link set %s master %s up", l.space(i), l.name)
		l.ip("-n %s addr add %s/28 dev eth0", l.space(i), l.host(i))
		l.ip("-n %s link set eth0 up", l.space(i))
		l.ip("-n %s link set lo up", l.space(i))
	}
	return l
}

// space is the name of node i's namespace, and of its end at the bridge.
func (l *lan) space(i int) string { return fmt.Sprintf("%s-%d", l.name, i) }

// host is the address of node i, or of this machine for 0.
func (l *lan) host(i int) string {
	if !l.own {
		return lab.host
	}
	return fmt.Sprintf("198.%d.%d.%d", 18+l.net>>12, l.net>>4&255, l.net&15<<4+i+1)
}

func (l *lan) at(i, port int) string { return fmt.Sprintf("%s:%d", l.host(i), port) }

func (l *lan) ip(format string, args ...any) {
	l.t.Helper()
	line := strings.Fields(fmt.Sprintf(format, args...))
	if out, err := exec.Command("ip", line...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %v: %v: %s", line, err, out)
	}
}

// inside is how a program is run as node i.
func (l *lan) inside(i int, command []string) []string {
	if !l.own {
		return command
	}
	return append([]string{"ip", "netns", "exec", l.space(i)}, command...)
}

// cut drops what node from sends to node to.
func (l *lan) cut(from, to int) {
	l.t.Helper()
	if l.own {
		l.ip("-n %s route add blackhole %s", l.space(from), l.host(to))
	}
}

func (l *lan) mend(from, to int) {
	l.t.Helper()
	if l.own {
		l.ip("-n %s route del blackhole %s", l.space(from), l.host(to))
	}
}

// forward carries connections from one address to another.
func (l *lan) forward(from, to string) error {
	if !l.own {
		return nil
	}
	listener, err := net.Listen("tcp", from)
	if err != nil {
		return err
	}
	l.keep(listener)
	l.wg.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			l.keep(near, far)
			l.wg.Go(func() { l.carry(near, far) })
			l.wg.Go(func() { l.carry(far, near) })
		}
	})
	return nil
}

func (l *lan) carry(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

// keep has connections closed in the end.
func (l *lan) keep(ends ...io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends = append(l.ends, ends...); l.closed {
		for _, e := range ends {
			_ = e.Close()
		}
	}
}

func (l *lan) close() {
	l.mu.Lock()
	l.closed = true
	for _, e := range l.ends {
		_ = e.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
	if l.own {
		removeNetwork(l.name)
	}
}

// removeNetwork removes a LAN, or what there is of it.
func removeNetwork(name string) {
	spaces, _ := exec.Command("ip", "netns", "list").Output()
	for line := range strings.Lines(string(spaces)) {
		space, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(space, name+"-") {
			_ = exec.Command("ip", "link", "del", space).Run() // gone with the namespace is as good
			_ = exec.Command("ip", "netns", "del", space).Run()
		}
	}
	_ = exec.Command("ip", "link", "del", name).Run()
}
