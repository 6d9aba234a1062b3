package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/faac1247/rollcall/client/backend"
)

// victim is the node that a failover kills.
type victim struct {
	node     string
	pid      int
	endPoint string
	at       time.Time
	// gone is how many clients went with it.
	gone int
}

// findVictim finds the node's address and process.
func findVictim(ctx context.Context, set settings, api *backend.Client) (victim, error) {
	v := victim{node: set.KillNode, pid: set.KillPID}
	if v.pid != 0 {
		if args, err := serveArgs(v.pid); err == nil {
			v.node = nodeID(args)
		}
	}
	view, err := api.Cluster(ctx)
	if err != nil {
		return v, fmt.Errorf("find node %s: %w", v.node, err)
	}
	for _, m := range view.Members {
		if string(m.Node) == v.node {
			v.endPoint = m.EndPoint
		}
	}
	if v.endPoint == "" {
		return v, fmt.Errorf("the cluster has no node %s", v.node)
	}
	if v.pid == 0 {
		v.pid, err = findServe(v.node, v.endPoint)
	}
	return v, err
}

// kill kills the process as an accident does, and returns when.
func (v *victim) kill() (time.Time, error) {
	if err := syscall.Kill(v.pid, syscall.SIGKILL); err != nil {
		return time.Time{}, fmt.Errorf("kill node %s, pid %d: %w", v.node, v.pid, err)
	}
	return time.Now(), nil
}

// errNoProcess says how to do without looking.
var errNoProcess = errors.New("no process of it found here: start a local cluster with rollcall dev, or give --kill-pid")

// findServe returns the pid of the process on this machine that is "rollcall serve
// --node-id NODE" at this address. A node of the same name may be another
// cluster's, which is not ours to kill.
func findServe(node, endPoint string) (int, error) {
	u, err := url.Parse(endPoint)
	if err != nil {
		return 0, fmt.Errorf("node %s at %q: %w", node, endPoint, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("node %s: %w", node, errNoProcess)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args, err := serveArgs(pid)
		if err == nil && nodeID(args) == node && (slices.Contains(args, endPoint) || slices.Contains(args, u.Host)) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("node %s at %s: %w", node, endPoint, errNoProcess)
}

// serveArgs returns the arguments of a process that is "… serve …".
func serveArgs(pid int) ([]string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	if len(args) < 2 || args[1] != "serve" {
		return nil, errNoProcess
	}
	return args[2:], nil
}

// nodeID returns the node id among a process' arguments, "" if there is none.
func nodeID(args []string) string {
	if i := slices.Index(args, "--node-id"); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}
