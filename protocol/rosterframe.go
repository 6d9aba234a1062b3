package protocol

import (
	"strconv"
	"time"
)

// Entered is a version 2 client's own entry: the room as it found it.
type Entered struct {
	Room  RoomID
	Epoch Epoch
	// Seq is the last publication before the client came in.
	Seq Seq
	// Rev is the revision that the next presence frame adds one to.
	Rev   uint64
	Count int
	Seats []SeatView
}

// AppendEntered appends an entered frame.
func AppendEntered(dst []byte, f Entered) []byte {
	dst = append(dst, `{"action":"entered",`...)
	dst = appendPlace(dst, f.Room, f.Epoch, f.Seq)
	dst = append(dst, `,"rev":`...)
	dst = strconv.AppendUint(dst, f.Rev, 10)
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendInt(dst, int64(f.Count), 10)
	dst = append(dst, `,"seats":`...)
	dst = appendSeats(dst, f.Seats)
	return append(dst, '}')
}

// Presence tells version 2 clients who came and went since the frame with the
// revision before.
type Presence struct {
	Room  RoomID
	Epoch Epoch
	Rev   uint64
	In    []OccupantView
	Out   []PresenceOut
	Count int
	// CountOnly leaves In and Out away: the room is too large to name everyone.
	CountOnly bool
}

// PresenceOut is one user who left, and why.
type PresenceOut struct {
	User   UserID
	Reason string
}

// AppendPresence appends a presence frame.
func AppendPresence(dst []byte, f Presence) []byte {
	dst = append(dst, `{"action":"presence","room_id":`...)
	dst = AppendRoomID(dst, f.Room)
	dst = append(dst, `,"epoch":`...)
	dst = strconv.AppendUint(dst, uint64(f.Epoch), 10)
	dst = append(dst, `,"rev":`...)
	dst = strconv.AppendUint(dst, f.Rev, 10)
	if !f.CountOnly {
		dst = append(dst, `,"in":`...)
		dst = appendOccupants(dst, f.In)
		dst = append(dst, `,"out":[`...)
		for i := range f.Out {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"user_id":`...)
			dst = strconv.AppendInt(dst, int64(f.Out[i].User), 10)
			dst = append(dst, `,"reason":`...)
			dst = AppendString(dst, f.Out[i].Reason)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendInt(dst, int64(f.Count), 10)
	return append(dst, '}')
}

// AppendResync appends a resync frame: the history that the client asked for is
// gone, and this is the state to start over from. view holds the first page of
// occupants; its Node is not told.
func AppendResync(dst []byte, view *RoomView) []byte {
	dst = append(dst, `{"action":"resync",`...)
	dst = appendPlace(dst, RoomID(view.RoomID), view.Epoch, view.Seq)
	dst = append(dst, `,"rev":`...)
	dst = strconv.AppendUint(dst, view.Rev, 10)
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendInt(dst, int64(view.Count), 10)
	dst = append(dst, `,"channel_name":`...)
	dst = AppendString(dst, view.ChannelName)
	dst = append(dst, `,"occupants":`...)
	dst = appendOccupants(dst, view.Occupants)
	dst = append(dst, `,"seats":`...)
	dst = appendSeats(dst, view.Seats)
	dst = append(dst, `,"next":`...)
	dst = AppendString(dst, view.Next)
	return append(dst, '}')
}

// appendSeats appends an array, of no element for nil.
func appendSeats(dst []byte, seats []SeatView) []byte {
	dst = append(dst, '[')
	for i := range seats {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendSeat(dst, &seats[i])
		dst = append(dst, `,"user_id":`...)
		dst = strconv.AppendInt(dst, int64(seats[i].UserID), 10)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendOccupants appends an array, of no element for nil. An occupant looks
// as it does in the backend's answers.
func appendOccupants(dst []byte, occupants []OccupantView) []byte {
	dst = append(dst, '[')
	for i := range occupants {
		if i > 0 {
			dst = append(dst, ',')
		}
		o := &occupants[i]
		dst = append(dst, `{"user_id":`...)
		dst = strconv.AppendInt(dst, int64(o.UserID), 10)
		dst = append(dst, `,"nickname":`...)
		dst = AppendString(dst, o.Nickname)
		dst = appendLooks(dst, &o.Profile)
		if o.ChannelName != "" {
			dst = append(dst, `,"channel_name":`...)
			dst = AppendString(dst, o.ChannelName)
		}
		if o.Role != "" {
			dst = append(dst, `,"role":`...)
			dst = AppendString(dst, o.Role)
		}
		dst = append(dst, `,"seat":`...)
		dst = strconv.AppendInt(dst, int64(o.Seat), 10)
		dst = append(dst, `,"since":"`...)
		dst = o.Since.AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, `","online":`...)
		dst = strconv.AppendBool(dst, o.Online)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
