package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// memoryTimeout is how long a client waits for a store that says nothing.
	memoryTimeout = time.Second
	// memoryPending bounds the calls that a paused store keeps. Later ones are
	// lost, as from a full socket.
	memoryPending = 65536
	// memoryMailbox bounds the messages that wait for one subscriber. When it
	// is full the subscription is dropped and renewed.
	memoryMailbox = 4096
)

// Memory is a store in this process for tests, in virtual time too: its clock is
// package time's. Nodes use it through clients, one each. What a client's
// methods promise is what those of Redis do.
//
// It can be made to fail as a whole, or for one client; see MemoryClient.
type Memory struct {
	mu sync.Mutex
	// guarded by mu
	state   *memoryState
	lives   int // servers that have been the store so far
	skew    time.Duration
	latency time.Duration
	paused  bool
	pending []func()
	clients map[protocol.Incarnation]*MemoryClient
	mailbox map[string]map[*memorySubscription]struct{}
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		state:   newMemoryState(),
		clients: make(map[protocol.Incarnation]*MemoryClient),
		mailbox: make(map[string]map[*memorySubscription]struct{}),
	}
}

// Client returns the client with this name, the same one each time. The name
// does not have to be that of the incarnation that uses it.
func (m *Memory) Client(name protocol.Incarnation) *MemoryClient {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.clients[name]
	if !ok {
		c = &MemoryClient{store: m}
		m.clients[name] = c
	}
	return c
}

// SetLatency makes every call take this long, half of it before it takes
// effect. Messages take half of it from store to subscriber.
func (m *Memory) SetLatency(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latency = d
}

// SetSkew sets the store's clock this far ahead of package time's.
func (m *Memory) SetSkew(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.skew = d
}

// SetPaused stops the store as SIGSTOP stops a server: calls wait, those whose
// callers lose patience too, and take effect when it goes on.
func (m *Memory) SetPaused(paused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = paused
	if paused {
		return
	}
	for _, op := range m.pending {
		op()
	}
	m.pending = nil
}

// SetAway does to every client that there is what its own SetAway does.
func (m *Memory) SetAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.clients {
		c.setAway(away)
	}
}

// Flush empties the store.
func (m *Memory) Flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = newMemoryState()
}

// Entries returns what a partition's journal holds.
func (m *Memory) Entries(id protocol.PartitionID) map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copyEntries(m.state.partition(id).entries)
}

// Snapshot is what a store held at one moment.
type Snapshot struct{ state *memoryState }

// Snapshot returns what the store holds.
func (m *Memory) Snapshot() *Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Snapshot{state: m.state.clone()}
}

// Rollback puts a replica in the store's place that has not got further than
// the snapshot: a failover with a lost tail. Every subscription breaks.
func (m *Memory) Rollback(s *Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s.state.clone()
	m.lives++
	for _, subscriptions := range m.mailbox {
		for s := range subscriptions {
			s.fail()
		}
	}
}

// MemoryClient is one node's way to a Memory. It has the methods of Redis.
type MemoryClient struct {
	// set by Client
	store *Memory

	// guarded by store.mu
	away          bool
	silent        bool
	answersLost   bool
	subscriptions map[*memorySubscription]struct{}
}

// SetAway refuses this client's calls at once and breaks its subscriptions: a
// closed port.
func (c *MemoryClient) SetAway(away bool) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.setAway(away)
}

func (c *MemoryClient) setAway(away bool) {
	c.away = away
	c.failSubscriptions()
}

// SetSilent loses this client's calls, which wait for an answer until they lose
// patience, and the messages for it: a cut cable.
func (c *MemoryClient) SetSilent(silent bool) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.silent = silent
	if !silent {
		c.failSubscriptions()
	}
}

// SetAnswersLost lets this client's calls take effect but loses the answers.
func (c *MemoryClient) SetAnswersLost(lost bool) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.answersLost = lost
}

var (
	errRefused  = errors.New("connection refused")
	errNoAnswer = errors.New("no answer")
)

// ask has the store perform op and returns its answer.
func ask[T any](ctx context.Context, c *MemoryClient, op func(s *memoryState, now int64) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var zero T
	done := make(chan result, 1)
	ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
	defer cancel()
	if err := c.travel(ctx); err != nil {
		return zero, err
	}
	c.submit(func(s *memoryState, now int64) {
		value, err := op(s, now)
		done <- result{value, err}
	})
	select {
	case <-ctx.Done():
		return zero, away(ctx.Err())
	case r := <-done:
		if err := c.travel(ctx); err != nil {
			return zero, err
		}
		if c.losesAnswers() {
			return zero, away(errNoAnswer)
		}
		return r.value, r.err
	}
}

func away(err error) error { return fmt.Errorf("%w: %w", protocol.ErrStoreAway, err) }

// travel is the way to the store or back.
func (c *MemoryClient) travel(ctx context.Context) error {
	c.store.mu.Lock()
	gone, silent, latency := c.away, c.silent, c.store.latency
	c.store.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return away(ctx.Err())
	case gone:
		return away(errRefused)
	case silent:
		<-ctx.Done()
		return away(ctx.Err())
	case latency == 0:
		return nil
	}
	timer := time.NewTimer(latency / 2)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return away(ctx.Err())
	}
}

// submit performs op, or keeps it until a paused store goes on.
func (c *MemoryClient) submit(op func(*memoryState, int64)) {
	m := c.store
	perform := func() { op(m.state, time.Now().Add(m.skew).UnixMilli()) }
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.paused:
		perform()
	case len(m.pending) < memoryPending:
		m.pending = append(m.pending, perform)
	}
}

func (c *MemoryClient) losesAnswers() bool {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	return c.answersLost
}
