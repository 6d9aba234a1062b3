package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// sweepInterval is how often what the dead left is looked for without any
	// occasion.
	sweepInterval = 30 * time.Second
	// sweepAtOnce bounds the users declared lost at a time.
	sweepAtOnce = 256
	// sweepBatch bounds the partitions asked for at once.
	sweepBatch = 512
	// sweepRetry is the pause before what failed is tried again.
	sweepRetry = time.Second
	// pruneInterval spreads the removal of records of users long gone.
	pruneInterval = 10 * time.Second
	// pruneAfter is how long a user must have been offline, in no room and no
	// call, before the record goes.
	pruneAfter = 24 * time.Hour
)

// sweeper finishes what dead incarnations left undone in the partitions that
// the ring gives to this node: it tells their intents at once, and declares
// their users lost who have not come back within the grace.
//
// Two sweepers may meet in a partition while a ring settles. Closing a
// connection and telling an intent are both harmless when repeated.
type sweeper struct {
	// set by newSweeper
	life *life
	log  *slog.Logger
	poke chan struct{}

	// owned by run
	prunes protocol.PartitionID
}

func newSweeper(l *life) *sweeper {
	return &sweeper{life: l, log: l.log, poke: make(chan struct{}, 1)}
}

// look makes the sweeper run now: somebody died or the ring changed.
func (s *sweeper) look() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

func (s *sweeper) run(ctx context.Context) error {
	timer := time.NewTimer(sweepInterval)
	defer timer.Stop()
	prune := time.NewTicker(pruneInterval)
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-prune.C:
			s.prune(ctx)
			continue
		case <-s.poke:
		case <-timer.C:
		}
		timer.Reset(s.sweep(ctx))
	}
}

// sweep goes over this node's partitions once, and returns when to do so again.
func (s *sweeper) sweep(ctx context.Context) time.Duration {
	if s.life.members.storeAway() {
		return sweepRetry
	}
	t := s.life.members.table()
	if len(t.tombstones) == 0 {
		return sweepInterval
	}
	isDead := func(inc protocol.Incarnation) bool {
		_, ok := t.tombstones[inc]
		return ok
	}
	mine := t.ring.Owned(s.life.cfg.NodeID)
	again := sweepInterval
	for len(mine) > 0 && ctx.Err() == nil {
		n := min(sweepBatch, len(mine))
		remains, err := s.life.store.Remains(ctx, mine[:n], isDead)
		if err != nil {
			s.log.Warn("remains not read", "err", err)
			return sweepRetry
		}
		mine = mine[n:]
		for _, r := range remains {
			again = min(again, s.settle(ctx, r, t.tombstones[r.Incarnation]))
		}
	}
	return again
}

// settle finishes one incarnation's affairs in one partition, and returns how
// long to wait before looking again.
func (s *sweeper) settle(ctx context.Context, r protocol.Remains, died time.Time) time.Duration {
	for _, i := range r.Intents {
		s.inherit(ctx, r, i)
	}
	if len(r.Connections) == 0 {
		if len(r.Intents) > 0 {
			return sweepRetry
		}
		return sweepInterval
	}
	if wait := died.Add(s.life.cfg.CrashGrace).Sub(s.life.members.now()); wait > 0 {
		return wait
	}
	g := new(errgroup.Group)
	g.SetLimit(sweepAtOnce)
	for _, c := range r.Connections {
		g.Go(func() error { return s.lose(ctx, r.Partition, c) })
	}
	if err := g.Wait(); err != nil {
		s.log.Warn("not every lost connection is closed", "partition", r.Partition, "err", err)
	}
	return sweepRetry
}

// own goes over what the store says that this very incarnation holds: it ends
// connections that are not here any more, and tells intents again.
func (s *sweeper) own(ctx context.Context) (again error) {
	self := func(inc protocol.Incarnation) bool { return inc == s.life.inc }
	all := make([]protocol.PartitionID, s.life.cfg.Partitions)
	for i := range all {
		all[i] = protocol.PartitionID(i)
	}
	for len(all) > 0 {
		n := min(sweepBatch, len(all))
		remains, err := s.life.store.Remains(ctx, all[:n], self)
		if err != nil {
			s.log.Warn("own remains not read", "err", err)
			return err
		}
		all = all[n:]
		for _, r := range remains {
			for _, i := range r.Intents {
				s.inherit(ctx, r, i)
			}
			for _, c := range r.Connections {
				here, arriving := s.life.edge.Holds(c.User, c.Conn)
				switch {
				case here:
					continue
				case arriving:
					again = errArriving
					continue
				}
				if err := s.lose(ctx, r.Partition, c); err != nil {
					return err
				}
			}
		}
	}
	return again
}

// errArriving has what the store holds of this node looked at once more.
var errArriving = errors.New("a connection is being made")

// recall tells the intents that this very incarnation left in a partition.
func (s *sweeper) recall(ctx context.Context, p protocol.PartitionID) error {
	self := func(inc protocol.Incarnation) bool { return inc == s.life.inc }
	remains, err := s.life.store.Remains(ctx, []protocol.PartitionID{p}, self)
	if err != nil {
		return err
	}
	for _, r := range remains {
		for _, i := range r.Intents {
			s.life.places.Tell(i)
		}
	}
	return nil
}

// inherit tells an intent in place of the dead incarnation that kept it.
func (s *sweeper) inherit(ctx context.Context, r protocol.Remains, i protocol.Intent) {
	s.life.places.start(i, func(ctx context.Context) {
		for _, cmd := range commands(i) {
			if reply := s.life.places.insist(ctx, cmd); !acted(reply) {
				return
			}
		}
		err := s.life.store.Settle(ctx, protocol.Settle{Partition: r.Partition, By: r.Incarnation, User: i.User, Version: i.Version})
		if err != nil {
			s.log.Debug("inherited intent not settled", "user", i.User, "err", err)
		}
	})
}

// lose declares the loss of a user who did not come back.
func (s *sweeper) lose(ctx context.Context, p protocol.PartitionID, c protocol.UserConn) error {
	closed, err := eventedUsers{s.life}.Close(ctx, protocol.Close{
		Partition: p, User: c.User, Conn: c.Conn, By: s.life.inc, Reason: "node_lost",
	})
	if err != nil {
		return err
	}
	if closed.Won {
		s.life.places.Tell(closed.Intent)
	}
	return nil
}

// prune removes old records in the next of this node's partitions.
func (s *sweeper) prune(ctx context.Context) {
	if s.life.members.storeAway() {
		return
	}
	mine := s.life.members.table().ring.Owned(s.life.cfg.NodeID)
	if len(mine) == 0 {
		return
	}
	const perTurn = 16
	for range min(perTurn, len(mine)) {
		p := mine[int(s.prunes)%len(mine)]
		s.prunes = (s.prunes + 1) % protocol.PartitionID(len(mine))
		if _, err := s.life.store.Prune(ctx, p, pruneAfter); err != nil && !errors.Is(err, context.Canceled) {
			s.log.Debug("records not pruned", "partition", p, "err", err)
			return
		}
	}
}
