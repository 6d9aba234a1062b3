package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const (
	// barEvery and lineEvery are how often a terminal and a log are told.
	barEvery  = 500 * time.Millisecond
	lineEvery = 5 * time.Second
)

// progress shows how far a run is: a bar on a terminal, lines elsewhere.
type progress struct {
	out io.Writer
	bar bool

	stop chan struct{}
	done sync.WaitGroup
}

func newProgress(out *os.File) *progress {
	return &progress{out: out, bar: term.IsTerminal(int(out.Fd()))}
}

// begin shows one phase of a run until end.
func (p *progress) begin(what string, d time.Duration, f *fleet) {
	p.stop = make(chan struct{})
	every := lineEvery
	var bar *progressbar.ProgressBar
	if p.bar {
		every = barEvery
		bar = progressbar.NewOptions64(d.Milliseconds(), progressbar.OptionSetWriter(p.out), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(true), progressbar.OptionSetWidth(20))
	}
	p.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		began := time.Now()
		for {
			select {
			case <-p.stop:
				if bar != nil {
					_ = bar.Finish() // it is only looked at
				}
				return
			case <-tick.C:
			}
			text, ok := status(f)
			switch {
			case !ok:
			case bar != nil:
				bar.Describe(what + ": " + text)
				_ = bar.Set64(min(time.Since(began).Milliseconds(), d.Milliseconds()-1)) // it is only looked at
			default:
				p.line("%s, %4.0f s: %s", what, time.Since(began).Seconds(), text)
			}
		}
	})
}

// status asks the workers how far they are.
func status(f *fleet) (string, bool) {
	parts, err := all[Progress](f, "Progress", nil)
	if err != nil {
		return "", false
	}
	var sum Progress
	for _, part := range parts {
		sum.Online += part.Online
		sum.In += part.In
		sum.Sent += part.Sent
		sum.Delivered += part.Delivered
		sum.Errors += part.Errors
	}
	return fmt.Sprintf("%d connected, %d in rooms, %d sent, %d delivered, %d errors", sum.Online, sum.In, sum.Sent, sum.Delivered, sum.Errors), true
}

// end ends the phase.
func (p *progress) end() {
	close(p.stop)
	p.done.Wait()
}

// line tells something.
func (p *progress) line(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}
