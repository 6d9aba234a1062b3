package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/protocol"
)

// Kind says what a message is. It means nothing to this package.
type Kind uint8

// Transport carries payloads from one incarnation to another, or loses them.
type Transport interface {
	// Publish sends a payload and answers how many were listening, as far as
	// the transport can tell. An error means that nothing is known. The payload
	// belongs to the transport and is not changed any more.
	Publish(ctx context.Context, to protocol.Incarnation, payload []byte) (receivers int, err error)
	// Subscribe hands payloads for self to handle, from one goroutine at a time,
	// until ctx ends. It calls renewed whenever the subscription stands, at first
	// and again after each interruption. The payload belongs to handle.
	Subscribe(ctx context.Context, self protocol.Incarnation, handle func(payload []byte), renewed func()) error
}

// Handler acts on a call. It is called for each call once, one after the other
// in the order in which their sender made them, and must not block; calls of
// ourselves and those of others may come at the same time. The body is read
// only; it shares memory with its neighbours, so what is kept for long should
// be copied.
//
// answer is to be called exactly once, now or later, from any goroutine;
// further calls are ignored. A handler that never answers holds a place in its
// caller's window until the caller gives up. The answer's body belongs to the
// inbox.
type Handler func(from protocol.Incarnation, kind Kind, body []byte, answer func(body []byte))

// Errors of calls and casts. Each carries a protocol.Code.
var (
	// ErrDead: the addressee was declared dead. Nobody knows whether it acted.
	ErrDead error = protocol.Errorf(protocol.CodeUnavailable, "the addressed node is dead")
	// ErrFull: too much is under way to the addressee; the message was not sent.
	ErrFull error = protocol.Errorf(protocol.CodeBusy, "too much is under way to the addressed node")
	// ErrTooLarge: the message is larger than a window; it was not sent.
	ErrTooLarge error = protocol.Errorf(protocol.CodeTooLarge, "the message is larger than a window")
	// ErrWithdrawn: the caller's context ended first. The addressee may have
	// acted, or may still act if the call had reached it; it will not take the
	// call any more otherwise.
	ErrWithdrawn error = protocol.Errorf(protocol.CodeUnavailable, "given up waiting for the answer")
	// ErrNoAnswer: the addressee acted, but its answer was too large, or more
	// than it could keep.
	ErrNoAnswer error = protocol.Errorf(protocol.CodeUnavailable, "acted on, but the answer could not be kept")
	// ErrClosed: Run has ended.
	ErrClosed error = protocol.Errorf(protocol.CodeUnavailable, "the inbox is closed")
)

// Config of an Inbox. Self, Transport and Handle are required.
type Config struct {
	Self      protocol.Incarnation
	Transport Transport
	// Handle acts on calls, Cast on casts. Both are called in the order in which
	// a sender's messages left, and must not block. Without Cast, casts are
	// dropped.
	Handle Handler
	Cast   func(from protocol.Incarnation, kind Kind, body []byte)

	// Repeat is how long a sender waits before it repeats, 250 ms by default.
	// The other paces follow from it: repeats slow down to 8 Repeat, which also
	// bounds one Publish; an acknowledgement waits for company for Repeat/5; and
	// a payload that met nobody is sent again at once, then after Repeat/16,
	// doubling.
	Repeat time.Duration
	// Window and WindowBytes bound the unanswered calls to one incarnation, 1024
	// and 4 MiB by default; a full window refuses with ErrFull. No message and no
	// answer may be larger than WindowBytes. As many bytes, and eight times as
	// many messages, of casts may wait for one incarnation; more are refused
	// with ErrFull.
	//
	// On the receiving side, of one sender at most four windows of calls are
	// held that wait for their answer or whose answer has not arrived; further
	// calls are left to their sender's repeat. An answer that would go beyond
	// four WindowBytes of answers to one incarnation is replaced by ErrNoAnswer.
	Window      int
	WindowBytes int
	// MaxPayload bounds what leaves in one Publish, 512 KiB by default. A larger
	// message leaves alone.
	MaxPayload int
	// MaxPeers bounds how many incarnations are spoken with at a time, 1024 by
	// default. Calls to further ones fail with ErrFull, and what further ones
	// send is dropped. Dead makes room.
	MaxPeers int

	// MaySend reports whether anything may leave now; nil for always. While it
	// says no, as when the node's lease has ended by its own clock, everything
	// is kept and asked again after Repeat/16.
	MaySend func() bool

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Validate reports all that is wrong with the configuration.
func (c Config) Validate() error {
	var faults []error
	if c.Self == "" || len(c.Self) > maxName {
		faults = append(faults, fmt.Errorf("inbox: own incarnation %q is not of 1 to %d bytes", c.Self, maxName))
	}
	if c.Transport == nil || c.Handle == nil {
		faults = append(faults, errors.New("inbox: transport and handler are required"))
	}
	if c.Repeat != 0 && c.Repeat < time.Millisecond {
		faults = append(faults, fmt.Errorf("inbox: repeat after %v is under a millisecond", c.Repeat))
	}
	if c.Window < 0 || c.WindowBytes < 0 || c.MaxPayload < 0 || c.MaxPeers < 0 {
		faults = append(faults, errors.New("inbox: window, payload and peers can't be negative"))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Cast == nil {
		c.Cast = func(protocol.Incarnation, Kind, []byte) {}
	}
	if c.Repeat == 0 {
		c.Repeat = 250 * time.Millisecond
	}
	if c.Window == 0 {
		c.Window = 1024
	}
	if c.WindowBytes == 0 {
		c.WindowBytes = 4 << 20
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 512 << 10
	}
	if c.MaxPeers == 0 {
		c.MaxPeers = 1024
	}
	if c.MaySend == nil {
		c.MaySend = func() bool { return true }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// terms are the bounds and paces of one link, derived from Config.
type terms struct {
	window, windowBytes int
	casts, payload      int
	held, heldBytes     int
	ackEvery            int
	repeat, repeatMax   time.Duration
	ackDelay, unheard   time.Duration
}

func (c Config) terms() terms {
	return terms{
		window:      c.Window,
		windowBytes: c.WindowBytes,
		casts:       8 * c.Window,
		payload:     c.MaxPayload,
		held:        4 * c.Window,
		heldBytes:   4 * c.WindowBytes,
		ackEvery:    max(1, c.Window/8),
		repeat:      c.Repeat,
		repeatMax:   8 * c.Repeat,
		ackDelay:    c.Repeat / 5,
		unheard:     c.Repeat / 16,
	}
}

// backoff doubles a pace for each attempt, up to the limit.
func (t *terms) backoff(pace time.Duration, attempt int) time.Duration {
	for range attempt {
		if pace >= t.repeatMax {
			break
		}
		pace *= 2
	}
	return min(pace, t.repeatMax)
}
