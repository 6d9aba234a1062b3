package main

import (
	"bytes"
	"fmt"
	"html/template"
	"runtime"
	"strings"
)

func cpus() int { return runtime.NumCPU() }

// page returns the report as one HTML page that needs nothing else.
func (res *result) page() ([]byte, error) {
	t, err := template.New("report").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("report's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]any{"R": res, "Plots": res.plots(), "Recovered": res.recovered(), "CPU": sentence(res.CPU.String())}); err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	return b.Bytes(), nil
}

func (res *result) plots() []template.HTML {
	s := res.Series
	seconds := make([]float64, len(s.P50))
	for i := range seconds {
		seconds[i] = float64(i) * s.Width
	}
	over := plot{
		title: res.Main + " over time", xLabel: "s", yLabel: "ms", logY: true,
		lines: []line{{"p50", seconds, s.P50}, {"p99", seconds, s.P99}, {"max", seconds, s.Max}},
	}
	rates := plot{title: "a second", xLabel: "s", logY: true}
	for _, name := range sorted(s.Rates) {
		ys := make([]float64, len(s.Rates[name]))
		for i, n := range s.Rates[name] {
			ys[i] = float64(n) / s.Width
		}
		rates.lines = append(rates.lines, line{name, seconds, ys})
	}
	connected := plot{title: "connected", xLabel: "s", lines: []line{{"users", seconds, floats(s.Connected)}}}
	plots := []plot{over, distribution(res.Main+" by percentile", res.distributions[res.Main]), rates, connected}
	var drawn []template.HTML
	for _, p := range plots {
		if k := res.Killed; k != nil && p.xLabel == "s" {
			p.mark, p.markText = k.AtSecond, k.Node+" killed"
		}
		drawn = append(drawn, template.HTML(p.svg())) //nolint:gosec // all text in it is escaped
	}
	return drawn
}

// sentence begins a text with a capital.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func floats(ints []int64) []float64 {
	f := make([]float64, len(ints))
	for i, n := range ints {
		f[i] = float64(n)
	}
	return f
}

const pageText = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rollcall under load: {{.R.Scenario}}</title>
<style>
:root { --ink: #1c2330; --soft: #66708a; --rule: #dfe3ec; --page: #fbfbfd; --good: #16784a; --bad: #b3261e; --a: #2356c5; --b: #c2571a; --c: #8b3fb0; --d: #16784a; --e: #8a6d00; --f: #b3261e; --g: #4a6572 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8f1; --soft: #98a2b8; --rule: #313848; --page: #14171e; --good: #5fd39a; --bad: #ff8a80; --a: #7fa6ff; --b: #ffa566; --c: #d69cf0; --d: #5fd39a; --e: #e6c55c; --f: #ff8a80; --g: #a3bcc8 } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1.2rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page) }
h1 { font-size: 1.5rem; margin: 0 0 .2rem } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
p.sub { color: var(--soft); margin: 0 } .good { color: var(--good) } .bad { color: var(--bad) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--rule) } th { color: var(--soft); font-weight: 500 }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); gap: 1rem }
svg { width: 100%; font: 11px system-ui, sans-serif; fill: var(--soft) } svg .title { font-size: 13px; fill: var(--ink) }
svg .grid { stroke: var(--rule) } svg .x { text-anchor: middle } svg .y { text-anchor: end }
svg .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round } svg path.mark { stroke: var(--bad); stroke-dasharray: 4 3 } svg text.mark { fill: var(--bad) }
svg path.c0 { stroke: var(--a) } svg path.c1 { stroke: var(--b) } svg path.c2 { stroke: var(--c) } svg path.c3 { stroke: var(--d) } svg path.c4 { stroke: var(--e) } svg path.c5 { stroke: var(--f) } svg path.c6 { stroke: var(--g) }
svg text.c0 { fill: var(--a) } svg text.c1 { fill: var(--b) } svg text.c2 { fill: var(--c) } svg text.c3 { fill: var(--d) } svg text.c4 { fill: var(--e) } svg text.c5 { fill: var(--f) } svg text.c6 { fill: var(--g) }
</style>
</head>
<body>
<h1>{{.R.Scenario}}: {{.R.About}}</h1>
<p class="sub">{{.R.Settings.Clients}} clients in {{.R.Settings.Rooms}} rooms for {{.R.Settings.Duration}}, {{printf "%.4g" .R.Settings.Rate}} operations a second, messages of {{.R.Settings.Size}} bytes. Began {{.R.Began.Format "2006-01-02 15:04:05 MST"}}. Everybody was in after {{printf "%.1f" .R.SetupSeconds}} s.</p>
<p class="sub">Load from {{.R.Machine}}. {{.CPU}}; the busiest of its processes {{printf "%.2f" .R.CPU.Busiest}}.</p>

<h2>Verdict: {{if .R.Passed}}<span class="good">passed</span>{{else}}<span class="bad">missed</span>{{end}}</h2>
{{if .R.Verdicts}}<table>
<tr><th>limit of</th><th>limit</th><th>was</th><th></th></tr>
{{range .R.Verdicts}}<tr><td>{{.Name}}</td><td>{{.Limit}}</td><td>{{.Got}}</td><td>{{if .OK}}<span class="good">ok</span>{{else}}<span class="bad">missed</span>{{end}}</td></tr>
{{end}}</table>{{else}}<p>No limits were given.</p>{{end}}
<p>Ghosts: {{.R.Ghosts}}. Missing: {{.R.Missing}}. False exits: {{.R.FalseExits}}. Recovered in {{.Recovered}}.
{{with .R.Killed}}Killed {{.Node}} (pid {{.PID}}) after {{printf "%.1f" .AtSecond}} s; {{.GoneToo}} clients went with it.{{end}}</p>
{{if .R.Listings}}<ul>{{range .R.Listings}}<li>user {{.User}} in {{.Room}}: {{.Why}}</li>{{end}}</ul>{{end}}

<h2>Over time</h2>
<div class="plots">{{range .Plots}}<div>{{.}}</div>{{end}}</div>

<h2>Latencies in ms, counted from when each operation was due</h2>
<table>
<tr><th></th><th>count</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>
{{range .R.Latencies}}<tr><td>{{.Name}}</td><td>{{.Count}}</td><td>{{printf "%.2f" .Mean}}</td><td>{{printf "%.2f" .P50}}</td><td>{{printf "%.2f" .P90}}</td><td>{{printf "%.2f" .P99}}</td><td>{{printf "%.2f" .P999}}</td><td>{{printf "%.2f" .Max}}</td></tr>
{{end}}</table>

<h2>Counts</h2>
<table>
<tr><th></th><th>in all</th><th>a second in the run</th></tr>
{{range .R.Counts}}<tr><td>{{.Name}}</td><td>{{.Total}}</td><td>{{printf "%.1f" .PerSecond}}</td></tr>
{{end}}</table>
{{if .R.Notes}}<h2>Notes</h2>
<ul>{{range $text, $n := .R.Notes}}<li>{{$n}} times {{$text}}</li>{{end}}</ul>{{end}}
</body>
</html>
`
