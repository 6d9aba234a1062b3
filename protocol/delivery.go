package protocol

// Publication is one frame that an owner delivers to a whole room, through
// every edge that has occupants of it.
type Publication struct {
	Room  RoomID
	Epoch Epoch
	// Seq is 0 for a presence frame, which is not numbered.
	Seq Seq
	// Importance is 1 (highest) to 16; a slow client loses the highest numbers
	// first. 0 is taken as 8.
	Importance uint8
	// Except gets the frame only if it asked for protocol version 2.
	Except UserID
	// Only, when set, is the single addressee: the relay in room delivery "one".
	Only UserID
	// V2 frames go only to connections that asked for protocol version 2.
	V2 bool
	// Frame is the JSON object as clients get it.
	Frame []byte
}

// Notice is one frame for one user: a departure, a ptp publication, a kick.
type Notice struct {
	User UserID `json:"user"`
	// Conn is the connection addressed, 0 for the user's latest.
	Conn ConnNumber `json:"conn,omitempty"`
	Room RoomID     `json:"room,omitempty"`
	// Departure is set on exit_room and hang_up. The edge remembers which
	// departures it has put to a connection and in what order, so that a report
	// without an id settles the oldest one of its user.
	Departure DepartureID `json:"departure,omitempty"`
	// Subject is the user whose departure this is.
	Subject UserID `json:"subject,omitempty"`
	Frame   []byte `json:"frame,omitempty"`
	// Kick closes the connection after the frame.
	Kick bool `json:"kick,omitempty"`
}

// NoticeOutcome is what an edge did with a Notice.
type NoticeOutcome uint8

const (
	// NoticeDelivered: the frame is in the connection's outbox.
	NoticeDelivered NoticeOutcome = iota + 1
	// NoticeGone: the addressed connection is not at this edge any more.
	NoticeGone
	// NoticeElsewhere: the user is in another call, so a hang_up is moot.
	NoticeElsewhere
)

// Subscription adds a connection to a room at its edge, or takes it out.
type Subscription struct {
	Room    RoomID      `json:"room"`
	User    UserID      `json:"user"`
	Conn    ConnNumber  `json:"conn"`
	Version Version     `json:"version"`
	Owner   Incarnation `json:"owner,omitempty"`
	Epoch   Epoch       `json:"epoch"`
	Seq     Seq         `json:"seq"`
	// Off takes the connection out.
	Off bool `json:"off,omitempty"`
	// Entered is the version 2 client's own entered frame, when it just came in.
	Entered []byte `json:"entered,omitempty"`
}

// Attach is the owner of a partition telling one edge whom it believes there.
// Without Rooms it is only the hash of that list.
type Attach struct {
	Partition PartitionID  `json:"partition"`
	Owner     Incarnation  `json:"owner"`
	Epoch     Epoch        `json:"epoch"`
	Hash      uint64       `json:"hash"`
	Full      bool         `json:"full,omitempty"`
	Rooms     []AttachRoom `json:"rooms,omitempty"`
}

// AttachRoom is one room of an Attach.
type AttachRoom struct {
	Room      RoomID     `json:"room"`
	Seq       Seq        `json:"seq"`
	Occupants []Occupant `json:"occupants"`
}

// Occupant is one believed occupant of a room at an edge.
type Occupant struct {
	User    UserID     `json:"user"`
	Conn    ConnNumber `json:"conn"`
	Version Version    `json:"version"`
}

// Attached is the edge's answer.
type Attached struct {
	// Differs asks for a full Attach: the hashes are not equal.
	Differs bool `json:"differs,omitempty"`
	// Absent are listed occupants whose connection is not here.
	Absent []Subscription `json:"absent,omitempty"`
	// Unlisted are connections here that believe themselves in a room of this
	// partition where the owner does not have them.
	Unlisted []Subscription `json:"unlisted,omitempty"`
	// Outranked is a later epoch that this edge has heard for the partition.
	Outranked Epoch `json:"outranked,omitempty"`
}
