package outbox

import (
	"slices"

	"github.com/faac1247/rollcall/protocol"
)

// worker serves one lane at a time. All it needs is kept from turn to turn.
type worker struct {
	// set by newWorker
	fanout *Fanout
	out    *writer
	helper bool

	// owned by run
	turn turn
}

// turn is what one lane gets: the frames of one page since its last turn.
type turn struct {
	start, end  uint64
	frames      uint64
	data        []byte
	marks       []mark
	subscribers []served
	addressed   []protocol.UserID // for whom some frame is special
	shared      [2]variant        // what most subscribers get: legacy, version 2
}

// variant is a burst that is made when the first subscriber needs it.
type variant struct {
	burst burst
	made  bool
}

// served is a subscriber as it was when the turn began.
type served struct {
	conn *Conn
	user protocol.UserID
	from uint64
	v2   bool
}

func newWorker(f *Fanout, helper bool) *worker {
	return &worker{fanout: f, out: newWriter(), helper: helper}
}

func (w *worker) run() {
	for {
		l := w.fanout.next(w.helper)
		if l == nil {
			return
		}
		w.serve(l)
	}
}

// serve gives a lane its turn, and queues it again if more came meanwhile. The
// lane stays marked as queued until then, so that no other worker serves it
// and its subscribers get everything in order.
func (w *worker) serve(l *lane) {
	a := l.audience
	a.L.Lock()
	w.turn.take(l)
	a.L.Unlock()

	w.turn.write(w)

	a.L.Lock()
	again := l.at < a.end && len(l.subscribers) > 0
	l.queued = again
	large := len(a.lanes) > 1
	a.forget()
	a.L.Unlock()
	w.turn.clear()
	if again {
		w.fanout.push(l, large)
	}
}

// take copies what the turn needs. The caller holds the audience's lock.
func (t *turn) take(l *lane) {
	a := l.audience
	if l.at == a.end || len(l.subscribers) == 0 {
		l.at = a.end
		return
	}
	p := a.pageAt(l.at)
	t.start, t.end = l.at, p.start+uint64(len(p.buf))
	t.data = p.buf[t.start-p.start : len(p.buf) : len(p.buf)]
	t.frames = p.total - l.total
	l.at, l.total = t.end, p.total
	for _, m := range a.marks {
		if m.start >= t.start && m.start < t.end {
			t.marks = append(t.marks, m)
		}
	}
	for _, s := range l.subscribers {
		t.subscribers = append(t.subscribers, served{conn: s.Conn, user: s.User, from: s.from, v2: s.V2})
	}
}

// clear lets go of everything but the slices' memory.
func (t *turn) clear() {
	clear(t.subscribers)
	*t = turn{marks: t.marks[:0], subscribers: t.subscribers[:0], addressed: t.addressed[:0]}
}

// write gives each subscriber its frames in one write.
//
// Hot: once for each flush of a room's part, and within it once for each client
// (BenchmarkFlood).
func (t *turn) write(w *worker) {
	if len(t.data) == 0 {
		return
	}
	t.prepare()
	for i := range t.subscribers {
		s := &t.subscribers[i]
		if s.from >= t.end {
			continue
		}
		if b := t.burstFor(s); len(b.data) > 0 {
			s.conn.send(w.out, b)
		}
	}
	n := uint64(len(t.subscribers))
	w.fanout.counters.Writes.Add(n)
	w.fanout.counters.Deliveries.Add(n * t.frames)
	w.fanout.counters.Bytes.Add(n * uint64(len(t.data)))
}

// prepare finds out for whom some frame is special.
func (t *turn) prepare() {
	for _, m := range t.marks {
		if m.except != 0 {
			t.addressed = append(t.addressed, m.except)
		}
		if m.only != 0 {
			t.addressed = append(t.addressed, m.only)
		}
	}
	slices.Sort(t.addressed)
}

// burstFor returns what s gets: a burst shared by all of its version, or one of
// its own where a frame is for it alone, for all but it, or older than it.
func (t *turn) burstFor(s *served) burst {
	_, special := slices.BinarySearch(t.addressed, s.user)
	if special || s.from > t.start {
		return t.assemble(s.user, s.from, s.v2)
	}
	shared := &t.shared[0]
	if s.v2 {
		shared = &t.shared[1]
	}
	if !shared.made {
		*shared = variant{burst: t.assemble(0, 0, s.v2), made: true}
	}
	return shared.burst
}

// assemble lays out the frames for one kind of subscriber. Without marks that
// is the page itself.
func (t *turn) assemble(user protocol.UserID, from uint64, v2 bool) burst {
	var b builder
	at := max(t.start, from)
	if all := !slices.ContainsFunc(t.marks, func(m mark) bool { return !m.reaches(user, v2) }); all {
		b.shared = true
	}
	for _, m := range t.marks {
		if m.start < at {
			continue
		}
		b.add(t.slice(at, m.start), Kept)
		if m.reaches(user, v2) {
			b.add(t.slice(m.start, m.end), m.importance)
		}
		at = m.end
	}
	b.add(t.slice(at, t.end), Kept)
	if b.shared {
		b.burst.data = t.slice(max(t.start, from), t.end)
	}
	return b.burst
}

func (t *turn) slice(from, to uint64) []byte { return t.data[from-t.start : to-t.start] }

// reaches reports whether the marked frame is for a subscriber.
func (m *mark) reaches(user protocol.UserID, v2 bool) bool {
	switch {
	case m.v2 && !v2:
		return false
	case m.only != 0 && m.only != user:
		return false
	default:
		return m.except == 0 || m.except != user || v2
	}
}

// builder lays stretches of frames end to end. When they are one stretch of a
// page anyway it only notes where the importance changes.
type builder struct {
	burst  burst
	shared bool
	length int
}

func (b *builder) add(data []byte, importance Importance) {
	if len(data) == 0 {
		return
	}
	if !b.shared {
		b.burst.data = append(b.burst.data, data...)
	}
	b.length += len(data)
	frames := 0
	for at := 0; at < len(data); at += frameLen(data[at:]) {
		frames++
	}
	if n := len(b.burst.runs); n > 0 && b.burst.runs[n-1].importance == importance {
		b.burst.runs[n-1].end = b.length
		b.burst.runs[n-1].frames += frames
		return
	}
	b.burst.runs = append(b.burst.runs, run{end: b.length, frames: frames, importance: importance})
}
