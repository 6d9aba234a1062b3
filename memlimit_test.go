package main

import (
	"math"
	"testing"
	"testing/fstest"
)

func TestGroupLimit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing is known": {nil, math.MaxInt64},
		"version 2": {map[string]string{
			"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/memory.max": "1000\n",
		}, 1000},
		"version 2, none": {map[string]string{
			"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/memory.max": "max\n",
		}, math.MaxInt64},
		"version 2, the slice around is tighter": {map[string]string{
			"proc/self/cgroup": "0::/slice/app\n", "sys/fs/cgroup/slice/app/memory.max": "1000\n", "sys/fs/cgroup/slice/memory.max": "700\n",
		}, 700},
		"version 2, the path of the host": {map[string]string{
			"proc/self/cgroup": "0::/../../pod7\n", "sys/fs/cgroup/memory.max": "1000\n",
		}, 1000},
		"version 1": {map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/app\n", "sys/fs/cgroup/memory/app/memory.limit_in_bytes": "1000\n",
		}, 1000},
		"version 1, none": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, math.MaxInt64},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			for file, text := range test.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := groupLimit(root); got != test.want {
				t.Errorf("groupLimit = %d, want %d", got, test.want)
			}
		})
	}
}
