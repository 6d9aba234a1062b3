package poll

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// Store is where messages come from.
type Store interface {
	Receive(ctx context.Context, r chat.Receive) (chat.Received, error)
	Return(ctx context.Context, q chat.QueueName, handles []chat.Handle) error
}

// Config of a Poller. Store is required.
type Config struct {
	Store Store
	// MaxWaiting bounds the receivers that wait at once, 100,000 by default.
	// More are answered at once, as if they had not asked to wait.
	MaxWaiting int
	// Dead, if set, hears of queues with messages for their dead-letter queue.
	// It must not block.
	Dead   func(q chat.QueueName)
	Logger *slog.Logger
}

// Stats count since New, Waiting aside.
type Stats struct {
	// Waiting is how many receivers wait now.
	Waiting atomic.Int64
	// Checks is how often the store was asked on behalf of those who wait.
	Checks atomic.Int64
	// Refused is how many could not wait because too many did.
	Refused atomic.Int64
	// Returned is how many messages were given back.
	Returned atomic.Int64
}

// Poller receives messages and waits for them. It is safe for concurrent use.
type Poller struct {
	// set by New
	cfg    Config
	starts chan *line
	ended  chan struct{} // closed when Run has returned

	stats Stats

	// guarded by mu
	mu      sync.Mutex
	lines   map[chat.QueueName][]*line // of one queue's lives; bounded by those who wait
	waiting int
}

// New returns a Poller. Nobody can wait until Run is called.
func New(cfg Config) *Poller {
	if cfg.MaxWaiting == 0 {
		cfg.MaxWaiting = 100_000
	}
	if cfg.Dead == nil {
		cfg.Dead = func(chat.QueueName) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Poller{
		cfg: cfg, starts: make(chan *line), ended: make(chan struct{}),
		lines: map[chat.QueueName][]*line{},
	}
}

// Stats returns the counts, which go on changing.
func (p *Poller) Stats() *Stats { return &p.stats }

// Run serves those who wait until ctx ends, and returns its error.
func (p *Poller) Run(ctx context.Context) error {
	defer close(p.ended)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case l := <-p.starts:
			running.Go(func() { l.run(ctx) })
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Receive returns up to max messages, as soon as there is one, and none when
// there is none within wait; a nil wait is the queue's. Who was waiting before
// is served before. When ctx ends, nothing is lost.
func (p *Poller) Receive(ctx context.Context, q chat.QueueName, max int, wait *time.Duration) ([]chat.Message, error) {
	start := time.Now()
	ask := chat.Receive{Queue: q, Max: max}
	if (wait == nil || *wait > 0) && p.waited(q) {
		ask.Max = 0 // others are before us; all we need is the queue's life
	}
	got, err := p.receive(ctx, ask)
	if err != nil || len(got.Messages) > 0 {
		return got.Messages, err
	}
	patience := got.PollingWait
	if wait != nil {
		patience = *wait
	}
	if patience <= 0 {
		if ask.Max == max {
			return nil, nil
		}
		ask.Max = max
		got, err = p.receive(ctx, ask)
		return got.Messages, err
	}
	w := &waiter{max: max, out: make(chan result, 1)}
	l := p.join(w, q, got.Epoch)
	if l == nil {
		return nil, nil
	}
	timer := time.NewTimer(patience - time.Since(start))
	defer timer.Stop()
	select {
	case r := <-w.out:
		return p.unlessGone(ctx, q, r)
	case <-timer.C:
	case <-ctx.Done():
	}
	if err, out := l.leave(w); out {
		return nil, errors.Join(ctx.Err(), err)
	}
	return p.unlessGone(ctx, q, <-w.out)
}

// receive asks the store to the end, so that what it gives out is known, and
// gives it back if the receiver has gone.
func (p *Poller) receive(ctx context.Context, ask chat.Receive) (chat.Received, error) {
	got, err := p.cfg.Store.Receive(context.WithoutCancel(ctx), ask)
	if err != nil {
		return got, err
	}
	if got.Dead > 0 {
		p.cfg.Dead(ask.Queue)
	}
	got.Messages, err = p.unlessGone(ctx, ask.Queue, result{messages: got.Messages})
	return got, err
}

func (p *Poller) unlessGone(ctx context.Context, q chat.QueueName, r result) ([]chat.Message, error) {
	if ctx.Err() == nil || len(r.messages) == 0 {
		return r.messages, r.err
	}
	p.GiveBack(ctx, q, r.messages)
	return nil, ctx.Err()
}

// GiveBack undoes the receive of messages that did not reach their receiver.
// Should that fail they are visible again in time.
func (p *Poller) GiveBack(ctx context.Context, q chat.QueueName, messages []chat.Message) {
	handles := make([]chat.Handle, len(messages))
	for i := range messages {
		handles[i] = messages[i].Handle
	}
	if err := p.cfg.Store.Return(context.WithoutCancel(ctx), q, handles); err != nil {
		p.cfg.Logger.Warn("messages could not be given back", "count", len(messages), "err", err)
		return
	}
	p.stats.Returned.Add(int64(len(messages)))
}

// Waiting returns how many receivers wait for a queue.
func (p *Poller) Waiting(q chat.QueueName) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, l := range p.lines[q] {
		n += len(l.waiters)
	}
	return n
}

// waited reports whether somebody waits for the queue.
func (p *Poller) waited(q chat.QueueName) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines[q]) > 0
}

// join puts a waiter at the end of its queue's line, and opens one where there
// is none. Without a line nobody can wait.
func (p *Poller) join(w *waiter, q chat.QueueName, epoch chat.Epoch) *line {
	p.mu.Lock()
	if p.waiting >= p.cfg.MaxWaiting {
		p.mu.Unlock()
		p.stats.Refused.Add(1)
		return nil
	}
	p.waiting++
	p.stats.Waiting.Add(1)
	for _, l := range p.lines[q] {
		if l.epoch == epoch {
			l.waiters = append(l.waiters, w)
			p.mu.Unlock()
			return l
		}
	}
	l := &line{poller: p, queue: q, epoch: epoch, kick: make(chan struct{}, 1), waiters: []*waiter{w}}
	p.lines[q] = append(p.lines[q], l)
	p.mu.Unlock()
	select {
	case p.starts <- l:
		return l
	case <-p.ended:
		l.end(nil)
		return nil
	}
}

// forget takes a line out of the map. The caller holds mu.
func (p *Poller) forget(l *line) {
	lines := slices.DeleteFunc(p.lines[l.queue], func(o *line) bool { return o == l })
	if len(lines) == 0 {
		delete(p.lines, l.queue)
		return
	}
	p.lines[l.queue] = lines
}

// Woken has a queue looked at again. It is told by the store.
func (p *Poller) Woken(q chat.QueueName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines[q] {
		l.wake()
	}
}

// Renewed has all queues looked at again, as a wake may have been lost.
func (p *Poller) Renewed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, lines := range p.lines {
		for _, l := range lines {
			l.wake()
		}
	}
}
