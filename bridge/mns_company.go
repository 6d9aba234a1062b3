package bridge

import (
	"context"
	"fmt"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxCompany and maxCompanyBytes bound what callers put into one script call.
	// The first is also how many messages one call gives out.
	maxCompany      = 64
	maxCompanyBytes = 256 << 10
)

// errand is what callers may have done for them by one script call: the same
// script, on the same thing, in the same way.
type errand struct {
	script, tag string
	variant     int64
}

// company is the callers that share a script call which has not left yet. What
// a script costs is mostly its own beginning and end, so many who send to one
// queue, receive from it or delete in it are served for little more than one.
//
// The first caller leads: it has the call executed, in its turn, and others join
// until it leaves. Nobody waits for company:
//
//	A: no company for the errand   → leads {A}, waits in the lane
//	B, C: A's has not left         → join it
//	A: its turn                    → leaves with {A, B, C}; D leads another
//	A: answer here                 → all three take their part of it
type company struct {
	// guarded by MNS.mu until the company has left, then nobody writes them
	count int // of items, in the order in which the callers came
	bytes int
	args  []any

	// set before done is closed
	answer []any
	err    error
	done   chan struct{}
}

// share has an errand run for count items, whose arguments are args, and returns
// the script's answer and how many items of others came before. head returns
// the arguments that come first, given how many items there are in all.
//
// Callers stay to the end, which the lane's limits bound, also when ctx ends: a
// message that was received is somebody's.
func (m *MNS) share(ctx context.Context, e errand, count int, args []any, head func(count int) []any) (answer []any, before int, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", protocol.ErrStoreAway, err)
	}
	bytes := (&command{args: args}).size()
	m.mu.Lock()
	c := m.companies[e]
	if c != nil && c.count+count <= maxCompany && c.bytes+bytes <= maxCompanyBytes {
		before = c.count
		c.count, c.bytes, c.args = c.count+count, c.bytes+bytes, append(c.args, args...)
		m.mu.Unlock()
		<-c.done
		return c.answer, before, c.err
	}
	c = &company{count: count, bytes: bytes, args: args, done: make(chan struct{})}
	m.companies[e] = c
	m.mu.Unlock()
	m.lead(ctx, e, c, head)
	return c.answer, 0, c.err
}

// lead has a company's call executed.
func (m *MNS) lead(ctx context.Context, e errand, c *company, head func(count int) []any) {
	defer close(c.done)
	call := m.call(e.script, e.tag)
	call.prepare = func() {
		m.leave(e, c)
		call.args = append(head(c.count), c.args...)
	}
	err := m.lane.do(context.WithoutCancel(ctx), call)
	if err != nil {
		m.leave(e, c)
		c.err = err
		return
	}
	f, err := call.list()
	if err != nil {
		c.err = err
		return
	}
	c.answer = f.values
}

// leave lets nobody else join a company.
func (m *MNS) leave(e errand, c *company) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.companies[e] == c {
		delete(m.companies, e)
	}
}
