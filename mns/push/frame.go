package push

import "encoding/binary"

const (
	finText  = 0x81
	finClose = 0x88
)

// textFrame lays out payload as one unmasked text frame.
func textFrame(payload []byte) []byte {
	b := make([]byte, 0, 10+len(payload))
	b = append(b, finText)
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// maxReason is the longest reason that fits a close frame.
const maxReason = 123

// closeFrame lays out a close frame.
func closeFrame(code Code, reason string) []byte {
	reason = reason[:min(len(reason), maxReason)]
	b := []byte{finClose, byte(2 + len(reason))}
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, reason...)
}

// Code is why a connection is closed, as the client is told.
type Code uint16

// The codes. Up to 4399 they say what became of the connection, from 4400 what
// was wrong with a control message: 4000 and the status of the fault.
const (
	CodeGoingAway    Code = 1001
	CodeNoneInTime   Code = 4001 // no valid subscription in time
	CodeIdle         Code = 4002
	CodeGone         Code = 4003 // the last subscription's topic was deleted
	CodeSlow         Code = 4008
	CodeInvalid      Code = 4400
	CodeForbidden    Code = 4403
	CodeNotFound     Code = 4404
	CodeExpired      Code = 4408
	CodeNotWebsocket Code = 4409
	CodeUnavailable  Code = 4503
)
