package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// samples are the nanoseconds an operation of one benchmark's runs.
type samples map[string][]float64

// verdict is what is said of one benchmark.
type verdict struct {
	name    string
	was, is float64 // nanoseconds an operation
	tries   int
	suspect bool
	slower  bool
}

func (v verdict) String() string {
	word := ""
	switch {
	case v.slower:
		word = fmt.Sprintf("SLOWER, %d times out of %d", v.tries, v.tries)
	case v.tries > 1:
		word = fmt.Sprintf("was suspected, not confirmed in try %d", v.tries)
	}
	return fmt.Sprintf("%-56s %12.1f %12.1f ns/op  %5.2f  %s", v.name, v.was, v.is, v.is/v.was, word)
}

// judge runs a package's benchmarks, and suspects again, and prints a line each.
func (p *pair) judge(set settings) ([]verdict, error) {
	before, after, err := p.run(set.bench, set.time, set.count)
	if err != nil {
		return nil, err
	}
	var verdicts []verdict
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if len(before[name]) == 0 {
			continue // new since
		}
		v := weigh(before[name], after[name], 1+hunch*(set.most-1), suspicion)
		v.name, v.tries = p.name+"."+strings.TrimPrefix(name, "Benchmark"), 1
		for try := 1; v.suspect && try <= set.again; try++ {
			// Measured anew, and judged by that alone.
			before, after, err := p.run(pattern(name), set.time, set.count*(1+try))
			if err != nil {
				return nil, err
			}
			next := weigh(before[name], after[name], set.most, certainty)
			next.name, next.tries = v.name, try+1
			v = next
		}
		v.slower = v.suspect
		fmt.Println(v)
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

// run runs benchmarks count times at each revision, in turn, each going first
// every other time.
func (p *pair) run(bench string, length time.Duration, count int) (before, after samples, err error) {
	results := [2]samples{{}, {}}
	for i := range 2 * count {
		which := i%2 ^ i/2%2 // 0 1 1 0
		s := p.sides[which]
		run := exec.Command(s.binary, "-test.run", "^$", "-test.bench", bench, "-test.benchtime", length.String())
		run.Dir = s.dir
		out, err := run.CombinedOutput()
		if err != nil {
			return nil, nil, fmt.Errorf("benchmarks of %s in %s: %w\n%s", p.name, s.dir, err, out)
		}
		results[which].add(out)
	}
	return results[0], results[1], nil
}

// line is a benchmark's result, with the number of processors behind its name.
var line = regexp.MustCompile(`^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+([0-9.e+]+) ns/op`)

// add takes the results from a run's output.
func (s samples) add(out []byte) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		found := line.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		if took, err := strconv.ParseFloat(found[2], 64); err == nil {
			s[found[1]] = append(s[found[1]], took)
		}
	}
}

// pattern matches one benchmark.
func pattern(name string) string {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	return strings.Join(parts, "/")
}

// hunch is how far towards the limit a ratio is that makes a suspect; suspicion
// and certainty are how unlikely of equal code a difference has to be, at first
// and when it is measured again.
const hunch, suspicion, certainty = 0.6, 0.05, 0.01

// weigh compares the runs of one benchmark.
func weigh(before, after []float64, most, chance float64) verdict {
	v := verdict{was: quartile(before), is: quartile(after)}
	v.suspect = v.is > v.was*most && ranked(before, after) < chance
	return v
}

// quartile returns the value that a quarter of all are below.
func quartile(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[(len(values)-1)/4]
}

// ranked is the one-sided test of Mann and Whitney: how likely the second values
// are as much above the first ones as these by chance, if both are of one kind.
func ranked(first, second []float64) float64 {
	above := 0.0
	for _, a := range first {
		for _, b := range second {
			switch {
			case b > a:
				above++
			case b == a:
				above += 0.5
			}
		}
	}
	n, m := float64(len(first)), float64(len(second))
	z := (above - n*m/2 - 0.5) / math.Sqrt(n*m*(n+m+1)/12)
	return 0.5 * math.Erfc(z/math.Sqrt2)
}
