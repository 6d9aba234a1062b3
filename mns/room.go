package mns

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/sign"
)

// The subscriptions of a room's chat topic: of those who connect to /mns, and of
// the room's occupants on the websockets that they have.
const (
	viewers   chat.SubscriptionName = "viewers"
	occupants chat.SubscriptionName = "occupants"
)

// RoomChat is the chat topic of a room, with what a client needs to subscribe to
// it: the fields of a control message, good for Config.Skew.
type RoomChat struct {
	Topic               chat.TopicName
	Subscription        chat.SubscriptionName
	Account             string
	AccessID            string
	Date, Authorization string
	Occupants           bool // the room's occupants get it too
}

// roomTopic is the name of a room's topic. Ids that are no names are spelled in
// hexadecimal digits.
func roomTopic(room string) chat.TopicName {
	if t := chat.TopicName("room-" + room); t.Check() == nil {
		return t
	}
	return chat.TopicName("roomx-" + hex.EncodeToString([]byte(room)))
}

// OpenRoom gives a room a chat topic, and lets its occupants get it or not. It
// may be repeated.
func (s *Server) OpenRoom(ctx context.Context, room string, toOccupants bool) (RoomChat, error) {
	topic := roomTopic(room)
	if _, _, err := s.store.CreateTopic(ctx, topic, chat.DefaultTopicSettings()); err != nil {
		return RoomChat{}, err
	}
	sub := chat.Subscription{Name: viewers, Endpoint: "websocket", Strategy: chat.Backoff}
	if _, _, err := s.store.Subscribe(ctx, topic, sub); err != nil {
		return RoomChat{}, err
	}
	var err error
	if toOccupants && s.cfg.Rooms != nil {
		sub = chat.Subscription{Name: occupants, Endpoint: chat.RoomEndpoint(room), Strategy: chat.Backoff, Format: chat.FormatSimplified}
		_, _, err = s.store.Subscribe(ctx, topic, sub)
	} else {
		err = s.store.Unsubscribe(ctx, topic, occupants)
	}
	if err != nil {
		return RoomChat{}, err
	}
	return s.RoomChat(ctx, room)
}

// RoomChat returns a room's chat topic. It is chat.ErrTopicNotExist if the room
// has none.
func (s *Server) RoomChat(ctx context.Context, room string) (RoomChat, error) {
	topic, key := roomTopic(room), &s.cfg.Keys[0]
	if _, err := s.store.Topic(ctx, topic); err != nil {
		return RoomChat{}, err
	}
	_, err := s.store.Subscription(ctx, topic, occupants)
	if err != nil && !errors.Is(err, chat.ErrSubscriptionNotExist) {
		return RoomChat{}, err
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	return RoomChat{
		Topic: topic, Subscription: viewers, Account: s.cfg.Account, AccessID: key.ID, Date: date,
		Authorization: sign.Header(key.ID, sign.Subscribe(key.Secret, date, string(topic), string(viewers))),
		Occupants:     err == nil,
	}, nil
}

// CloseRoom removes a room's chat topic. That there was none is no error.
func (s *Server) CloseRoom(ctx context.Context, room string) error {
	return s.store.DeleteTopic(ctx, roomTopic(room))
}
