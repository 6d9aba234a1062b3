package room

import "github.com/faac1247/rollcall/protocol"

// Result is what must follow from one event, in the order of the package
// comment. Its slices belong to the caller.
type Result struct {
	// Reply answers a command.
	Reply protocol.Reply
	// Changes are the event's to the journal, to be applied in order; a nil
	// Value deletes.
	Changes []protocol.Change
	// Publications are in order, their frames complete. Frames are shared with
	// the room's history and must not be written to.
	Publications []protocol.Publication
	// Notices are frames for one connection each.
	Notices []Notice
	// Subscriptions are connections that come into the room or leave it. The
	// caller fills Owner.
	Subscriptions []Subscription
	// Evicted are users whose records must lose this room or call.
	Evicted []Eviction
	// Events are to be told to whoever subscribed. The caller fills ID, Node
	// and Epoch.
	Events []protocol.Event
}

// Notice is a frame for one connection at Edge. What became of a departure's
// frame is told to Noticed.
type Notice struct {
	protocol.Notice
	Edge protocol.Incarnation
}

// Subscription is for one connection at Edge.
type Subscription struct {
	protocol.Subscription
	Edge protocol.Incarnation
}

// Eviction is a user who is out of the room by the room's decision. The user's
// record must lose the room, unless the user has entered it anew since Version.
type Eviction struct {
	User    protocol.UserID
	Version protocol.Version
	Reason  string
}

// The reasons that a room gives itself; others come with the commands.
const (
	// ReasonClosed: the connection closed. It is a loss's when none is given.
	ReasonClosed = "closed"
	// ReasonExited: an exit without a reason of its own.
	ReasonExited = "exited"
	// ReasonRoomClosed: the room was closed.
	ReasonRoomClosed = "room_closed"
	// ReasonCallEnded: the other party is gone, or the call was ended.
	ReasonCallEnded = "call_ended"
	// ReasonNeverConnected: entered and not connected in time.
	ReasonNeverConnected = "never_connected"
	// ReasonIncomplete: the call's second party did not enter in time.
	ReasonIncomplete = "incomplete"
	// ReasonNodeLost: the edge died and nothing more was heard of the user.
	ReasonNodeLost = "node_lost"
)
