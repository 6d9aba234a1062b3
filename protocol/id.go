package protocol

import (
	"fmt"
	"strconv"
	"strings"
)

// UserID names an identity. It is positive; 0 means no user.
type UserID int64

// ParseUserID reads the decimal form that paths, sids and frames carry.
func ParseUserID(s string) (UserID, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("user id %q is not a positive number", s)
	}
	return UserID(n), nil
}

func (u UserID) String() string { return strconv.FormatInt(int64(u), 10) }

// callPrefix marks the rooms that are calls. A slash never occurs in the id of
// a voice room, so the two kinds share maps, partitions and journals without
// ever meeting.
const callPrefix = "call/"

// RoomID names a room. A call is a room of two, named by CallRoom.
type RoomID string

// CallRoom returns the room of the call with this number.
func CallRoom(callNo string) RoomID { return RoomID(callPrefix + callNo) }

// IsCall tells a call from a voice room.
func (r RoomID) IsCall() bool { return strings.HasPrefix(string(r), callPrefix) }

// CallNo returns the number of a call, and "" for a voice room.
func (r RoomID) CallNo() string {
	if !r.IsCall() {
		return ""
	}
	return string(r[len(callPrefix):])
}

// ValidName reports whether s can name a room, a call or a node:
// one to 64 of A-Z a-z 0-9 _ . -
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

// NodeID names a node for as long as it is configured, across restarts.
type NodeID string

// Incarnation names one life of a node: its id and the boot id drawn when the
// process started. A dead incarnation never returns.
type Incarnation string

// NewIncarnation joins a node id and a boot id.
func NewIncarnation(node NodeID, boot string) Incarnation {
	return Incarnation(string(node) + "@" + boot)
}

// Node returns the node whose life this is.
func (i Incarnation) Node() NodeID {
	id, _, _ := strings.Cut(string(i), "@")
	return NodeID(id)
}

// PartitionID numbers one of the cluster's fixed partitions.
type PartitionID uint16

// Epoch is the ordered fence of one partition's ownership. Epochs of different
// partitions are not comparable.
type Epoch uint64

// Seq is a position among a room's publications, valid within one epoch.
type Seq uint64

// ConnNumber orders the connections of one user; a higher one supersedes.
type ConnNumber uint64

// Version orders the changes of one user's record: where the user is.
type Version uint64

// DepartureID names one departure for good, whoever owns it when.
type DepartureID string

// NewDepartureID returns the id of the n-th departure that the owner of a
// partition committed in an epoch.
func NewDepartureID(p PartitionID, e Epoch, n uint64) DepartureID {
	return DepartureID(fmt.Sprintf("%d-%d-%d", p, uint64(e), n))
}
