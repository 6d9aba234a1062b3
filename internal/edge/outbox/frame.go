package outbox

import (
	"encoding/binary"

	"github.com/faac1247/rollcall/protocol"
)

const (
	finText  = 0x81
	finClose = 0x88

	// headerMax is the longest header of a frame that a server writes.
	headerMax = 10
)

// AppendText appends payload as one unmasked text frame.
func AppendText(dst, payload []byte) []byte {
	return append(appendHeader(dst, finText, len(payload)), payload...)
}

// AppendClose appends a close frame with the code and its reason word.
func AppendClose(dst []byte, code protocol.CloseCode) []byte {
	reason := code.Reason()
	dst = appendHeader(dst, finClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

func appendHeader(dst []byte, first byte, length int) []byte {
	switch {
	case length < 126:
		return append(dst, first, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(length))
	}
}

// frameLen returns the length of the unmasked frame that b begins with, header
// and all. b holds whole frames as the server writes them.
func frameLen(b []byte) int {
	switch n := int(b[1]); n {
	case 126:
		return 4 + int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return headerMax + int(binary.BigEndian.Uint64(b[2:]))
	default:
		return 2 + n
	}
}
