package main

import (
	"fmt"
	"time"
)

// cpuFigure is what the load itself took, of this machine's processors, beside
// what the nodes took.
type cpuFigure struct {
	Processes int `json:"processes"`
	// Cores is how many processors were busy with it on average, Busiest the same
	// for the busiest process.
	Cores   float64 `json:"cores"`
	Busiest float64 `json:"busiest"`
	CPUs    int     `json:"cpus"`
	// PerFrame is what it took for each frame that a client got, all that was done
	// for it included, in microseconds; 0 where there was none.
	PerFrame float64 `json:"micros_per_frame"`
	// Nodes is how many node processes were measured: all of the cluster, or none
	// where they are elsewhere or one was killed. Redis is not among them.
	Nodes        int     `json:"nodes"`
	NodeCores    float64 `json:"node_cores"`
	NodePerFrame float64 `json:"node_micros_per_frame"`
	// Lag is how late operations were begun, p99 in milliseconds.
	Lag float64 `json:"own_lag_p99_ms"`
	// Limited says why the load, rather than the server, may be what the figures
	// show; empty if nothing says so.
	Limited string `json:"limited_by_load,omitempty"`
}

const (
	// idleEnough is the part of the machine above which load and nodes wait for a
	// processor for each other's sake.
	idleEnough = 0.9
	// lateEnough is the part of the scenario's latency that may be the load's own.
	lateEnough = 0.5
)

func ownCPU(used []CPU) cpuFigure {
	f := cpuFigure{Processes: len(used), CPUs: cpus()}
	for _, u := range used {
		cores := u.Used.Seconds() / max(u.Over.Seconds(), 1e-9)
		f.Cores += cores
		f.Busiest = max(f.Busiest, cores)
	}
	return f
}

// account puts the costs beside what was done for them.
func (f *cpuFigure) account(nodes int, server, over time.Duration, frames float64) {
	if server > 0 {
		f.Nodes, f.NodeCores = nodes, server.Seconds()/over.Seconds()
	}
	if frames > 0 {
		f.PerFrame, f.NodePerFrame = f.Cores*1e6/frames, f.NodeCores*1e6/frames
	}
}

// suspect says what speaks for the load itself being the limit.
func (f *cpuFigure) suspect(lag, main latency, refused int64) {
	f.Lag = lag.P99
	switch {
	case refused > 0:
		f.Limited = fmt.Sprintf("%d operations were not begun, too many being under way", refused)
	case f.Cores+f.NodeCores > idleEnough*float64(f.CPUs):
		f.Limited = "this machine was full; give it one of its own for latencies"
	case main.P99 > 0 && lag.P99 > lateEnough*main.P99:
		f.Limited = fmt.Sprintf("it began operations late, by %.1f ms at p99, of %.1f ms in all", lag.P99, main.P99)
	}
}

func (f *cpuFigure) String() string {
	text := fmt.Sprintf("the load itself took %.2f of %d CPUs in %d process(es)", f.Cores, f.CPUs, f.Processes)
	if f.PerFrame > 0 {
		text += fmt.Sprintf(", %.2f us a frame received", f.PerFrame)
	}
	if f.Nodes > 0 {
		text += fmt.Sprintf("; %d nodes took %.2f CPUs", f.Nodes, f.NodeCores)
		if f.NodePerFrame > 0 {
			text += fmt.Sprintf(", %.2f us a frame", f.NodePerFrame)
		}
	}
	if f.Limited != "" {
		return text + "; the load may be the limit: " + f.Limited
	}
	return text + fmt.Sprintf("; it began what was due within %.1f ms (p99), so it is not the limit", f.Lag)
}
