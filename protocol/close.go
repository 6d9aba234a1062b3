package protocol

// CloseCode is the status with which the server closes a websocket. Each goes
// with one reason word, which is as stable as the number.
type CloseCode uint16

const (
	// CloseDrain: the node is going away. After a random part of the
	// retry_after that the drain frame told, the client asks end_point again
	// and connects to what it answers. Nobody is expelled meanwhile.
	CloseDrain CloseCode = 1012
	// CloseOverloaded: the node holds as much as it can. The client does as
	// after CloseDrain.
	CloseOverloaded CloseCode = 1013
	// CloseSuperseded: the user has a newer connection. The client stays away:
	// coming back would supersede the newer one in its turn.
	CloseSuperseded CloseCode = 4001
	// CloseTimeout: no heartbeat came in time, and the user counts as lost. The
	// client connects again and then learns where it is.
	CloseTimeout CloseCode = 4002
	// CloseKicked: the backend closed the connection. The client stays away
	// until its user signs in anew.
	CloseKicked CloseCode = 4003
	// CloseUnauthenticated: the sid belongs to nobody, or has run out. The
	// client stays away until it has a new one.
	CloseUnauthenticated CloseCode = 4004
	// CloseSlow: the client reads more slowly than it is written to. It
	// connects again, and then asks for what it missed.
	CloseSlow CloseCode = 4005
	// CloseAbusive: too many frames, or too many bad ones. The client mends its
	// ways before it connects again.
	CloseAbusive CloseCode = 4006
)

// Reason returns the word that goes with a close code, "" for codes that are
// not the server's.
func (c CloseCode) Reason() string {
	switch c {
	case CloseDrain:
		return "drain"
	case CloseOverloaded:
		return "overloaded"
	case CloseSuperseded:
		return "superseded"
	case CloseTimeout:
		return "timeout"
	case CloseKicked:
		return "kicked"
	case CloseUnauthenticated:
		return "unauthenticated"
	case CloseSlow:
		return "slow"
	case CloseAbusive:
		return "abusive"
	default:
		return ""
	}
}

// Reconnect reports whether a client that was closed with this code connects
// again by itself. Unknown codes, such as that of a broken connection, are an
// accident and do; those that repeating can't mend do not.
func (c CloseCode) Reconnect() bool {
	switch c {
	case CloseSuperseded, CloseKicked, CloseUnauthenticated, CloseAbusive:
		return false
	default:
		return true
	}
}
