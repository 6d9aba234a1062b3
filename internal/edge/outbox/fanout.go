package outbox

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a Fanout. Zero values work.
type Config struct {
	// MaxBacklogBytes and MaxBacklogFrames bound what one connection may have
	// waiting, 256 KiB and 4096 by default. Over the bound the least important
	// frames go first; what may not be dropped closes the connection instead.
	MaxBacklogBytes  int
	MaxBacklogFrames int
	// MaxPending bounds what one audience has published and not yet tried to
	// write, 1 MiB by default. Over half of it unimportant frames are dropped,
	// over all of it every frame is.
	MaxPending int
	// StallTimeout is how long one write of a waiting backlog may take, 10 s by
	// default. Then the connection counts as too slow.
	StallTimeout time.Duration
	// LingerTimeout is how long a closed connection waits for the client's own
	// close, so that the last frame is not lost to a reset. 1 s by default.
	LingerTimeout time.Duration
	// Workers write to the audiences, as many as processors by default. The last
	// one helps while little waits, and not with large audiences. Where much waits
	// it would only take the processor from those who publish and, on one machine,
	// from those who read; what waits is written together.
	Workers int
}

// helpUpTo is how many lanes may wait for the last worker to help.
const helpUpTo = 2

func (c Config) withDefaults() Config {
	if c.MaxBacklogBytes == 0 {
		c.MaxBacklogBytes = 256 << 10
	}
	if c.MaxBacklogFrames == 0 {
		c.MaxBacklogFrames = 4096
	}
	if c.MaxPending == 0 {
		c.MaxPending = 1 << 20
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = 10 * time.Second
	}
	if c.LingerTimeout == 0 {
		c.LingerTimeout = time.Second
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	return c
}

// Counters count what a Fanout and its connections did since New.
type Counters struct {
	// Deliveries and Bytes count the frames and bytes that audiences gave to
	// their subscribers' connections, Writes how many writes that took.
	Deliveries, Bytes, Writes atomic.Uint64
	// Waits counts the writes that a socket did not take whole.
	Waits atomic.Uint64
	// DroppedSlow counts frames dropped for connections that read too slowly,
	// DroppedPending those dropped for audiences that were published to faster
	// than their workers could write.
	DroppedSlow, DroppedPending atomic.Uint64
	// ClosedSlow counts connections closed for reading too slowly.
	ClosedSlow atomic.Uint64
}

// Fanout writes what is published to audiences. It is safe for concurrent use.
type Fanout struct {
	// set by New
	cfg Config

	writers  sync.WaitGroup // goroutines that write backlogs
	counters Counters
	// Spare *writer and *[writeChunk]byte, none of them in use.
	spareWriters, spareChunks, spareReads sync.Pool

	// guarded by mu
	mu      sync.Mutex
	wake    sync.Cond   // for workers
	help    sync.Cond   // for the helper
	idle    int         // workers that wait and were not woken
	resting bool        // the helper waits and was not woken
	queue   []*Audience // those with lanes that wait, each once: bounded by their number
	head    int
	lanes   int // that wait
	large   int // of them, those of large audiences
	running bool
	stopped bool
	watcher *poller // made for the first connection that it can watch
	blind   bool    // it can't be made
}

// New returns a Fanout. Until Run is called, audiences only collect.
func New(cfg Config) *Fanout {
	f := &Fanout{cfg: cfg.withDefaults()}
	f.wake.L, f.help.L = &f.mu, &f.mu
	return f
}

// Config returns the configuration in force.
func (f *Fanout) Config() Config { return f.cfg }

// Counters returns the counts, which go on changing.
func (f *Fanout) Counters() *Counters { return &f.counters }

// Run writes until ctx ends, then waits for its workers and for the goroutines
// that write backlogs. The caller has closed the connections by then: those
// that are open keep Run for as long as a stalled write may last.
func (f *Fanout) Run(ctx context.Context) {
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		f.stopped = true
		f.mu.Unlock()
		f.wake.Broadcast()
		f.help.Broadcast()
	})
	defer stop()
	var workers sync.WaitGroup
	for n := range f.cfg.Workers {
		helper := n > 0 && n == f.cfg.Workers-1
		workers.Go(func() { newWorker(f, helper).run() })
	}
	workers.Wait()
	f.writers.Wait()
	f.mu.Lock()
	watcher := f.watcher
	f.mu.Unlock()
	if watcher != nil {
		watcher.close()
	}
}

// watch returns what watches idle connections, nil while Run does not run and
// where there is no such thing.
func (f *Fanout) watch() *poller {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watcher == nil && f.running && !f.stopped && !f.blind {
		p, err := newPoller()
		if err != nil {
			f.blind = true
			return nil
		}
		f.watcher = p
		go p.run()
	}
	return f.watcher
}

// borrow returns a writer, which the caller gives back to spareWriters.
func (f *Fanout) borrow() *writer {
	if w, ok := f.spareWriters.Get().(*writer); ok {
		return w
	}
	return newWriter()
}

// push has a lane wait for its turn. Audiences have turns one after the other,
// however many lanes they have: a large one that is flooded holds up the others
// by one lane's turn, not by all of its own.
func (f *Fanout) push(l *lane, large bool) {
	f.mu.Lock()
	if l.large = large; large {
		f.large++
	}
	a := l.audience
	if a.waiting = append(a.waiting, l); len(a.waiting) == 1 {
		f.enqueue(a)
	}
	f.lanes++
	f.rouse()
	f.mu.Unlock()
}

// rouse wakes who is to serve a lane that waits. The caller holds mu.
func (f *Fanout) rouse() {
	switch {
	case f.idle > 0:
		f.idle--
		f.wake.Signal()
	case f.resting && f.helps():
		f.resting = false
		f.help.Signal()
	}
}

// enqueue adds an audience to the end of the queue. The caller holds mu.
func (f *Fanout) enqueue(a *Audience) {
	if f.head > 64 && f.head > len(f.queue)/2 {
		n := copy(f.queue, f.queue[f.head:])
		clear(f.queue[n:])
		f.queue, f.head = f.queue[:n], 0
	}
	f.queue = append(f.queue, a)
}

// helps reports whether the helper is to help. The caller holds mu.
func (f *Fanout) helps() bool { return f.lanes <= helpUpTo && f.large == 0 }

// next waits for a lane that has something to write; nil ends the worker. The
// helper leaves a long queue to the others.
func (f *Fanout) next(helper bool) *lane {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.stopped && (f.lanes == 0 || helper && !f.helps()) {
		if helper {
			f.resting = true
			f.help.Wait()
		} else {
			f.idle++
			f.wake.Wait()
		}
	}
	if f.stopped {
		return nil
	}
	a := f.queue[f.head]
	f.queue[f.head] = nil
	f.head++
	l := a.waiting[0]
	if a.waiting = slices.Delete(a.waiting, 0, 1); len(a.waiting) > 0 {
		f.enqueue(a)
	}
	if l.large {
		f.large--
	}
	if f.lanes--; f.lanes > 0 {
		f.rouse()
	}
	return l
}
