//go:build linux

// Package lan makes machines for the processes of one computer: network
// namespaces, each with a cable to a bridge that this machine is at too. What
// runs in one has its own addresses and loopback, and is cut off by pulling its
// cable: what is sent is dropped, in both directions, and no socket is told.
//
// It needs the right to make network namespaces, and ip of iproute2. It runs
// nothing in the background.
package lan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// networks is how many there are of 16 addresses each in 198.18.0.0/15, which
	// is set aside for such trials; most is how many machines fit into one.
	networks = 8192
	most     = 13
	// spaces is where ip keeps the namespaces by name.
	spaces = "/run/netns"
)

// LAN is one network. It is safe for concurrent use.
type LAN struct {
	name          string
	net, machines int
}

// New makes a network of so many machines, numbered from 1. The name begins those
// of its namespaces and links; number, of any size, picks its addresses.
func New(name string, number, machines int) (*LAN, error) {
	if machines < 1 || machines > most {
		return nil, fmt.Errorf("lan: %d machines", machines)
	}
	l := &LAN{name: name, net: number % networks, machines: machines}
	for _, line := range l.plan() {
		if err := ip(line); err != nil {
			return nil, errors.Join(fmt.Errorf("lan: %w", err), l.Close())
		}
	}
	return l, nil
}

// plan is what ip has to do to make the network.
func (l *LAN) plan() []string {
	lines := []string{
		fmt.Sprintf("link add %s type bridge", l.name),
		fmt.Sprintf("addr add %s/28 dev %s", l.Host(0), l.name),
		fmt.Sprintf("link set %s up", l.name),
	}
	for i := 1; i <= l.machines; i++ {
		space := l.Space(i)
		lines = append(lines,
			"netns add "+space,
			fmt.Sprintf("link add %s type veth peer name eth0 netns %s", space, space),
			fmt.Sprintf("link set %s master %s up", space, l.name),
			fmt.Sprintf("-n %s addr add %s/28 dev eth0", space, l.Host(i)),
			fmt.Sprintf("-n %s link set eth0 up", space),
			fmt.Sprintf("-n %s link set lo up", space),
		)
	}
	return lines
}

// Space is the name of a machine's namespace, and of its cable's end at the
// bridge.
func (l *LAN) Space(i int) string { return fmt.Sprintf("%s-%d", l.name, i) }

// Host is the address of a machine, of this one for 0.
func (l *LAN) Host(i int) string {
	return fmt.Sprintf("198.%d.%d.%d", 18+l.net>>12, l.net>>4&255, l.net&15<<4+i+1)
}

// Inside is the command that runs a command on a machine, this one for 0.
func (l *LAN) Inside(i int, command ...string) []string {
	if i == 0 {
		return command
	}
	return append([]string{"ip", "netns", "exec", l.Space(i)}, command...)
}

// Cut has nothing reach a machine any more, nor come from it.
func (l *LAN) Cut(i int) error { return ip("link set " + l.Space(i) + " down") }

// Mend takes that back.
func (l *LAN) Mend(i int) error { return ip("link set " + l.Space(i) + " up") }

// Dial opens a connection from a machine.
func (l *LAN) Dial(ctx context.Context, i int, d *net.Dialer, network, address string) (net.Conn, error) {
	there, err := os.Open(filepath.Join(spaces, l.Space(i)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = there.Close() }() // it was only looked at
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer func() { _ = here.Close() }()
	// A socket is where the thread was that made it.
	runtime.LockOSThread()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("go to %s: %w", l.Space(i), err)
	}
	conn, err := d.DialContext(ctx, network, address)
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and ends with its goroutine.
		return nil, errors.Join(fmt.Errorf("come back from %s: %w", l.Space(i), back), err)
	}
	runtime.UnlockOSThread()
	return conn, err
}

// Close removes the network. What runs on its machines must have ended.
func (l *LAN) Close() error {
	var faults []error
	for i := 1; i <= l.machines; i++ {
		if _, err := os.Stat(filepath.Join(spaces, l.Space(i))); err == nil {
			faults = append(faults, ip("netns del "+l.Space(i))) // its cable goes with it
		}
	}
	if _, err := net.InterfaceByName(l.name); err == nil {
		faults = append(faults, ip("link del "+l.name))
	}
	return errors.Join(faults...)
}

func ip(line string) error {
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, strings.TrimSpace(string(out)))
	}
	return nil
}
