package edge

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

// Users is the store of users' records, as far as connections change them.
type Users interface {
	Connect(context.Context, protocol.Connect) (protocol.Connected, error)
	Close(context.Context, protocol.Close) (protocol.Closed, error)
}

// Owners is how an edge reaches the owners of rooms, wherever they are.
type Owners interface {
	// Do asks the owner of cmd.Room and waits for the answer or the context.
	Do(context.Context, protocol.Command) protocol.Reply
	// Tell passes on the intent of a Close that won: the node tells the owners
	// and settles it. It never blocks. An intent told without the store, while
	// that is away, is followed by the store's own.
	Tell(protocol.Intent)
	// Supersede asks another edge to close its connection of user that is older
	// than conn. It never blocks.
	Supersede(edge protocol.Incarnation, user protocol.UserID, conn protocol.ConnNumber)
	// Orphaned hands over subscriptions that no owner has spoken of for long:
	// the owners are asked, and Forget is called for those that are no more. It
	// never blocks.
	Orphaned([]protocol.Subscription)
}

// Mover changes where a user is, on behalf of clients that may.
type Mover interface {
	Enter(ctx context.Context, user protocol.UserID, room protocol.RoomID, profile protocol.Profile) protocol.Reply
	Exit(ctx context.Context, user protocol.UserID, room protocol.RoomID) protocol.Reply
	StartCall(ctx context.Context, call protocol.RoomID, caller, receiver protocol.UserID) protocol.Reply
	EndCall(ctx context.Context, call protocol.RoomID, user protocol.UserID) protocol.Reply
}

// Authenticator tells who a sid is. Its errors wrap auth.ErrUnknown or
// auth.ErrUnavailable.
type Authenticator interface {
	Authenticate(ctx context.Context, sid string) (auth.Identity, error)
}

// Edge holds the connections of one incarnation of a node. It is safe for
// concurrent use.
type Edge struct {
	// set by New
	cfg        Config
	start      time.Time
	framePrice time.Duration
	fanout     *outbox.Fanout
	upgrader   *gws.Upgrader
	registry   *registry
	losses     *losses
	gate       *gate
	door       *doorman
	metrics    *metrics
	partitions []partition
	// within bounds a call by a time and by the end of Run; stop ends all such
	// calls.
	within func(time.Duration) (context.Context, context.CancelFunc)
	stop   context.CancelFunc

	wheel    wheel
	fetches  fetches
	syncs    syncs
	timeline timeline
	verifier protocol.Verifier
	crew     crew

	disowning atomic.Int64
}

// New returns an Edge that lets nobody in until Run is called.
func New(cfg Config) (*Edge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	bounds := outbox.Config{MaxBacklogBytes: cfg.MaxBacklogBytes, MaxBacklogFrames: cfg.MaxBacklogFrames}
	e := &Edge{
		cfg:        cfg,
		start:      time.Now(),
		framePrice: time.Duration(float64(time.Second) / cfg.FrameRate),
		fanout:     outbox.New(bounds),
		registry:   newRegistry(),
		gate:       newGate(cfg.MaxHeld),
		partitions: make([]partition, cfg.Partitions),
		timeline:   timeline{max: cfg.TimelineEvents},
	}
	e.upgrader = gws.NewUpgrader(handler{}, &gws.ServerOption{
		ReadMaxPayloadSize: maxMessage,
		ReadBufferSize:     readBuffer,
		CheckUtf8Enabled:   true,
		NewSession:         func() gws.SessionStorage { return noStorage{} },
	})
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.within = func(d time.Duration) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
	e.door = &doorman{max: cfg.MaxConns, maxPerIP: cfg.MaxConnsPerIP, byAddr: make(map[netip.Addr]int), crew: &e.crew}
	e.losses = newLosses(e)
	e.metrics = newMetrics(cfg.Registerer, e)
	return e, nil
}

// Run serves until ctx ends. Then it sends away whoever is still connected,
// without telling the store: their users have the crash grace to come back.
// It returns after the last goroutine of a connection has ended. An Edge runs
// once.
func (e *Edge) Run(ctx context.Context) error {
	judging, stopJudging := context.WithCancel(context.WithoutCancel(ctx))
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	var loops sync.WaitGroup
	loops.Go(func() { e.judgeAll(judging) })
	loops.Go(func() { e.seekOrphans(judging) })
	loops.Go(func() { e.fanout.Run(writing) })
	e.door.set(true)
	<-ctx.Done()

	e.door.set(false)
	stopJudging()
	e.stop()
	for s := range e.registry.all {
		s.sendAway(protocol.AppendDrain(nil, retryAfter))
	}
	e.crew.dismiss()
	stopWriting()
	loops.Wait()
	return nil
}

// now is the edge's clock: the time since it was made, which no clock
// adjustment moves.
func (e *Edge) now() time.Duration { return time.Since(e.start) }

// ended reports whether Run has ended, or is about to.
func (e *Edge) ended() bool {
	ctx, cancel := e.within(time.Hour)
	defer cancel()
	return ctx.Err() != nil
}

// pause waits, and reports false when Run ended first.
func (e *Edge) pause(d time.Duration) bool {
	ctx, cancel := e.within(d)
	defer cancel()
	<-ctx.Done()
	return errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// Count returns the number of connections, those being made among them.
func (e *Edge) Count() int { return e.door.inside() }

func asProtocol(err error) (*protocol.Error, bool) { return errors.AsType[*protocol.Error](err) }
