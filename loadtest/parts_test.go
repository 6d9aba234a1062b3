package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/faac1247/rollcall/protocol"
)

func TestPaceKeepsItsTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().Add(time.Second)
		var due, at []time.Duration
		pace(t.Context(), start, start.Add(time.Second), 10, func(k int, d time.Time) {
			due, at = append(due, d.Sub(start)), append(at, time.Since(start))
			if k == 2 {
				time.Sleep(350 * time.Millisecond) // a stall, which must not move what comes
			}
		})
		for k, d := range due {
			if d != time.Duration(k)*100*time.Millisecond {
				t.Errorf("operation %d is due after %v", k, d)
			}
		}
		if len(due) != 10 || at[3] != 550*time.Millisecond || at[5] != 550*time.Millisecond || at[6] != 600*time.Millisecond {
			t.Errorf("%d operations, begun after %v", len(due), at)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		pace(ctx, time.Now().Add(time.Hour), time.Now().Add(2*time.Hour), 1, func(int, time.Time) { t.Error("goes on") })
	})
}

func TestPoolRefusesWhatItCannotTake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		p, release := newPool(2, 3), make(chan struct{})
		taken := 0
		for range 20 {
			if p.try(func() { <-release }) {
				taken++
			}
			synctest.Wait()
		}
		if taken != 5 {
			t.Errorf("took %d jobs", taken)
		}
		close(release)
		p.close()
	})
}

func TestStallIsSeenByEveryOperationThatWasDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &swarm{of: 1, rec: newRecorder(mPublish, 10*time.Second), pool: newPool(4, 1000)}
		start := time.Now()
		s.rec.begin(start)
		each(t.Context(), s, start, start.Add(10*time.Second), 100, func(due time.Time) {
			// A server that stalls from second 2 to second 4.
			if since := time.Since(start); since >= 2*time.Second && since < 4*time.Second {
				time.Sleep(4*time.Second - since)
			}
			s.rec.took(mPublish, due, time.Now())
		})
		s.pool.close()
		f := s.rec.figures()
		h := f.histogram(mPublish)
		// 200 operations were due in the stall, and waited one second on average.
		if h.TotalCount() != 1000 || math.Abs(h.Mean()/1e3-200) > 5 || math.Abs(float64(h.ValueAtQuantile(90))/1e3-1000) > 50 {
			t.Errorf("%d measured, mean %.0f ms, p90 %d ms", h.TotalCount(), h.Mean()/1e3, h.ValueAtQuantile(90)/1e3)
		}
		if lag := f.histogram(mLag); lag.Max() < 1.9e6 {
			t.Errorf("own lag is %d µs at most", lag.Max())
		}
	})
}

func TestFiguresAddUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sum figures
		for process := range 3 {
			r := newRecorder(mDeliver, 10*time.Second)
			start := time.Now()
			r.took(mDeliver, start.Add(-time.Hour), start) // before the run, and beyond the scale
			r.count(cSent, 5)
			r.begin(start)
			time.Sleep(1500 * time.Millisecond)
			for range 100 {
				r.took(mDeliver, time.Now().Add(-time.Duration(process+1)*10*time.Millisecond), time.Now())
				r.took(mEnter, time.Now(), time.Now())
				r.count(cSent, 1)
			}
			b, err := json.Marshal(r.figures()) // as between processes
			if err != nil {
				t.Fatal(err)
			}
			var back figures
			if err := json.Unmarshal(b, &back); err != nil {
				t.Fatal(err)
			}
			sum.add(back)
		}
		h := sum.histogram(mDeliver)
		if h.TotalCount() != 303 || h.ValueAtQuantile(50)/1000 != 20 || h.Max() < highestValue/1000*999 {
			t.Errorf("%d measured, p50 %d, max %d", h.TotalCount(), h.ValueAtQuantile(50), h.Max())
		}
		if sum.histogram(mEnter).TotalCount() != 300 || sum.histogram(mExit) != nil {
			t.Error("histograms are mixed up")
		}
		w := hdrhistogram.Import(sum.Windows[1])
		if sum.Windows[0] != nil || w.TotalCount() != 300 || sum.Counts[cSent].Total != 315 || sum.Counts[cSent].Windows[1] != 300 {
			t.Errorf("windows %v, counts %+v", w.TotalCount(), sum.Counts[cSent])
		}
	})
}

