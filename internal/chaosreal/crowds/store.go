//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// storeLimit is how long a redis-server may take to start, its data included.
const storeLimit = 15 * time.Second

// store is a redis-server or a Sentinel of the stage, in whichever of its lives.
// It keeps its address and its files.
type store struct {
	*process
	dir, address string
	command      []string
}

// newStore makes a redis-server in a directory of its own, which is not started
// yet. It writes nothing to disk unless the arguments say so.
func newStore(dir, address string, args ...string) (*store, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s := &store{address: address}
	s.dir, err = os.MkdirTemp(dir, "redis-")
	s.command = append([]string{"redis-server", "--bind", host, "--port", port, "--protected-mode", "no", "--save", "", "--dir", s.dir}, args...)
	return s, err
}

// start gives the store a life and waits until it takes commands.
func (s *store) start() (err error) {
	if s.process, err = startProcess(filepath.Join(s.dir, "log"), exec.Command(s.command[0], s.command[1:]...)); err != nil {
		return err
	}
	return within(storeLimit, func() error { return s.says("PONG", "PING") })
}

// ask gives the store a command and returns its answer.
func (s *store) ask(command ...string) (string, error) {
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return "", err
	}
	out, err := exec.Command("redis-cli", append([]string{"-h", host, "-p", port}, command...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s at %s: %w: %s", command[0], s.address, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// says is nil if the answer to a command contains some text.
func (s *store) says(text string, command ...string) error {
	got, err := s.ask(command...)
	if err == nil && !strings.Contains(got, text) {
		err = fmt.Errorf("%s answers %q to %s; see %s", s.address, got, command[0], s.log)
	}
	return err
}
