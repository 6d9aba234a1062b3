package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/protocol"
)

// maxTold bounds the departures that a client remembers, to know a repeated one.
const maxTold = 64

// told is a departure that this client was told of.
type told struct {
	id       protocol.DepartureID
	reported bool
}

// write signs and sends a frame: its action, further fields as the inside of a
// JSON object, and what every frame has.
func (cn *conn) write(ctx context.Context, action protocol.Action, fields []byte) error {
	b := make([]byte, 0, 192+len(cn.token)+len(cn.client.cfg.SID)+len(fields))
	b = append(b, `{"action":`...)
	b = protocol.AppendString(b, string(action))
	if len(fields) > 0 {
		b = append(append(b, ','), fields...)
	}
	b = append(b, `,"online_token":`...)
	b = protocol.AppendString(b, cn.token)
	b = append(b, `,"sid":`...)
	b = protocol.AppendString(b, cn.client.cfg.SID)
	b = append(b, `,"timestamp":`...)
	b = strconv.AppendInt(b, time.Now().Unix(), 10)
	b = append(b, '}')
	if sign := cn.client.cfg.Sign; sign != SignOff {
		key := cn.signKey
		if sign == SignMD5 {
			key = ""
		}
		var err error
		if b, err = protocol.AppendSigned(make([]byte, 0, len(b)+80), b, key); err != nil {
			return fmt.Errorf("send %s: %w", action, err)
		}
	}
	if len(b) > protocol.MaxClientFrame {
		return protocol.Errorf(protocol.CodeTooLarge, "frame of %d bytes, more than %d", len(b), protocol.MaxClientFrame)
	}
	return cn.socket.send(ctx, gws.OpcodeText, b)
}

// send is write on the current connection.
func (c *Client) send(ctx context.Context, action protocol.Action, fields []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cn := c.current()
	if cn == nil {
		return ErrNotConnected
	}
	return cn.write(ctx, action, fields)
}

// Send sends a frame with any action. fields is nil, or encodes to a JSON
// object; the fields that every frame has are added to it.
//
// Send returns once the frame is handed to the network, which takes WriteTimeout
// at most. A frame that the network took in part is the end of the connection, so
// a context's end is heeded only until its turn has come. Frames are not answered, save by an error frame where what they ask
// for was not done.
func (c *Client) Send(ctx context.Context, action protocol.Action, fields any) error {
	inside, err := encode(fields)
	if err != nil {
		return fmt.Errorf("send %s: %w", action, err)
	}
	return c.send(ctx, action, inside)
}

// encode returns the inside of the JSON object that v encodes to.
func encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	text := bytes.TrimSpace(b.Bytes())
	if len(text) < 2 || text[0] != '{' {
		return nil, errors.New("fields are no JSON object")
	}
	return bytes.TrimSpace(text[1 : len(text)-1]), nil
}

// EnterRoom asks to enter a room. Like all that follow here but Report, it takes
// a sid that allows it.
func (c *Client) EnterRoom(ctx context.Context, room protocol.RoomID, profile protocol.Profile) error {
	inside, err := encode(profile)
	if err != nil {
		return err
	}
	return c.send(ctx, protocol.ActionEnterRoom, append(inRoom(room), append([]byte{','}, inside...)...))
}

