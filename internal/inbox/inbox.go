package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/protocol"
)

// Inbox sends messages to other incarnations and takes theirs. It is safe for
// concurrent use, and none of its methods but Run and Call waits for anything.
type Inbox struct {
	// set by New
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	hatch   chan struct{} // there are peers without a goroutine
	running atomic.Bool
	failing atomic.Int32 // peers to which publishing fails

	// guarded by mu
	mu     sync.RWMutex
	peers  map[protocol.Incarnation]*peer
	fresh  []*peer // wait for Run to start their goroutine
	dead   graves
	closed bool

	// owned by the transport's subscription
	remote reader
	warned bool // of a payload that can't be read
}

// reader is the scratch space of one goroutine that receives.
type reader struct {
	items      []item
	deliveries []delivery
}

// New returns an Inbox. Until Run is called, messages wait.
func New(cfg Config) (*Inbox, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("inbox: register metrics: %w", err)
	}
	return &Inbox{
		cfg:     cfg,
		log:     cfg.Logger,
		metrics: m,
		hatch:   make(chan struct{}, 1),
		peers:   make(map[protocol.Incarnation]*peer),
		dead:    newGraves(maxGraves),
	}, nil
}

// Run listens and sends until ctx ends, and then returns nil. All calls that
// wait for an answer fail with ErrClosed before it returns. It returns an error
// if the subscription ends by itself. An Inbox runs once.
func (in *Inbox) Run(ctx context.Context) error {
	if in.running.Swap(true) {
		return errors.New("inbox: runs once")
	}
	defer in.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := in.cfg.Transport.Subscribe(ctx, in.cfg.Self, in.remotely, in.renewed)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errEnded
		}
		return fmt.Errorf("inbox: subscribe to messages for %s: %w", in.cfg.Self, err)
	})
	g.Go(func() error {
		for {
			for _, p := range in.hatched() {
				g.Go(func() error {
					p.run(ctx)
					return nil
				})
			}
			select {
			case <-ctx.Done():
				return nil
			case <-in.hatch:
			}
		}
	})
	return g.Wait()
}

// errEnded stands for the error of a subscription that ended without one.
var errEnded = errors.New("ended by itself")

// hatched returns the peers that have no goroutine yet.
func (in *Inbox) hatched() []*peer {
	in.mu.Lock()
	defer in.mu.Unlock()
	fresh := in.fresh
	in.fresh = nil
	return fresh
}

// close fails what waits, and everything from now on.
func (in *Inbox) close() {
	in.mu.Lock()
	in.closed = true
	peers := in.peers
	in.peers, in.fresh = nil, nil
	in.mu.Unlock()
	in.metrics.peers.Sub(float64(len(peers)))
	for _, p := range peers {
		p.end(ErrClosed)
	}
}

// Dead declares an incarnation dead, for good: what waits for it fails with
// ErrDead before Dead returns, what is known of it is forgotten, and what it
// still sends is ignored. A message of it that is being acted on already is not
// stopped.
//
// It is to be called for every incarnation that ends, however it ends. The last
// few thousand are remembered.
func (in *Inbox) Dead(inc protocol.Incarnation) {
	in.mu.Lock()
	in.dead.add(inc)
	p := in.peers[inc]
	delete(in.peers, inc)
	in.mu.Unlock()
	if p != nil {
		in.metrics.peers.Dec()
		p.end(ErrDead)
	}
}

// Missing reports whether nobody hears what is sent to an incarnation: its
// process has ended, or has lost the transport, a moment ago. It is a hint. Who
// is sent nothing is not missed, and who is back is until it is sent something
// again, for three seconds at most.
func (in *Inbox) Missing(inc protocol.Incarnation) bool {
	in.mu.RLock()
	p := in.peers[inc]
	in.mu.RUnlock()
	if p == nil {
		return false
	}
	missed := p.missed.Load()
	return missed != 0 && time.Since(time.Unix(0, missed)) < missingFor
}

// peer returns the peer of an incarnation, a new one if need be.
func (in *Inbox) peer(inc protocol.Incarnation) (*peer, error) {
	in.mu.RLock()
	p := in.peers[inc]
	in.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := in.admit(inc)
	if err == nil {
		select {
		case in.hatch <- struct{}{}:
		default:
		}
	}
	return p, err
}

func (in *Inbox) admit(inc protocol.Incarnation) (*peer, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case inc == "" || len(inc) > maxName:
		return nil, protocol.Errorf(protocol.CodeBadRequest, "%q can't name an incarnation", inc)
	case in.closed:
		return nil, ErrClosed
	case in.dead.has(inc):
		return nil, ErrDead
	case in.peers[inc] != nil:
		return in.peers[inc], nil
	case len(in.peers) >= in.cfg.MaxPeers:
		return nil, ErrFull
	}
	p := newPeer(in, inc)
	in.peers[inc] = p
	in.fresh = append(in.fresh, p)
	in.metrics.peers.Inc()
	return p, nil
}

// remotely receives a payload from the transport.
func (in *Inbox) remotely(payload []byte) { in.receive(&in.remote, payload) }

// receive acts on a payload, using r. One that can't be read is dropped as a
// whole.
func (in *Inbox) receive(r *reader, payload []byte) {
	h, rest, err := parseHeader(payload)
	if err == nil && (h.to != in.cfg.Self || h.from == h.to && r == &in.remote) {
		in.metrics.drop(dropMisaddressed, 1)
		return
	}
	if err == nil {
		r.items, err = parseItems(r.items[:0], rest)
	}
	if err == nil {
		var p *peer
		if p, err = in.peer(h.from); err != nil {
			in.metrics.refuse(err) // dead, or one too many
			return
		}
		err = p.receive(r, h)
	}
	clear(r.items)
	if err == nil {
		return
	}
	in.metrics.drop(dropMalformed, 1)
	if r == &in.remote && !in.warned {
		in.warned = true
		in.log.Warn("message can't be read, further ones are only counted", "from", h.from, "err", err)
	}
}

// renewed is called by the transport when the subscription stands again.
func (in *Inbox) renewed() {
	in.mu.RLock()
	peers := make([]*peer, 0, len(in.peers))
	for inc, p := range in.peers {
		if inc != in.cfg.Self {
			peers = append(peers, p)
		}
	}
	in.mu.RUnlock()
	for _, p := range peers {
		p.renewed()
	}
}
