package api

import (
	"context"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Rooms reaches the owner of a room, wherever that is.
type Rooms interface {
	// Do waits for the owner's answer. It is CodeUnavailable when the owner
	// can't be known or asked before ctx ends. The command's slices are not
	// kept beyond the answer, but for the frame, which is never changed.
	Do(context.Context, protocol.Command) protocol.Reply
}

// Places changes where users are: their record and the rosters concerned.
type Places interface {
	// Enter puts a user into a room, out of the one before. The reply has the
	// room's epoch and seq.
	Enter(context.Context, EnterRequest) protocol.Reply
	// Exit takes a user out of a room; nobody is told. It is CodeNotInRoom if
	// the user is not there.
	Exit(context.Context, ExitRequest) protocol.Reply
	// StartCall puts two users into a call. It is CodeUserBusy if one of them
	// is in another one.
	StartCall(context.Context, CallRequest) protocol.Reply
	// EndCall ends a call; nobody is told. It is CodeCallNotFound if there is
	// none of this number.
	EndCall(ctx context.Context, callNo, key string) protocol.Reply
	// CloseRoom takes everybody out of a room and forgets its settings.
	CloseRoom(ctx context.Context, room protocol.RoomID, key string) protocol.Reply
}

// EnterRequest puts User into Room.
type EnterRequest struct {
	User    protocol.UserID
	Room    protocol.RoomID
	Profile protocol.Profile
	// Quiet keeps the other occupants from being told by frames of the seed's
	// protocol.
	Quiet bool
	Key   string
}

// ExitRequest takes User out of Room.
type ExitRequest struct {
	User   protocol.UserID
	Room   protocol.RoomID
	Reason string
	Key    string
}

// CallRequest puts two users into a call.
type CallRequest struct {
	CallNo           string
	Caller, Receiver protocol.UserID
	Key              string
}

// Users answers for single users.
type Users interface {
	// Users returns the users' records in any order. Who has none is missing, or
	// has one without connection number and version.
	Users(context.Context, []protocol.UserID) ([]protocol.UserRecord, error)
	// Notify sends a frame to a user's connection. The reply's Delivered is 1
	// if there is one.
	Notify(ctx context.Context, user protocol.UserID, frame []byte) protocol.Reply
	// Kick closes a user's connection. It is CodeUserNotFound if there is none.
	Kick(ctx context.Context, user protocol.UserID, reason string) protocol.Reply
	// Timeline tells why a user is where it is.
	Timeline(context.Context, protocol.UserID) (Timeline, error)
}

// Timeline is what is known of a user's way to where it is.
type Timeline struct {
	// Removal is the committed reason of the last removal, nil if there was
	// none.
	Removal *protocol.Removal
	// Node is the one whose memory Events come from, "" for none.
	Node protocol.NodeID
	// Events are the last ones of the user's connections, oldest first.
	Events []TimelineEvent
}

// TimelineEvent is one line of a user's timeline.
type TimelineEvent struct {
	At     time.Time
	Event  string
	Conn   protocol.ConnNumber
	Room   protocol.RoomID
	Reason string
}

// Cluster answers for all nodes together.
type Cluster interface {
	// Node is this node.
	Node() protocol.NodeID
	// EndPoint returns the websocket address of a room's owner, "" while it is
	// not known.
	EndPoint(protocol.RoomID) string
	// Members returns the cluster as this node sees it.
	Members() ClusterView
	// Rooms lists the voice rooms of all owners in the order of their ids,
	// those after one of them, at most limit. next is the after of the
	// following page, "" on the last. It fails when an owner can't be asked.
	Rooms(ctx context.Context, after protocol.RoomID, limit int) (rooms []RoomLine, next protocol.RoomID, err error)
}

// RoomLine is one line of the list of rooms.
type RoomLine struct {
	Room  protocol.RoomID
	Node  protocol.NodeID
	Epoch protocol.Epoch
	Count int
}

// ClusterView is the cluster as one node sees it. Its JSON is the answer of
// GET /v1/cluster, but for the node's own name.
type ClusterView struct {
	// Digest is the fingerprint of this node's ring.
	Digest string `json:"digest"`
	// Partitions is how many there are.
	Partitions int      `json:"partitions"`
	Members    []Member `json:"members"`
}

// Member is one node of a ClusterView.
type Member struct {
	Node        protocol.NodeID      `json:"node"`
	Incarnation protocol.Incarnation `json:"incarnation"`
	// State is a stable word: serving, draining, without_redis, suspect, left
	// or failed.
	State string `json:"state"`
	// Digest is that of the member's own ring.
	Digest string `json:"digest"`
	// EndPoint is where clients connect.
	EndPoint string `json:"end_point"`
	// Partitions is how many the ring gives to the member.
	Partitions int `json:"partitions"`
	// Connections is how many the member last said that it holds.
	Connections int       `json:"connections"`
	Since       time.Time `json:"since,omitzero"`
}

// Chats are the chat topics of rooms. Its errors wrap a *protocol.Error with
// CodeChatNotFound where a room has none.
type Chats interface {
	// Open gives a room a chat topic and says whether its occupants get it on
	// the connections that they have. It may be repeated.
	Open(ctx context.Context, room protocol.RoomID, occupants bool) (Chat, error)
	Chat(ctx context.Context, room protocol.RoomID) (Chat, error)
	// Close removes the topic. That there was none is no error.
	Close(ctx context.Context, room protocol.RoomID) error
}

// Chat is a room's chat topic, and the control message that subscribes a client
// to it. Its JSON is the answer of GET chat, but for the room.
type Chat struct {
	// EndPoint is the websocket that takes the control message.
	EndPoint string `json:"end_point"`
	// Occupants: the room's occupants get it as send_topic_msg.
	Occupants bool    `json:"occupants"`
	Subscribe Control `json:"subscribe"`
}

// Control is a control message of the chat pipeline, whose names are its own.
type Control struct {
	Type          string `json:"type"`
	AccountID     string `json:"accountId"`
	AccessID      string `json:"accessId"`
	Topic         string `json:"topic"`
	Subscription  string `json:"subscription"`
	Date          string `json:"date"`
	Authorization string `json:"authorization"`
}

// Events carries what happens in the whole cluster, live.
type Events interface {
	// Subscribe returns the events from now on, each the JSON of a
	// protocol.Event on one line. The channel is bounded. It is closed when ctx
	// ends, when the node stops, and when the reader falls behind by more than
	// the channel holds: nobody else waits for it.
	Subscribe(context.Context) (<-chan []byte, error)
}
