package integ

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

const roleReaper = "reaper"

// reaper is a process that outlives this one, however that ends, to kill what
// was started here and to remove the files.
type reaper struct {
	cmd *exec.Cmd

	// guarded by mu
	mu    sync.Mutex
	input io.WriteCloser
}

func startReaper(dir string) (*reaper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, dir)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleReaper)
	cmd.Stderr = os.Stderr
	// A Ctrl-C at the tests must not end their reaper first.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &reaper{cmd: cmd, input: input}, cmd.Start()
}

// started has a process killed in the end.
func (r *reaper) started(pid int) { r.tell("+%d\n", pid) }

// ended takes that back: the number may come to be another's.
func (r *reaper) ended(pid int) { r.tell("-%d\n", pid) }

// network has a LAN removed in the end, if it is still there.
func (r *reaper) network(name string) { r.tell("=%s\n", name) }

func (r *reaper) tell(format string, what any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(r.input, format, what) // a reaper that was killed can't be helped
}

func (r *reaper) close() {
	_ = r.input.Close()
	_ = r.cmd.Wait()
}

// reap is the reaper's own life: it ends with its input.
func reap(input io.Reader, dir string) int {
	living := map[int]bool{}
	var networks []string
	for lines := bufio.NewScanner(input); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "="); ok {
			networks = append(networks, name)
			continue
		}
		var sign rune
		var pid int
		if _, err := fmt.Sscanf(lines.Text(), "%c%d", &sign, &pid); err == nil && pid > 1 {
			living[pid] = sign == '+'
		}
	}
	for pid, alive := range living {
		if alive {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for _, name := range networks {
		removeNetwork(name)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "reaper:", err)
		return 1
	}
	return 0
}
