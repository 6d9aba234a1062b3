package bridge

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/faac1247/rollcall/protocol"
)

// recordFormat numbers the form of records and intents.
const recordFormat = 1

// userRecord is a user's record as the scripts keep it, less what only they
// use. Times are milliseconds.
type userRecord struct {
	Format  int                  `json:"f"`
	Conn    protocol.ConnNumber  `json:"c"`
	Edge    protocol.Incarnation `json:"e,omitempty"`
	Room    protocol.RoomID      `json:"r,omitempty"`
	Call    protocol.RoomID      `json:"k,omitempty"`
	Version protocol.Version     `json:"v"`
	Since   int64                `json:"s"`
	Removal *removal             `json:"x,omitempty"`
}

type removal struct {
	Room   protocol.RoomID `json:"room,omitempty"`
	Call   protocol.RoomID `json:"call,omitempty"`
	Reason string          `json:"reason"`
	By     protocol.NodeID `json:"by,omitempty"`
	At     int64           `json:"at"`
}

// decodeRecord reads a record; the text of an unknown user is empty.
func decodeRecord(user protocol.UserID, text string) (protocol.UserRecord, error) {
	out := protocol.UserRecord{User: user}
	if text == "" {
		return out, nil
	}
	var in userRecord
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return out, fmt.Errorf("record of user %d: %w", user, err)
	}
	if in.Format != recordFormat {
		return out, fmt.Errorf("record of user %d in an unknown format: %d", user, in.Format)
	}
	out.Conn, out.Edge, out.Room, out.Call = in.Conn, in.Edge, in.Room, in.Call
	out.Version, out.Since = in.Version, fromMillis(in.Since)
	if x := in.Removal; x != nil {
		out.Removal = &protocol.Removal{Room: x.Room, Call: x.Call, Reason: x.Reason, By: x.By, At: fromMillis(x.At)}
	}
	return out, nil
}

func encodeRecord(u protocol.UserRecord) ([]byte, error) {
	out := userRecord{
		Format: recordFormat, Conn: u.Conn, Edge: u.Edge, Room: u.Room, Call: u.Call,
		Version: u.Version, Since: u.Since.UnixMilli(),
	}
	if x := u.Removal; x != nil {
		out.Removal = &removal{Room: x.Room, Call: x.Call, Reason: x.Reason, By: x.By, At: x.At.UnixMilli()}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode record of user %d: %w", u.User, err)
	}
	return text, nil
}

// intentRecord is an intent as the scripts keep it. The user is text, since
// not all user ids survive as a number of the scripts.
type intentRecord struct {
	Format  int                  `json:"f"`
	User    string               `json:"u"`
	Version protocol.Version     `json:"v"`
	Conn    protocol.ConnNumber  `json:"c,omitempty"`
	Edge    protocol.Incarnation `json:"e,omitempty"`
	Leave   []protocol.RoomID    `json:"l,omitempty"`
	Enter   protocol.RoomID      `json:"n,omitempty"`
	Body    []byte               `json:"b,omitempty"`
	Lost    bool                 `json:"o,omitempty"`
	Reason  string               `json:"why,omitempty"`
	At      int64                `json:"at"`
}

// decodeIntent reads an intent; the text of none is empty.
func decodeIntent(text string) (protocol.Intent, error) {
	if text == "" {
		return protocol.Intent{}, nil
	}
	var in intentRecord
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return protocol.Intent{}, fmt.Errorf("intent: %w", err)
	}
	if in.Format != recordFormat {
		return protocol.Intent{}, fmt.Errorf("intent in an unknown format: %d", in.Format)
	}
	user, err := strconv.ParseInt(in.User, 10, 64)
	if err != nil {
		return protocol.Intent{}, fmt.Errorf("user of an intent: %w", err)
	}
	return protocol.Intent{
		User: protocol.UserID(user), Version: in.Version, Conn: in.Conn, Edge: in.Edge,
		Leave: in.Leave, Enter: in.Enter, Body: in.Body, Lost: in.Lost,
		Reason: in.Reason, At: fromMillis(in.At),
	}, nil
}
