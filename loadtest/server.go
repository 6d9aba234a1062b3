package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/client/backend"
)

// clockTick is the unit of processor times in /proc.
const clockTick = 10 * time.Millisecond

// servers are the cluster's node processes, where all run on this machine.
type servers []int

// findServers returns the nodes' processes, none where some are elsewhere.
func findServers(ctx context.Context, api *backend.Client) servers {
	view, err := api.Cluster(ctx)
	if err != nil {
		return nil
	}
	var pids servers
	for _, m := range view.Members {
		if m.State != "serving" {
			continue
		}
		pid, err := findServe(string(m.Node), m.EndPoint)
		if err != nil {
			return nil
		}
		pids = append(pids, pid)
	}
	return pids
}

// used returns the processor time that the nodes have used.
func (s servers) used() (sum time.Duration, err error) {
	for _, pid := range s {
		d, err := processorTime(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// during measures the nodes over a span, which it waits for. It returns 0 where
// they are not known, or not all there to the end.
func (s servers) during(ctx context.Context, span Span) time.Duration {
	if len(s) == 0 || !sleepUntil(ctx, span.Start) {
		return 0
	}
	before, err := s.used()
	if err != nil || !sleepUntil(ctx, span.End) {
		return 0
	}
	after, err := s.used()
	if err != nil {
		return 0
	}
	return after - before
}

var errNoStat = errors.New("not a process' state")

// processorTime returns the processor time that a process has used.
func processorTime(pid int) (time.Duration, error) {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(body[strings.LastIndexByte(string(body), ')')+1:]))
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, errNoStat
	}
	u, err := strconv.ParseInt(fields[user], 10, 64)
	if err != nil {
		return 0, errNoStat
	}
	k, err := strconv.ParseInt(fields[system], 10, 64)
	if err != nil {
		return 0, errNoStat
	}
	return time.Duration(u+k) * clockTick, nil
}
