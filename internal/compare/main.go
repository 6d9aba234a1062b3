// Command compare runs the benchmarks of two revisions against each other, in
// turn within one run, so that both see the same machine, and fails when one
// has become slower.
//
//	go run ./internal/compare -base v0.1.0 ./ring ./protocol
//
// A machine's noise is mostly other work, which only ever makes a run slower.
// So the figure of a benchmark is the lower quartile of its runs, and it counts
// as slower if the ratio of the two revisions' is above the limit and their runs
// are told apart by a rank test. Those are suspects: each is measured again by
// itself, more often, and is slower only if that says so too. What the base does
// not have, and packages whose test binaries are the same, are left out.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// settings of one comparison.
type settings struct {
	base     string
	count    int
	bench    string
	time     time.Duration
	most     float64
	again    int
	same     bool
	packages []string
}

func main() {
	var set settings
	flag.StringVar(&set.base, "base", "", "revision to compare with")
	flag.IntVar(&set.count, "count", 20, "runs of each benchmark at each revision")
	flag.StringVar(&set.bench, "bench", ".", "benchmarks to run")
	flag.DurationVar(&set.time, "benchtime", 40*time.Millisecond, "how long each lasts")
	flag.Float64Var(&set.most, "most", 1.10, "ratio above which a benchmark has become slower")
	flag.IntVar(&set.again, "again", 2, "how often a suspect is measured anew, each time more often")
	flag.BoolVar(&set.same, "same", false, "run binaries that are the same too, which shows how often this is wrong")
	flag.Parse()
	set.packages = flag.Args()
	if set.base == "" || len(set.packages) == 0 || set.count < 4 || set.again < 1 {
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
	var all, slower []verdict
	for i, pkg := range set.packages {
		p, err := build(pkg, base, here, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return err
		}
		if p == nil || p.same && !set.same {
			fmt.Printf("%-56s unchanged, or new\n", pkg)
			continue
		}
		verdicts, err := p.judge(set)
		if err != nil {
			return err
		}
		for _, v := range verdicts {
			all = append(all, v)
			if v.slower {
				slower = append(slower, v)
			}
		}
	}
	if len(slower) > 0 {
		return fmt.Errorf("%w: %d of %d benchmarks by more than %.0f %%", ErrSlower, len(slower), len(all), 100*(set.most-1))
	}
	fmt.Printf("%d benchmarks, none slower\n", len(all))
	return nil
}

// pair is one package's benchmarks at both revisions.
type pair struct {
	name  string
	sides [2]side // the base's and ours
	same  bool    // the binaries are
}

// side is a test binary and where it runs.
type side struct{ binary, dir string }

// build builds a package's benchmarks at both revisions, nil if the base lacks
// the package.
func build(pkg, base, here, out string) (*pair, error) {
	if _, err := os.Stat(filepath.Join(base, pkg)); err != nil {
		return nil, nil //nolint:nilerr // new since
	}
	p := &pair{name: strings.TrimPrefix(pkg, "./")}
	var bodies [2][]byte
	for i, tree := range []string{base, here} {
		s := side{binary: fmt.Sprintf("%s-%d.test", out, i), dir: filepath.Join(tree, pkg)}
		// Without paths and stamps, binaries of the same code are the same.
		build := exec.Command("go", "test", "-c", "-trimpath", "-buildvcs=false", "-o", s.binary, pkg)
		build.Dir = tree
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the benchmarks of %s in %s: %w\n%s", pkg, tree, err, out)
		}
		var err error
		if bodies[i], err = os.ReadFile(s.binary); err != nil {
			return nil, fmt.Errorf("build the benchmarks of %s: %w", pkg, err)
		}
		p.sides[i] = s
	}
	p.same = bytes.Equal(bodies[0], bodies[1])
	return p, nil
}
