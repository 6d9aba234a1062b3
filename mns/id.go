package mns

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// idSource names messages and requests. Names of two sources do not meet, as
// each begins with a random number of its own.
type idSource struct {
	// set by newIDSource
	message string // 16 hex digits
	request string // 8 hex digits

	next atomic.Uint64
}

func newIDSource() *idSource {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return &idSource{
		message: fmt.Sprintf("%016X", binary.BigEndian.Uint64(b[:8])),
		request: fmt.Sprintf("%08X", binary.BigEndian.Uint32(b[8:])),
	}
}

// messageID returns a name in the form that clients know.
func (s *idSource) messageID() chat.MessageID {
	b := make([]byte, 0, 48)
	b = append(b, s.message...)
	b = append(b, "-1-"...)
	b = appendHex(b, uint64(time.Now().UnixMilli()), 0)
	b = append(b, '-')
	b = appendHex(b, s.next.Add(1), 8)
	return chat.MessageID(b)
}

// newRequest returns a name of 24 hex digits.
func (s *idSource) newRequest() string {
	b := make([]byte, 0, 24)
	b = append(b, s.request...)
	return string(appendHex(b, s.next.Add(1), 16))
}

func appendHex(b []byte, n uint64, width int) []byte {
	for digit := max(width, (bits.Len64(n)+3)/4) - 1; digit >= 0; digit-- {
		b = append(b, "0123456789ABCDEF"[n>>(4*digit)&15])
	}
	return b
}