func TestWindowsAreFew(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]time.Duration{time.Second: time.Second, 5 * time.Minute: time.Second, time.Hour: 12 * time.Second} {
		if got := windowOf(d); got != want {
			t.Errorf("%v: windows of %v", d, got)
		}
	}
}

var noon = time.Unix(1767323045, 0)

// at returns a time so many seconds after noon.
func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func TestWhoIsAGhost(t *testing.T) {
	t.Parallel()
	c := crowd{phones: map[protocol.UserID]PhoneState{
		1: {User: 1, Online: true, Room: "a"}, 2: {User: 2, Room: "a"}, 3: {User: 3, Online: true, Room: "b"}, 4: {User: 4, Online: true},
		5: {User: 5, Online: true, Room: "b"},
	}}
	s := c.compare(map[string][]protocol.UserID{"a": {1, 2, 3, 99}, "b": {3, 4}})
	var ghosts []protocol.UserID
	for _, g := range s.ghosts {
		ghosts = append(ghosts, g.User)
	}
	if !slices.Equal(ghosts, []protocol.UserID{2, 3, 4}) || len(s.missing) != 1 || s.missing[0].User != 5 || s.fits() {
		t.Errorf("%+v", s)
	}
	if !c.compare(map[string][]protocol.UserID{"a": {1}, "b": {3, 5}}).fits() {
		t.Error("rosters that fit do not")
	}
}

func TestWhatIsAFalseExit(t *testing.T) {
	t.Parallel()
	const grace = 12 * time.Second
	for name, test := range map[string]struct {
		absences []absence
		told     float64
		lost     bool
	}{
		"was never away":          {nil, 5, false},
		"did not come back":       {[]absence{{From: at(1)}}, 14, true},
		"told before it was away": {[]absence{{From: at(8)}}, 5, false},
		"clocks are not one":      {[]absence{{From: at(5.5)}}, 5, true},
		"back within the grace":   {[]absence{{From: at(1), To: at(5)}}, 4, false},
		"back too late":           {[]absence{{From: at(1), To: at(20)}}, 14, true},
		"about the grace":         {[]absence{{From: at(1), To: at(12.5)}}, 13, true},
		"cut on purpose":          {[]absence{{From: at(1), To: at(2), OnPurpose: true}}, 1.5, true},
		"on its way":              {[]absence{{From: at(1), To: at(2), OnPurpose: true}}, 3, true},
		"long after the return":   {[]absence{{From: at(1), To: at(2), OnPurpose: true}}, 9, false},
		"the second time":         {[]absence{{From: at(1), To: at(2)}, {From: at(6), OnPurpose: true}}, 7, true},
	} {
		if got := (PhoneState{Absences: test.absences}).lostAt(at(test.told), grace); got != test.lost {
			t.Errorf("%s: %t", name, got)
		}
	}
	c := crowd{
		phones:  map[protocol.UserID]PhoneState{1: {User: 1}, 2: {User: 2}, 3: {User: 3, Absences: []absence{{From: at(1)}}}},
		falsely: map[protocol.UserID]bool{2: true},
		heard:   []heard{{User: 1, At: at(3)}, {User: 1, At: at(4)}, {User: 3, At: at(14)}, {User: 77, At: at(3)}},
	}
	if got := c.falseExits(grace); len(got) != 2 || !got[1] || !got[2] {
		t.Errorf("%v", got)
	}
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	c := crowd{
		phones: map[protocol.UserID]PhoneState{
			1: {Online: true, Room: "a", Absences: []absence{{From: at(-9), To: at(-1), In: at(-1)}, {From: at(1), To: at(2), In: at(4)}}},
			2: {Away: true, Absences: []absence{{From: at(1)}}},
			3: {Online: true, Room: "a", Absences: []absence{{From: at(1), To: at(1.5)}, {From: at(2), To: at(3), In: at(3)}}},
		},
		recovered: map[string]time.Duration{"a": 2 * time.Second},
	}
	if d, ok := c.recovery(noon, 1); d != 3*time.Second || !ok {
		t.Errorf("%v, %t", d, ok)
	}
	if _, ok := c.recovery(noon, 2); ok {
		t.Error("a room that nobody heard of has recovered")
	}
	c.phones[4] = PhoneState{Absences: []absence{{From: at(5)}}}
	if _, ok := c.recovery(noon, 1); ok {
		t.Error("one who is away has recovered")
	}
}

