package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/internal/inbox"
	"github.com/faac1247/rollcall/internal/owner"
	"github.com/faac1247/rollcall/internal/webhook"
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
	"github.com/faac1247/rollcall/room"
)

// errDrained ends a life whose drain is complete.
var errDrained = errors.New("drained")

// edgeGraceMargin is how long after the crash grace a room gives the users of a
// dead edge up by itself, had the sweep of their records not told it by then.
const edgeGraceMargin = 18 * time.Second

// life is one incarnation of a node and all that ends with it.
type life struct {
	// set by newLife
	node  *Node
	cfg   *Config
	store Store
	inc   protocol.Incarnation
	born  time.Time
	log   *slog.Logger
	ring  ring.Config

	registry *prometheus.Registry
	metrics  *metrics

	gossip  *gossip.Gossip
	inbox   *inbox.Inbox
	owner   *owner.Owner
	edge    *edge.Edge
	members *members
	router  *router
	places  *places
	crowds  *crowds
	heirs   heirs
	sweeper *sweeper
	events  *events
	poster  *webhook.Poster // nil without a webhook
	crew    *crew

	clients  http.Handler
	backend  http.Handler
	operator http.Handler // the backend's calls behind the admin door

	ready    atomic.Bool
	draining atomic.Bool
	resigned atomic.Bool // the lease was given up by this node itself
}

func newLife(n *Node) *life {
	boot := strings.ToLower(rand.Text()[:10])
	inc := protocol.NewIncarnation(n.cfg.NodeID, boot)
	l := &life{
		node:     n,
		cfg:      &n.cfg,
		store:    n.cfg.Store,
		inc:      inc,
		born:     time.Now(),
		log:      n.cfg.Logger.With("incarnation", inc),
		ring:     n.cfg.ring(),
		registry: prometheus.NewRegistry(),
	}
	l.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return l
}

// partition places a room.
func (l *life) partition(id protocol.RoomID) protocol.PartitionID { return l.ring.Room(id) }

// userPartition places a user's record.
func (l *life) userPartition(u protocol.UserID) protocol.PartitionID { return l.ring.User(u) }

// user reads one user's record; a user never seen has an empty one.
func (l *life) user(ctx context.Context, u protocol.UserID) (protocol.UserRecord, error) {
	records, err := l.store.Users(ctx, []protocol.UserAt{{Partition: l.userPartition(u), User: u}})
	if err != nil {
		return protocol.UserRecord{}, err
	}
	return records[0], nil
}

// assemble builds the parts, each with what it needs of the others. Nothing
// runs yet.
func (l *life) assemble() error {
	l.metrics = newMetrics(l)
	l.crew = newCrew()
	l.router = &router{life: l}
	l.places = newPlaces(l)
	l.crowds = newCrowds(l)
	l.sweeper = newSweeper(l)
	l.events = newEvents(l)
	p := peers{life: l}
	var err error
	if l.gossip, err = l.newGossip(); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	l.inbox, err = inbox.New(inbox.Config{
		Self: l.inc, Transport: l.store, Handle: p.receive, Cast: p.cast, MaySend: l.members.mayAct, Logger: l.log, Registerer: l.registry,
	})
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	l.owner, err = owner.New(owner.Config{
		Self: l.inc, Partitions: l.cfg.Partitions, Partition: l.partition,
		Room: room.Config{
			Node: l.cfg.NodeID, ReportTimeout: l.cfg.ReportTimeout, DepartureDeadline: l.cfg.Departure,
			NeverConnected: l.cfg.NeverConnected, EdgeGrace: l.cfg.CrashGrace + edgeGraceMargin, RelayOnly: l.cfg.RelayOnly,
		},
		Large: max(0, l.cfg.RoomSpread), Outbox: l.cfg.Webhook != "",
		Journal: l.store, Edges: p, Peers: p, Places: l.places, Events: l.events.committed,
		Suspect: l.members.suspect, MayAct: l.members.mayAct, Now: l.members.now, Latest: l.members.latest,
		Logger: l.log, Registerer: l.registry,
	})
	if err != nil {
		return err
	}
	if err := l.newEdge(p); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	if l.poster, err = l.newPoster(); err != nil {
		return err
	}
	l.clients = newClientDoor(l)
	l.backend, l.operator, err = newBackendDoor(l)
	return err
}

func (l *life) newGossip() (*gossip.Gossip, error) {
	cfg := gossip.Config{
		Node: l.cfg.NodeID,
		Bind: l.cfg.Gossip.Bind, Advertise: l.cfg.Gossip.Advertise, Join: l.cfg.Gossip.Join, Insecure: l.cfg.Gossip.Insecure,
		Keys: l.node.keys.now(), Label: l.cfg.Cluster, Logger: l.log,
		Meta: gossip.Meta{
			Boot: bootOf(l.inc), Client: l.cfg.advertised(), API: l.cfg.API, State: gossip.Serving,
			Shape: l.ring.Shape(), Version: l.cfg.Version,
		},
	}
	if l.cfg.Transport != nil {
		t, err := l.cfg.Transport()
		if err != nil {
			return nil, err
		}
		cfg.Transport = t
	}
	return gossip.New(cfg)
}

// runGossip runs it, and says where it should have listened if it can't.
func (l *life) runGossip(ctx context.Context) error {
	if err := l.gossip.Run(ctx); err != nil {
		return fmt.Errorf("open --gossip %s: %w", l.cfg.Gossip.Bind, err)
	}
	return nil
}

// advertise changes what the others hear of this node through gossip.
func (l *life) advertise(change func(*gossip.Meta)) {
	if err := l.gossip.SetMeta(change); err != nil {
		l.log.Error("not advertised", "err", err)
	}
}

