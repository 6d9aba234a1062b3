package node

import (
	"context"
	"crypto/tls"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// turnTimeout is how long a TLS handshake may wait for its turn.
const turnTimeout = 30 * time.Second

// turns lets as many TLS handshakes compute as there are processors, the
// others wait, first come first served. Thousands that computed side by side
// would all be done at the end, most of them too late for their clients, who
// would begin again.
type turns struct {
	free    chan struct{}
	waiting atomic.Int64
	took    atomic.Int64 // nanoseconds of a turn, the mean of the last ones
}

// turnsMeant is of how many turns the mean is.
const turnsMeant = 16

func newTurns() *turns {
	return &turns{free: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// take waits for the turn of a handshake whose first message is here and returns
// what it goes on with. The turn ends when all that the node has to compute is
// done, before the client answers. In TLS 1.2 it is not known when that is:
// such a handshake does not wait.
func (t *turns) take(hello *tls.ClientHelloInfo, own *tls.Config) (*tls.Config, error) {
	if !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		return own, nil
	}
	if err := t.wait(hello.Context()); err != nil {
		return nil, err
	}
	began := time.Now()
	end := sync.OnceFunc(func() {
		<-t.free
		t.note(time.Since(began))
	})
	context.AfterFunc(hello.Context(), end) // when the handshake is over, however
	// The deadline was set when the handshake began.
	if err := hello.Conn.SetDeadline(time.Now().Add(readHeaderTimeout)); err != nil {
		return nil, err
	}
	c := own.Clone()
	c.VerifyConnection = func(tls.ConnectionState) error {
		end()
		return nil
	}
	return c, nil
}

// note takes what a turn took into the mean.
func (t *turns) note(took time.Duration) {
	for {
		mean := t.took.Load()
		if t.took.CompareAndSwap(mean, mean+(int64(took)-mean)/turnsMeant) {
			return
		}
	}
}

// pace returns after how long another handshake can be done when one is after
// the other, 0 before the first.
func (t *turns) pace() time.Duration {
	return time.Duration(t.took.Load() / int64(cap(t.free)))
}

func (t *turns) wait(ctx context.Context) error {
	select {
	case t.free <- struct{}{}:
		return nil
	default:
	}
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	timer := time.NewTimer(turnTimeout)
	defer timer.Stop()
	select {
	case t.free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errors.New("too many handshakes before this one")
	}
}
