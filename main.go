// Command rollcall keeps who is where, right now, for voice rooms, calls and
// live chat, on as many machines as that takes.
//
//	rollcall dev      a local cluster of three nodes, Redis included
//	rollcall serve    one node
//	rollcall status   what an operator asks; also room, user, drain, check
//	rollcall danmaku  the chat pipeline's worker
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// exitUsage is the status of a command that was called wrongly.
const exitUsage = 2

// commands is the whole command line.
type commands struct {
	Dev     devCommand     `cmd:"" help:"Run a local cluster of three nodes, Redis included."`
	Serve   serveCommand   `cmd:"" help:"Run one node."`
	Check   checkCommand   `cmd:"" help:"Check the settings of serve and start nothing."`
	Status  statusCommand  `cmd:"" help:"Show the cluster as one node sees it."`
	Room    roomCommand    `cmd:"" help:"Show a room: owner, seats, roster."`
	User    userCommand    `cmd:"" help:"Show where a user is; with --timeline why."`
	Drain   drainCommand   `cmd:"" help:"Make a node hand over, send its clients elsewhere and leave."`
	Danmaku danmakuCommand `cmd:"" help:"Run the chat pipeline's worker."`

	Version kong.VersionFlag `help:"Print the version."`
}

// program is what a command needs of the process.
type program struct {
	stdout, stderr io.Writer
	// terminate is closed at the first SIGTERM; the context of Run ends at the
	// second, or at the first SIGINT.
	terminate <-chan struct{}
}

func main() {
	ctx, terminate, stop := signals()
	status := runWith(ctx, os.Args[1:], &program{stdout: os.Stdout, stderr: os.Stderr, terminate: terminate})
	stop()
	os.Exit(status)
}

func newParser(c *commands, p *program, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append([]kong.Option{
		kong.Name("rollcall"),
		kong.Description("A horizontally sharded presence cluster."),
		kong.Vars{"version": version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Configuration(yamlFile),
		kong.Writers(p.stdout, p.stderr),
		kong.Bind(p),
	}, options...)...)
}

// runWith runs one command line and returns the exit status.
func runWith(ctx context.Context, args []string, p *program) int {
	var c commands
	parser, err := newParser(&c, p)
	if err != nil {
		fmt.Fprintln(p.stderr, "rollcall:", err)
		return exitUsage
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(p.stderr, "rollcall: %v\nTry: rollcall --help\n", err)
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run()
	if errors.Is(err, context.Canceled) {
		return 0 // told to stop, and stopped
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "rollcall:", err)
		if u := new(usageError); errors.As(err, &u) {
			return exitUsage
		}
		return 1
	}
	return 0
}

// usageError is a fault of the settings; it makes the exit status 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// signals returns a context that ends at SIGINT or the second SIGTERM, and a
// channel that is closed at the first SIGTERM.
func signals() (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	terminate := make(chan struct{})
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		terminating := false
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-received:
				if s == syscall.SIGINT || terminating {
					cancel()
					return
				}
				terminating = true
				close(terminate)
			}
		}
	}()
	return ctx, terminate, func() {
		signal.Stop(received)
		cancel()
	}
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
