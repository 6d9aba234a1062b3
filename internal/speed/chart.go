//go:build linux

package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// The chart's measures, in the units of its drawing.
const (
	chartWidth, chartHeight                      = 720.0, 320.0
	chartLeft, chartRight, chartTop, chartBottom = 70.0, 20.0, 58.0, 46.0
)

// colours are those of the lines, in order.
var colours = [...]string{"#0b6e99", "#c2571a", "#5b8c2a", "#8a3ffc"}

// series is one line of a chart.
type series struct {
	name   string
	xs, ys []float64
}

// chart is a drawing of some lines over a common logarithmic axis.
type chart struct {
	title, xLabel, yLabel string
	logY                  bool
	lines                 []series
}

// draw writes the chart as a file of the directory, nothing without one.
func (c chart) draw(dir, name string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(c.svg()), 0o644)
}

// svg draws the chart, on a background of its own so that it can be read
// anywhere.
func (c chart) svg() string {
	xLow, xHigh, yLow, yHigh := c.bounds()
	scale := func(v float64) float64 { return v }
	if c.logY {
		scale = math.Log10
	}
	x := func(v float64) float64 {
		return chartLeft + math.Log10(v/xLow)/math.Log10(xHigh/xLow)*(chartWidth-chartLeft-chartRight)
	}
	y := func(v float64) float64 {
		return chartHeight - chartBottom - (scale(v)-scale(yLow))/(scale(yHigh)-scale(yLow))*(chartHeight-chartTop-chartBottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12" role="img">`, chartWidth, chartHeight)
	fmt.Fprintf(&b, "\n"+`<title>%s</title><rect width="100%%" height="100%%" fill="#fff"/>`, html.EscapeString(c.title))
	fmt.Fprintf(&b, "\n"+`<text x="%g" y="20" font-size="15">%s</text>`, chartLeft, html.EscapeString(c.title))
	for _, t := range c.yTicks(yLow, yHigh) {
		fmt.Fprintf(&b, "\n"+`<path d="M%g %.1fH%g" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end" fill="#555">%s</text>`,
			chartLeft, y(t), chartWidth-chartRight, chartLeft-6, y(t)+4, short(t))
	}
	for _, t := range c.lines[0].xs {
		fmt.Fprintf(&b, "\n"+`<text x="%.1f" y="%g" text-anchor="middle" fill="#555">%s</text>`, x(t), chartHeight-chartBottom+18, short(t))
	}
	fmt.Fprintf(&b, "\n"+`<text x="%g" y="%g" text-anchor="middle">%s</text>`, chartWidth/2, chartHeight-8, html.EscapeString(c.xLabel))
	fmt.Fprintf(&b, "\n"+`<text x="%g" y="20" text-anchor="end">%s</text>`, chartWidth-chartRight, html.EscapeString(c.yLabel))
	legend := chartLeft
	for i, l := range c.lines {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&b, "\n"+`<path fill="none" stroke="%s" stroke-width="2" d="`, colour)
		for j := range l.xs {
			fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(j, 1)], x(l.xs[j]), y(l.ys[j]))
		}
		b.WriteString(`"/>`)
		for j := range l.xs {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s</title></circle>`, x(l.xs[j]), y(l.ys[j]), colour, short(l.xs[j]), short(l.ys[j]))
		}
		fmt.Fprintf(&b, "\n"+`<path d="M%g 38h16" stroke="%s" stroke-width="3"/><text x="%g" y="42">%s</text>`, legend, colour, legend+20, html.EscapeString(l.name))
		legend += 36 + 6.4*float64(len(l.name))
	}
	b.WriteString("\n</svg>\n")
	return b.String()
}

// bounds returns what the axes have to hold.
func (c chart) bounds() (xLow, xHigh, yLow, yHigh float64) {
	xLow, yLow = math.Inf(1), math.Inf(1)
	for _, l := range c.lines {
		for i := range l.xs {
			xLow, xHigh = min(xLow, l.xs[i]), max(xHigh, l.xs[i])
			yLow, yHigh = min(yLow, l.ys[i]), max(yHigh, l.ys[i])
		}
	}
	if c.logY {
		return xLow, xHigh, math.Pow(10, math.Floor(math.Log10(yLow))), math.Pow(10, math.Ceil(math.Log10(yHigh)))
	}
	return xLow, xHigh, 0, yHigh * 1.1
}

// yTicks returns the powers of ten, or some even steps.
func (c chart) yTicks(low, high float64) []float64 {
	var ticks []float64
	if c.logY {
		for t := low; t <= high*1.001; t *= 10 {
			ticks = append(ticks, t)
		}
		return ticks
	}
	step := math.Pow(10, math.Floor(math.Log10(high)))
	for high/step < 4 {
		step /= 2
	}
	for t := low; t <= high; t += step {
		ticks = append(ticks, t)
	}
	return ticks
}

// short is a number as it is read on an axis.
func short(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.3gk", v/1000)
	}
	return fmt.Sprintf("%.3g", v)
}
