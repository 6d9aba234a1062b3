package protocol

import "time"

// UserRecord says where a user is. It lives in the user's own partition of the
// store and is changed there by Connect, Close and Move alone, without an
// owner: Version orders the changes.
type UserRecord struct {
	User UserID `json:"u"`
	// Conn is the number of the latest connection, also after it has closed.
	Conn ConnNumber `json:"c,omitempty"`
	// Edge holds the latest connection; empty when the user is offline.
	Edge Incarnation `json:"e,omitempty"`
	// Room and Call are where the user is; empty for nowhere. The two are
	// independent.
	Room RoomID `json:"r,omitempty"`
	Call RoomID `json:"k,omitempty"`
	// Version rises with every change of Room or Call.
	Version Version `json:"v,omitempty"`
	// Since is the store's time of the last change between online and offline.
	Since time.Time `json:"s,omitzero"`
	// Removal is why the user last lost its room or call.
	Removal *Removal `json:"x,omitempty"`
}

// Online reports whether the user has a connection.
func (u UserRecord) Online() bool { return u.Edge != "" }

// Removal is the committed reason of a removal from a room or call.
type Removal struct {
	Room   RoomID    `json:"room_id,omitempty"`
	Call   RoomID    `json:"call,omitempty"`
	Reason string    `json:"reason"`
	By     NodeID    `json:"by,omitempty"`
	At     time.Time `json:"at"`
}

// Connect makes a connection the user's latest.
type Connect struct {
	Partition PartitionID
	User      UserID
	Edge      Incarnation
	// Token names the connection. A Connect repeated with the same token gets
	// the first one's answer again.
	Token string
	// Event goes to the partition's outbox when not nil.
	Event []byte
}

// Connected is the answer to a Connect: the record as it is now, and the
// connection that was superseded, if there was one that is not closed.
type Connected struct {
	Record     UserRecord
	FormerEdge Incarnation
	FormerConn ConnNumber
}

// Close ends a connection if it is still the user's latest. The winner's call
// also takes the user out of room and call, in the record, and leaves an
// Intent to tell their owners.
type Close struct {
	Partition PartitionID
	User      UserID
	Conn      ConnNumber
	// By keeps the intent: the edge, or who sweeps up behind a dead one.
	By     Incarnation
	Reason string
	Event  []byte
}

// Closed is the answer to a Close. A repeated Close by the winner gets Won and
// the same intent again until it is settled.
type Closed struct {
	Won    bool
	Intent Intent
	// Record is the user's record after the call.
	Record UserRecord
}

// Move changes the room or the call of a user.
type Move struct {
	Partition PartitionID
	User      UserID
	// Call selects which of the two places changes.
	Call bool
	// To is the new place, empty for nowhere.
	To RoomID
	// From, when set, is the place that the user must be in for the move to
	// happen; otherwise Moved.Refused.
	From RoomID
	// IfVersion, when set, is the version that the record must have.
	IfVersion Version
	// Key names the request: a Move repeated with the same key gets the first
	// one's answer again. The record remembers the last 16 keys.
	Key string
	// By keeps the intent until Settle.
	By Incarnation
	// Body is what the new place needs to know about the user; it is kept with
	// the intent.
	Body   []byte
	Reason string
}

// Moved is the answer to a Move.
type Moved struct {
	// Refused: From or IfVersion did not hold; nothing has changed.
	Refused bool
	// Repeated: Key is that of an earlier Move, whose Intent this is.
	Repeated bool
	// Intent is zero when the user was nowhere and was to go nowhere.
	Intent Intent
	// Record is the user's record as it is now.
	Record UserRecord
}

// Intent is a change of a user's record whose telling is not finished: the
// owners of Leave and Enter have to hear of it. It is kept in the user's
// partition under the incarnation that is to tell them, until settled; when
// that incarnation dies, the partition's owner tells them instead.
type Intent struct {
	User    UserID      `json:"u"`
	Version Version     `json:"v"`
	Conn    ConnNumber  `json:"c,omitempty"`
	Edge    Incarnation `json:"e,omitempty"`
	Leave   []RoomID    `json:"l,omitempty"`
	Enter   RoomID      `json:"n,omitempty"`
	Body    []byte      `json:"b,omitempty"`
	// Lost tells a loss (the rooms are owed a departure) from a move.
	Lost   bool      `json:"o,omitempty"`
	Reason string    `json:"why,omitempty"`
	At     time.Time `json:"at"`
}

// Settle forgets an intent.
type Settle struct {
	Partition PartitionID
	By        Incarnation
	User      UserID
	Version   Version
}

// Remains is what an incarnation left behind in one partition of users.
type Remains struct {
	Partition   PartitionID
	Incarnation Incarnation
	// Connections are those of its users whose latest connection it held.
	Connections []UserConn
	Intents     []Intent
}

// UserConn names one connection.
type UserConn struct {
	User UserID
	Conn ConnNumber
}

// UserAt names a user's record: its partition and the user.
type UserAt struct {
	Partition PartitionID
	User      UserID
}
