package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxListed is how many users a report names.
const maxListed = 20

// result is what a report is written from.
type result struct {
	Scenario string    `json:"scenario"`
	About    string    `json:"about"`
	Began    time.Time `json:"began"`
	Machine  string    `json:"machine"`
	Settings settings  `json:"settings"`
	Passed   bool      `json:"passed"`

	SetupSeconds float64   `json:"setup_seconds"`
	CPU          cpuFigure `json:"own_cpu"`
	Main         string    `json:"main"`
	Latencies    []latency `json:"latencies"`
	Counts       []total   `json:"counts"`
	Series       series    `json:"series"`
	Verdicts     []verdict `json:"verdicts"`

	Ghosts     int       `json:"ghosts"`
	Missing    int       `json:"missing"`
	FalseExits int       `json:"false_exits"`
	Listings   []listing `json:"listings"`
	// RecoverSeconds is 0 where nobody was lost, -1 where some never came back.
	RecoverSeconds float64          `json:"recover_seconds"`
	Killed         *killed          `json:"killed,omitempty"`
	Notes          map[string]int64 `json:"notes"`

	distributions map[string]*hdrhistogram.Histogram
}

type killed struct {
	Node     string  `json:"node"`
	PID      int     `json:"pid"`
	AtSecond float64 `json:"at_second"`
	// GoneToo is how many clients were taken away with it.
	GoneToo int `json:"gone_too"`
}

// latency is one histogram in milliseconds.
type latency struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func newLatency(name string, h *hdrhistogram.Histogram) latency {
	ms := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return latency{name, h.TotalCount(), h.Mean() / 1000, ms(50), ms(90), ms(99), ms(99.9), float64(h.Max()) / 1000}
}

// total is one count, over the whole time and a second during the run.
type total struct {
	Name      string  `json:"name"`
	Total     int64   `json:"total"`
	PerSecond float64 `json:"per_second"`
}

// series is the run over time, by windows.
type series struct {
	Width     float64            `json:"width_seconds"`
	P50       []float64          `json:"p50_ms"`
	P99       []float64          `json:"p99_ms"`
	Max       []float64          `json:"max_ms"`
	Rates     map[string][]int64 `json:"counts"`
	Connected []int64            `json:"connected"`
}

// verdict is one limit and what became of it.
type verdict struct {
	Name  string `json:"name"`
	Limit string `json:"limit"`
	Got   string `json:"got"`
	OK    bool   `json:"ok"`
}

// result puts everything together.
func (r *runner) result(c crowd, s standing, cpu []CPU) *result {
	res := &result{
		Scenario: r.set.Scenario, About: scenarios[r.set.Scenario].about, Began: r.span.Start, Machine: machine(), Settings: r.set,
		SetupSeconds: r.setup.Seconds(), CPU: ownCPU(cpu), Main: scenarios[r.set.Scenario].main,
		Ghosts: len(s.ghosts), Missing: len(s.missing), Listings: append(slices.Clone(s.ghosts), s.missing...),
		FalseExits: len(c.falseExits(r.set.Grace)), Notes: c.notes, distributions: make(map[string]*hdrhistogram.Histogram),
	}
	if c.unheard > 0 {
		res.Notes["departures beyond what is remembered"] = c.unheard
	}
	res.Listings = res.Listings[:min(len(res.Listings), maxListed)]
	for name := range c.figures.Total {
		res.distributions[name] = c.figures.histogram(name)
	}
	if told := c.told(); told.TotalCount() > 0 {
		res.distributions[mDeparture] = told
	}
	rooms := 0
	if !r.victim.at.IsZero() {
		rooms = r.roomsInUse(c)
		recovered := hdrhistogram.New(1, highestValue, 3)
		for _, d := range c.recovered {
			_ = recovered.RecordValue(min(max(d.Microseconds(), 1), highestValue)) // it is within the bounds
		}
		res.distributions[mRoom] = recovered
		res.Killed = &killed{r.victim.node, r.victim.pid, r.victim.at.Sub(r.span.Start).Seconds(), r.victim.gone}
	}
	for _, name := range sorted(res.distributions) {
		res.Latencies = append(res.Latencies, newLatency(name, res.distributions[name]))
	}
	for _, name := range sorted(c.figures.Counts) {
		n := c.figures.Counts[name]
		during := int64(0)
		for _, in := range n.Windows[:min(int(r.set.Duration/c.figures.Width), len(n.Windows))] {
			during += in
		}
		res.Counts = append(res.Counts, total{name, n.Total, float64(during) / r.set.Duration.Seconds()})
	}
	res.CPU.account(len(r.servers), r.serverCPU, r.set.Duration, res.rate(cDelivered))
	res.CPU.suspect(res.latency(mLag), res.latency(res.Main), c.figures.Counts[cRefused].Total)
	res.Series = newSeries(&c.figures, r.set.Duration, r.set.Clients)
	longest, complete := c.recovery(r.span.Start, rooms)
	if res.RecoverSeconds = longest.Seconds(); !complete {
		res.RecoverSeconds = -1
	}
	res.judge(&c.figures)
	return res
}

// rate is a count a second during the run.
func (res *result) rate(name string) float64 {
	for _, c := range res.Counts {
		if c.Name == name {
			return c.PerSecond
		}
	}
	return 0
}

// latency is a histogram by its name, empty if nothing was measured.
func (res *result) latency(name string) latency {
	for _, l := range res.Latencies {
		if l.Name == name {
			return l
		}
	}
	return latency{Name: name}
}

// roomsInUse counts the rooms that somebody is left in to talk.
func (r *runner) roomsInUse(c crowd) int {
	rooms := make(map[string]bool)
	for _, p := range c.phones {
		if p.Online && p.Room != "" {
			rooms[p.Room] = true
		}
	}
	return len(rooms)
}

