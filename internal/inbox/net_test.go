package inbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// faults is what a network does to payloads; the zero value is none.
type faults struct {
	lose, repeat, nobody, fail float64       // chances
	delay                      time.Duration // longest; delayed payloads overtake each other
	away                       bool          // every publish fails
	hang                       bool          // every publish hangs until its context ends
}

// network is a transport between inboxes in one process.
type network struct {
	mu          sync.Mutex
	faults      faults
	rand        *rand.Rand
	subscribers map[protocol.Incarnation]*subscriber
	published   int
}

type subscriber struct {
	mail  chan []byte // full: payloads are lost
	renew chan struct{}
}

func newNetwork(seed uint64) *network {
	return &network{
		rand:        rand.New(rand.NewPCG(seed, 0)),
		subscribers: make(map[protocol.Incarnation]*subscriber),
	}
}

func (n *network) set(f faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

func (n *network) publishes() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.published
}

func (n *network) subscriber(inc protocol.Incarnation) *subscriber {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.subscribers[inc]
}

// renew has a subscription stand again, as after an interruption.
func (n *network) renew(inc protocol.Incarnation) {
	n.mu.Lock()
	s := n.subscribers[inc]
	n.mu.Unlock()
	if s == nil {
		return
	}
	select {
	case s.renew <- struct{}{}:
	default:
	}
}

func (n *network) Publish(ctx context.Context, to protocol.Incarnation, payload []byte) (int, error) {
	n.mu.Lock()
	f, s := n.faults, n.subscribers[to]
	n.published++
	chance := func(p float64) bool { return n.rand.Float64() < p }
	nobody := s == nil || chance(f.nobody)
	fails, arrives, again := f.away || chance(f.fail), !chance(f.lose), chance(f.repeat)
	var delays [2]time.Duration
	if f.delay > 0 {
		for i := range delays {
			delays[i] = time.Duration(n.rand.Int64N(int64(f.delay)))
		}
	}
	n.mu.Unlock()
	switch {
	case f.hang:
		<-ctx.Done()
		return 0, ctx.Err()
	case f.away:
		return 0, protocol.ErrStoreAway
	case nobody:
		return 0, nil
	}
	if arrives {
		s.post(payload, delays[0])
	}
	if again {
		s.post(payload, delays[1])
	}
	if fails {
		return 0, protocol.ErrStoreAway
	}
	return 1, nil
}

func (s *subscriber) post(payload []byte, after time.Duration) {
	push := func() {
		select {
		case s.mail <- payload:
		default:
		}
	}
	if after == 0 {
		push()
		return
	}
	time.AfterFunc(after, push)
}

func (n *network) Subscribe(ctx context.Context, self protocol.Incarnation, handle func([]byte), renewed func()) error {
	s := &subscriber{mail: make(chan []byte, 1024), renew: make(chan struct{}, 1)}
	n.mu.Lock()
	n.subscribers[self] = s
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.subscribers, self)
	}()
	renewed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-s.mail:
			handle(p)
		case <-s.renew:
			renewed()
		}
	}
}

// acted is one message that an actor acted on.
type acted struct {
	from protocol.Incarnation
	kind Kind
	body string
}

// actor is an inbox and what it has acted on. By default it answers at once,
// with the call's body and its own name.
type actor struct {
	*Inbox
	stop context.CancelFunc
	over chan error

	mu      sync.Mutex
	calls   []acted
	casts   []acted
	answers []func([]byte) // kept, when late
	late    bool
}

func (a *actor) handle(from protocol.Incarnation, kind Kind, body []byte, answer func([]byte)) {
	a.mu.Lock()
	a.calls = append(a.calls, acted{from, kind, string(body)})
	late := a.late
	if late {
		a.answers = append(a.answers, answer)
	}
	a.mu.Unlock()
	if !late {
		answer(fmt.Appendf(nil, "%s from %s", body, a.cfg.Self))
	}
}

func (a *actor) cast(from protocol.Incarnation, kind Kind, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.casts = append(a.casts, acted{from, kind, string(body)})
}

func (a *actor) took() []acted {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]acted(nil), a.calls...)
}

func (a *actor) caught() []acted {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]acted(nil), a.casts...)
}

// dawdle has the actor keep its answers back; what it kept is returned.
func (a *actor) dawdle(late bool) []func([]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept := a.answers
	a.late, a.answers = late, nil
	return kept
}

// newActor returns an actor that does not run.
func newActor(tb testing.TB, n Transport, self protocol.Incarnation, change func(*Config)) *actor {
	tb.Helper()
	a := &actor{over: make(chan error, 1)}
	cfg := Config{Self: self, Transport: n, Handle: a.handle, Cast: a.cast}
	if change != nil {
		change(&cfg)
	}
	var err error
	if a.Inbox, err = New(cfg); err != nil {
		tb.Fatal(err)
	}
	return a
}

// run starts an actor; it runs until the test ends or stop is called.
func (a *actor) run(ctx context.Context) *actor {
	ctx, a.stop = context.WithCancel(ctx)
	go func() { a.over <- a.Run(ctx) }()
	return a
}

// numbered is a body that says which message it is.
func numbered(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
