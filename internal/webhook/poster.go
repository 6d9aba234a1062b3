package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/protocol"
)

// maxPartitions is how many a PartitionID can name.
const maxPartitions = 1 << 16

// Poster posts the outboxes of this node's partitions. It is safe for
// concurrent use.
type Poster struct {
	// set by New
	cfg     Config
	client  *http.Client
	log     *slog.Logger
	metrics *metrics
	// receiver names it in the log, without what may be secret of its address.
	receiver string

	// ready holds the partitions that wait for a goroutine that posts, each at
	// most once; so it is never full.
	ready chan protocol.PartitionID
	// failed wakes the goroutine that knows when to try again.
	failed chan struct{}
	// down is set while the latest post failed, so that the log tells of the
	// change only.
	down atomic.Bool

	mu    sync.Mutex
	lanes map[protocol.PartitionID]*lane
}

// lane is what is known of a partition that has something to do. One without
// has none.
type lane struct {
	state laneState
	// again is set if the partition was woken while it was busy.
	again bool
	// failures counts those in a row; due is when to try again.
	failures int
	due      time.Time
	// taken is the last event of a post that the receiver has taken and the
	// outbox could not be told of. That is tried again, not the post.
	taken string
}

type laneState uint8

const (
	laneReady   laneState = iota + 1 // in Poster.ready
	laneBusy                         // one goroutine works on it
	lanePausing                      // waits for lane.due
)

// New returns a Poster. Run starts it.
func New(cfg Config) (*Poster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	return &Poster{
		cfg:      cfg,
		receiver: u.Host,
		client: &http.Client{
			Transport:     cfg.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:     cfg.Logger,
		metrics: newMetrics(cfg.Registerer),
		ready:   make(chan protocol.PartitionID, maxPartitions),
		failed:  make(chan struct{}, 1),
		lanes:   make(map[protocol.PartitionID]*lane),
	}, nil
}

// Run posts until ctx ends, and returns after every goroutine has ended. A
// post that is under way then is broken off and made again by whoever owns the
// partition next.
func (p *Poster) Run(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
	if p.cfg.Key == "" {
		p.log.Warn("webhook posts are not signed", "receiver", p.receiver)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.schedule(ctx) })
	for range p.cfg.Parallel {
		g.Go(func() error { return p.work(ctx) })
	}
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Wake says that a partition owned here has new events. It never blocks, and
// does not shorten a pause after a failure.
func (p *Poster) Wake(id protocol.PartitionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.lanes[id]
	switch {
	case !ok:
		p.lanes[id] = &lane{}
		p.queue(id)
	case l.state == laneBusy:
		l.again = true
	}
}

// queue hands a partition to the goroutines that post. The caller holds mu.
func (p *Poster) queue(id protocol.PartitionID) {
	l := p.lanes[id]
	l.state, l.again = laneReady, false
	select {
	case p.ready <- id:
	default:
		panic("webhook: more partitions are ready than there are")
	}
}

// schedule wakes all partitions now and then, and those that pause when they
// are due.
func (p *Poster) schedule(ctx context.Context) error {
	poll := time.NewTicker(p.cfg.Poll)
	defer poll.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	p.poll()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
			p.poll()
		case <-p.failed:
		case <-due.C:
		}
		due.Reset(p.retry(time.Now()))
	}
}

// poll wakes every partition owned here.
func (p *Poster) poll() {
	for _, id := range p.cfg.Owned() {
		p.Wake(id)
	}
}

// retry wakes the partitions whose pause is over, and returns how long it is
// to the end of the next one.
func (p *Poster) retry(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.cfg.Poll
	for id, l := range p.lanes {
		if l.state != lanePausing {
			continue
		}
		if wait := l.due.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		p.queue(id)
	}
	return next
}

// work makes one post after another, of whichever partition is ready.
func (p *Poster) work(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id := <-p.ready:
			taken := p.begin(id)
			more, taken, err := p.step(ctx, id, taken)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.end(id, more, taken, err)
		}
	}
}

// begin makes a partition busy, and returns what the outbox has yet to be told
// of.
func (p *Poster) begin(id protocol.PartitionID) (taken string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[id]
	l.state = laneBusy
	return l.taken
}

