package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// The errors with which Run says that the client has to stay away.
var (
	// ErrStayAway is wrapped by all of them.
	ErrStayAway = errors.New("stay away")
	// ErrLogIn: end_point knows no user with this sid.
	ErrLogIn = fmt.Errorf("%w: the sid belongs to nobody", ErrStayAway)
)

// CloseError is how the server ended a connection.
type CloseError struct {
	Code   protocol.CloseCode
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed with %d %s", e.Code, e.Reason) }

// Is reports true for ErrStayAway where the code says so.
func (e *CloseError) Is(target error) bool { return target == ErrStayAway && !e.Code.Reconnect() }

// The pauses between attempts, where Config says nothing.
const (
	defaultBackoffMin = 500 * time.Millisecond
	defaultBackoffMax = 15 * time.Second
	// defaultRetryAfter is for a server that sends a client away without saying
	// for how long.
	defaultRetryAfter = 2 * time.Second
	// eager is for how long after a loss a client comes back no later than every
	// eagerMax: a node's crash is noticed within seconds, and who is back within
	// the cluster's grace, 12 s by default, is not missed.
	eager    = 15 * time.Second
	eagerMax = 2 * time.Second
	// stable is how long a connection must have lasted for its end to be no
	// failure after the ones before.
	stable = 10 * time.Second
)

// ending is how an attempt or a connection ended.
type ending struct {
	// err is never nil; CloseError where the server said why.
	err error
	// retryAfter is what the server asked for, 0 for nothing.
	retryAfter time.Duration
	// open is set if there was a connection, which lasted for so long.
	open   bool
	lasted time.Duration
}

// away reports whether the client must not come back by itself.
func (e ending) away() bool { return errors.Is(e.err, ErrStayAway) }

// sent reports whether the server sent the client elsewhere. It is the server
// then who spreads its clients over time, and it is no failure.
func (e ending) sent() bool {
	var closed *CloseError
	if !errors.As(e.err, &closed) {
		return false
	}
	return closed.Code == protocol.CloseDrain || closed.Code == protocol.CloseOverloaded
}

// backoff says how long to wait before the next attempt.
type backoff struct {
	min, max time.Duration
	failures int
	// lost is when the last connection was, zero before there was one.
	lost time.Time
}

// after returns the pause that follows an ending: a random part of what the
// server asked for, and, on top of it, of a limit that doubles with each
// failure in a row. random is from [0, 1).
func (b *backoff) after(e ending, now time.Time, random float64) time.Duration {
	if e.lasted >= stable {
		b.failures = 0
		b.lost = now
	}
	retryAfter := e.retryAfter
	if e.sent() && retryAfter <= 0 {
		retryAfter = defaultRetryAfter
	}
	pause := time.Duration(random * float64(min(retryAfter, maxRetryAfter)))
	if e.sent() && b.failures == 0 {
		b.failures++
		return pause
	}
	limit := b.limit()
	if now.Sub(b.lost) < eager {
		limit = min(limit, eagerMax)
	}
	pause += time.Duration(random * float64(limit))
	b.failures++
	return pause
}

// limit is what the next failure's pause stays under.
func (b *backoff) limit() time.Duration {
	limit := b.min
	for range b.failures {
		if limit *= 2; limit >= b.max {
			return b.max
		}
	}
	return limit
}

// maxRetryAfter bounds what a server can ask for.
const maxRetryAfter = 5 * time.Minute
