package integ

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inside runs a command in a network of its own, so that fixed ports are free
// whatever else runs on the machine. Who may not make networks shares the
// machine's.
type inside struct{ wrap []string }

func newInside() inside {
	wrap := []string{"unshare", "--net", "--", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}
	if exec.Command(wrap[0], append(wrap[1:], "true")...).Run() != nil {
		return inside{}
	}
	return inside{wrap}
}

// command is one that starts the network.
func (i inside) command(args ...string) *exec.Cmd {
	args = append(append([]string{}, i.wrap...), args...)
	return exec.Command(args[0], args[1:]...)
}

// beside is a command in the network that a process of command lives in.
func (i inside) beside(pid int, args ...string) *exec.Cmd {
	if i.wrap != nil {
		args = append([]string{"nsenter", "--net", "--target", fmt.Sprint(pid), "--"}, args...)
	}
	return exec.Command(args[0], args[1:]...)
}

// A newcomer's first minutes: rollcall dev starts three nodes and prints lines
// to try, which work as they stand; a node that is killed comes back; a second
// cluster is refused; Ctrl-C ends everything, and leaves nothing behind.
func TestLocalCluster(t *testing.T) {
	t.Parallel()
	network, dir := newInside(), t.TempDir() // the control socket is in TMPDIR
	run := func(cmd *exec.Cmd) string {
		t.Helper()
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
		return string(out)
	}
	start := network.command(lab.binary, "dev")
	start.Env = append(os.Environ(), "TMPDIR="+dir)
	start.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p, err := startCommand(filepath.Join(lab.dir, "dev.log"), start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	eventually(t, settleTimeout, says(p, "Rollcall is up", "Ctrl-C ends everything"))
	here := func(args ...string) string { t.Helper(); return run(network.beside(p.cmd.Process.Pid, args...)) }

	lines := regexp.MustCompile(`(?m)^\s+(curl .*)$`).FindAllStringSubmatch(p.output(), -1)
	if len(lines) != 3 {
		t.Fatalf("%d lines to try, want 3:\n%s", len(lines), p.output())
	}
	for i, want := range []string{`"error_code":0`, "", `"user_id":1`} {
		if out := here("sh", "-c", lines[i][1]); !strings.Contains(out, want) || strings.Contains(out, `"error":`) {
			t.Errorf("%s\nanswers %s, want %s in it", lines[i][1], out, want)
		}
	}
	for _, page := range []string{"http://127.0.0.1:8201/", "http://127.0.0.1:8201/demo"} {
		if out := here("curl", "-sf", page); !strings.Contains(out, "<html") {
			t.Errorf("%s answers %s", page, out)
		}
	}

	pids := regexp.MustCompile(`(?m)^\s+(n\d)\s+pid (\d+)`).FindAllStringSubmatch(p.output(), -1)
	if len(pids) != 3 {
		t.Fatalf("%d nodes are named, want 3:\n%s", len(pids), p.output())
	}
	run(exec.Command("kill", "-9", pids[1][2]))
	eventually(t, 5*time.Second, says(p, "rollcall dev start n2"))
	if out := here(lab.binary, "dev", "start", "n2"); !strings.HasPrefix(out, "n2  pid ") {
		t.Errorf("dev start n2 says %s", out)
	}
	if out := here(lab.binary, "dev", "add"); !strings.HasPrefix(out, "n4  pid ") {
		t.Errorf("dev add says %s", out)
	}
	eventually(t, settleTimeout, func() error {
		var view struct{ Members []struct{ Partitions int } }
		out := here("curl", "-s", "-H", "Authorization: Bearer dev", "http://127.0.0.1:8102/v1/cluster")
		if err := json.Unmarshal([]byte(out), &view); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		in := 0
		for _, m := range view.Members {
			if m.Partitions > 0 {
				in++
			}
		}
		if in != 4 {
			return fmt.Errorf("%d nodes in the ring, want 4: %s", in, out)
		}
		return nil
	})
	second := network.beside(p.cmd.Process.Pid, lab.binary, "dev")
	second.Env = append(os.Environ(), "TMPDIR="+dir)
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "is running already") {
		t.Errorf("a second cluster: %v, %s", err, out)
	}

	began := time.Now()
	if err := p.signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := p.exit(t, 15*time.Second); status != 0 {
		t.Errorf("Ctrl-C: status %d\n%s", status, p.tail())
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("Ctrl-C took %s", d)
	}
	eventually(t, 2*time.Second, func() error {
		if out, _ := exec.Command("pgrep", "-f", "--", lab.binary+" serve --node-id n[1-4] ").Output(); len(out) > 0 { // nobody found is an error
			return errors.New("processes are left: " + string(out))
		}
		return nil
	})
}
