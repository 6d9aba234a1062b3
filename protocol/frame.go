package protocol

import (
	"strconv"
	"time"
)

// The frames that the server writes. Every Append function adds one JSON object
// to dst and returns the longer slice; none allocates if dst has the room.

// ReasonUnknownUser is what create_token tells a client that no user belongs to.
const ReasonUnknownUser = "用户不存在"

// CreateToken is the first frame on every connection.
type CreateToken struct {
	// OnlineToken names the connection; its client frames carry it.
	OnlineToken      string
	PingInterval     time.Duration
	HeartbeatTimeout time.Duration
	// PlaceKnown is false while the user's record can't be read. The frame then
	// leaves Room and Call out, so that unknown is never told as none.
	PlaceKnown bool
	Room       RoomID
	Call       RoomID
	// SignKey is the key of the connection's frame signatures, "" without.
	SignKey string
}

// AppendCreateToken appends a create_token frame.
func AppendCreateToken(dst []byte, f CreateToken) []byte {
	dst = append(dst, `{"action":"create_token","online_token":`...)
	dst = AppendString(dst, f.OnlineToken)
	dst = append(dst, `,"ping_interval":`...)
	dst = appendSeconds(dst, f.PingInterval)
	dst = append(dst, `,"heartbeat_timeout":`...)
	dst = appendSeconds(dst, f.HeartbeatTimeout)
	if f.PlaceKnown {
		dst = append(dst, `,"current_room_id":`...)
		if f.Room == "" {
			dst = append(dst, '0')
		} else {
			dst = AppendRoomID(dst, f.Room)
		}
		dst = append(dst, `,"call_no":`...)
		dst = AppendString(dst, f.Call.CallNo())
	}
	if f.SignKey != "" {
		dst = append(dst, `,"sign_key":`...)
		dst = AppendString(dst, f.SignKey)
	}
	return append(dst, '}')
}

// AppendCreateTokenError appends the create_token of a connection that is
// refused, with the reason for people, such as ReasonUnknownUser.
func AppendCreateTokenError(dst []byte, token, reason string) []byte {
	dst = append(dst, `{"action":"create_token","online_token":`...)
	dst = AppendString(dst, token)
	dst = append(dst, `,"error_code":-1,"error_reason":`...)
	dst = AppendString(dst, reason)
	return append(dst, '}')
}

// ExitRoom tells a relay that User dropped out of a voice room.
type ExitRoom struct {
	User        UserID
	ChannelName string
	// Seat is the one that User had, with its own settings; nil for none.
	Seat      *SeatView
	Departure DepartureID
}

// AppendExitRoom appends an exit_room frame.
func AppendExitRoom(dst []byte, f ExitRoom) []byte {
	dst = append(dst, `{"action":"exit_room","user_id":`...)
	dst = strconv.AppendInt(dst, int64(f.User), 10)
	dst = append(dst, `,"channel_name":`...)
	dst = AppendString(dst, f.ChannelName)
	dst = append(dst, `,"room_seat":`...)
	if f.Seat == nil {
		dst = append(dst, `null`...)
	} else {
		dst = append(appendSeat(dst, f.Seat), '}')
	}
	dst = append(dst, `,"departure_id":`...)
	dst = AppendString(dst, string(f.Departure))
	return append(dst, '}')
}

// HangUp tells Receiver that User, the other party of the call, dropped.
type HangUp struct {
	User, Receiver UserID
	CallNo         string
	Departure      DepartureID
}

// AppendHangUp appends a hang_up frame. Its channel_name is the call's number.
func AppendHangUp(dst []byte, f HangUp) []byte {
	dst = append(dst, `{"action":"hang_up","user_id":`...)
	dst = strconv.AppendInt(dst, int64(f.User), 10)
	dst = append(dst, `,"receiver_id":`...)
	dst = strconv.AppendInt(dst, int64(f.Receiver), 10)
	dst = append(dst, `,"channel_name":`...)
	dst = AppendString(dst, f.CallNo)
	dst = append(dst, `,"departure_id":`...)
	dst = AppendString(dst, string(f.Departure))
	return append(dst, '}')
}

// EnterRoom tells a room that User came in. Of Profile, what the frame has no
// field for is not used; ChannelName is the frame's own.
type EnterRoom struct {
	User        UserID
	Profile     Profile
	ChannelName string
}

