package main

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What is measured, by name in the report.
const (
	mDeliver   = "delivery"        // from when a message was due to when a member of its room had it
	mNotice    = "enter_room told" // from when an entry was due to when a member of the room was told
	mConnect   = "connect"         // from asking end_point to create_token
	mReconnect = "reconnect"       // from the loss of a connection to the next create_token
	mReturn    = "back in room"    // from the loss of a connection until the user was in its room again
	mEnter     = "enter"           // PUT occupant
	mExit      = "exit"            // DELETE occupant
	mCall      = "start call"      // PUT call
	mHangUp    = "hang_up told"    // from the loss of a party's connection to hang_up at the other's
	mDeparture = "exit_room told"  // from a loss to exit_room at a relay
	mRoom      = "room recovery"   // from the kill until a message published after it reached the room
	mPublish   = "publish"         // POST publish, or the write of a client's frame
	mLag       = "own lag"         // from when an operation was due to when it was begun
)

// What is counted, by name in the report.
const (
	cSent        = "messages sent"
	cDelivered   = "frames delivered"
	cEntered     = "users entered"
	cExited      = "users exited"
	cCalls       = "calls started"
	cConnected   = "connections made"
	cBroken      = "connections lost"
	cBreaks      = "connections cut on purpose"
	cFailed      = "failed attempts to connect"
	cErrors      = "operations failed"
	cRefused     = "operations not begun: too many under way"
	cSkipped     = "operations skipped: no user was free"
	cDepartures  = "departures told"
	cExpelled    = "users out of their room on return"
	cRepeated    = "repeated frames dropped"
	cGaps        = "gaps in a room's numbers"
	cLost        = "frames never seen"
	cServerSaid  = "error frames"
	cMalformed   = "malformed frames"
	maxWindows   = 300
	highestValue = int64(10 * time.Minute / time.Microsecond)
)

// windowOf returns the width of the windows that a run is drawn in.
func windowOf(d time.Duration) time.Duration {
	w := time.Second
	for d/w > maxWindows {
		w += time.Second
	}
	return w
}

// recorder takes what is measured in one process, from any goroutine. Latencies
// are whole histograms; those of one name, the scenario's own, and all counts
// are also kept by window of time.
type recorder struct {
	// set by newRecorder
	main   string
	width  time.Duration
	start  atomic.Int64 // of the first window, in Unix nanoseconds; 0 before
	shards []shard
	counts map[string]*counter
}

// shard is one of several places to record in, so that goroutines do not wait
// for each other.
type shard struct {
	mu      sync.Mutex
	total   map[string]*hdrhistogram.Histogram
	windows []*hdrhistogram.Histogram
	_       [64]byte // each has its own cache line
}

type counter struct {
	total   atomic.Int64
	windows []atomic.Int64
}

func newRecorder(main string, duration time.Duration) *recorder {
	width := windowOf(duration)
	n := int(duration/width) + 1 + int(afterwards/width)
	r := &recorder{main: main, width: width, shards: make([]shard, 16), counts: make(map[string]*counter)}
	for i := range r.shards {
		r.shards[i].total = make(map[string]*hdrhistogram.Histogram)
		r.shards[i].windows = make([]*hdrhistogram.Histogram, n)
	}
	for _, name := range []string{
		cSent, cDelivered, cEntered, cExited, cCalls, cConnected, cBroken, cBreaks, cFailed, cErrors, cRefused, cSkipped, cDepartures,
		cExpelled, cRepeated, cGaps, cLost, cServerSaid, cMalformed,
	} {
		r.counts[name] = &counter{windows: make([]atomic.Int64, n)}
	}
	return r
}

// afterwards is for how long after the run stragglers still count.
const afterwards = 30 * time.Second

// begin sets the time that windows count from.
func (r *recorder) begin(start time.Time) { r.start.Store(start.UnixNano()) }

// window returns the window of a time, -1 for none.
func (r *recorder) window(at time.Time) int {
	start := r.start.Load()
	if start == 0 || at.UnixNano() < start {
		return -1
	}
	return int(time.Duration(at.UnixNano()-start) / r.width)
}

