package push

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// Bus tells the node what happens to the topics that it follows.
type Bus interface {
	Follow(ctx context.Context, t chat.TopicName) error
	Unfollow(t chat.TopicName)
}

// Lookup finds subscriptions.
type Lookup interface {
	Subscription(ctx context.Context, t chat.TopicName, s chat.SubscriptionName) (chat.Subscription, error)
}

// Handler hears what clients say.
type Handler interface {
	// Control is called with each text of a client, one after the other, on the
	// connection's reader. The text is not kept.
	Control(ctx context.Context, c *Conn, text []byte)
	// Render lays out a publication for a subscription.
	Render(s *Subscription, p *chat.Publication) []byte
}

// Config of a Hub. Bus, Lookup and Handler are required; zero values of the rest
// work.
type Config struct {
	Bus     Bus
	Lookup  Lookup
	Handler Handler
	// MaxConns bounds the connections, 100,000 by default; over it Serve
	// returns ErrFull.
	MaxConns int
	// MaxSubscriptions bounds those of one connection, 64 by default.
	MaxSubscriptions int
	// FirstTimeout is how long a connection may be without a subscription, 10 s
	// by default; IdleTimeout how long it may be silent in both directions, 30 s.
	FirstTimeout, IdleTimeout time.Duration
	// MaxFrames and MaxBytes bound what waits for one connection, 1024 and 1 MiB
	// by default.
	MaxFrames, MaxBytes int
	// StallTimeout is how long one write may take, 10 s by default; Linger how
	// long a closed connection waits for the client's end, 1 s.
	StallTimeout, Linger time.Duration
	Logger               *slog.Logger
}

func (c Config) withDefaults() Config {
	c.MaxConns = cmp.Or(c.MaxConns, 100_000)
	c.MaxSubscriptions = cmp.Or(c.MaxSubscriptions, 64)
	c.FirstTimeout = cmp.Or(c.FirstTimeout, 10*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 30*time.Second)
	c.MaxFrames = cmp.Or(c.MaxFrames, 1024)
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<20)
	c.StallTimeout = cmp.Or(c.StallTimeout, 10*time.Second)
	c.Linger = cmp.Or(c.Linger, time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// ErrFull refuses a connection over Config.MaxConns, ErrStopped one that comes
// when the hub is not running, ErrTooMany a subscription over
// Config.MaxSubscriptions.
var (
	ErrFull    = errors.New("push: too many connections")
	ErrStopped = errors.New("push: not running")
	ErrTooMany = errors.New("push: too many subscriptions on one connection")
)

// Stats count since New, the first two aside.
type Stats struct {
	// Conns and Topics are how many there are now.
	Conns, Topics atomic.Int64
	// Published counts publications that reached this node, Delivered what
	// connections were given of them, Writes how many writes that took.
	Published, Delivered, Writes atomic.Int64
	// Dropped counts frames dropped for slow clients, by importance; Slow the
	// clients closed for it; Panics the readers that panicked.
	Dropped [chat.MaxImportance + 1]atomic.Int64
	Slow    atomic.Int64
	Panics  atomic.Int64
	// Closed counts connections closed from here, by the code's last digits.
	Closed [600]atomic.Int64
}

// Hub is one node's websockets. It is safe for concurrent use.
type Hub struct {
	// set by New
	cfg     Config
	arrived chan arrival
	stopped chan struct{} // closed when Run takes no more
	doubts  chan doubt    // bounded; over it everything is in doubt
	stats   Stats
	writers *writers
	running sync.WaitGroup // readers, and writers that may block

	// guarded by mu
	mu        sync.Mutex
	conns     []*Conn
	reserved  int // connections that are about to be in conns
	audiences map[chat.TopicName]*audience
	unsure    bool // everything is in doubt
}

// doubt is a subscription that may have changed.
type doubt struct {
	topic chat.TopicName
	name  chat.SubscriptionName
}

// maxDoubts bounds the subscriptions in doubt.
const maxDoubts = 1024

// New returns a Hub.
func New(cfg Config) *Hub {
	return &Hub{
		cfg: cfg.withDefaults(), arrived: make(chan arrival), stopped: make(chan struct{}),
		doubts: make(chan doubt, maxDoubts), writers: newWriters(), audiences: map[chat.TopicName]*audience{},
	}
}

// Stats returns the counts, which go on changing.
func (h *Hub) Stats() *Stats { return &h.stats }

func (h *Hub) closed(code Code) { h.stats.Closed[int(code)%1000%len(h.stats.Closed)].Add(1) }

// sweepInterval is how often silence is looked for.
const sweepInterval = 250 * time.Millisecond

// Run serves connections until ctx ends, closes them, and returns when they are
// gone.
func (h *Hub) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	many := runtime.GOMAXPROCS(0)
	for n := range many {
		helper := n > 0 && n == many-1
		workers.Go(func() { h.writers.work(helper) })
	}
	defer func() {
		h.running.Wait()
		h.writers.stop()
		workers.Wait()
		h.running.Wait() // for what the workers left
	}()
	defer h.closeAll()
	defer close(h.stopped)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	helpers.Go(func() { h.settleDoubts(ctx) })
	open := h.newDoors(ctx)
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case a := <-h.arrived:
			h.running.Go(func() { h.upgrade(open, a) })
		case <-sweep.C:
			h.sweep(time.Now())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sweep closes the connections that were silent or without a subscription for
// too long.
func (h *Hub) sweep(now time.Time) {
	for _, c := range h.snapshot() {
		if code, why := c.verdict(now, h.cfg.FirstTimeout, h.cfg.IdleTimeout); code != 0 {
			c.CloseWith(code, why)
		}
	}
}

func (h *Hub) snapshot() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*Conn(nil), h.conns...)
}

// closeAll sends the clients away; they come back to another node.
func (h *Hub) closeAll() {
	for _, c := range h.snapshot() {
		c.CloseWith(CodeGoingAway, "shutting down")
	}
}

// reserve takes a place in the list, unless it is full.
func (h *Hub) reserve() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.conns)+h.reserved >= h.cfg.MaxConns {
		return false
	}
	h.reserved++
	return true
}

// add puts a connection into its place, or gives the place back for nil.
func (h *Hub) add(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reserved--
	if c == nil {
		return
	}
	c.index = len(h.conns)
	h.conns = append(h.conns, c)
	h.stats.Conns.Add(1)
}

// forget takes a connection out of everything. Its reader calls it in the end.
func (h *Hub) forget(c *Conn) {
	for t, a := range c.topics {
		a.remove(c, "")
		h.leave(t, a)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last := len(h.conns) - 1
	h.conns[c.index] = h.conns[last]
	h.conns[c.index].index = c.index
	h.conns[last] = nil
	h.conns = h.conns[:last]
	h.stats.Conns.Add(-1)
}

// enter returns the audience of a topic for a connection to use until leave.
func (h *Hub) enter(t chat.TopicName) *audience {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.audiences[t]
	if a == nil {
		a = newAudience(t)
		h.audiences[t] = a
		h.stats.Topics.Add(1)
	}
	a.users++
	return a
}

// leave ends a use. With the last one the topic is followed no longer; that is
// settled under the lock, so that it cannot come after another one's Follow.
func (h *Hub) leave(t chat.TopicName, a *audience) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.users--; a.users == 0 && h.audiences[t] == a {
		delete(h.audiences, t)
		h.stats.Topics.Add(-1)
		h.cfg.Bus.Unfollow(t)
	}
}

func (h *Hub) audience(t chat.TopicName) *audience {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.audiences[t]
}