func TestToldCountsTheFirstRelay(t *testing.T) {
	t.Parallel()
	c := crowd{
		phones: map[protocol.UserID]PhoneState{1: {Absences: []absence{{From: at(1), To: at(2)}, {From: at(5)}}}},
		heard:  []heard{{User: 1, At: at(9), ID: "x"}, {User: 1, At: at(6), ID: "x"}, {User: 1, At: at(1.5), ID: "c", Call: true}},
	}
	if h := c.told(); h.TotalCount() != 1 || h.Max()/1000/10 != 100 {
		t.Errorf("%d, %d µs", h.TotalCount(), h.Max())
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	none := limits{MaxP50: -1, MaxP99: -1, MaxP999: -1, MaxGhosts: -1, MaxMissing: -1, MaxFalseExits: -1, MaxLost: -1, MaxErrors: -1, MaxRecover: -1}
	measured := hdrhistogram.New(1, highestValue, 3)
	for range 100 {
		_ = measured.RecordValue(40_000)
	}
	f := &figures{Counts: map[string]count{cLost: {Total: 3}, cErrors: {Total: 1}, cRefused: {Total: 1}}}
	for name, test := range map[string]struct {
		change func(*limits, *result)
		passed bool
		count  int
	}{
		"no limits":        {func(*limits, *result) {}, true, 0},
		"p99 kept":         {func(l *limits, _ *result) { l.MaxP99 = 41 * time.Millisecond }, true, 1},
		"p99 missed":       {func(l *limits, _ *result) { l.MaxP99 = 39 * time.Millisecond }, false, 1},
		"nothing measured": {func(l *limits, r *result) { l.MaxP50 = time.Hour; r.Main = mHangUp }, false, 1},
		"all counts kept": {func(l *limits, _ *result) {
			l.MaxGhosts, l.MaxMissing, l.MaxFalseExits, l.MaxLost, l.MaxErrors = 2, 0, 1, 3, 2
		}, true, 5},
		"ghosts":          {func(l *limits, _ *result) { l.MaxGhosts = 1 }, false, 1},
		"false exits":     {func(l *limits, _ *result) { l.MaxFalseExits = 0 }, false, 1},
		"lost":            {func(l *limits, _ *result) { l.MaxLost = 2 }, false, 1},
		"errors":          {func(l *limits, _ *result) { l.MaxErrors = 1 }, false, 1},
		"recovered":       {func(l *limits, _ *result) { l.MaxRecover = 5 * time.Second }, true, 1},
		"recovered late":  {func(l *limits, _ *result) { l.MaxRecover = 4 * time.Second }, false, 1},
		"never recovered": {func(l *limits, r *result) { l.MaxRecover = time.Hour; r.RecoverSeconds = -1 }, false, 1},
	} {
		res := &result{Main: mDeliver, Ghosts: 2, FalseExits: 1, RecoverSeconds: 4.5, distributions: map[string]*hdrhistogram.Histogram{mDeliver: measured}}
		l := none
		test.change(&l, res)
		res.Settings.Limits = l
		res.judge(f)
		if res.Passed != test.passed || len(res.Verdicts) != test.count {
			t.Errorf("%s: passed %t, %+v", name, res.Passed, res.Verdicts)
		}
	}
}

func TestPlotsAreXML(t *testing.T) {
	t.Parallel()
	h := hdrhistogram.New(1, highestValue, 3)
	_ = h.RecordValue(5)
	for name, p := range map[string]plot{
		"empty":     {title: "nothing <&>"},
		"zeros":     {title: "z", logY: true, lines: []line{{"a", []float64{0, 1}, []float64{0, 0}}}},
		"one point": {title: "p", logY: true, lines: []line{{"a<", []float64{3}, []float64{10}}}, mark: 3, markText: "<kill>"},
		"gap":       {title: "g", logY: true, lines: []line{{"a", []float64{0, 1, 2}, []float64{0.02, 0, 7e7}}}},
		"flat zero": {title: "f", lines: []line{{"a", []float64{0, 1}, []float64{0, 0}}}},
		"many":      {title: "m", lines: []line{{"a", []float64{0, 1, 2}, []float64{5, 100000, 3}}, {"b", []float64{0, 1, 2}, []float64{1, 2, 3}}}},
		"histogram": distribution("d", h),
		"none":      distribution("d", nil),
	} {
		svg := p.svg()
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%s: %s", name, svg)
		}
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("%s: %v in %s", name, err, svg)
				break
			}
		}
	}
	if got := strings.Count((plot{lines: []line{{"a", []float64{0, 1, 2, 3}, []float64{1, 0, 2, 3}}}, logY: true}).svg(), "h0"); got != 2 {
		t.Errorf("a gap makes %d pieces", got)
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	t.Parallel()
	res := &result{
		Scenario: "steady", Main: mDeliver, Notes: map[string]int64{"<script>alert(1)</script>": 2}, Killed: &killed{Node: "n<2>", AtSecond: 1},
		Series: series{Width: 1, P50: []float64{1, 2}, P99: []float64{3, 4}, Max: []float64{5, 6}, Connected: []int64{7, 8}, Rates: map[string][]int64{cSent: {1, 2}}},
	}
	page, err := res.page()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"http:", "https:", "src=", "href=", "url(", "<script", "n<2>", "@import"} {
		if strings.Contains(string(page), bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	if strings.Count(string(page), "<svg") != 4 {
		t.Error("plots are missing")
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	bad := settings{EndPoint: []string{"x"}, API: []string{"ws://h"}, Scenario: "?", SID: "%s%d", Sources: 251}
	err := bad.validate()
	for _, want := range []string{`"x"`, "ws://h", `scenario "?"`, "--clients", "--rooms", "--duration", "--size", "--connect-rate", "--waves", "--first-user", "--sid", "--sources"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
	good := settings{EndPoint: []string{"http://127.0.0.1:1"}, MNS: "http://[::1]:1", Clients: 50_000, Rooms: 7, Scenario: "hotroom", SID: "%dsx", FirstUser: 5}
	good.prepare()
	if good.Rooms != 1 || good.Rate != 20 || good.Processes < 1 || good.Sources != 3 || good.sid(2) != "7sx" || good.room(9) != "load-0" {
		t.Errorf("%+v", good)
	}
	far := settings{EndPoint: []string{"http://example.com"}, MNS: "http://127.0.0.1:1", Clients: 50_000, Scenario: "steady", Processes: 2}
	if far.prepare(); far.Sources != 0 || far.Processes != 2 {
		t.Errorf("%+v", far)
	}
}

func TestStamps(t *testing.T) {
	t.Parallel()
	due := time.Unix(1767323045, 123456789)
	for _, size := range []int{0, minContent, 500} {
		text := stamped(due, size)
		if size >= minContent && len(text) != size {
			t.Errorf("%d bytes, not %d", len(text), size)
		}
		o, err := protocol.ParseObject([]byte(`{"content":"` + text + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := stamp(o, "content"); !ok || !got.Equal(due) {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, text := range []string{`"hello"`, `"1767323045"`, `"17673230451234567890 "`, `7`} {
		o, err := protocol.ParseObject([]byte(`{"content":` + text + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := stamp(o, "content"); ok {
			t.Errorf("%s is taken for a time", text)
		}
	}
}
