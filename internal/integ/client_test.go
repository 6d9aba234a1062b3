package integ

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
)

const roleClient = "client"

// beClient is the life of a process that holds one user's socket: it says ready
// when it is connected, and ends with its input, if nothing kills it before.
func beClient(input io.Reader, output io.Writer, args []string) int {
	user, err := strconv.Atoi(args[1])
	if err == nil {
		_, err = dialPhone(args[0], user, phoneOptions{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		return 1
	}
	fmt.Fprintln(output, "ready")
	_, _ = io.Copy(io.Discard, input)
	return 0
}

// app is a process that holds a user's socket.
type app struct {
	user int
	cmd  *exec.Cmd
}

// app starts a process that connects a user to node i, and waits until it has.
func (c *cluster) app(user, i int) *app {
	c.tb.Helper()
	return c.startApp(user, at(c.ports[i].listen))
}

// startApp is app for any address, and behind a command that runs another.
func (c *cluster) startApp(user int, address string, wrap ...string) *app {
	c.tb.Helper()
	self, err := os.Executable()
	if err != nil {
		c.tb.Fatal(err)
	}
	args := append(wrap, self, address, fmt.Sprint(user))
	a := &app{user: user, cmd: exec.Command(args[0], args[1:]...)}
	a.cmd.Env = append(os.Environ(), roleVariable+"="+roleClient)
	a.cmd.Stderr = os.Stderr
	if _, err := a.cmd.StdinPipe(); err != nil { // open as long as this process lives
		c.tb.Fatal(err)
	}
	output, err := a.cmd.StdoutPipe()
	if err != nil {
		c.tb.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(a.kill)
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
		c.tb.Fatalf("the app of user %d is not connected: %q %v", user, line, err)
	}
	return a
}

// signal sends SIGKILL; kill waits for the end too.
func (a *app) signal() { _ = a.cmd.Process.Kill() }

func (a *app) kill() {
	a.signal()
	_ = a.cmd.Wait()
}
