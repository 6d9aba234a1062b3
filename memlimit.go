package main

import (
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// memoryShare is the part of a control group's memory that Go's heap and
	// stacks may take before the collector works harder. The rest is for what
	// the runtime does not count: sockets' buffers of the kernel, mostly.
	memoryShare = 0.9
	// noLimit is from where on version 1 of control groups means none.
	noLimit = 1 << 60
)

// limitMemory sets the runtime's soft limit from the control group's, unless
// the operator has set GOMEMLIMIT.
func limitMemory(log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := groupLimit(os.DirFS("/"))
	if limit == math.MaxInt64 {
		return
	}
	soft := int64(float64(limit) * memoryShare)
	debug.SetMemoryLimit(soft)
	log.Info("memory limit set from the control group", "group", limit, "limit", soft)
}

// groupLimit returns the lowest memory limit of this process's control group
// and of those around it, version 2 or 1; math.MaxInt64 is none.
func groupLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return limit
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0":
			limit = min(limit, lowest(root, "sys/fs/cgroup", parts[2], "memory.max"))
		case strings.Contains(","+parts[1]+",", ",memory,"):
			limit = min(limit, lowest(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	return limit
}

// lowest looks at a group and at all above it. In a container the group's path
// may be that of the host, of which only the top is there.
func lowest(root fs.FS, mount, group, file string) int64 {
	limit := int64(math.MaxInt64)
	for at := path.Join("/", group); ; at = path.Dir(at) {
		text, err := fs.ReadFile(root, path.Join(mount, at, file))
		if err == nil {
			n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err == nil && n > 0 && n < noLimit { // "max" is no number
				limit = min(limit, n)
			}
		}
		if at == "/" {
			return limit
		}
	}
}