// AppendEnterRoom appends an enter_room frame.
func AppendEnterRoom(dst []byte, f EnterRoom) []byte {
	dst = append(dst, `{"action":"enter_room","user_id":`...)
	dst = strconv.AppendInt(dst, int64(f.User), 10)
	dst = append(dst, `,"nickname":`...)
	dst = AppendString(dst, f.Profile.Nickname)
	dst = appendLooks(dst, &f.Profile)
	dst = append(dst, `,"channel_name":`...)
	dst = AppendString(dst, f.ChannelName)
	return append(dst, '}')
}

// Up tells a room that User took a seat.
type Up struct {
	User        UserID
	Seat        int
	Profile     Profile
	ChannelName string
}

// AppendUp appends an up frame. The seat's field is spelled as clients know
// it: currenr_room_seat_id.
func AppendUp(dst []byte, f Up) []byte {
	dst = append(dst, `{"action":"up","user_id":`...)
	dst = strconv.AppendInt(dst, int64(f.User), 10)
	dst = append(dst, `,"currenr_room_seat_id":`...)
	dst = strconv.AppendInt(dst, int64(f.Seat), 10)
	dst = appendLooks(dst, &f.Profile)
	dst = append(dst, `,"nickname":`...)
	dst = AppendString(dst, f.Profile.Nickname)
	dst = append(dst, `,"channel_name":`...)
	dst = AppendString(dst, f.ChannelName)
	return append(dst, '}')
}

// Down tells a room that User left a seat.
type Down struct {
	User        UserID
	Seat        int
	ChannelName string
}

// AppendDown appends a down frame, with the seat spelled as in up.
func AppendDown(dst []byte, f Down) []byte {
	dst = append(dst, `{"action":"down","user_id":`...)
	dst = strconv.AppendInt(dst, int64(f.User), 10)
	dst = append(dst, `,"currenr_room_seat_id":`...)
	dst = strconv.AppendInt(dst, int64(f.Seat), 10)
	dst = append(dst, `,"channel_name":`...)
	dst = AppendString(dst, f.ChannelName)
	return append(dst, '}')
}

// AppendDrain appends a drain frame: ask end_point again after a random part
// of retryAfter. It comes before close codes CloseDrain and CloseOverloaded.
func AppendDrain(dst []byte, retryAfter time.Duration) []byte {
	dst = append(dst, `{"action":"drain","retry_after":`...)
	dst = appendSeconds(dst, retryAfter)
	return append(dst, '}')
}

// AppendError appends an error frame: what the client asked for was not done.
// Action and room say what that was; a room that the client did not name is
// left out.
func AppendError(dst []byte, action Action, room RoomID, code Code, message string) []byte {
	dst = append(dst, `{"action":"error","request":`...)
	dst = AppendString(dst, string(action))
	if room != "" {
		dst = append(dst, `,"room_id":`...)
		dst = AppendRoomID(dst, room)
	}
	dst = append(dst, `,"code":`...)
	dst = AppendString(dst, string(code))
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, message)
	return append(dst, '}')
}

// AppendSynced appends a synced frame: all that was missed has been sent, up to
// this place.
func AppendSynced(dst []byte, room RoomID, epoch Epoch, seq Seq) []byte {
	dst = append(dst, `{"action":"synced",`...)
	dst = appendPlace(dst, room, epoch, seq)
	return append(dst, '}')
}

// appendLooks appends the fields of a profile that every frame with a profile
// has side by side, each after a comma.
func appendLooks(dst []byte, p *Profile) []byte {
	dst = append(dst, `,"sex":`...)
	dst = strconv.AppendInt(dst, int64(p.Sex), 10)
	dst = append(dst, `,"avatar_url":`...)
	dst = AppendString(dst, p.AvatarURL)
	dst = append(dst, `,"avatar_small_url":`...)
	return AppendString(dst, p.AvatarSmallURL)
}

// appendSeat appends the start of a seat's object, up to the closing brace.
func appendSeat(dst []byte, s *SeatView) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, int64(s.ID), 10)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(s.Status), 10)
	dst = append(dst, `,"microphone":`...)
	return strconv.AppendBool(dst, s.Microphone)
}
