package bridge

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// recordFormat numbers the form of records and intents; recordForm is it as the
// scripts write it.
const (
	recordFormat = 1
	recordForm   = "1"
)

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
//
// Hot: once for each connection that comes or goes and each move (BenchmarkMove).
func decodeRecord(user protocol.UserID, text string) (protocol.UserRecord, error) {
	out := protocol.UserRecord{User: user}
	if text == "" {
		return out, nil
	}
	in, err := readText(text)
	if err != nil {
		return out, fmt.Errorf("record of user %d: %w", user, err)
	}
	record := protocol.UserRecord{
		User: user, Conn: protocol.ConnNumber(in.number("c")), Edge: protocol.Incarnation(in.string("e")),
		Room: protocol.RoomID(in.string("r")), Call: protocol.RoomID(in.string("k")),
		Version: protocol.Version(in.number("v")), Since: in.time("s"),
	}
	var x *removal
	in.json("x", &x)
	if in.err != nil {
		return out, fmt.Errorf("record of user %d: %w", user, in.err)
	}
	if x != nil {
		record.Removal = &protocol.Removal{Room: x.Room, Call: x.Call, Reason: x.Reason, By: x.By, At: fromMillis(x.At)}
	}
	return record, nil
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

// decodeIntent reads an intent as the scripts keep it; the text of none is
// empty. Its user is text, since not all user ids survive as a number of the
// scripts.
//
// Hot: once for each move and each connection that goes (BenchmarkMove).
func decodeIntent(text string) (protocol.Intent, error) {
	if text == "" {
		return protocol.Intent{}, nil
	}
	in, err := readText(text)
	if err != nil {
		return protocol.Intent{}, fmt.Errorf("intent: %w", err)
	}
	user, err := strconv.ParseInt(in.string("u"), 10, 64)
	if err != nil {
		return protocol.Intent{}, fmt.Errorf("user of an intent: %w", err)
	}
	intent := protocol.Intent{
		User: protocol.UserID(user), Version: protocol.Version(in.number("v")),
		Conn: protocol.ConnNumber(in.number("c")), Edge: protocol.Incarnation(in.string("e")),
		Enter: protocol.RoomID(in.string("n")), Reason: in.string("why"), At: in.time("at"),
	}
	in.json("l", &intent.Leave)
	in.json("b", &intent.Body)
	in.json("o", &intent.Lost)
	if in.err != nil {
		return protocol.Intent{}, fmt.Errorf("intent: %w", in.err)
	}
	return intent, nil
}

// text is an object that a script has written. The first field that is not
// what it should be is kept as err.
type text struct {
	object protocol.Object
	err    error
}

// readText reads an object of recordFormat.
func readText(raw string) (*text, error) {
	object, err := protocol.ParseObject([]byte(raw))
	if err != nil {
		return nil, err
	}
	if format := object.Field("f"); string(format) != recordForm {
		return nil, fmt.Errorf("in an unknown format: %q", format)
	}
	return &text{object: object}, nil
}

func (t *text) wrong(name string, v protocol.Value) {
	if t.err == nil {
		t.err = fmt.Errorf("field %s is %q", name, v)
	}
}

// string returns a field, "" where it is missing.
func (t *text) string(name string) string {
	v := t.object.Field(name)
	s, ok := v.Text()
	if v != nil && !ok {
		t.wrong(name, v)
	}
	return s
}

// number returns a field, 0 where it is missing.
func (t *text) number(name string) uint64 {
	v := t.object.Field(name)
	n, ok := v.Uint()
	if v != nil && !ok {
		t.wrong(name, v)
	}
	return n
}

// time returns a field of milliseconds.
func (t *text) time(name string) time.Time {
	v := t.object.Field(name)
	n, ok := v.Int()
	if v != nil && !ok {
		t.wrong(name, v)
	}
	return fromMillis(n)
}

// json decodes a field that most objects do not have.
func (t *text) json(name string, to any) {
	v := t.object.Field(name)
	if v == nil {
		return
	}
	if err := json.Unmarshal(v, to); err != nil {
		t.wrong(name, v)
	}
}
