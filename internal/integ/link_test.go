package integ

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A's machine falls off the network: no FIN, no RST, its packets are dropped.
// A is out 20 to 21 s after its last heartbeat, which here is its first frame.
func TestLostNetworkIsALoss(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{everywhere: true})
	l := newLink(t)
	room := c.roomAt(2)
	b := c.phone(newUser(), 1, phoneOptions{report: true})
	c.enter(1, room, b.user, host)

	user := newUser()
	dialed := time.Now()
	a := c.appBehind(l, user, 3)
	connected := time.Now()
	c.enter(1, room, user, nil)
	l.cut(a)
	eventually(t, 25*time.Second, told(b, "exit_room", user, 1))
	at := b.heardOf("exit_room", user)[0].at
	t.Logf("out %s to %s after the last heartbeat", at.Sub(connected), at.Sub(dialed))
	if at.Sub(dialed) < 20*time.Second || at.Sub(connected) > 21500*time.Millisecond {
		t.Errorf("out %s to %s after the last heartbeat, want 20 to 21 s", at.Sub(connected), at.Sub(dialed))
	}
	throughout(t, 6*time.Second, told(b, "exit_room", user, 1))
	c.check()
}

// link is a network namespace behind one cable. Without the right to make one
// it is this machine, and a cut stops the app instead.
type link struct {
	t    *testing.T
	name string
	own  bool
	net  int // the third byte of its addresses
}

func newLink(t *testing.T) *link {
	l := &link{t: t, name: fmt.Sprintf("rc%d", os.Getpid()), net: os.Getpid() % 256}
	if exec.Command("ip", "netns", "add", l.name).Run() != nil {
		return l
	}
	l.own = true
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", l.name).Run() // gone with the namespace is as good
		_ = exec.Command("ip", "netns", "del", l.name).Run()
	})
	for _, line := range []string{
		fmt.Sprintf("ip link add %[1]s type veth peer name eth0 netns %[1]s", l.name),
		fmt.Sprintf("ip addr add %s/30 dev %s", l.address(1), l.name),
		fmt.Sprintf("ip link set %s up", l.name),
		fmt.Sprintf("ip -n %s addr add %s/30 dev eth0", l.name, l.address(2)),
		fmt.Sprintf("ip -n %s link set eth0 up", l.name),
	} {
		args := strings.Fields(line)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	return l
}

// address is the nodes' end of the cable for 1, the app's for 2.
func (l *link) address(end int) string { return fmt.Sprintf("10.87.%d.%d", l.net, end) }

// cut makes the network drop everything.
func (l *link) cut(a *app) {
	l.t.Helper()
	if !l.own {
		if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			l.t.Fatal(err)
		}
		return
	}
	if out, err := exec.Command("ip", "link", "set", l.name, "down").CombinedOutput(); err != nil {
		l.t.Fatalf("cut the cable: %v: %s", err, out)
	}
}

// appBehind is app for a process at the far end of a link.
func (c *cluster) appBehind(l *link, user, i int) *app {
	c.tb.Helper()
	if !l.own {
		return c.app(user, i)
	}
	return c.startApp(user, fmt.Sprintf("%s:%d", l.address(1), c.ports[i].listen), "ip", "netns", "exec", l.name)
}
