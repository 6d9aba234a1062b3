package main

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	run := func(ns float64) []byte {
		return fmt.Appendf(nil, "goos: linux\nBenchmarkA/n=5-2 \t 100\t %v ns/op\t 12 B/op\nPASS\n", ns)
	}
	before, slower, same := samples{}, samples{}, samples{}
	for _, noise := range []float64{1, 0.9, 5} { // one run was disturbed
		before.add("./p", run(100*noise))
		slower.add("./p", run(115*noise))
		same.add("./p", run(105*noise))
	}
	if got := before["p.A/n=5-2"]; len(got) != 3 {
		t.Fatalf("samples %v, want three of p.A/n=5-2", before)
	}
	if err := judge(io.Discard, before, slower, 1.10); !errors.Is(err, ErrSlower) {
		t.Errorf("15 %% slower: %v, want ErrSlower", err)
	}
	if err := judge(io.Discard, before, same, 1.10); err != nil {
		t.Errorf("5 %% slower: %v, want no error", err)
	}
	if err := judge(io.Discard, before, samples{}, 1.10); err == nil {
		t.Error("nothing in common: no error")
	}
}
