package protocol

import (
	"encoding/json"
	"time"
)

// Verb is what a Command asks of the owner of a room.
type Verb string

const (
	VerbEnter     Verb = "enter"     // User comes in; Version, Conn, Edge, Profile, Quiet
	VerbExit      Verb = "exit"      // User leaves; nobody is owed a departure
	VerbLoss      Verb = "loss"      // User's connection is gone; the room is owed a departure
	VerbPresent   Verb = "present"   // User has a new connection: Conn, Edge, Version
	VerbReport    Verb = "report"    // relay User has told the room that Subject left
	VerbSeat      Verb = "seat"      // change one seat: Seat, SeatChange, Subject
	VerbConfigure Verb = "configure" // change the room's settings: Settings
	VerbClose     Verb = "close"     // end the room or call; nobody is owed anything
	VerbPublish   Verb = "publish"   // a frame to the whole room, or to Subject alone
	VerbLook      Verb = "look"      // the roster: After, Limit
	VerbSync      Verb = "sync"      // what was published after (Epoch, Seq)
)

// Moves reports whether a command follows from a change of a user's record, and
// is repeated until its owner has committed it.
func (v Verb) Moves() bool {
	switch v {
	case VerbEnter, VerbExit, VerbLoss, VerbPresent:
		return true
	}
	return false
}

// Command is a request to the owner of Room. It is encoded as JSON between
// nodes and applied as it stands within one.
//
// A command may be repeated: Key names it, and a room remembers the last 16
// keys of the commands that changed it. Enter, exit, loss and present are also
// ordered by Version, so that a late one changes nothing.
type Command struct {
	Verb Verb   `json:"verb"`
	Room RoomID `json:"room"`
	Key  string `json:"key,omitempty"`

	User    UserID      `json:"user,omitempty"`
	Version Version     `json:"version,omitempty"`
	Conn    ConnNumber  `json:"conn,omitempty"`
	Edge    Incarnation `json:"edge,omitempty"`
	Profile *Profile    `json:"profile,omitempty"`
	Quiet   bool        `json:"quiet,omitempty"`
	Reason  string      `json:"reason,omitempty"`

	// Subject is the user that a report, a seat change or a ptp publication is
	// about, where that is not User.
	Subject   UserID      `json:"subject,omitempty"`
	Departure DepartureID `json:"departure,omitempty"`

	Seat       int         `json:"seat,omitempty"`
	SeatChange *SeatChange `json:"seat_change,omitempty"`
	Settings   *Settings   `json:"settings,omitempty"`

	Frame json.RawMessage `json:"frame,omitempty"`

	Epoch Epoch  `json:"epoch,omitempty"`
	Seq   Seq    `json:"seq,omitempty"`
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// What a Profile may hold.
const (
	// MaxName is the bytes of a nickname or a channel_name.
	MaxName = 256
	// MaxAvatarURL is the bytes of an avatar's URL.
	MaxAvatarURL = 1024
	// MaxSex is the highest sex.
	MaxSex = 9
)

// Profile is what a room shows of an occupant.
type Profile struct {
	Nickname       string `json:"nickname"`
	Sex            int    `json:"sex"`
	AvatarURL      string `json:"avatar_url"`
	AvatarSmallURL string `json:"avatar_small_url"`
	ChannelName    string `json:"channel_name,omitempty"`
	// Role is "host" or "audience".
	Role string `json:"role,omitempty"`
}

// SeatChange says what to do with a seat. Exactly one of the fields is set;
// Down without User empties the seat whoever sits there.
type SeatChange struct {
	Up         UserID `json:"up,omitempty"`
	Down       bool   `json:"down,omitempty"`
	Status     *int   `json:"status,omitempty"`
	Microphone *bool  `json:"microphone,omitempty"`
}

// Settings are a room's, nil for unchanged.
type Settings struct {
	Seats       *int           `json:"seats,omitempty"`
	ChannelName *string        `json:"channel_name,omitempty"`
	KeepEmpty   *time.Duration `json:"keep_empty,omitempty"`
}

// Reply is the owner's answer to a Command.
type Reply struct {
	// Code is empty for success.
	Code    Code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Owner and OwnerEpoch say who owns the partition, with CodeMoved.
	Owner      Incarnation `json:"owner,omitempty"`
	OwnerEpoch Epoch       `json:"owner_epoch,omitempty"`

	Epoch     Epoch `json:"epoch,omitempty"`
	Seq       Seq   `json:"seq,omitempty"`
	Delivered int   `json:"delivered,omitempty"`
	// Volatile: the change is applied and told, but not committed, because the
	// store is away.
	Volatile bool `json:"volatile,omitempty"`
	// Body is the answer's payload: a RoomView for look, frames for sync.
	Body json.RawMessage `json:"body,omitempty"`
}

// Err returns the reply's error, nil for success.
func (r Reply) Err() error {
	if r.Code == "" {
		return nil
	}
	return &Error{Code: r.Code, Message: r.Message}
}

// RoomView is a room as the backend sees it.
type RoomView struct {
	RoomID      string         `json:"room_id"`
	Node        NodeID         `json:"node"`
	Epoch       Epoch          `json:"epoch"`
	Seq         Seq            `json:"seq"`
	Rev         uint64         `json:"rev"`
	Count       int            `json:"count"`
	ChannelName string         `json:"channel_name"`
	Occupants   []OccupantView `json:"occupants"`
	Seats       []SeatView     `json:"seats"`
	// Next is the After of the following page, empty on the last.
	Next string `json:"next"`
}

// OccupantView is one line of a roster.
type OccupantView struct {
	UserID UserID `json:"user_id"`
	Profile
	// Seat is the number of the seat, 0 for none.
	Seat  int       `json:"seat"`
	Since time.Time `json:"since"`
	// Online is false while the occupant's connection is gone and the loss is
	// not declared yet.
	Online bool `json:"online"`
}

// SeatView is one seat: status 0 closed, 1 open.
type SeatView struct {
	ID         int    `json:"id"`
	Status     int    `json:"status"`
	Microphone bool   `json:"microphone"`
	UserID     UserID `json:"user_id"`
}

// SyncView answers a sync: the missed frames in order, or, with Resync, the
// state to start over from.
type SyncView struct {
	Epoch  Epoch             `json:"epoch"`
	Seq    Seq               `json:"seq"`
	Frames []json.RawMessage `json:"frames,omitempty"`
	Resync *RoomView         `json:"resync,omitempty"`
}

// Event is something that happened, as webhooks and event streams tell it.
type Event struct {
	ID     string    `json:"id"`
	Event  string    `json:"event"`
	At     time.Time `json:"at"`
	Node   NodeID    `json:"node,omitempty"`
	UserID UserID    `json:"user_id,omitempty"`
	RoomID string    `json:"room_id,omitempty"`
	CallNo string    `json:"call_no,omitempty"`
	Seat   int       `json:"seat,omitempty"`
	Reason string    `json:"reason,omitempty"`
	// DepartureID goes with lost and unreported.
	DepartureID DepartureID `json:"departure_id,omitempty"`
	Epoch       Epoch       `json:"epoch,omitempty"`
}
