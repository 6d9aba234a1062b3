package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// ErrNotConnected: there is no connection at this moment. Nothing is queued for
// the next one.
var ErrNotConnected = errors.New("not connected")

// errStarted: a Client has one life.
var errStarted = errors.New("client: Run was called before")

// Client is one user's client. Its methods are safe for concurrent use, from
// its own callbacks too.
type Client struct {
	// set by New
	cfg     Config
	started atomic.Bool
	counts  counters

	// owned by Run
	pacer   *Pacer
	backoff backoff
	first   int // the end point to ask
	avoid   avoided
	lost    string // where the last connection was
	again   bool

	// guarded by mu, which is taken before the Pacer's
	mu   sync.Mutex
	conn *conn
	// room and call are where the user is, as far as this client was told.
	room, call protocol.RoomID
	tracks     []*track
	told       []told
}

// New returns a client that does nothing until Run.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg.withDefaults(), pacer: cfg.Pacer}
	c.backoff = backoff{min: c.cfg.BackoffMin, max: c.cfg.BackoffMax}
	c.first = rand.IntN(len(c.cfg.EndPoints))
	return c, nil
}

// Run keeps the user connected until ctx ends, for which it returns nil, or
// until the server says that the client has to stay away: the error then wraps
// ErrStayAway, and is a CloseError or ErrLogIn.
func (c *Client) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return errStarted
	}
	if c.pacer != nil {
		return c.run(ctx)
	}
	c.pacer = NewPacer()
	pacing, stop := context.WithCancel(context.Background())
	var own sync.WaitGroup
	own.Go(func() { _ = c.pacer.Run(pacing) }) // it ends without an error
	defer own.Wait()
	defer stop()
	return c.run(ctx)
}

func (c *Client) run(ctx context.Context) error {
	for {
		e := c.connectAndServe(ctx)
		if ctx.Err() != nil {
			c.disconnected(e, true, 0)
			return nil
		}
		if e.away() {
			c.disconnected(e, true, 0)
			return e.err
		}
		pause := c.backoff.after(e, time.Now(), rand.Float64())
		c.avoid.pause(pause, time.Now())
		c.disconnected(e, false, pause)
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

// connectAndServe makes one connection and sees it to its end.
func (c *Client) connectAndServe(ctx context.Context) ending {
	// Connecting takes a deep stack, which a goroutine keeps. This one goes on
	// to read, for which a small one does.
	made := make(chan attempt, 1)
	go func() { made <- c.connect(ctx) }()
	a := <-made
	if a.err != nil {
		return ending{err: a.err, retryAfter: a.retryAfter, elsewhere: nobodyListens(a.err)}
	}
	c.avoid = nil
	e := c.serve(ctx, a.conn)
	c.lost = a.conn.endPoint
	if silence(e.err) {
		c.distrust(a.conn.endPoint)
	}
	return e
}

func (c *Client) disconnected(e ending, final bool, pause time.Duration) {
	c.cfg.Logger.Debug("disconnected", "err", e.err, "pause", pause, "final", final)
	if c.cfg.OnDisconnect != nil {
		c.cfg.OnDisconnect(Disconnected{Err: e.err, Open: e.open, Final: final, Pause: pause})
	}
}

// Connected reports whether there is a connection now.
func (c *Client) Connected() bool { return c.current() != nil }

// Place returns where the user is, as far as this client was told: by the
// server when it connected, and by the frames of rooms since.
func (c *Client) Place() (room, call protocol.RoomID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room, c.call
}

func (c *Client) current() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// Stats counts what has happened to a client since New.
type Stats struct {
	// Attempts to connect, and the Connections that came of them.
	Attempts, Connections uint64
	// Frames that were passed on.
	Frames uint64
	// Repeated frames that were dropped, and Malformed ones.
	Repeated, Malformed uint64
	// Gaps seen in the numbers of a room's frames, Syncs sent for them, states
	// received instead (Resyncs), and frames never seen (Lost).
	Gaps, Syncs, Resyncs, Lost uint64
	// Departures told.
	Departures uint64
}

type counters struct {
	attempts, connections, frames, repeated, malformed, gaps, syncs, resyncs, lost, departures atomic.Uint64
}

// Stats returns the counts so far.
func (c *Client) Stats() Stats {
	n := &c.counts
	return Stats{
		Attempts: n.attempts.Load(), Connections: n.connections.Load(), Frames: n.frames.Load(),
		Repeated: n.repeated.Load(), Malformed: n.malformed.Load(), Gaps: n.gaps.Load(), Syncs: n.syncs.Load(),
		Resyncs: n.resyncs.Load(), Lost: n.lost.Load(), Departures: n.departures.Load(),
	}
}

// sleep reports false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// onDone calls f when ctx ends. The returned function takes that back; if f was
// called, it waits for its end.
func onDone(ctx context.Context, f func()) (stop func()) {
	called := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(called)
		f()
	})
	return func() {
		if !cancel() {
			<-called
		}
	}
}
