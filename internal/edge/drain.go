package edge

import (
	"context"
	"fmt"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// drainStep is how often a drain closes some more connections.
const drainStep = 20 * time.Millisecond

// DrainPlan says how to send everybody away.
type DrainPlan struct {
	// PerSecond is how many connections are closed a second; 0 is all at once.
	PerSecond int
	// RetryAfter is told to each client, which comes back after a random part
	// of it. The pace spreads the clients already.
	RetryAfter time.Duration
	// RestAfter is told in its place to those who are sent away all at once
	// because the time is over.
	RestAfter time.Duration
}

// Drain lets nobody in any more and sends every client elsewhere at the pace of
// the plan; the others are served until their turn. It returns when all are
// gone. When ctx ends before, the rest is sent away at once.
//
// Users who are sent away are not lost: the store hears nothing of it.
func (e *Edge) Drain(ctx context.Context, plan DrainPlan) error {
	e.door.set(false)
	notice := protocol.AppendDrain(nil, plan.RetryAfter)
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	credit := 0.0
	for {
		credit += float64(plan.PerSecond) * drainStep.Seconds()
		sent := 0
		for s := range e.registry.all {
			if plan.PerSecond > 0 && credit < 1 {
				break
			}
			if s.sendAway(notice) {
				credit--
				sent++
			}
		}
		if sent == 0 && e.Count() == 0 {
			return nil
		}
		credit = max(min(credit, 1), 0)
		select {
		case <-ctx.Done():
			left := e.Count()
			notice = protocol.AppendDrain(nil, plan.RestAfter)
			for s := range e.registry.all {
				s.sendAway(notice)
			}
			return fmt.Errorf("drain with %d connections left: %w", left, ctx.Err())
		case <-ticker.C:
		}
	}
}

// sendAway closes a connection so that its client comes back elsewhere.
func (s *session) sendAway(notice []byte) bool {
	if s.current() != fateNone {
		return false
	}
	s.deliver(notice)
	return s.end(fateSent, protocol.CloseDrain.Reason(), protocol.CloseDrain)
}
