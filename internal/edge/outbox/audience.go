package outbox

import (
	"slices"
	"sync"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// laneSize is how many subscribers a worker serves in one turn. A larger
	// audience has several lanes, which the workers share and between which
	// small audiences get their turns.
	laneSize = 256
	// pageMin and pageMax bound a page of frames. Pages double while an
	// audience is busy; an idle one has none.
	pageMin = 512
	pageMax = 64 << 10
	// never is the position of a subscriber that waits to be started.
	never = ^uint64(0)
)

// Audience is who gets what is published to one room, and what is published
// and not written yet. L guards it: every method is called with L held.
type Audience struct {
	// set by NewAudience
	L      sync.Locker
	fanout *Fanout

	// guarded by L
	lanes []*lane
	count int
	v2    int
	pages []*page
	end   uint64 // position after the last byte published
	marks []mark

	// guarded by the fanout's mu
	waiting []*lane // for a turn
}

// page is a stretch of published frames, laid end to end. Bytes below len(buf)
// never change, so that workers and backlogs share them without a lock.
type page struct {
	start uint64
	total uint64 // frames published up to the end of buf, since the beginning
	buf   []byte
}

// mark is a frame that is not for everybody, or not of the default importance.
type mark struct {
	start, end   uint64
	except, only protocol.UserID
	v2           bool
	importance   Importance
}

// lane is a part of an audience that one worker serves at a time.
type lane struct {
	// set by Add
	audience *Audience

	// guarded by the audience's L
	subscribers []*Subscriber
	at          uint64 // position up to which all of them were served
	total       uint64 // frames up to there
	queued      bool   // waits for a worker or has one

	// guarded by the fanout's mu
	large bool // one of several, as of when it began to wait
}

// Subscriber is one connection's place in an audience.
type Subscriber struct {
	// set by the caller before Add
	Conn *Conn
	User protocol.UserID
	V2   bool
	// Of is the caller's own and not looked at.
	Of any

	// guarded by the audience's L
	lane  *lane
	index int
	from  uint64 // position of the first byte that it gets
}

// Frame is one published frame and whom it is for.
type Frame struct {
	Payload []byte
	// Importance is Kept by default.
	Importance Importance
	// Except gets the frame only with V2 set; Only, if set, is the one
	// addressee; V2 frames go to subscribers with V2 alone.
	Except, Only protocol.UserID
	V2           bool
}

// NewAudience returns an audience without subscribers, guarded by l.
func NewAudience(f *Fanout, l sync.Locker) *Audience { return &Audience{L: l, fanout: f} }

// Len returns the number of subscribers.
func (a *Audience) Len() int { return a.count }

// Add lets s have what is published from now on. s is in no audience yet.
func (a *Audience) Add(s *Subscriber) {
	l := a.laneWithRoom()
	s.lane, s.index, s.from = l, len(l.subscribers), a.end
	l.subscribers = append(l.subscribers, s)
	a.count++
	if s.V2 {
		a.v2++
	}
}

func (a *Audience) laneWithRoom() *lane {
	for _, l := range slices.Backward(a.lanes) {
		if len(l.subscribers) < laneSize {
			return l
		}
	}
	l := &lane{audience: a, at: a.end, total: a.total()}
	a.lanes = append(a.lanes, l)
	return l
}

// Hold keeps what is published from s until Start.
func (a *Audience) Hold(s *Subscriber) { s.from = never }

// Start lets s have what is published from now on.
func (a *Audience) Start(s *Subscriber) { s.from = a.end }

// Remove takes s out. What a worker is about to write may still reach it.
func (a *Audience) Remove(s *Subscriber) {
	l := s.lane
	last := len(l.subscribers) - 1
	moved := l.subscribers[last]
	l.subscribers[s.index], moved.index = moved, s.index
	l.subscribers[last] = nil
	l.subscribers = l.subscribers[:last]
	s.lane = nil
	a.count--
	if s.V2 {
		a.v2--
	}
	if last == 0 {
		a.lanes = slices.DeleteFunc(a.lanes, func(other *lane) bool { return other == l })
	}
}

// Subscribers calls yield for everybody in the audience, in no order.
func (a *Audience) Subscribers(yield func(*Subscriber) bool) {
	for _, l := range a.lanes {
		for _, s := range l.subscribers {
			if !yield(s) {
				return
			}
		}
	}
}

// Publish gives a frame to the audience. It copies the payload and does not
// block. It reports false when the frame was dropped, because what was
// published before is still waiting for its turn.
//
// Hot: once for each publication to a room, whatever its size (BenchmarkFlood,
// BenchmarkOneAtATime).
func (a *Audience) Publish(f Frame) bool {
	if a.count == 0 || f.V2 && a.v2 == 0 {
		return true
	}
	if f.Importance == 0 {
		f.Importance = Kept
	}
	size := headerMax + len(f.Payload)
	if waiting := a.pending(); waiting > 0 {
		limit := a.fanout.cfg.MaxPending
		if f.Importance > Kept {
			limit /= 2
		}
		if waiting+size > limit {
			a.fanout.counters.DroppedPending.Add(1)
			return false
		}
	}
	p := a.pageFor(size)
	start := a.end
	p.buf = AppendText(p.buf, f.Payload)
	p.total++
	a.end = p.start + uint64(len(p.buf))
	if f.Importance != Kept || f.Except != 0 || f.Only != 0 || f.V2 {
		a.marks = append(a.marks, mark{
			start: start, end: a.end, except: f.Except, only: f.Only, v2: f.V2, importance: f.Importance,
		})
	}
	for _, l := range a.lanes {
		if !l.queued {
			l.queued = true
			a.fanout.push(l, len(a.lanes) > 1)
		}
	}
	return true
}

// pageFor returns the last page if size fits, else a new one.
func (a *Audience) pageFor(size int) *page {
	next, total := pageMin, uint64(0)
	if n := len(a.pages); n > 0 {
		p := a.pages[n-1]
		if cap(p.buf)-len(p.buf) >= size {
			return p
		}
		next, total = min(2*cap(p.buf), pageMax), p.total
	}
	p := &page{start: a.end, total: total, buf: make([]byte, 0, max(next, size))}
	a.pages = append(a.pages, p)
	return p
}

// pending returns how many bytes some lane has not taken yet.
func (a *Audience) pending() int {
	if len(a.pages) == 0 {
		return 0
	}
	return int(a.end - a.pages[0].start)
}

// total returns how many frames were published since the pages began.
func (a *Audience) total() uint64 {
	if n := len(a.pages); n > 0 {
		return a.pages[n-1].total
	}
	return 0
}

// pageAt returns the page that holds position at, which is below end.
func (a *Audience) pageAt(at uint64) *page {
	for _, p := range a.pages {
		if at < p.start+uint64(len(p.buf)) {
			return p
		}
	}
	return nil
}

// forget lets go of the pages and marks that every lane has taken. The frame
// count starts anew when nothing is left.
func (a *Audience) forget() {
	low := a.end
	for _, l := range a.lanes {
		low = min(low, l.at)
	}
	if low == a.end {
		a.pages, a.marks = nil, nil
		for _, l := range a.lanes {
			l.total = 0
		}
		return
	}
	kept := 0
	for kept < len(a.pages) && a.pages[kept].start+uint64(len(a.pages[kept].buf)) <= low {
		kept++
	}
	a.pages = slices.Delete(a.pages, 0, kept)
	kept = 0
	for kept < len(a.marks) && a.marks[kept].end <= low {
		kept++
	}
	a.marks = slices.Delete(a.marks, 0, kept)
}