func (l *life) newEdge(p peers) error {
	var err error
	l.edge, err = edge.New(edge.Config{
		Incarnation: l.inc, Users: eventedUsers{l}, Owners: p, Mover: mover{l.places}, Auth: l.cfg.Auth,
		Partition: l.userPartition, RoomPartition: l.partition, Partitions: l.cfg.Partitions,
		SignMode: l.cfg.SignMode, PingInterval: l.cfg.PingInterval, HeartbeatTimeout: l.cfg.HeartbeatTimeout, LossGrace: l.cfg.LossGrace,
		MaxConns: l.cfg.MaxConns, MaxConnsPerIP: l.cfg.MaxConnsPerIP,
		AllowedOrigins: l.cfg.AllowedOrigins, TrustedProxies: l.cfg.TrustedProxies,
		Logger: l.log, Registerer: l.registry,
	})
	return err
}

// run lives this life: a lease first, then everything at once, until ctx ends,
// the life is over, or it has been drained.
func (l *life) run(ctx context.Context) error {
	l.members = newMembers(l)
	first, err := l.begin(ctx)
	if err != nil {
		return err
	}
	if err := l.assemble(); err != nil {
		return err
	}
	if err := l.members.answered(first); err != nil {
		return err
	}
	g, running := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{
		l.inbox.Run, l.runGossip, l.owner.Run, l.edge.Run, l.crew.run,
		l.members.run, l.sweeper.run, l.events.run, l.crowds.run,
	} {
		g.Go(func() error { return run(running) })
	}
	if l.poster != nil {
		g.Go(func() error { return l.poster.Run(running) })
	}
	g.Go(func() error { return l.node.keys.follow(running, l.gossip) })
	g.Go(func() error {
		select {
		case <-running.Done():
			return running.Err()
		case <-l.node.drain:
			return l.drain(running)
		}
	})
	l.ready.Store(true)
	l.log.Info("serving", "listen", l.cfg.Listen, "advertise", l.cfg.advertised(), "api", l.cfg.API, "admin", l.cfg.Admin, "store", l.cfg.StoreKind, "sid_auth", l.cfg.SidAuth, "frame_sign", l.cfg.SignMode)
	err = g.Wait()
	l.ready.Store(false)
	return err
}

// begin waits for the store and for the end of an earlier life's lease, and
// takes the first lease of this one.
func (l *life) begin(ctx context.Context) (renewal, error) {
	var former rival
	waiting := false
	for {
		first, err := l.tryBegin(ctx)
		var held *heldError
		switch {
		case err == nil:
			return first, nil
		case errors.Is(err, protocol.ErrStoreAway):
			if !waiting {
				waiting = true
				l.log.Warn(awaitedStore(err), "err", err)
			}
			former = rival{}
		case errors.As(err, &held):
			if err := l.contest(ctx, former.seen(held.inc, held.until)); err != nil {
				return renewal{}, err
			}
		case errors.Is(err, protocol.ErrBuried):
			return renewal{}, errBuried // the lease ended before gossip had begun
		default:
			return renewal{}, err
		}
		if !pause(ctx, membershipTick) {
			return renewal{}, ctx.Err()
		}
		if l.node.leaving() { // it has nothing to hand over
			l.log.Info("ended before it served")
			return renewal{}, errDrained
		}
	}
}

// awaitedStore says why a node waits for its store.
func awaitedStore(err error) string {
	if text := err.Error(); strings.Contains(text, "WRONGPASS") || strings.Contains(text, "NOAUTH") {
		return "store refuses this node's password; correct the user and password of --redis, or the store's; waiting"
	}
	return "store can't be reached; waiting for it"
}

func (l *life) tryBegin(ctx context.Context) (renewal, error) {
	if err := l.store.Register(ctx, l.ring.Shape()); err != nil {
		return renewal{}, fmt.Errorf("register: %w", err)
	}
	first := l.members.renew(ctx)
	if first.err != nil {
		return renewal{}, fmt.Errorf("take a lease: %w", first.err)
	}
	for inc, until := range first.leases.Until {
		if inc.Node() != l.cfg.NodeID || inc == l.inc {
			continue
		}
		if until.After(first.leases.Now) {
			return renewal{}, &heldError{inc: inc, until: until}
		}
		if _, err := l.store.Bury(ctx, inc); err != nil && !errors.Is(err, protocol.ErrLeaseLive) {
			return renewal{}, fmt.Errorf("bury %s: %w", inc, err)
		}
	}
	return first, nil
}

// died acts on a tombstone, once for each.
func (l *life) died(inc protocol.Incarnation, _ time.Time) {
	l.inbox.Dead(inc)
	l.owner.EdgeDied(inc)
	l.sweeper.look()
}

// setStoreAway holds new sockets back while their records can't be read.
func (l *life) setStoreAway(away bool) {
	if away {
		l.edge.Hold()
	} else {
		l.edge.Release()
	}
}

// goDo runs f on a goroutine of this life.
func (l *life) goDo(f func()) { l.crew.do(func(context.Context) { f() }) }

// crew runs short jobs that must not block who asks for them; all have ended
// when run returns.
type crew struct {
	jobs  chan func(context.Context)
	ended chan struct{}
}

func newCrew() *crew {
	return &crew{jobs: make(chan func(context.Context), 1024), ended: make(chan struct{})}
}

func (c *crew) do(f func(context.Context)) bool {
	select {
	case c.jobs <- f:
		return true
	case <-c.ended:
		return false
	}
}

func (c *crew) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(c.ended)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-c.jobs:
			wg.Go(func() { f(ctx) })
		}
	}
}

func bootOf(inc protocol.Incarnation) string {
	_, boot, _ := strings.Cut(string(inc), "@")
	return boot
}
