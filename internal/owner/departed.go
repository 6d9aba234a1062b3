package owner

import (
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/room"
)

const (
	// maxLeft and maxReplies bound what a partition remembers of rooms that do
	// not exist; the oldest goes first.
	maxLeft    = 1024
	maxReplies = 256
)

// departed is what a partition remembers of rooms that do not exist,
// or did not for a while: in which version users left, since the word of the enter before it may still be on its
// way and must not bring them back, and what was answered to commands with a
// key, which may be repeated. Rooms that exist remember what comes on.
type departed struct {
	left    remembrance[visit, protocol.Version]
	replies remembrance[request, protocol.Reply]
}

type visit struct {
	room protocol.RoomID
	user protocol.UserID
}

type request struct {
	room protocol.RoomID
	key  string
}

// note remembers an exit or a loss.
func (d *departed) note(cmd protocol.Command) {
	if cmd.Verb == protocol.VerbExit || cmd.Verb == protocol.VerbLoss {
		d.leave(visit{cmd.Room, cmd.User}, cmd.Version)
	}
}

func (d *departed) leave(v visit, version protocol.Version) {
	if version != 0 {
		d.left.put(v, max(d.left.values[v], version), maxLeft)
	}
}

// take remembers for a room that is dropped.
func (d *departed) take(r *room.Room) {
	for user, version := range r.Removed() {
		d.leave(visit{r.ID(), user}, version)
	}
	for key, reply := range r.Replies() {
		d.replies.put(request{r.ID(), key}, reply, maxReplies)
	}
}

// after reports whether an enter comes after the user's leaving.
func (d *departed) after(cmd protocol.Command) bool {
	return cmd.Verb == protocol.VerbEnter && cmd.Version != 0 && cmd.Version <= d.left.values[visit{cmd.Room, cmd.User}]
}

// reply returns what was answered to a command of the same key.
func (d *departed) reply(cmd protocol.Command) (protocol.Reply, bool) {
	if cmd.Key == "" {
		return protocol.Reply{}, false
	}
	reply, ok := d.replies.values[request{cmd.Room, cmd.Key}]
	return reply, ok
}

// remembrance is a map of bounded size.
type remembrance[K comparable, V any] struct {
	values map[K]V
	order  []K // oldest first
}

func (m *remembrance[K, V]) put(k K, v V, limit int) {
	if m.values == nil {
		m.values = make(map[K]V)
	}
	if _, known := m.values[k]; !known {
		m.order = append(m.order, k)
	}
	m.values[k] = v
	if len(m.order) > limit {
		delete(m.values, m.order[0])
		m.order = m.order[1:]
	}
}
