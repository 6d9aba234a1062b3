package bridge

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// lane lays the commands of concurrent callers into common pipelines. While a
// pipeline is under way the next one gathers, and leaves when an answer comes:
// no timer, and a lone caller waits for nobody.
//
// A lane has no goroutine. Of the callers whose commands share a pipeline the
// first one carries it, and then names the carrier of what has gathered:
//
//	A: queue empty, a flight free    → carries {A}
//	B, C: no flight free             → wait in the queue
//	A: answer here                   → takes {B, C}, hands them to B, returns
//	B: carries {B, C}                → C returns with B
type lane struct {
	// set by newLane
	exec    func(context.Context, []*command)
	flights int
	limit   int
	timeout time.Duration
	metrics laneMetrics

	mu sync.Mutex
	// guarded by mu
	queue  []*ticket
	flying int // never below flights while the queue holds a ticket
}

// ticket is one caller's place in a lane.
type ticket struct {
	commands []*command
	carry    chan []*ticket // the pipeline that this caller is to carry
	done     chan struct{}  // closed when the commands are answered
}

func newLane(name string, flights int, cfg Config, exec func(context.Context, []*command), m *metrics) *lane {
	return &lane{
		exec: exec, flights: flights, limit: cfg.Queue,
		timeout: 2 * cfg.Timeout, metrics: m.lane(name),
	}
}

// do has the commands executed, and returns nil when they hold their answers.
// When ctx ends first, the commands are withdrawn or, if they have left, their
// outcome is unknown. A caller that carries others' commands stays until they
// are answered or timed out.
func (l *lane) do(ctx context.Context, commands ...*command) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", protocol.ErrStoreAway, err)
	}
	t := &ticket{commands: commands, carry: make(chan []*ticket, 1), done: make(chan struct{})}
	batch, err := l.enter(t)
	if err != nil {
		return err
	}
	if batch == nil {
		select {
		case <-t.done:
			return nil
		case batch = <-t.carry:
		case <-ctx.Done():
			if l.withdraw(t) {
				return fmt.Errorf("%w: %w", protocol.ErrStoreAway, ctx.Err())
			}
			select {
			case batch = <-t.carry:
			default:
				return fmt.Errorf("%w: %w", protocol.ErrStoreAway, ctx.Err())
			}
		}
	}
	l.fly(ctx, batch)
	return nil
}

// enter puts a ticket into the queue, or answers the pipeline to carry.
func (l *lane) enter(t *ticket) ([]*ticket, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flying < l.flights {
		l.flying++
		return []*ticket{t}, nil
	}
	if len(l.queue) >= l.limit {
		l.metrics.refused.Inc()
		return nil, ErrBusy
	}
	l.queue = append(l.queue, t)
	return nil, nil
}

// withdraw takes a ticket out of the queue, if it is still there.
func (l *lane) withdraw(t *ticket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.queue, t)
	if i < 0 {
		return false
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	return true
}

// fly carries a pipeline, then hands on what has gathered.
func (l *lane) fly(ctx context.Context, batch []*ticket) {
	var commands []*command
	for _, t := range batch {
		commands = append(commands, t.commands...)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	defer cancel()
	defer l.land(batch)
	l.exec(ctx, commands)
}

func (l *lane) land(batch []*ticket) {
	for _, t := range batch {
		close(t.done)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.gather()
	if len(next) == 0 {
		l.flying--
		return
	}
	next[0].carry <- next
}

// gather takes the tickets of one pipeline out of the queue.
func (l *lane) gather() []*ticket {
	n, commands := 0, 0
	for n < len(l.queue) && commands < maxPipeline {
		commands += len(l.queue[n].commands)
		n++
	}
	batch := slices.Clone(l.queue[:n])
	l.queue = slices.Delete(l.queue, 0, n)
	return batch
}
