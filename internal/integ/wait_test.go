package integ

import (
	"errors"
	"testing"
	"time"
)

// pollInterval is how often a state is looked at that is waited for.
const pollInterval = 5 * time.Millisecond

// poll asks until the answer is nil, at most for d. It gives up early on
// errGone.
func poll(d time.Duration, ok func() error) error {
	deadline := time.Now().Add(d)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil || time.Now().After(deadline) || errors.Is(err, errGone) {
			return err
		}
		<-tick.C
	}
}

// eventually fails the test unless ok becomes nil within d.
func eventually(tb testing.TB, d time.Duration, ok func() error) {
	tb.Helper()
	if err := poll(d, ok); err != nil {
		tb.Fatalf("not within %s: %v", d, err)
	}
}

// throughout fails the test if ok is not nil at any time during d.
func throughout(tb testing.TB, d time.Duration, ok func() error) {
	tb.Helper()
	start := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for time.Since(start) < d {
		if err := ok(); err != nil {
			tb.Fatalf("after %s of %s: %v", time.Since(start).Round(time.Millisecond), d, err)
		}
		<-tick.C
	}
}