// ExitRoom asks to leave a room. Nobody is owed a departure.
func (c *Client) ExitRoom(ctx context.Context, room protocol.RoomID) error {
	if err := c.send(ctx, protocol.ActionExitRoom, inRoom(room)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.room == room {
		c.room = ""
	}
	c.forget(func(t *track) bool { return t.room == room })
	return nil
}

// Up asks for a seat.
func (c *Client) Up(ctx context.Context, room protocol.RoomID, seat int) error {
	return c.send(ctx, protocol.ActionUp, onSeat(room, seat))
}

// Down leaves a seat.
func (c *Client) Down(ctx context.Context, room protocol.RoomID, seat int) error {
	return c.send(ctx, protocol.ActionDown, onSeat(room, seat))
}

// TopicMsg is what send_topic_msg says beside the room and the sender's id.
type TopicMsg struct {
	Content        string `json:"content"`
	Nickname       string `json:"nickname"`
	Sex            int    `json:"sex"`
	AvatarURL      string `json:"avatar_url"`
	AvatarSmallURL string `json:"avatar_small_url"`
	ChannelName    string `json:"channel_name"`
}

// SendTopicMsg publishes a message to a room.
func (c *Client) SendTopicMsg(ctx context.Context, room protocol.RoomID, m TopicMsg) error {
	inside, err := encode(m)
	if err != nil {
		return err
	}
	return c.send(ctx, protocol.ActionSendTopicMsg, append(inRoom(room), append([]byte{','}, inside...)...))
}

// Gift is what send_gift says beside the room and the sender's id.
type Gift struct {
	// NotifyType is "ptp" for the receiver alone, else "bc".
	NotifyType       string          `json:"notify_type"`
	Receiver         protocol.UserID `json:"receiver_id"`
	SenderSeat       int             `json:"sender_room_seat_id"`
	ReceiverSeat     int             `json:"receiver_room_seat_id"`
	SenderNickname   string          `json:"sender_nickname"`
	ReceiverNickname string          `json:"receiver_nickname"`
	ChannelName      string          `json:"channel_name"`
	Gift             GiftItem        `json:"gift"`
}

// GiftItem is the thing given.
type GiftItem struct {
	ID              int64  `json:"id"`
	Name            string `json:"name"`
	DynamicImageURL string `json:"dynamic_image_url"`
	ImageURL        string `json:"image_url"`
	ImageBigURL     string `json:"image_big_url"`
	ImageSmallURL   string `json:"image_small_url"`
	Num             int    `json:"num"`
}

// SendGift publishes a gift to a room, or sends it to its receiver alone.
func (c *Client) SendGift(ctx context.Context, room protocol.RoomID, g Gift) error {
	inside, err := encode(g)
	if err != nil {
		return err
	}
	return c.send(ctx, protocol.ActionSendGift, append(inRoom(room), append([]byte{','}, inside...)...))
}

// Call starts the call of this number.
func (c *Client) Call(ctx context.Context, callNo string, receiver protocol.UserID) error {
	fields := inRoom(protocol.RoomID(callNo))
	fields = append(fields, `,"receiver_id":`...)
	if err := c.send(ctx, protocol.ActionCall, strconv.AppendInt(fields, int64(receiver), 10)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call = protocol.CallRoom(callNo)
	return nil
}

// HangUp ends a call. Nobody is told.
func (c *Client) HangUp(ctx context.Context, callNo string) error {
	if err := c.send(ctx, protocol.ActionHangUp, inRoom(protocol.RoomID(callNo))); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.call == protocol.CallRoom(callNo) {
		c.call = ""
	}
	return nil
}

// Report says that this client has told its room of a departure, or knows that
// the other party of its call dropped.
func (c *Client) Report(ctx context.Context, d Departure) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	action := protocol.ActionExitRoomReport
	if d.Action == protocol.ActionHangUp {
		action = protocol.ActionHangUpReport
	}
	fields := append([]byte(nil), `"user_id":`...)
	fields = strconv.AppendInt(fields, int64(d.User), 10)
	if d.ID != "" {
		fields = append(fields, `,"departure_id":`...)
		fields = protocol.AppendString(fields, string(d.ID))
	}
	c.mu.Lock()
	if i := slices.IndexFunc(c.told, func(t told) bool { return t.id == d.ID }); i >= 0 {
		c.told[i].reported = true
	}
	cn := c.conn
	c.mu.Unlock()
	if cn == nil {
		return ErrNotConnected
	}
	return cn.write(ctx, action, fields)
}

// departed takes an exit_room or hang_up that was put to this client.
func (c *Client) departed(f Frame) {
	d := departure(f)
	known, reported := c.remember(d)
	if known && !reported {
		return // whoever was told has yet to report it
	}
	if !known {
		c.counts.departures.Add(1)
		c.deliver(f)
		if c.cfg.OnDeparture != nil && !c.cfg.OnDeparture(d) {
			return
		}
	}
	_ = c.Report(context.Background(), d) // the server asks again if it does not get it
}

// remember notes a departure, and returns whether it was known and reported. A
// call is over when its other party dropped.
func (c *Client) remember(d Departure) (known, reported bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.Action == protocol.ActionHangUp && c.call == protocol.CallRoom(d.ChannelName) {
		c.call = ""
	}
	if d.ID == "" {
		return false, false
	}
	if i := slices.IndexFunc(c.told, func(t told) bool { return t.id == d.ID }); i >= 0 {
		return true, c.told[i].reported
	}
	if len(c.told) >= maxTold {
		c.told = slices.Delete(c.told, 0, 1)
	}
	c.told = append(c.told, told{id: d.ID})
	return false, false
}

// inRoom and onSeat return the fields that say where.
func inRoom(room protocol.RoomID) []byte {
	return protocol.AppendRoomID(append([]byte(nil), `"room_id":`...), room)
}

func onSeat(room protocol.RoomID, seat int) []byte {
	return strconv.AppendInt(append(inRoom(room), `,"currenr_room_seat_id":`...), int64(seat), 10)
}
