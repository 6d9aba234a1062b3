package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
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

// findVictim finds the node's process and address.
func findVictim(ctx context.Context, set settings, api *backend.Client) (victim, error) {
	v := victim{node: set.KillNode, pid: set.KillPID}
	if v.pid == 0 {
		var err error
		if v.pid, err = findServe(v.node); err != nil {
			return v, err
		}
	} else if node, err := nodeOf(v.pid); err == nil {
		v.node = node
	}
	view, err := api.Cluster(ctx)
	if err != nil {
		return v, fmt.Errorf("find node %s: %w", v.node, err)
	}
	for _, m := range view.Members {
		if string(m.Node) == v.node {
			v.endPoint = m.EndPoint
			return v, nil
		}
	}
	return v, fmt.Errorf("the cluster has no node %s", v.node)
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

// findServe returns the pid of the process that is "rollcall serve --node-id NODE"
// on this machine. Two of them would be two clusters: then it is not for us to
// choose.
func findServe(node string) (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("node %s: %w", node, errNoProcess)
	}
	found := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if id, err := nodeOf(pid); err != nil || id != node {
			continue
		}
		if found != 0 {
			return 0, fmt.Errorf("node %s: processes %d and %d both run it; give --kill-pid", node, found, pid)
		}
		found = pid
	}
	if found == 0 {
		return 0, fmt.Errorf("node %s: %w", node, errNoProcess)
	}
	return found, nil
}

// nodeOf returns the node id of a process that is "… serve … --node-id ID".
func nodeOf(pid int) (string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", err
	}
	args := bytes.Split(bytes.TrimRight(line, "\x00"), []byte{0})
	if len(args) < 2 || string(args[1]) != "serve" {
		return "", errNoProcess
	}
	for i := 2; i < len(args)-1; i++ {
		if string(args[i]) == "--node-id" {
			return string(args[i+1]), nil
		}
	}
	return "", errNoProcess
}
