package protocol

import (
	"bytes"
	"math"
)

// MaxClientFrame is how many bytes a client's frame may have.
const MaxClientFrame = 8 << 10

// ClientFrame is one frame of a client, read in place: its byte slices are
// parts of the text that it was parsed from, and copied only where a string has
// escapes. Whoever keeps one longer than that text copies it.
//
// A field that is missing, or whose value is none that the protocol has for
// it, is left zero: what a later client puts into a field must not cost an
// earlier one its heartbeat. Any other field is found by Field.
type ClientFrame struct {
	Object

	// Action is ActionUnknown for what is no action of a client.
	Action Action
	// Token, SID and Sign are the frame's online_token, sid and sign.
	Token, SID, Sign []byte
	// Timestamp is the client's clock, in seconds, fractions cut off.
	Timestamp int64

	// User is user_id, in a report the user who left.
	User UserID
	// Room is room_id, given as a string or a number. It is always a valid name,
	// so never a call's room.
	Room []byte
	// Departure is departure_id.
	Departure []byte
	Epoch     Epoch
	Seq       Seq
	// Status is that of a status report: 1 connected, 2 disconnected.
	Status int
}

// ParseClientFrame reads a client's frame. It accepts what ParseObject does, up
// to MaxClientFrame bytes, with a string for its action. Ids and numbers may be
// JSON numbers or decimal strings.
//
// Its errors have CodeBadRequest or CodeTooLarge. A frame without escapes in
// its names and strings costs no allocation.
//
// Hot: once for each frame of a client (BenchmarkHeartbeat/parse, and
// BenchmarkHostile for the worst texts).
func ParseClientFrame(raw []byte) (f ClientFrame, err error) {
	if len(raw) > MaxClientFrame {
		return ClientFrame{}, Errorf(CodeTooLarge, "frame of %d bytes, more than %d", len(raw), MaxClientFrame)
	}
	f.Object = Object{raw}
	var m members
	m.check(raw)
	named := false
	for m.next() {
		name, v := m.plainName(), m.value()
		if string(name) == "action" {
			var action []byte
			action, named = v.Bytes()
			f.Action = clientAction(action)
			continue
		}
		f.set(name, v)
	}
	if err = m.err(); err != nil {
		return ClientFrame{}, err
	}
	if !named {
		return ClientFrame{}, Errorf(CodeBadRequest, "frame without an action")
	}
	return f, nil
}

// set takes over the value of one field.
func (f *ClientFrame) set(name []byte, v Value) {
	switch string(name) {
	case "online_token":
		f.Token, _ = v.Bytes()
	case "sid":
		f.SID, _ = v.Bytes()
	case "sign":
		f.Sign, _ = v.Bytes()
	case "timestamp":
		f.Timestamp = v.seconds()
	case "user_id":
		if n, ok := v.Int(); ok && n > 0 {
			f.User = UserID(n)
		}
	case "room_id":
		f.Room = v.roomName()
	case "departure_id":
		f.Departure, _ = v.Bytes()
	case "epoch":
		n, _ := v.Uint()
		f.Epoch = Epoch(n)
	case "seq":
		n, _ := v.Uint()
		f.Seq = Seq(n)
	case "status":
		if n, ok := v.Int(); ok && int64(int32(n)) == n {
			f.Status = int(n)
		}
	}
}

// seconds returns a time of the client's clock, 0 if there is none.
func (v Value) seconds() int64 {
	text := v.digits()
	if dot := bytes.IndexByte(text, '.'); dot >= 0 {
		if !allDigits(text[dot+1:]) {
			return 0
		}
		text = text[:dot]
	}
	n, ok := parseDigits(text)
	if !ok || n > math.MaxInt64 {
		return 0
	}
	return int64(n)
}

// roomName returns the name in a string or a plain number, nil if it can't
// name a room.
func (v Value) roomName() []byte {
	name, ok := v.Bytes()
	if !ok {
		if !allDigits(v) {
			return nil
		}
		name = v
	}
	if !ValidName(string(name)) {
		return nil
	}
	return name
}
