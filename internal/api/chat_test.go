package api

import (
	"context"
	"sync"
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

// fakeChats gives a chat topic to every room but those that were closed.
type fakeChats struct {
	mu     sync.Mutex
	closed map[protocol.RoomID]bool
}

func (c *fakeChats) Open(ctx context.Context, room protocol.RoomID, occupants bool) (Chat, error) {
	c.mu.Lock()
	delete(c.closed, room)
	c.mu.Unlock()
	chat, err := c.Chat(ctx, room)
	chat.Occupants = occupants
	return chat, err
}

func (c *fakeChats) Chat(_ context.Context, room protocol.RoomID) (Chat, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed[room] {
		return Chat{}, protocol.Errorf(protocol.CodeChatNotFound, "room %q has no chat topic", room)
	}
	return Chat{EndPoint: "ws://n1:8301/mns", Subscribe: Control{Type: "SUBSCRIBE", Topic: "room-" + string(room)}}, nil
}

func (c *fakeChats) Close(_ context.Context, room protocol.RoomID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = make(map[protocol.RoomID]bool)
	}
	c.closed[room] = true
	return nil
}

func TestChat(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	const control = `"subscribe":{"type":"SUBSCRIBE","accountId":"","accessId":"","topic":"room-r1","subscription":"","date":"","authorization":""}}`
	d.want("PUT", "/v1/rooms/r1/chat", `{"occupants":true}`, 200, `{"room_id":"r1","end_point":"ws://n1:8301/mns","occupants":true,`+control)
	d.want("GET", "/v1/rooms/r1/chat", "", 200, `{"room_id":"r1","end_point":"ws://n1:8301/mns","occupants":false,`+control)
	d.want("DELETE", "/v1/rooms/r1/chat", "", 204, "")
	d.want("GET", "/v1/rooms/r1/chat", "", 404, `{"error":{"code":"chat_not_found","message":"room \"r1\" has no chat topic"}}`)
	d.want("PUT", "/v1/rooms/r1/chat", `{"occupants":"yes"}`, 400, `{"error":{"code":"bad_request","message":"occupants: must be true or false"}}`)

	without := newDoor(t, func(c *Config) { c.Chats = nil })
	without.want("GET", "/v1/rooms/r1/chat", "", 404,
		`{"error":{"code":"chat_not_found","message":"this node has no chat pipeline; start it with --mns and --mns-key"}}`)
}
