package danmaku

import (
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// group is equal lines, which are published as one.
type group struct {
	key   string
	lines []line
	due   time.Time
	// dropped: not to be published, only to be deleted.
	dropped bool
}

// importance is that of the most important line.
func (g *group) importance() chat.Importance {
	best := chat.MaxImportance
	for i := range g.lines {
		best = min(best, chat.Importance(g.lines[i].priority))
	}
	return best
}

// merger collects equal lines. It belongs to the loop.
type merger struct {
	// set by newMerger
	window time.Duration

	open  map[string]*group
	order []*group // those that are open, the first due first
}

func newMerger(window time.Duration) *merger {
	return &merger{window: window, open: map[string]*group{}}
}

// add puts a line to its equals. It returns a group that is full.
func (m *merger) add(l line, now time.Time) *group {
	if m.window == 0 {
		return &group{lines: []line{l}}
	}
	key := fold(l.text)
	if key == "" {
		key = l.text
	}
	g := m.open[key]
	if g == nil {
		g = &group{key: key, due: now.Add(m.window)}
		m.open[key] = g
		m.order = append(m.order, g)
	}
	g.lines = append(g.lines, l)
	if len(g.lines) < chat.MaxOnce {
		return nil
	}
	delete(m.open, key) // and skipped in order, as it is not open
	return g
}

// take returns the groups that are due, or all.
func (m *merger) take(now time.Time, all bool) []*group {
	var out []*group
	n := 0
	for ; n < len(m.order) && (all || !m.order[n].due.After(now)); n++ {
		if g := m.order[n]; m.open[g.key] == g {
			delete(m.open, g.key)
			out = append(out, g)
		}
	}
	m.order = m.order[n:]
	return out
}

// next returns when the next group is due.
func (m *merger) next() (time.Time, bool) {
	if len(m.order) == 0 {
		return time.Time{}, false
	}
	return m.order[0].due, true
}
