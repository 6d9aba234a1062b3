package main

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The plots' measures, in the units of their drawing.
const (
	plotWidth, plotHeight                    = 720.0, 240.0
	plotLeft, plotRight, plotTop, plotBottom = 64.0, 14.0, 30.0, 34.0
	plotInnerWidth                           = plotWidth - plotLeft - plotRight
	plotInnerHeight                          = plotHeight - plotTop - plotBottom
	maxTicks                                 = 6
)

// line is one line of a plot. Points whose y is not positive are gaps on a
// logarithmic axis.
type line struct {
	name   string
	xs, ys []float64
}

// plot is a drawing of some lines over a common axis.
type plot struct {
	title, xLabel, yLabel string
	logY                  bool
	lines                 []line
	// mark is an x with a word to it; no word is no mark.
	mark     float64
	markText string
	// xTicks are the axis' ticks where they are not numbers in even steps.
	xTicks []tick
}

type tick struct {
	at   float64
	text string
}

// svg draws the plot.
func (p plot) svg() string {
	xMin, xMax, yMin, yMax, ok := p.bounds()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, plotWidth, plotHeight, html.EscapeString(p.title))
	fmt.Fprintf(&b, `<text class="title" x="%g" y="18">%s</text>`, plotLeft, html.EscapeString(p.title))
	if !ok {
		fmt.Fprintf(&b, `<text x="%g" y="%g">nothing was measured</text></svg>`, plotLeft, plotHeight/2)
		return b.String()
	}
	x := func(v float64) float64 { return plotLeft + (v-xMin)/(xMax-xMin)*plotInnerWidth }
	scale := func(v float64) float64 { return v }
	if p.logY {
		scale = math.Log10
	}
	y := func(v float64) float64 {
		return plotTop + plotInnerHeight*(1-(scale(v)-scale(yMin))/(scale(yMax)-scale(yMin)))
	}
	for _, t := range p.yTicks(yMin, yMax) {
		fmt.Fprintf(&b, `<path class="grid" d="M%g %.1fh%g"/><text class="y" x="%g" y="%.1f">%s</text>`, plotLeft, y(t.at), plotInnerWidth, plotLeft-6, y(t.at)+4, t.text)
	}
	ticks := p.xTicks
	if ticks == nil {
		ticks = evenTicks(xMin, xMax)
	}
	for _, t := range ticks {
		fmt.Fprintf(&b, `<text class="x" x="%.1f" y="%g">%s</text>`, x(t.at), plotHeight-16, t.text)
	}
	fmt.Fprintf(&b, `<text class="x" x="%g" y="%g">%s</text>`, plotLeft+plotInnerWidth/2, plotHeight-2, html.EscapeString(p.xLabel))
	fmt.Fprintf(&b, `<text class="y" x="%g" y="18">%s</text>`, plotWidth-plotRight, html.EscapeString(p.yLabel))
	if p.markText != "" {
		fmt.Fprintf(&b, `<path class="mark" d="M%.1f %gv%g"/><text class="mark" x="%.1f" y="%g">%s</text>`,
			x(p.mark), plotTop, plotInnerHeight, x(p.mark)+4, plotTop+10, html.EscapeString(p.markText))
	}
	legend := plotLeft + 280
	for i, l := range p.lines {
		fmt.Fprintf(&b, `<path class="line c%d" d="%s"/>`, i, p.path(l, x, y))
		fmt.Fprintf(&b, `<text class="legend c%d" x="%g" y="18">%s</text>`, i, legend, html.EscapeString(l.name))
		legend += 24 + 7*float64(len(l.name))
	}
	b.WriteString(`</svg>`)
	return b.String()
}

// path returns a line's drawing, with a new beginning after each gap.
func (p plot) path(l line, x, y func(float64) float64) string {
	var b strings.Builder
	pen := "M"
	for i, v := range l.ys {
		if p.logY && v <= 0 {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x(l.xs[i]), y(v))
		if pen == "M" {
			b.WriteString("h0") // a single point is seen, too
		}
		pen = "L"
	}
	return b.String()
}

// bounds returns the ranges of the axes, false if there is nothing to draw.
func (p plot) bounds() (xMin, xMax, yMin, yMax float64, ok bool) {
	xMin, xMax, yMin, yMax = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, l := range p.lines {
		for i, v := range l.ys {
			if p.logY && v <= 0 {
				continue
			}
			xMin, xMax, yMin, yMax = min(xMin, l.xs[i]), max(xMax, l.xs[i]), min(yMin, v), max(yMax, v)
		}
	}
	if xMin > xMax {
		return 0, 0, 0, 0, false
	}
	if xMin == xMax {
		xMax++
	}
	if p.logY {
		yMin, yMax = math.Pow(10, math.Floor(math.Log10(yMin))), math.Pow(10, math.Ceil(math.Log10(yMax)))
		if yMin == yMax {
			yMax *= 10
		}
		return xMin, xMax, yMin, yMax, true
	}
	if yMin = 0; yMax <= 0 {
		yMax = 1
	}
	return xMin, xMax, yMin, yMax, true
}

func (p plot) yTicks(lo, hi float64) []tick {
	if !p.logY {
		return evenTicks(lo, hi)
	}
	var ticks []tick
	for v := lo; v <= hi*1.0001; v *= 10 {
		ticks = append(ticks, tick{v, number(v)})
	}
	return ticks
}

// evenTicks returns ticks at round numbers.
func evenTicks(lo, hi float64) []tick {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/maxTicks)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*factor) <= maxTicks {
			step *= factor
			break
		}
	}
	var ticks []tick
	for v := math.Ceil(lo/step) * step; v <= hi+step/1000; v += step {
		ticks = append(ticks, tick{v, number(v)})
	}
	return ticks
}

// number writes a number short.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	default:
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
}

// distribution plots a histogram by percentile: an x for each time that the part
// of those who took longer is halved.
func distribution(title string, h *hdrhistogram.Histogram) plot {
	p := plot{title: title, xLabel: "percentile", yLabel: "ms", logY: true}
	if h == nil || h.TotalCount() == 0 {
		return p
	}
	for _, q := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
		if at := rarity(q); q == 0 || float64(h.TotalCount())*(100-q)/100 >= 1 {
			p.xTicks = append(p.xTicks, tick{at, number(q)})
		}
	}
	l := line{name: "all"}
	for _, bracket := range h.CumulativeDistribution() {
		q := min(bracket.Quantile, 100-100/float64(2*h.TotalCount()))
		l.xs, l.ys = append(l.xs, rarity(q)), append(l.ys, float64(bracket.ValueAt)/1000)
	}
	p.lines = []line{l}
	return p
}

// rarity maps a percentile to how often the rest was divided by ten.
func rarity(q float64) float64 { return -math.Log10(1 - q/100) }
