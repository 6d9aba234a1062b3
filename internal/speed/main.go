//go:build linux

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// figure is one measured value and what it shall not miss.
type figure struct {
	name  string
	value float64
	unit  string
	// most or least is the target; 0 for figures without one.
	most, least float64
}

func (f figure) target() string {
	switch {
	case f.most > 0:
		return fmt.Sprintf("<= %.4g", f.most)
	case f.least > 0:
		return fmt.Sprintf(">= %.4g", f.least)
	}
	return ""
}

func (f figure) verdict() string {
	switch {
	case f.most == 0 && f.least == 0:
		return ""
	case f.most > 0 && f.value > f.most, f.least > 0 && f.value < f.least:
		return "SHORT"
	}
	return "ok"
}

// row is one line of the table of targets.
type row struct {
	name string
	does string
	run  func(*lab) ([]figure, error)
}

// rows are in the order of the table in docs/benchmarks.md.
func rows() []row {
	return []row{
		{"flood", "one room flooded, 64 publications in flight, against a bare server", flood},
		{"single", "one publication at a time, against a bare server", single},
		{"half", "half of the flood's rate, open loop", half},
		{"batch", "1,000 rooms of 10 by POST /v1/publish", batch},
		{"small", "1,000 rooms of 10, one call a publication", small},
		{"calm", "1,000 rooms of 10 at 500 publications/s, against a bare server", calm},
		{"remote", "the same on 3 nodes, nobody at the owner of the room", remote},
		{"memory", "resident memory a connection in a room after 60 s of heartbeats", memory},
		{"join", "CPU a join by the client's own enter_room", join},
		{"hangup", "hang_up to a user on another node at 500 calls/s", hangup},
		{"endpoint", "end_point against a bare handler", endpoint},
		{"rejoin", "a whole room rejoins", rejoin},
		{"fair", "a room at 100/s beside one that is flooded", fair},
		{"slow", "readers that have stopped among 5,000", slow},
		{"gc", "deliveries while the heap is collected over and over", collected},
		{"tls", "one publication at a time over TLS", secure},
		{"wide", "one room on one, two and three nodes", wide},
		{"scale", "joins, heartbeats and publications on 1, 2, 3 and 5 nodes", scale},
		{"sizes", "one room of 10 to 10,000, against a bare server", sizes},
		{"steady", "50,000 connections on three nodes that only beat, for -lasts", steady},
		{"grow", "1,000 to 50,000 connections on three nodes", grow},
	}
}

// lab is what a row works with.
type lab struct {
	*stage
	lasts   time.Duration
	members int
	profile string // file for a CPU profile of the first node
	charts  string // directory for the drawings of sizes and grow
}

func main() {
	role := flag.String("role", "", "internal: bare is the server to compare with")
	runs := flag.Int("runs", 1, "runs of each row; the median is printed")
	lasts := flag.Duration("lasts", 6*time.Second, "how long each load lasts")
	members := flag.Int("members", 5000, "members of the large room")
	profile := flag.String("profile", "", "file for a CPU profile of the node under load")
	charts := flag.String("charts", "", "directory for the drawings of sizes and grow")
	binary := flag.String("rollcall", "", "the program to measure; built from this tree by default")
	flag.Usage = usage
	flag.Parse()
	if *role == "bare" {
		fmt.Fprintln(os.Stderr, serveBare(os.Stdout))
		os.Exit(1)
	}
	if *role == "part" {
		if err := servePart(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "speed:", err)
			os.Exit(1)
		}
		return
	}
	if err := measure(*runs, *binary, lab{lasts: *lasts, members: *members, profile: *profile, charts: *charts}, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: speed [flags] [row...]\n\nrows:")
	for _, r := range rows() {
		fmt.Fprintf(os.Stderr, "  %-9s %s\n", r.name, r.does)
	}
	fmt.Fprintln(os.Stderr, "\nflags:")
	flag.PrintDefaults()
}

// measure runs the rows that are named, all without a name.
func measure(runs int, binary string, base lab, names []string) error {
	dir, err := os.MkdirTemp("", "rollcall-speed-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	if binary == "" {
		binary = filepath.Join(dir, "rollcall")
		if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, "github.com/faac1247/rollcall").CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	fmt.Printf("%-9s %-52s %12s  %-12s %s\n", "row", "figure", "median", "target", "of "+fmt.Sprint(runs))
	for _, r := range rows() {
		if len(names) > 0 && !slices.Contains(names, r.name) {
			continue
		}
		var all [][]figure
		for range runs {
			l := base
			l.stage = &stage{dir: dir, binary: binary}
			got, err := r.run(&l)
			l.close()
			if err != nil {
				return fmt.Errorf("row %s: %w", r.name, err)
			}
			all = append(all, got)
		}
		show(r.name, all)
	}
	return nil
}

// show prints the median of each figure of a row.
func show(name string, all [][]figure) {
	for i, f := range all[0] {
		var values []float64
		for _, run := range all {
			values = append(values, run[i].value)
		}
		slices.Sort(values)
		f.value = values[len(values)/2]
		fmt.Printf("%-9s %-52s %8.4g %-4s %-12s %s %s\n", name, f.name, f.value, f.unit, f.target(), f.verdict(), spread(values))
	}
}

func spread(values []float64) string {
	if len(values) == 1 {
		return ""
	}
	var texts []string
	for _, v := range values {
		texts = append(texts, fmt.Sprintf("%.3g", v))
	}
	return "(" + strings.Join(texts, " ") + ")"
}
