package inbox

import (
	"context"
	"fmt"

	"github.com/faac1247/rollcall/protocol"
)

// Call sends a call and waits for the answer. When ctx ends first the call is
// withdrawn, and the error wraps ErrWithdrawn and the context's. The answer is
// read only and shares memory with its neighbours, so what is kept for long
// should be copied. The body belongs to the inbox.
//
// Calls to one incarnation are taken in the order in which they are made.
func (in *Inbox) Call(ctx context.Context, to protocol.Incarnation, kind Kind, body []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("call %s: %w: %w", to, ErrWithdrawn, err)
	}
	type outcome struct {
		answer []byte
		err    error
	}
	ended := make(chan outcome, 1)
	c, err := in.start(to, kind, body, func(answer []byte, err error) { ended <- outcome{answer, err} })
	if err != nil {
		return nil, err
	}
	select {
	case o := <-ended:
		return o.answer, o.err
	case <-ctx.Done():
		if c.peer.withdraw(c) {
			in.metrics.drop(dropWithdrawn, 1)
			return nil, fmt.Errorf("call %s: %w: %w", to, ErrWithdrawn, ctx.Err())
		}
		o := <-ended
		return o.answer, o.err
	}
}

// Go sends a call. done is called exactly once, with the answer or an error,
// and never under a lock: before Go returns, if the call is refused (ErrDead,
// ErrFull, ErrTooLarge, ErrClosed), and later from another goroutine otherwise.
// It must not block; nil is nobody. Answer and body are as those of Call.
//
// Hot: once for each command to another node (BenchmarkGo, BenchmarkGoSelf,
// BenchmarkCall).
func (in *Inbox) Go(to protocol.Incarnation, kind Kind, body []byte, done func(answer []byte, err error)) {
	if done == nil {
		done = func([]byte, error) {}
	}
	if _, err := in.start(to, kind, body, done); err != nil {
		done(nil, err)
	}
}

func (in *Inbox) start(to protocol.Incarnation, kind Kind, body []byte, done func([]byte, error)) (*call, error) {
	p, err := in.peer(to)
	var c *call
	if err == nil {
		c, err = p.call(kind, body, done)
	}
	if err != nil {
		in.metrics.refuse(err)
	}
	return c, err
}

// Cast sends a message that may be lost and is acted on at most once. Casts to
// one incarnation are acted on in their order, and after the calls made before,
// unless those have to be repeated. The body belongs to the inbox.
//
// Hot: once for each batch of publications to another node (BenchmarkCast).
func (in *Inbox) Cast(to protocol.Incarnation, kind Kind, body []byte) error {
	p, err := in.peer(to)
	if err == nil {
		err = p.cast(kind, body)
	}
	if err != nil {
		in.metrics.refuse(err)
	}
	return err
}
