package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"testing"
)

func TestResultsAreRead(t *testing.T) {
	t.Parallel()
	s := samples{}
	for _, ns := range []float64{100, 105.5, 2.1e6} {
		s.add(fmt.Appendf(nil, "goos: linux\nBenchmarkA/n=5-2 \t 100\t %v ns/op\t 12 B/op\nBenchmarkB \t 5 \t 7 ns/op\nPASS\n", ns))
	}
	if got := s["BenchmarkA/n=5"]; fmt.Sprint(got) != "[100 105.5 2.1e+06]" || len(s["BenchmarkB"]) != 3 || len(s) != 2 {
		t.Errorf("%v", s)
	}
	if p := pattern("BenchmarkA/n=5+1"); p != `^BenchmarkA$/^n=5\+1$` || !regexp.MustCompile(`^n=5\+1$`).MatchString("n=5+1") {
		t.Errorf("pattern %s", p)
	}
}

// noisy are runs of a machine that is disturbed every third time.
func noisy(draw *rand.Rand, ns float64, n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = ns * (1 + math.Abs(draw.NormFloat64())*0.04)
		if draw.IntN(3) == 0 {
			list[i] *= 1 + draw.Float64()
		}
	}
	return list
}

// Disturbed runs of equal code are seldom suspected and hardly ever twice; a
// fifth more is found.
func TestVerdictsOnANoisyMachine(t *testing.T) {
	t.Parallel()
	const draws = 2000
	draw := rand.New(rand.NewPCG(1, 2))
	found := func(factor float64) (suspects, slower int) {
		for range draws {
			most, chance := 1.06, suspicion
			for try := 1; ; try++ {
				if !weigh(noisy(draw, 100, 20*try), noisy(draw, 100*factor, 20*try), most, chance).suspect {
					break
				}
				if most, chance = 1.10, certainty; try == 1 {
					suspects++
				} else if try == 3 {
					slower++
					break
				}
			}
		}
		return suspects, slower
	}
	if suspects, slower := found(1); suspects > draws/20 || slower > 1 {
		t.Errorf("of %d equal ones %d are suspects, %d slower", draws, suspects, slower)
	}
	if suspects, slower := found(1.2); slower < draws*9/10 {
		t.Errorf("of %d slower ones %d are suspects, %d slower", draws, suspects, slower)
	}
}

func TestRanked(t *testing.T) {
	t.Parallel()
	low, high := []float64{1, 2, 3, 4, 5, 6, 7, 8}, []float64{11, 12, 13, 14, 15, 16, 17, 18}
	if p := ranked(low, high); p > 0.001 {
		t.Errorf("apart: %v", p)
	}
	if p := ranked(high, low); p < 0.99 {
		t.Errorf("the other way: %v", p)
	}
	if p := ranked(low, low); p < 0.4 || p > 0.6 {
		t.Errorf("the same: %v", p)
	}
}
