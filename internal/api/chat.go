package api

import (
	"context"

	"github.com/faac1247/rollcall/protocol"
)

// chatAnswer is that of GET and PUT chat.
type chatAnswer struct {
	RoomID protocol.RoomID `json:"room_id"`
	Chat
}

// chats returns the chat pipeline and the room that a request is about.
func (a *API) chats(req *request) (Chats, protocol.RoomID, error) {
	room, err := req.room()
	if err != nil {
		return nil, "", err
	}
	if a.cfg.Chats == nil {
		return nil, "", protocol.Errorf(protocol.CodeChatNotFound, "this node has no chat pipeline; start it with --mns and --mns-key")
	}
	return a.cfg.Chats, room, nil
}

func (a *API) chat(ctx context.Context, req *request) (any, error) {
	chats, room, err := a.chats(req)
	if err != nil {
		return nil, err
	}
	c, err := chats.Chat(ctx, room)
	if err != nil {
		return nil, err
	}
	return chatAnswer{room, c}, nil
}

func (a *API) openChat(ctx context.Context, req *request) (any, error) {
	chats, room, err := a.chats(req)
	if err != nil {
		return nil, err
	}
	f, err := req.fields()
	if err != nil {
		return nil, err
	}
	occupants := f.boolean("occupants")
	if err := f.err(); err != nil {
		return nil, err
	}
	c, err := chats.Open(ctx, room, occupants)
	if err != nil {
		return nil, err
	}
	return chatAnswer{room, c}, nil
}

func (a *API) closeChat(ctx context.Context, req *request) (any, error) {
	chats, room, err := a.chats(req)
	if err != nil {
		return nil, err
	}
	return nil, chats.Close(ctx, room)
}
