package integ

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a program that was started and whose output goes to a file.
type process struct {
	// set by startProcess
	cmd  *exec.Cmd
	log  string // file of its output
	done chan struct{}

	// set when done is closed
	err error
}

// startProcess runs a program with its output in a file. The reaper knows it.
func startProcess(log, path string, args ...string) (*process, error) {
	return startCommand(log, exec.Command(path, args...))
}

func startCommand(log string, cmd *exec.Cmd) (*process, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own by then
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	lab.reaper.started(cmd.Process.Pid)
	go func() {
		p.err = cmd.Wait()
		lab.reaper.ended(cmd.Process.Pid)
		close(p.done)
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// kill ends the process as kill -9 does, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // gone already is as good
	<-p.done
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// exit waits for the end and returns the status, -1 for a signal's.
func (p *process) exit(tb testing.TB, within time.Duration) int {
	tb.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		tb.Fatalf("%s has not ended within %s; it says:\n%s", p.cmd.Args[0], within, p.output())
	}
	if failed, ok := errors.AsType[*exec.ExitError](p.err); ok {
		return failed.ExitCode()
	}
	if p.err != nil {
		tb.Fatalf("wait for %s: %v", p.cmd.Args[0], p.err)
	}
	return 0
}

// output is all that the process has said.
func (p *process) output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// tail is the end of what the process has said.
func (p *process) tail() string {
	const lines = 60
	all := strings.Split(p.output(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// startRedis starts a redis-server without persistence and returns its URL.
func startRedis(dir string, args ...string) (string, error) {
	port := lab.ports.next()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	p, err := startProcess(filepath.Join(dir, "log"), "redis-server", append([]string{
		"--bind", lab.host, "--port", fmt.Sprint(port), "--dir", dir, "--save", "", "--protected-mode", "no",
	}, args...)...)
	if err != nil {
		return "", err
	}
	address := fmt.Sprintf("%s:%d", lab.host, port)
	err = poll(15*time.Second, func() error {
		if !p.running() {
			return errGone
		}
		return dials(address)
	})
	if err != nil {
		return "", fmt.Errorf("redis-server at %s: %w; it says:\n%s", address, err, p.tail())
	}
	return "redis://" + address, nil
}

// errGone ends a wait for a process that has ended.
var errGone = errors.New("the process has ended")
