// Command compare runs the benchmarks of two revisions against each other, in
// turn within one run, so that both see the same machine, and fails when one
// has become slower.
//
//	go run ./internal/compare -base v0.1.0 ./ring ./protocol
//
// The verdict is the ratio of the medians of time a benchmark. What the base
// does not have is left out.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// settings of one comparison.
type settings struct {
	base     string
	count    int
	bench    string
	time     string
	most     float64
	packages []string
}

func main() {
	var set settings
	flag.StringVar(&set.base, "base", "", "revision to compare with")
	flag.IntVar(&set.count, "count", 7, "runs of each benchmark at each revision")
	flag.StringVar(&set.bench, "bench", ".", "benchmarks to run")
	flag.StringVar(&set.time, "benchtime", "200ms", "how long each lasts")
	flag.Float64Var(&set.most, "most", 1.10, "ratio of medians above which a benchmark has become slower")
	flag.Parse()
	set.packages = flag.Args()
	if set.base == "" || len(set.packages) == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := compare(set); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// ErrSlower says that some benchmark has become slower.
var ErrSlower = errors.New("slower than the base")

// samples are the nanoseconds an operation of one benchmark's runs.
type samples map[string][]float64

// compare builds both revisions, runs them in turn and prints the verdicts.
func compare(set settings) error {
	dir, err := os.MkdirTemp("", "rollcall-compare-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	base := filepath.Join(dir, "base")
	if out, err := exec.Command("git", "worktree", "add", "--detach", base, set.base).CombinedOutput(); err != nil {
		return fmt.Errorf("check out %s: %w\n%s", set.base, err, out)
	}
	defer func() { _ = exec.Command("git", "worktree", "remove", "--force", base).Run() }() // pruned by git otherwise
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	before, after := samples{}, samples{}
	for _, p := range set.packages {
		if err := inTurn(set, p, dir, base, here, before, after); err != nil {
			return err
		}
	}
	return judge(os.Stdout, before, after, set.most)
}

// inTurn runs one package's benchmarks, first the base, then ours, and again.
func inTurn(set settings, pkg, dir, base, here string, before, after samples) error {
	if _, err := os.Stat(filepath.Join(base, pkg)); err != nil {
		return nil // new since
	}
	sides := [...]struct {
		tree, binary string
		into         samples
	}{{base, filepath.Join(dir, "before.test"), before}, {here, filepath.Join(dir, "after.test"), after}}
	for _, s := range sides {
		build := exec.Command("go", "test", "-c", "-o", s.binary, pkg)
		build.Dir = s.tree
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the benchmarks of %s in %s: %w\n%s", pkg, s.tree, err, out)
		}
	}
	for range set.count {
		for _, s := range sides {
			run := exec.Command(s.binary, "-test.run", "^$", "-test.bench", set.bench, "-test.benchtime", set.time)
			run.Dir = filepath.Join(s.tree, pkg)
			out, err := run.CombinedOutput()
			if err != nil {
				return fmt.Errorf("benchmarks of %s in %s: %w\n%s", pkg, s.tree, err, out)
			}
			s.into.add(pkg, out)
		}
	}
	return nil
}

// line is a benchmark's result.
var line = regexp.MustCompile(`^(Benchmark\S+)\s+\d+\s+([0-9.e+]+) ns/op`)

// add takes the results from a run's output.
func (s samples) add(pkg string, out []byte) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		found := line.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		took, err := strconv.ParseFloat(found[2], 64)
		if err == nil {
			name := strings.TrimPrefix(pkg, "./") + "." + strings.TrimPrefix(found[1], "Benchmark")
			s[name] = append(s[name], took)
		}
	}
}

// judge prints one line a benchmark and reports whether some are slower.
func judge(out io.Writer, before, after samples, most float64) error {
	var names []string
	for name := range after {
		if len(before[name]) > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return errors.New("no benchmark is in both revisions")
	}
	slices.Sort(names)
	slower := 0
	for _, name := range names {
		was, is := median(before[name]), median(after[name])
		verdict := ""
		if is > was*most {
			verdict = "SLOWER"
			slower++
		}
		if _, err := fmt.Fprintf(out, "%-50s %12.1f %12.1f ns/op  %5.2f %s\n", name, was, is, is/was, verdict); err != nil {
			return err
		}
	}
	if slower > 0 {
		return fmt.Errorf("%w: %d of %d benchmarks by more than %.0f %%", ErrSlower, slower, len(names), 100*(most-1))
	}
	return nil
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}
