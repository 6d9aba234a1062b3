package protocol

import (
	"errors"
	"fmt"
	"net/http"
)

// Code is a stable word for what went wrong. It crosses every wire: the
// backend's JSON errors, the clients' error frames, the replies between nodes.
// The list is append-only.
type Code string

const (
	// CodeBadRequest: the request can't be understood; repeating it is useless.
	CodeBadRequest Code = "bad_request"
	// CodeUnauthorized: no valid key or sid.
	CodeUnauthorized Code = "unauthorized"
	// CodeForbidden: a valid sid that may not do this.
	CodeForbidden Code = "forbidden"
	// CodeRoomNotFound: nobody is in the room and nothing is configured for it.
	CodeRoomNotFound Code = "room_not_found"
	// CodeCallNotFound: no call has this number.
	CodeCallNotFound Code = "call_not_found"
	// CodeUserNotFound: nothing is known of the user.
	CodeUserNotFound Code = "user_not_found"
	// CodeChatNotFound: the room has no chat topic, or the node no chat pipeline.
	CodeChatNotFound Code = "chat_not_found"
	// CodeNotInRoom: the user is not in the room.
	CodeNotInRoom Code = "not_in_room"
	// CodeSeatTaken: somebody else sits there.
	CodeSeatTaken Code = "seat_taken"
	// CodeSeatClosed: the seat is closed.
	CodeSeatClosed Code = "seat_closed"
	// CodeSeatNotFound: the room has no seat of this number.
	CodeSeatNotFound Code = "seat_not_found"
	// CodeUserBusy: the user is in another call.
	CodeUserBusy Code = "user_busy"
	// CodeRoomFull: the room holds as many occupants as its limit allows.
	CodeRoomFull Code = "room_full"
	// CodeStale: an older version of what has already happened.
	CodeStale Code = "stale"
	// CodeMoved: the node asked does not own the partition. Reply.Owner says
	// who does, where that is known.
	CodeMoved Code = "moved"
	// CodeBusy: a bounded queue is full; ask again after a pause.
	CodeBusy Code = "busy"
	// CodeUnavailable: what was asked can't be known now; ask again later.
	CodeUnavailable Code = "unavailable"
	// CodeTooLarge: the request is over a size limit.
	CodeTooLarge Code = "too_large"
	// CodeRateLimited: too many requests; ask again after a pause.
	CodeRateLimited Code = "rate_limited"
	// CodeInternal: a fault of ours; the log has it.
	CodeInternal Code = "internal"
)

// Status returns the HTTP status that goes with a code.
func (c Code) Status() int {
	switch c {
	case CodeBadRequest:
		return http.StatusBadRequest
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeForbidden:
		return http.StatusForbidden
	case CodeRoomNotFound, CodeCallNotFound, CodeUserNotFound, CodeChatNotFound, CodeNotInRoom, CodeSeatNotFound:
		return http.StatusNotFound
	case CodeSeatTaken, CodeSeatClosed, CodeUserBusy, CodeRoomFull, CodeStale:
		return http.StatusConflict
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeRateLimited:
		return http.StatusTooManyRequests
	case CodeBusy, CodeUnavailable, CodeMoved:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// Error is a code with a text for people.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf returns an Error. The message says what was wrong and what to do.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of an error: that of the Error it wraps,
// CodeUnavailable for a store that is away, else CodeInternal. It returns ""
// for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if errors.Is(err, ErrStoreAway) {
		return CodeUnavailable
	}
	return CodeInternal
}