// took records that something took from since until now. What comes from before
// the run counts as a whole only.
func (r *recorder) took(name string, since, now time.Time) {
	micros := min(max(now.Sub(since).Microseconds(), 1), highestValue)
	s := &r.shards[rand.IntN(len(r.shards))]
	w := -1
	if name == r.main {
		w = r.window(now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.total[name]
	if h == nil {
		h = hdrhistogram.New(1, highestValue, 3)
		s.total[name] = h
	}
	_ = h.RecordValue(micros) // it is within the bounds
	if w < 0 || w >= len(s.windows) {
		return
	}
	if s.windows[w] == nil {
		s.windows[w] = hdrhistogram.New(1, highestValue, 2)
	}
	_ = s.windows[w].RecordValue(micros)
}

// count adds to a count.
func (r *recorder) count(name string, n int64) {
	c := r.counts[name]
	c.total.Add(n)
	if w := r.window(time.Now()); w >= 0 && w < len(c.windows) {
		c.windows[w].Add(n)
	}
}

// total returns a count.
func (r *recorder) total(name string) int64 { return r.counts[name].total.Load() }

// figures is what one process measured, or several together.
type figures struct {
	Width   time.Duration
	Total   map[string]*hdrhistogram.Snapshot
	Windows []*hdrhistogram.Snapshot
	Counts  map[string]count
}

type count struct {
	Total   int64
	Windows []int64
}

// figures returns what was recorded so far.
func (r *recorder) figures() figures {
	total := make(map[string]*hdrhistogram.Histogram)
	windows := make([]*hdrhistogram.Histogram, len(r.shards[0].windows))
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for name, h := range s.total {
			total[name] = merged(total[name], h)
		}
		for w, h := range s.windows {
			windows[w] = merged(windows[w], h)
		}
		s.mu.Unlock()
	}
	f := figures{
		Width: r.width, Total: make(map[string]*hdrhistogram.Snapshot), Windows: make([]*hdrhistogram.Snapshot, len(windows)),
		Counts: make(map[string]count),
	}
	for name, h := range total {
		f.Total[name] = h.Export()
	}
	for w, h := range windows {
		if h != nil {
			f.Windows[w] = h.Export()
		}
	}
	for name, c := range r.counts {
		n := count{Total: c.total.Load(), Windows: make([]int64, len(c.windows))}
		for w := range c.windows {
			n.Windows[w] = c.windows[w].Load()
		}
		f.Counts[name] = n
	}
	return f
}

// merged adds from to a histogram, which may be nil, and leaves from alone.
func merged(into, from *hdrhistogram.Histogram) *hdrhistogram.Histogram {
	if from == nil {
		return into
	}
	if into == nil {
		return hdrhistogram.Import(from.Export())
	}
	into.Merge(from)
	return into
}

// add adds what another process measured over the same windows.
func (f *figures) add(other figures) {
	if f.Total == nil {
		*f = other
		return
	}
	for name, h := range other.Total {
		f.Total[name] = addSnapshots(f.Total[name], h)
	}
	for w, h := range other.Windows {
		f.Windows[w] = addSnapshots(f.Windows[w], h)
	}
	for name, c := range other.Counts {
		sum := f.Counts[name]
		sum.Total += c.Total
		if sum.Windows == nil {
			sum.Windows = make([]int64, len(c.Windows))
		}
		for w, n := range c.Windows {
			sum.Windows[w] += n
		}
		f.Counts[name] = sum
	}
}

func addSnapshots(a, b *hdrhistogram.Snapshot) *hdrhistogram.Snapshot {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	sum := hdrhistogram.Import(a)
	sum.Merge(hdrhistogram.Import(b))
	return sum.Export()
}

// histogram returns the one of a name, nil if nothing was measured.
func (f *figures) histogram(name string) *hdrhistogram.Histogram {
	if f.Total[name] == nil {
		return nil
	}
	return hdrhistogram.Import(f.Total[name])
}