func newSeries(f *figures, d time.Duration, clients int) series {
	n := min(int(d/f.Width), len(f.Windows))
	s := series{Width: f.Width.Seconds(), Rates: make(map[string][]int64)}
	connected := int64(clients)
	for w := range n {
		var p50, p99, most float64
		if f.Windows[w] != nil {
			h := hdrhistogram.Import(f.Windows[w])
			p50, p99, most = float64(h.ValueAtQuantile(50))/1000, float64(h.ValueAtQuantile(99))/1000, float64(h.Max())/1000
		}
		s.P50, s.P99, s.Max = append(s.P50, p50), append(s.P99, p99), append(s.Max, most)
		connected += f.Counts[cConnected].Windows[w] - f.Counts[cBroken].Windows[w] - f.Counts[cBreaks].Windows[w]
		s.Connected = append(s.Connected, connected)
	}
	for _, name := range []string{cSent, cDelivered, cEntered, cCalls, cErrors, cRefused, cDepartures} {
		if f.Counts[name].Total > 0 {
			s.Rates[name] = f.Counts[name].Windows[:n]
		}
	}
	return s
}

// judge holds the figures against the limits. A limit of what was not measured
// is missed.
func (res *result) judge(f *figures) {
	l := res.Settings.Limits
	add := func(name, limit, got string, ok bool) {
		res.Verdicts = append(res.Verdicts, verdict{name, limit, got, ok})
	}
	main := res.distributions[res.Main]
	for _, q := range []struct {
		name  string
		at    float64
		limit time.Duration
	}{{"p50", 50, l.MaxP50}, {"p99", 99, l.MaxP99}, {"p99.9", 99.9, l.MaxP999}} {
		switch {
		case q.limit < 0:
		case main == nil || main.TotalCount() == 0:
			add(res.Main+" "+q.name, q.limit.String(), "nothing was measured", false)
		default:
			got := time.Duration(main.ValueAtQuantile(q.at)) * time.Microsecond
			add(res.Main+" "+q.name, q.limit.String(), got.String(), got <= q.limit)
		}
	}
	for _, n := range []struct {
		name       string
		limit, got int64
	}{
		{"ghosts", l.MaxGhosts, int64(res.Ghosts)}, {"missing", l.MaxMissing, int64(res.Missing)},
		{"false exits", l.MaxFalseExits, int64(res.FalseExits)}, {cLost, l.MaxLost, f.Counts[cLost].Total},
		{cErrors, l.MaxErrors, f.Counts[cErrors].Total + f.Counts[cRefused].Total + f.Counts[cSkipped].Total},
	} {
		if n.limit >= 0 {
			add(n.name, fmt.Sprint(n.limit), fmt.Sprint(n.got), n.got <= n.limit)
		}
	}
	if l.MaxRecover >= 0 {
		got := time.Duration(res.RecoverSeconds * float64(time.Second)).Round(time.Millisecond)
		if res.RecoverSeconds < 0 {
			add("time to recover", l.MaxRecover.String(), "some never did", false)
		} else {
			add("time to recover", l.MaxRecover.String(), got.String(), got <= l.MaxRecover)
		}
	}
	res.Passed = !slices.ContainsFunc(res.Verdicts, func(v verdict) bool { return !v.OK })
}

// write writes the reports that were asked for, and a summary.
func (res *result) write(w io.Writer) error {
	if path := res.Settings.JSON; path != "" {
		b, err := json.MarshalIndent(res, "", "  ")
		if err != nil {
			return fmt.Errorf("encode the figures: %w", err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			return fmt.Errorf("write the figures: %w", err)
		}
	}
	if path := res.Settings.Report; path != "" {
		page, err := res.page()
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, page, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return res.summary(w)
}

// summary writes tables for a terminal.
func (res *result) summary(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nLATENCY (ms)\tcount\tp50\tp90\tp99\tp99.9\tmax\t\n")
	for _, l := range res.Latencies {
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", l.Name, l.Count, l.P50, l.P90, l.P99, l.P999, l.Max)
	}
	fmt.Fprintf(w, "\nCOUNT\ttotal\ta second in the run\t\n")
	for _, c := range res.Counts {
		if c.Total != 0 {
			fmt.Fprintf(w, "%s\t%d\t%.1f\t\n", c.Name, c.Total, c.PerSecond)
		}
	}
	fmt.Fprintf(w, "\nghosts %d, missing %d, false exits %d, recovered in %s\n", res.Ghosts, res.Missing, res.FalseExits, res.recovered())
	if k := res.Killed; k != nil {
		fmt.Fprintf(w, "killed %s (pid %d) after %.1f s, %d clients with it\n", k.Node, k.PID, k.AtSecond, k.GoneToo)
	}
	fmt.Fprintln(w, &res.CPU)
	for _, text := range sorted(res.Notes) {
		fmt.Fprintf(w, "note: %d times %s\n", res.Notes[text], text)
	}
	for _, v := range res.Verdicts {
		word := "ok    "
		if !v.OK {
			word = "MISSED"
		}
		fmt.Fprintf(w, "%s %s: %s, limit %s\n", word, v.Name, v.Got, v.Limit)
	}
	return w.Flush()
}

// recovered says how long recovering took, for people.
func (res *result) recovered() string {
	switch {
	case res.RecoverSeconds < 0:
		return "no time: some never did"
	case res.RecoverSeconds == 0:
		return "no time: nobody was lost"
	default:
		return fmt.Sprintf("%.2f s", res.RecoverSeconds)
	}
}
