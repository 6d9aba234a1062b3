package node

import (
	"context"
	"time"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/edge"
)

const (
	// handoffShare is the part of the drain timeout that may be spent on handing
	// partitions over before clients are sent away all the same.
	handoffShare = 3
	// drainRate is how many clients a second each remaining node is expected to
	// take.
	drainRate = 1000
	// drainRetry is what clients are told who are sent away at that pace: enough
	// for those of one step to come apart.
	drainRetry = time.Second
	// drainPoll is how often the hand-over's progress is looked at.
	drainPoll = 50 * time.Millisecond
)

// drain hands over, sends the clients elsewhere, and ends the lease. The users
// sent away have the crash grace to come back; whoever sweeps up behind this
// node counts it from the lease's end.
func (l *life) drain(ctx context.Context) error {
	l.draining.Store(true)
	l.log.Info("draining", "connections", l.edge.Count())
	ctx, cancel := context.WithTimeout(ctx, l.cfg.DrainTimeout)
	defer cancel()
	l.advertise(func(m *gossip.Meta) { m.State = gossip.Draining })
	l.members.look()
	l.handOver(ctx)
	others := max(1, int(l.members.pairs.Load())-1)
	plan := edge.DrainPlan{PerSecond: drainRate * others, RetryAfter: drainRetry, RestAfter: l.spread(others)}
	if err := l.edge.Drain(ctx, plan); err != nil {
		l.log.Warn("drain timed out with clients left", "connections", l.edge.Count(), "err", err)
	}
	resign, cancelResign := context.WithTimeout(context.WithoutCancel(ctx), leaseLength/2)
	defer cancelResign()
	l.resigned.Store(true)
	if _, err := l.store.Resign(resign, l.inc); err != nil {
		l.log.Warn("lease not resigned; it ends by itself", "err", err)
	}
	if err := l.gossip.Leave(resign); err != nil {
		l.log.Warn("others not told of the leaving; they will see a failure", "err", err)
	}
	l.log.Info("drained")
	return errDrained
}

// spread is the time over which all who are here should come back when they are
// sent away at once.
func (l *life) spread(others int) time.Duration {
	d := time.Duration(l.edge.Count()) * time.Second / time.Duration(drainRate*others)
	return min(max(d, time.Second), l.cfg.CrashGrace/2)
}

// handOver waits until nothing is owned any more, for a share of the drain's
// time. A node alone keeps what it owns to its end.
func (l *life) handOver(ctx context.Context) {
	if l.members.pairs.Load() <= 1 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.DrainTimeout/handoffShare)
	defer cancel()
	for {
		owned, err := l.owner.Owned(ctx)
		if err != nil {
			l.log.Warn("not everything was handed over", "err", err)
			return
		}
		if len(owned) == 0 {
			return
		}
		if !pause(ctx, drainPoll) {
			l.log.Warn("not everything was handed over", "partitions", len(owned))
			return
		}
	}
}
