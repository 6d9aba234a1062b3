package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxQuery bounds the users of one query.
	maxQuery = 1000
	// queryWidth bounds the owners asked at a time on behalf of one query.
	queryWidth = 64
	// kickReason is why a connection is closed that the backend kicks.
	kickReason = "kicked"
)

// userAnswer is that of GET user, and one line of a query's.
type userAnswer struct {
	UserID        protocol.UserID `json:"user_id"`
	Online        bool            `json:"online"`
	Node          protocol.NodeID `json:"node"`
	CurrentRoomID protocol.RoomID `json:"current_room_id"`
	Seat          int             `json:"seat"`
	CallNo        string          `json:"call_no"`
	// Since is nil for a user of whom nothing is known.
	Since *time.Time `json:"since"`
}

func (a *API) user(ctx context.Context, req *request) (any, error) {
	user, err := req.user(0)
	if err != nil {
		return nil, err
	}
	records, err := a.records(ctx, []protocol.UserID{user})
	if err != nil {
		return nil, err
	}
	record, ok := records[user]
	if !ok {
		return nil, protocol.Errorf(protocol.CodeUserNotFound, "nothing is known of user %d", user)
	}
	return a.whereabouts(ctx, record)
}

// records returns the records of the users that have one.
func (a *API) records(ctx context.Context, users []protocol.UserID) (map[protocol.UserID]protocol.UserRecord, error) {
	list, err := a.cfg.Users.Users(ctx, users)
	if err != nil {
		return nil, fmt.Errorf("read records of %d users: %w", len(users), err)
	}
	records := make(map[protocol.UserID]protocol.UserRecord, len(list))
	for _, r := range list {
		if r.Conn != 0 || r.Version != 0 {
			records[r.User] = r
		}
	}
	return records, nil
}

// whereabouts completes a user's record with the seat, which only the room's
// owner knows. That the owner does not have the user is no contradiction: it
// hears of a move after the record has it.
func (a *API) whereabouts(ctx context.Context, r protocol.UserRecord) (userAnswer, error) {
	answer := userAnswer{
		UserID: r.User, Online: r.Online(), Node: r.Edge.Node(), CurrentRoomID: r.Room, CallNo: r.Call.CallNo(),
	}
	if !r.Since.IsZero() {
		answer.Since = &r.Since
	}
	if r.Room == "" {
		return answer, nil
	}
	view, _, err := a.look(ctx, protocol.Command{Room: r.Room, User: r.User, Limit: 1})
	switch protocol.CodeOf(err) {
	case "":
	case protocol.CodeRoomNotFound, protocol.CodeNotInRoom:
		return answer, nil
	default:
		return answer, err
	}
	for _, o := range view.Occupants {
		if o.UserID == r.User {
			answer.Seat = o.Seat
		}
	}
	return answer, nil
}

// usersAnswer is that of a query: one line for each user asked for, in order.
type usersAnswer struct {
	Users []any `json:"users"`
}

// userFault is the line of a user about whom something can't be known.
type userFault struct {
	UserID protocol.UserID `json:"user_id"`
	Error  *fault          `json:"error"`
}

type fault struct {
	Code    protocol.Code `json:"code"`
	Message string        `json:"message"`
}

func (a *API) users(ctx context.Context, req *request) (any, error) {
	f, err := req.fields()
	if err != nil {
		return nil, err
	}
	asked, err := f.users("user_ids")
	if err != nil {
		return nil, err
	}
	answer := usersAnswer{Users: make([]any, len(asked))}
	if len(asked) == 0 {
		return answer, nil
	}
	records, err := a.records(ctx, asked)
	if err != nil {
		return nil, err
	}
	each(len(asked), queryWidth, func(i int) {
		record := records[asked[i]]
		record.User = asked[i]
		answer.Users[i] = a.line(ctx, record)
	})
	return answer, nil
}

// line returns one line of a query's answer.
func (a *API) line(ctx context.Context, r protocol.UserRecord) any {
	where, err := a.whereabouts(ctx, r)
	if err == nil {
		return where
	}
	_, public := refusal(err)
	return userFault{UserID: r.User, Error: &fault{Code: public.Code, Message: public.Message}}
}

// users returns a list of user ids, given as numbers or strings of digits.
func (f *fields) users(name string) ([]protocol.UserID, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(f.value(name), &list); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadRequest, "%s: must be a list of user ids", name)
	}
	if len(list) > maxQuery {
		return nil, protocol.Errorf(protocol.CodeTooLarge, "%s: more than %d", name, maxQuery)
	}
	users := make([]protocol.UserID, len(list))
	for i, raw := range list {
		n, ok := protocol.Value(raw).Int()
		if !ok || n <= 0 {
			return nil, protocol.Errorf(protocol.CodeBadRequest, "%s[%d]: must be a positive number", name, i)
		}
		users[i] = protocol.UserID(n)
	}
	return users, nil
}

// notifyAnswer is that of POST notify.
type notifyAnswer struct {
	Delivered int `json:"delivered"`
	durability
}

func (a *API) notify(ctx context.Context, req *request) (any, error) {
	user, err := req.user(0)
	if err != nil {
		return nil, err
	}
	raw, err := req.body()
	if err != nil {
		return nil, err
	}
	if _, err := a.parseFrame(raw); err != nil {
		return nil, err
	}
	reply := a.cfg.Users.Notify(ctx, user, raw)
	if err := replyError(reply); err != nil {
		return nil, err
	}
	return notifyAnswer{Delivered: reply.Delivered, durability: durabilityOf(reply)}, nil
}

func (a *API) kick(ctx context.Context, req *request) (any, error) {
	user, err := req.user(0)
	if err != nil {
		return nil, err
	}
	return done(a.cfg.Users.Kick(ctx, user, kickReason))
}

// timelineAnswer is that of GET timeline.
type timelineAnswer struct {
	UserID  protocol.UserID `json:"user_id"`
	Removal *removalLine    `json:"removal"`
	Node    protocol.NodeID `json:"node"`
	Events  []timelineLine  `json:"events"`
}

// removalLine is why a user last lost its room or call.
type removalLine struct {
	RoomID protocol.RoomID `json:"room_id"`
	CallNo string          `json:"call_no"`
	Reason string          `json:"reason"`
	Node   protocol.NodeID `json:"node"`
	At     time.Time       `json:"at"`
}

type timelineLine struct {
	At     time.Time           `json:"at"`
	Event  string              `json:"event"`
	Conn   protocol.ConnNumber `json:"conn"`
	RoomID protocol.RoomID     `json:"room_id"`
	CallNo string              `json:"call_no"`
	Reason string              `json:"reason"`
}

func (a *API) timeline(ctx context.Context, req *request) (any, error) {
	user, err := req.user(0)
	if err != nil {
		return nil, err
	}
	t, err := a.cfg.Users.Timeline(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("read timeline of user %d: %w", user, err)
	}
	answer := timelineAnswer{UserID: user, Node: t.Node, Events: make([]timelineLine, len(t.Events))}
	if r := t.Removal; r != nil {
		answer.Removal = &removalLine{RoomID: r.Room, CallNo: r.Call.CallNo(), Reason: r.Reason, Node: r.By, At: r.At}
	}
	for i, e := range t.Events {
		room, callNo := e.Room, e.Room.CallNo()
		if callNo != "" {
			room = ""
		}
		answer.Events[i] = timelineLine{At: e.At, Event: e.Event, Conn: e.Conn, RoomID: room, CallNo: callNo, Reason: e.Reason}
	}
	return answer, nil
}
