package protocol

import (
	"slices"
	"strconv"
)

// Number appends frame with its place in the room: fields room_id, epoch and
// seq, which come last. Top-level fields of these names that frame has already
// are left out; all others pass byte for byte, in their order, known to the
// server or not.
//
// Number checks frame as ParseObject does, and on error returns dst as it was.
// frame must not share memory with dst's spare capacity.
//
// Hot: once for each publication (BenchmarkNumber).
func Number(dst, frame []byte, room RoomID, epoch Epoch, seq Seq) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, len(frame)+len(room)+numberOverhead)
	out, err := appendWithout(append(dst, '{'), frame, isPlace)
	if err != nil {
		return dst[:start], err
	}
	if len(out) > start+1 {
		out = append(out, ',')
	}
	return append(appendPlace(out, room, epoch, seq), '}'), nil
}

// numberOverhead is more than Number adds to a frame, the room's id aside.
const numberOverhead = len(`,"room_id":"","epoch":18446744073709551615,"seq":18446744073709551615}`)

func isPlace(name []byte) bool {
	switch string(name) {
	case "room_id", "epoch", "seq":
		return true
	}
	return false
}

// appendWithout appends the fields of frame but those whose name drop reports,
// with commas between them and no braces.
func appendWithout(dst, frame []byte, drop func(name []byte) bool) ([]byte, error) {
	start := len(dst)
	var m members
	m.check(frame)
	for m.next() {
		if drop(m.plainName()) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, m.whole()...)
	}
	return dst, m.err()
}

// appendPlace appends the three fields that say where a frame belongs.
func appendPlace(dst []byte, room RoomID, epoch Epoch, seq Seq) []byte {
	dst = append(dst, `"room_id":`...)
	dst = AppendRoomID(dst, room)
	dst = append(dst, `,"epoch":`...)
	dst = strconv.AppendUint(dst, uint64(epoch), 10)
	dst = append(dst, `,"seq":`...)
	return strconv.AppendUint(dst, uint64(seq), 10)
}

// maxNumberDigits is how long a number may be and fit the 64 bits that clients
// read it into.
const maxNumberDigits = 18

// AppendRoomID appends a room's id as clients read it: a number where the id
// is one and survives being read as such, which a leading zero or a length
// beyond 64 bits do not; else a string.
func AppendRoomID(dst []byte, room RoomID) []byte {
	if isNumber(string(room)) {
		return append(dst, room...)
	}
	return AppendString(dst, string(room))
}

func isNumber(s string) bool {
	return len(s) <= maxNumberDigits && allDigits(s) && (s[0] != '0' || len(s) == 1)
}