// end decides what becomes of a partition after a step: it waits for its next
// turn behind the others, pauses, or has nothing to do.
func (p *Poster) end(id protocol.PartitionID, more bool, taken string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[id]
	l.taken = taken
	if err != nil {
		if l.failures++; l.failures == 1 {
			p.metrics.failing.Inc()
		}
		l.state, l.due = lanePausing, time.Now().Add(p.pause(l.failures, err))
		select {
		case p.failed <- struct{}{}:
		default:
		}
		return
	}
	if l.failures > 0 {
		l.failures = 0
		p.metrics.failing.Dec()
	}
	if more || l.again {
		p.queue(id)
		return
	}
	delete(p.lanes, id)
}

// pause returns how long to wait after so many failures in a row, or as long
// as the receiver asks for if that is longer, within the bounds.
func (p *Poster) pause(failures int, err error) time.Duration {
	d := p.cfg.MaxPause
	if doublings := failures - 1; doublings < 32 && p.cfg.MinPause<<doublings>>doublings == p.cfg.MinPause {
		d = min(d, p.cfg.MinPause<<doublings)
	}
	d -= rand.N(d/2 + 1)
	if e, ok := errors.AsType[*refusedError](err); ok {
		d = max(d, min(e.after, p.cfg.MaxPause))
	}
	return d
}

// step posts one batch of a partition's events. It reports whether there are
// more, and the last event that the receiver has taken and the outbox does not
// know of.
func (p *Poster) step(ctx context.Context, id protocol.PartitionID, taken string) (more bool, untold string, err error) {
	if taken != "" {
		if err := p.settle(ctx, id, taken); err != nil {
			return false, taken, err
		}
	}
	entries, gap, err := p.read(ctx, id)
	if err != nil || len(entries) == 0 || !slices.Contains(p.cfg.Owned(), id) {
		return false, "", err // what is another's ends here, also after a failure
	}
	b := newBatch(entries, gap, p.cfg.BatchBytes)
	if b.malformed > 0 {
		p.metrics.malformed.Add(float64(b.malformed))
		p.log.Error("events that are no JSON are not posted", "partition", id, "events", b.malformed)
	}
	if !b.empty() {
		began := time.Now()
		err := p.post(ctx, id, b.body)
		p.observe(ctx, b, err, time.Since(began))
		if err != nil {
			return false, "", err
		}
	}
	if err := p.settle(ctx, id, b.last); err != nil {
		return false, b.last, err
	}
	return b.entries < len(entries) || len(entries) == p.cfg.Batch, "", nil
}

// read asks the outbox for a partition's oldest events.
func (p *Poster) read(ctx context.Context, id protocol.PartitionID) ([]protocol.OutboxEntry, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	entries, gap, err := p.cfg.Outbox.Outbox(ctx, id, p.cfg.Batch)
	if err != nil {
		p.metrics.store.Inc()
		return nil, 0, fmt.Errorf("read outbox of partition %d: %w", id, err)
	}
	return entries, gap, nil
}

// settle tells the outbox what has been posted.
func (p *Poster) settle(ctx context.Context, id protocol.PartitionID, upTo string) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if err := p.cfg.Outbox.Posted(ctx, id, upTo); err != nil {
		p.metrics.store.Inc()
		return fmt.Errorf("settle outbox of partition %d: %w", id, err)
	}
	return nil
}

// observe counts a post, and logs when posts begin to fail and when they are
// taken again.
func (p *Poster) observe(ctx context.Context, b batch, err error, took time.Duration) {
	p.metrics.seconds.Observe(took.Seconds())
	if err == nil {
		p.metrics.posts.WithLabelValues("taken").Inc()
		p.metrics.events.Add(float64(b.events))
		p.metrics.missed.Add(float64(b.missed))
		if p.down.CompareAndSwap(true, false) {
			p.log.Info("webhook posts are taken again", "receiver", p.receiver)
		}
		return
	}
	result := "failed"
	if _, ok := errors.AsType[*refusedError](err); ok {
		result = "refused"
	}
	p.metrics.posts.WithLabelValues(result).Inc()
	if ctx.Err() == nil && p.down.CompareAndSwap(false, true) {
		p.log.Warn("webhook posts fail", "receiver", p.receiver, "err", err)
	}
}
