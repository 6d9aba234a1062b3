package owner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/room"
)

// Journal is the fenced record of partitions. Its errors mean that the store
// could not be asked; a status of 0 beside an error is an unknown outcome.
type Journal interface {
	Take(context.Context, []protocol.Take) ([]protocol.Taken, error)
	Commit(context.Context, []protocol.Commit) ([]protocol.CommitStatus, error)
	Restore(context.Context, protocol.Restore) (protocol.CommitStatus, error)
	Release(context.Context, []protocol.Release) ([]protocol.CommitStatus, error)
}

// Edges is how effects reach the edges, this node's own among them. No method
// blocks; done is called once, from any goroutine, and may be called before the
// method returns.
type Edges interface {
	Publish(to protocol.Incarnation, pubs []protocol.Publication)
	Subscribe(to protocol.Incarnation, subs []protocol.Subscription)
	Notify(to protocol.Incarnation, n protocol.Notice, done func(protocol.NoticeOutcome, error))
	Attach(to protocol.Incarnation, attaches []protocol.Attach, done func([]protocol.Attached, error))
}

// Peers is how a partition travels to the node that the ring gives it to.
type Peers interface {
	// Handoff sends the exported rooms of a partition, and with done=nil
	// failures the word that the partition is free now.
	Handoff(to protocol.Incarnation, h Handoff, done func(error))
	// Reclaim tells a node that the store has it as the owner of a partition
	// that it did not hand over for long; see Owner.Reclaim. It never blocks.
	Reclaim(to protocol.Incarnation, id protocol.PartitionID)
}

// Places changes users' records on behalf of a room. Neither method blocks.
type Places interface {
	// Evict takes a user out of the room in the user's own record, if the
	// record still says that the user is there.
	Evict(id protocol.RoomID, e room.Eviction)
	// Repair finds out where users really are whom owner and edge do not agree
	// on, and sends the owner the commands that follow.
	Repair(subs []protocol.Subscription)
}

// StoreMode says what an owner may do with respect to the store.
type StoreMode int32

const (
	// StoreHere: commit first, then tell.
	StoreHere StoreMode = iota
	// StoreAway: no node that this one sees reaches the store. Changes take
	// effect for local occupants at once and are put back when it returns.
	StoreAway
	// Isolated: others have the store or cannot be seen. Nothing is told or
	// answered.
	Isolated
)

