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
	// the cluster's grace, 12 s by default, is not missed. The connection that
	// was lost must have lasted for eagerAfter: one that a node can't keep is no
	// reason to hurry.
	eager      = 15 * time.Second
	eagerMax   = 2 * time.Second
	eagerAfter = 3 * time.Second
	// elsewhereMax is what the pause stays under after an address where nobody
	// listens, if there may be another: that node is gone, and the others have
	// no more to do than they have. After maxElsewhere of them in a row, where
	// there was none, it is a failure as any.
	elsewhereMax = 250 * time.Millisecond
	maxElsewhere = 4
	// settled is how long a connection must have lasted for the server that ends
	// it to count as in order: a drain is no failure then, whatever came before.
	settled = time.Second
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
	// elsewhere is set if nobody listens where the attempt was made.
	elsewhere bool
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

// drained reports whether a server that was in order sent the client elsewhere
// because it goes away.
func (e ending) drained() bool {
	var closed *CloseError
	return errors.As(e.err, &closed) && closed.Code == protocol.CloseDrain && e.lasted >= settled
}

// backoff says how long to wait before the next attempt.
type backoff struct {
	min, max time.Duration
	failures int
	// elsewhere counts the addresses in a row where nobody listened.
	elsewhere int
	// lost is when the last one was that had lasted, zero before there was one.
	lost time.Time
}

// after returns the pause that follows an ending: a random part of what the
// server asked for, and, on top of it, of a limit that doubles with each
// failure in a row. Being drained, and an address where nobody listens, say
// nothing about load and are none. random is from [0, 1).
func (b *backoff) after(e ending, now time.Time, random float64) time.Duration {
	if e.lasted >= stable {
		b.failures = 0
	}
	if e.lasted >= eagerAfter {
		b.lost = now
	}
	if e.elsewhere && b.elsewhere < maxElsewhere {
		b.elsewhere++
		return time.Duration(random * float64(elsewhereMax))
	}
	if e.open {
		b.elsewhere = 0
	}
	retryAfter := e.retryAfter
	if e.sent() && retryAfter <= 0 {
		retryAfter = defaultRetryAfter
	}
	pause := time.Duration(random * float64(min(retryAfter, maxRetryAfter)))
	if e.drained() {
		b.lost = now
		return pause
	}
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
