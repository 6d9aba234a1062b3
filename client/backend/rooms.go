package backend

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// durability is what every answer to a write says. Without the field, the
// change is committed.
type durability struct {
	Said *bool `json:"durable"`
}

// Durable is false while the change is told but not committed yet, because
// Redis is away.
func (d durability) Durable() bool { return d.Said == nil || *d.Said }

// Place is where a change stands among a room's publications.
type Place struct {
	durability
	RoomID string         `json:"room_id"`
	Epoch  protocol.Epoch `json:"epoch"`
	Seq    protocol.Seq   `json:"seq"`
}

// Done is the answer to a write that has nothing else to say.
type Done struct{ durability }

// Entry is what a room shows of a user who enters.
type Entry struct {
	protocol.Profile
	// Quiet keeps the other occupants from being told.
	Quiet bool `json:"quiet,omitempty"`
}

// Entered is the answer to Enter.
type Entered struct {
	Place
	// EndPoint is where the user's client connects best, empty while unknown.
	EndPoint string `json:"end_point"`
}

// Settings are a room's; nil leaves one as it is.
type Settings struct {
	Seats       *int
	ChannelName *string
	// KeepEmpty is how long the room stays with nobody in it.
	KeepEmpty *time.Duration
}

// MarshalJSON writes the duration as the server reads it.
func (s Settings) MarshalJSON() ([]byte, error) {
	wire := struct {
		Seats       *int    `json:"seats,omitempty"`
		ChannelName *string `json:"channel_name,omitempty"`
		KeepEmpty   string  `json:"keep_empty,omitempty"`
	}{Seats: s.Seats, ChannelName: s.ChannelName}
	if s.KeepEmpty != nil {
		wire.KeepEmpty = s.KeepEmpty.String()
	}
	return json.Marshal(wire)
}

func roomPath(room protocol.RoomID) string { return "/v1/rooms/" + url.PathEscape(string(room)) }

func occupantPath(room protocol.RoomID, user protocol.UserID) string {
	return roomPath(room) + "/occupants/" + user.String()
}

func seatPath(room protocol.RoomID, seat int) string {
	return roomPath(room) + "/seats/" + strconv.Itoa(seat)
}

// Enter puts a user into a room, out of the one it was in.
func (c *Client) Enter(ctx context.Context, room protocol.RoomID, user protocol.UserID, e Entry) (Entered, error) {
	var answer Entered
	err := c.do(ctx, request{method: http.MethodPut, path: occupantPath(room, user), body: e}, &answer)
	return answer, err
}

// Exit takes a user out of a room. Nobody gets exit_room.
func (c *Client) Exit(ctx context.Context, room protocol.RoomID, user protocol.UserID) (Done, error) {
	return c.remove(ctx, occupantPath(room, user), nil)
}

func (c *Client) remove(ctx context.Context, path string, query url.Values) (Done, error) {
	var answer Done
	err := c.do(ctx, request{method: http.MethodDelete, path: path, query: query}, &answer)
	return answer, err
}

// Configure changes a room's settings. A configured room is there with nobody
// in it.
func (c *Client) Configure(ctx context.Context, room protocol.RoomID, s Settings) (Place, error) {
	var answer Place
	err := c.do(ctx, request{method: http.MethodPut, path: roomPath(room), body: s}, &answer)
	return answer, err
}

// CloseRoom takes everybody out of a room and forgets its settings.
func (c *Client) CloseRoom(ctx context.Context, room protocol.RoomID) (Done, error) {
	return c.remove(ctx, roomPath(room), nil)
}

// Room returns a page of a room's roster, and its seats. after is the Next of
// the page before, limit 0 for the server's.
func (c *Client) Room(ctx context.Context, room protocol.RoomID, after string, limit int) (protocol.RoomView, error) {
	var view protocol.RoomView
	err := c.do(ctx, request{method: http.MethodGet, path: roomPath(room), query: page(after, limit)}, &view)
	return view, err
}

// Roster returns all occupants of a room, page by page, each from its own
// moment.
func (c *Client) Roster(ctx context.Context, room protocol.RoomID) ([]protocol.OccupantView, error) {
	const largest = 500
	var all []protocol.OccupantView
	for after := ""; ; {
		view, err := c.Room(ctx, room, after, largest)
		if err != nil {
			return nil, err
		}
		all = append(all, view.Occupants...)
		if after = view.Next; after == "" {
			return all, nil
		}
	}
}

// RoomLine is one room in a list.
type RoomLine struct {
	RoomID string          `json:"room_id"`
	Node   protocol.NodeID `json:"node"`
	Epoch  protocol.Epoch  `json:"epoch"`
	Count  int             `json:"count"`
}

// RoomList is a page of all voice rooms.
type RoomList struct {
	Rooms []RoomLine `json:"rooms"`
	Next  string     `json:"next"`
}

// Rooms lists the voice rooms of all nodes.
func (c *Client) Rooms(ctx context.Context, after string, limit int) (RoomList, error) {
	var list RoomList
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/rooms", query: page(after, limit)}, &list)
	return list, err
}

func page(after string, limit int) url.Values {
	q := url.Values{}
	if after != "" {
		q.Set("after", after)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

// Up puts an occupant on a seat.
func (c *Client) Up(ctx context.Context, room protocol.RoomID, seat int, user protocol.UserID) (Place, error) {
	return c.seat(ctx, room, seat, map[string]any{"user_id": user})
}

// OpenSeat opens or closes a seat.
func (c *Client) OpenSeat(ctx context.Context, room protocol.RoomID, seat int, open bool) (Place, error) {
	status := 0
	if open {
		status = 1
	}
	return c.seat(ctx, room, seat, map[string]any{"status": status})
}

// Microphone turns a seat's microphone on or off.
func (c *Client) Microphone(ctx context.Context, room protocol.RoomID, seat int, on bool) (Place, error) {
	return c.seat(ctx, room, seat, map[string]any{"microphone": on})
}

func (c *Client) seat(ctx context.Context, room protocol.RoomID, seat int, change map[string]any) (Place, error) {
	var answer Place
	err := c.do(ctx, request{method: http.MethodPut, path: seatPath(room, seat), body: change}, &answer)
	return answer, err
}

// Down sends down whoever sits on a seat.
func (c *Client) Down(ctx context.Context, room protocol.RoomID, seat int) (Done, error) {
	return c.remove(ctx, seatPath(room, seat), nil)
}