// Config of an Owner. Zero values of Loops, AttachInterval and Mailbox work;
// the interfaces and functions are required.
type Config struct {
	Self protocol.Incarnation
	// Partitions is their number in the cluster; rooms are placed by Partition.
	Partitions int
	Partition  func(protocol.RoomID) protocol.PartitionID
	Room       room.Config
	// Loops is how many goroutines share the partitions; by default twice the
	// processors.
	Loops int
	// AttachInterval is how often each edge is told, as a hash, whom this node
	// believes there. 10 s by default.
	AttachInterval time.Duration
	// Mailbox bounds each loop's waiting commands, 4096 by default. A full one
	// refuses with CodeBusy.
	Mailbox int
	// Large is the number of occupants above which a room is among Crowds; 0 for
	// never.
	Large int
	// Outbox commits events with their change, for webhooks.
	Outbox bool

	Journal Journal
	Edges   Edges
	Peers   Peers
	Places  Places
	// Events is told of committed events. It does not block. Nil for nobody.
	Events func([]protocol.Event)
	// Suspect is told of every holder that refuses a claim and, time and again,
	// of every edge that occupants are at: it may be dead without anybody
	// knowing. It does not block. Nil for nobody.
	Suspect func(protocol.Incarnation)
	// MayAct reports whether this node's lease stands by its own clock, or the
	// store is away for everyone.
	MayAct func() bool
	// Now is the store's clock as this node knows it, Latest the furthest that
	// it can have been, which it was before a failover to a clock behind. New
	// epochs are above both.
	Now, Latest func() time.Time

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.Loops == 0 {
		c.Loops = 2 * runtime.GOMAXPROCS(0)
	}
	if c.AttachInterval == 0 {
		c.AttachInterval = 10 * time.Second
	}
	if c.Mailbox == 0 {
		c.Mailbox = 4096
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Assignment is what a new ring means for an owner.
type Assignment struct {
	// Owner answers which incarnation the ring gives a partition to; false when
	// the ring is empty or its node's incarnation is not known.
	Owner func(protocol.PartitionID) (protocol.Incarnation, bool)
	// Dead lists the incarnations with a tombstone.
	Dead []protocol.Incarnation
}

// Owner owns partitions. It is safe for concurrent use.
type Owner struct {
	// set by New
	cfg     Config
	loops   []*loop
	metrics *metrics

	mode    atomic.Int32
	crowded atomic.Int64 // rooms that loops believe large
}

// New returns an Owner that owns nothing. Run starts it.
func New(cfg Config) (*Owner, error) {
	cfg = cfg.withDefaults()
	var faults []error
	if cfg.Self == "" {
		faults = append(faults, errors.New("owner: no incarnation"))
	}
	if cfg.Partitions <= 0 || cfg.Partition == nil {
		faults = append(faults, errors.New("owner: no partitions"))
	}
	if cfg.Journal == nil || cfg.Edges == nil || cfg.Peers == nil || cfg.Places == nil || cfg.MayAct == nil || cfg.Now == nil || cfg.Latest == nil {
		faults = append(faults, errors.New("owner: journal, edges, peers, places, lease and clock are required"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	o := &Owner{cfg: cfg, metrics: newMetrics(cfg.Registerer)}
	for i := range cfg.Loops {
		o.loops = append(o.loops, newLoop(o, i))
	}
	return o, nil
}

// Run serves until ctx ends, and returns after every loop and helper has ended.
func (o *Owner) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range o.loops {
		g.Go(func() error { return l.run(ctx) })
		g.Go(func() error { return l.journal.run(ctx) })
		g.Go(func() error { return l.claims.run(ctx) })
	}
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (o *Owner) loopOf(p protocol.PartitionID) *loop { return o.loops[int(p)%len(o.loops)] }

// Submit hands a command to the loop of its room's partition. done is called
// exactly once, with CodeBusy at once when the mailbox is full; it must not
// block.
func (o *Owner) Submit(cmd protocol.Command, done func(protocol.Reply)) {
	p := o.cfg.Partition(cmd.Room)
	select {
	case o.loopOf(p).mailbox <- command{p: p, cmd: cmd, done: done}:
	default:
		o.metrics.refused.Inc()
		done(protocol.Reply{Code: protocol.CodeBusy, Message: "the room's owner has a full mailbox; ask again shortly"})
	}
}

// Assign tells every loop of a new ring. What is owned and no longer assigned
// is handed over; what is newly assigned is claimed.
func (o *Owner) Assign(a Assignment) { o.toAll(assigned{a}) }

// EdgeDied tells every loop that an incarnation has a tombstone: its occupants
// have no live connection until they are seen elsewhere.
func (o *Owner) EdgeDied(edge protocol.Incarnation) { o.toAll(edgeDied{edge}) }

// SetStoreMode changes what may be done without the store.
func (o *Owner) SetStoreMode(m StoreMode) {
	if StoreMode(o.mode.Swap(int32(m))) == m {
		return
	}
	o.toAll(modeChanged{m})
	o.Wake()
}

// StoreReturned makes every loop put its partitions back where the store has
// an older state of them, as after a failover or a flush.
func (o *Owner) StoreReturned() { o.toAll(storeReturned{}) }

// Wake makes parked loops look at the lease again.
func (o *Owner) Wake() {
	for _, l := range o.loops {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (o *Owner) toAll(m message) {
	for _, l := range o.loops {
		l.post(m)
	}
}

// Beat asks every loop for a sign of life and reports whether all have
// answered the previous call's question. A node whose loop hangs must not
// renew its lease.
func (o *Owner) Beat() bool {
	alive := true
	for _, l := range o.loops {
		alive = l.beat.Load() >= l.asked && alive
		l.asked++
		select {
		case l.pings <- l.asked:
		default:
		}
	}
	return alive
}

// Receive takes a partition that another owner hands over. done is called once.
func (o *Owner) Receive(from protocol.Incarnation, h Handoff, done func(error)) {
	if int(h.Partition) >= o.cfg.Partitions {
		done(fmt.Errorf("partition %d handed over by %s does not exist", h.Partition, from))
		return
	}
	o.loopOf(h.Partition).post(handed{from: from, handoff: h, done: done})
}

// Rooms returns up to limit rooms owned here whose id is greater than after,
// in order, with their sizes.
func (o *Owner) Rooms(ctx context.Context, after protocol.RoomID, limit int) ([]RoomCount, error) {
	var all []RoomCount
	for _, l := range o.loops {
		answer := make(chan []RoomCount, 1)
		l.post(listRooms{after: after, limit: limit, answer: answer})
		select {
		case rooms := <-answer:
			all = append(all, rooms...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.SortFunc(all, compareRooms)
	return all[:min(limit, len(all))], nil
}

// Owned returns the partitions that this node owns, in order.
func (o *Owner) Owned(ctx context.Context) ([]protocol.PartitionID, error) {
	var all []protocol.PartitionID
	for _, l := range o.loops {
		answer := make(chan []protocol.PartitionID, 1)
		l.post(listOwned{answer})
		select {
		case owned := <-answer:
			all = append(all, owned...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.Sort(all)
	return all, nil
}

// Reclaim has this owner claim a partition that the store says it owns and that
// it does not know of: a store that lost its last writes has forgotten that it
// was released. Once claimed it is handed over to whom the ring gives it to. It
// never blocks.
func (o *Owner) Reclaim(id protocol.PartitionID) {
	if int(id) < o.cfg.Partitions {
		o.loops[int(id)%len(o.loops)].post(reclaimed{id})
	}
}

// Check returns every invariant of the owned partitions that is broken now.
func (o *Owner) Check(ctx context.Context) []error {
	var faults []error
	for _, l := range o.loops {
		answer := make(chan []error, 1)
		l.post(check{answer})
		select {
		case f := <-answer:
			faults = append(faults, f...)
		case <-ctx.Done():
			return append(faults, fmt.Errorf("loop %d does not answer: %w", l.index, ctx.Err()))
		}
	}
	return faults
}
