package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

const (
	exitMissed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var set settings
	parser, err := kong.New(&set,
		kong.Name("loadtest"),
		kong.Description("Puts a Rollcall cluster under load and judges what its users see."),
		kong.Vars{"scenarios": scenarioNames()},
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		return exitUsage
	}
	if _, err := parser.Parse(args); err != nil {
		fmt.Fprintf(os.Stderr, "loadtest: %v\nTry: go run ./loadtest --help\n", err)
		return exitUsage
	}
	if set.Worker {
		if err := serveWorker(); err != nil {
			fmt.Fprintln(os.Stderr, "loadtest:", err)
			return exitMissed
		}
		return 0
	}
	if err := set.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		return exitUsage
	}
	set.prepare()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	res, err := load(ctx, set, newProgress(os.Stderr))
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		return exitMissed
	}
	if err := res.write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		return exitMissed
	}
	if !res.Passed {
		return exitMissed
	}
	return 0
}
