package chat

import (
	"strconv"
	"strings"
	"time"
)

// Handle is a receiver's right to one message until the message changes its
// state. It names the queue's life, the message's place in it, and the state in
// which the message has to be still.
type Handle struct {
	Epoch Epoch
	// Place is the message's number within its queue, its priority included.
	Place uint64
	// Until is when the state ends: milliseconds since 1970, times 1024, and a
	// counter that tells apart states that would end at the same time.
	Until uint64
	// First is when the message was received first, in milliseconds since 1970;
	// zero if it was not.
	First int64
	// Delayed: given to the sender of a message that is not due yet.
	Delayed bool
}

// maxHandleNumber is the largest number that the store's scripts keep exact.
const maxHandleNumber = 1<<53 - 1

// maxEpoch bounds the name of a queue's life.
const maxEpoch = 16

// IsZero reports whether h is no handle.
func (h Handle) IsZero() bool { return h == Handle{} }

// String returns the handle as clients get it: letters, digits and '-' only, as
// clients put it into a URL without escaping.
func (h Handle) String() string {
	if h.IsZero() {
		return ""
	}
	kind := byte('1')
	if h.Delayed {
		kind = '2'
	}
	b := make([]byte, 0, 64)
	b = append(b, kind, '-')
	b = append(b, h.Epoch...)
	b = append(b, '-')
	b = strconv.AppendUint(b, h.Place, 36)
	b = append(b, '-')
	b = strconv.AppendUint(b, h.Until, 36)
	if !h.Delayed {
		b = append(b, '-')
		b = strconv.AppendInt(b, h.First, 36)
	}
	return string(b)
}

// ParseHandle reads a handle, or returns ErrHandle.
func ParseHandle(text string) (Handle, error) {
	kind, rest, _ := strings.Cut(text, "-")
	epoch, rest, _ := strings.Cut(rest, "-")
	place, until, _ := strings.Cut(rest, "-")
	delayed := kind == "2"
	first := uint64(0)
	if !delayed {
		var text string
		var err error
		until, text, _ = strings.Cut(until, "-")
		if first, err = parseNumber(text); err != nil {
			return Handle{}, ErrHandle
		}
	}
	if kind != "1" && kind != "2" || epoch == "" || len(epoch) > maxEpoch {
		return Handle{}, ErrHandle
	}
	for i := range len(epoch) {
		if c := epoch[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return Handle{}, ErrHandle
		}
	}
	p, err1 := parseNumber(place)
	u, err2 := parseNumber(until)
	if err1 != nil || err2 != nil {
		return Handle{}, ErrHandle
	}
	return Handle{Epoch: Epoch(epoch), Place: p, Until: u, First: int64(first), Delayed: delayed}, nil
}

// parseNumber reads what String wrote, and nothing else that means the same.
func parseNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 36, 64)
	if err != nil || n == 0 || n > maxHandleNumber || strconv.FormatUint(n, 36) != text {
		return 0, ErrHandle
	}
	return n, nil
}

// Ends returns when the state ends in which the message has to be.
func (h Handle) Ends() time.Time { return time.UnixMilli(int64(h.Until / 1024)).UTC() }
