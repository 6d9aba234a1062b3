package client

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Frame is one frame of the server, read in place. It is valid until the
// callback that got it returns; Clone makes one that can be kept. All fields
// that the server or another client put into it are found by Field and Decode.
type Frame struct {
	protocol.Object

	// Action may be one that this package has no constant for.
	Action protocol.Action
	// Room, Epoch and Seq are the place of a frame that went to a whole room.
	Room  protocol.RoomID
	Epoch protocol.Epoch
	Seq   protocol.Seq
	// User is user_id, 0 where the frame has none.
	User protocol.UserID

	// roomName is room_id as it came.
	roomName []byte
}

// parseFrame reads a frame. Its Room is not set yet.
func parseFrame(raw []byte) (Frame, error) {
	o, err := protocol.ParseObject(raw)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Object: o}
	for name, v := range o.Fields() {
		switch string(name) {
		case "action":
			text, _ := v.Bytes()
			f.Action = intern(text)
		case "room_id":
			f.roomName = roomName(v)
		case "epoch":
			n, _ := v.Uint()
			f.Epoch = protocol.Epoch(n)
		case "seq":
			n, _ := v.Uint()
			f.Seq = protocol.Seq(n)
		case "user_id":
			n, _ := v.Int()
			f.User = protocol.UserID(max(n, 0))
		}
	}
	if f.Action == "" {
		return Frame{}, protocol.Errorf(protocol.CodeBadRequest, "frame without an action")
	}
	return f, nil
}

// roomName returns the name of a room in a string or a number.
func roomName(v protocol.Value) []byte {
	if name, ok := v.Bytes(); ok {
		return name
	}
	if _, ok := v.Uint(); ok {
		return v
	}
	return nil
}

// intern turns the name of an action into an Action, without allocation for
// those that are common.
func intern(name []byte) protocol.Action {
	for _, a := range &common {
		if string(name) == string(a) {
			return a
		}
	}
	return protocol.Action(name)
}

// common lists what servers send most, the most frequent first.
var common = [...]protocol.Action{
	protocol.ActionSendTopicMsg, protocol.ActionSendGift, protocol.ActionPresence, protocol.ActionEnterRoom,
	protocol.ActionUp, protocol.ActionDown, protocol.ActionExitRoom, protocol.ActionHangUp, protocol.ActionSynced,
	protocol.ActionResync, protocol.ActionEntered, protocol.ActionCreateToken, protocol.ActionDrain, protocol.ActionError,
}

// Clone returns a copy that does not share the original's memory.
func (f Frame) Clone() Frame {
	clone, err := parseFrame(append([]byte(nil), f.Raw()...))
	if err != nil {
		return Frame{} // only the zero Frame does not parse
	}
	clone.Room = f.Room
	return clone
}

// Decode decodes the frame as encoding/json does.
func (f Frame) Decode(into any) error {
	if err := json.Unmarshal(f.Raw(), into); err != nil {
		return fmt.Errorf("decode frame %s: %w", f.Action, err)
	}
	return nil
}

// RoomView decodes a resync, the state to start over from, or an entered,
// which has no occupants.
func (f Frame) RoomView() (protocol.RoomView, error) {
	var wire struct {
		protocol.RoomView
		// RoomID takes the place of RoomView's, which is a string.
		RoomID json.RawMessage `json:"room_id"`
	}
	if err := f.Decode(&wire); err != nil {
		return protocol.RoomView{}, err
	}
	wire.RoomView.RoomID = string(roomName(protocol.Value(wire.RoomID)))
	return wire.RoomView, nil
}

// Presence is who came and went in a room, for clients of version 2.
type Presence struct {
	Epoch protocol.Epoch          `json:"epoch"`
	Rev   uint64                  `json:"rev"`
	In    []protocol.OccupantView `json:"in"`
	Out   []PresenceOut           `json:"out"`
	// Count is that of all occupants. A large room's frames have nothing else.
	Count int `json:"count"`
}

// PresenceOut is one user who left, and why.
type PresenceOut struct {
	User   protocol.UserID `json:"user_id"`
	Reason string          `json:"reason"`
}

// Presence decodes a presence frame.
func (f Frame) Presence() (Presence, error) {
	var p Presence
	err := f.Decode(&p)
	return p, err
}

// Err returns what an error frame says, and nil for all others.
func (f Frame) Err() *protocol.Error {
	if f.Action != protocol.ActionError {
		return nil
	}
	code, _ := f.Field("code").Text()
	message, _ := f.Field("message").Text()
	return &protocol.Error{Code: protocol.Code(code), Message: message}
}

// Departure is a user who dropped out of this client's room or call, of which
// this client has been told so that it tells the room.
type Departure struct {
	// Action is ActionExitRoom or ActionHangUp.
	Action protocol.Action
	ID     protocol.DepartureID
	// User is the one who dropped.
	User        protocol.UserID
	ChannelName string
	// Seat is the one that the user had in the room, nil for none.
	Seat *protocol.SeatView
}

// departure reads an exit_room or hang_up. A seat that can't be read is none:
// the report is owed all the same.
func departure(f Frame) Departure {
	id, _ := f.Field("departure_id").Text()
	channel, _ := f.Field("channel_name").Text()
	d := Departure{Action: f.Action, ID: protocol.DepartureID(id), User: f.User, ChannelName: channel}
	if _, ok := f.Field("room_seat").Object(); ok {
		var seat protocol.SeatView
		if json.Unmarshal(f.Field("room_seat"), &seat) == nil {
			d.Seat = &seat
		}
	}
	return d
}

// seconds reads a duration in seconds, 0 if there is none or it is absurd.
func seconds(v protocol.Value) time.Duration {
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil || !(n > 0 && n < 1e6) {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

// createToken is the first frame on a connection.
type createToken struct {
	token, signKey              string
	pingInterval, heartbeatTime time.Duration
	placeKnown                  bool
	room, call                  protocol.RoomID
	refused                     string // why there will be no connection, "" if there is one
}

func parseCreateToken(f Frame) createToken {
	var t createToken
	t.token, _ = f.Field("online_token").Text()
	t.signKey, _ = f.Field("sign_key").Text()
	t.pingInterval, t.heartbeatTime = seconds(f.Field("ping_interval")), seconds(f.Field("heartbeat_timeout"))
	if code, ok := f.Field("error_code").Int(); ok && code != 0 {
		t.refused, _ = f.Field("error_reason").Text()
		if t.refused == "" {
			t.refused = "refused"
		}
	}
	if v := f.Field("current_room_id"); v != nil {
		t.placeKnown = true
		if name := string(roomName(v)); name != "0" {
			t.room = protocol.RoomID(name)
		}
		if callNo, _ := f.Field("call_no").Text(); callNo != "" {
			t.call = protocol.CallRoom(callNo)
		}
	}
	return t
}
