package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/bridge"
	"github.com/faac1247/rollcall/internal/api"
	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
)

// pipeline adds the chat pipeline and its door to a node's configuration, and
// returns it; nil where there is none. Say reaches the occupants of rooms.
func (s *settings) pipeline(
	cfg *node.Config, store *bridge.Redis, metrics prometheus.Registerer, say func(ctx context.Context, room, key, body string) error,
) (*mns.Server, error) {
	if s.MNS == "" {
		return nil, nil
	}
	server, err := mns.New(mns.Config{
		Store: bridge.NewMNS(store, string(cfg.NodeID)), Keys: s.mnsKeys(new(faults)), Rooms: say,
		Logger: cfg.Logger, Registerer: metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("mns: %w", err)
	}
	cfg.Doors = append(cfg.Doors, node.Door{Name: "mns", Addr: s.MNS, Handler: server})
	cfg.Chats = roomChats{server: server, endPoint: s.chatEndPoint()}
	return server, nil
}

// chatEndPoint is where clients reach the chat pipeline's websocket: the host
// that end_point answers, with the pipeline's port.
func (s *settings) chatEndPoint() string {
	host := ""
	if u, err := url.Parse(s.Advertise); err == nil {
		host = u.Hostname()
	}
	mnsHost, port, _ := net.SplitHostPort(s.MNS) // checked with the settings
	if host == "" {
		host = mnsHost
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return "ws://" + net.JoinHostPort(host, port) + "/mns"
}

// roomChats implements api.Chats.
type roomChats struct {
	server   *mns.Server
	endPoint string
}

// Open implements api.Chats.
func (r roomChats) Open(ctx context.Context, room protocol.RoomID, occupants bool) (api.Chat, error) {
	return r.answer(room)(r.server.OpenRoom(ctx, string(room), occupants))
}

// Chat implements api.Chats.
func (r roomChats) Chat(ctx context.Context, room protocol.RoomID) (api.Chat, error) {
	return r.answer(room)(r.server.RoomChat(ctx, string(room)))
}

// Close implements api.Chats.
func (r roomChats) Close(ctx context.Context, room protocol.RoomID) error {
	err := r.server.CloseRoom(ctx, string(room))
	if errors.Is(err, chat.ErrTopicNotExist) {
		return nil
	}
	return err
}

// answer translates what the pipeline says of a room.
func (r roomChats) answer(room protocol.RoomID) func(mns.RoomChat, error) (api.Chat, error) {
	return func(c mns.RoomChat, err error) (api.Chat, error) {
		if errors.Is(err, chat.ErrTopicNotExist) {
			return api.Chat{}, protocol.Errorf(protocol.CodeChatNotFound, "room %q has no chat topic; open one with PUT", room)
		}
		if err != nil {
			return api.Chat{}, err
		}
		return api.Chat{
			EndPoint: r.endPoint, Occupants: c.Occupants,
			Subscribe: api.Control{
				Type: "SUBSCRIBE", AccountID: c.Account, AccessID: c.AccessID, Topic: string(c.Topic),
				Subscription: string(c.Subscription), Date: c.Date, Authorization: c.Authorization,
			},
		}, nil
	}
}
