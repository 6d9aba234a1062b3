package owner

import "github.com/faac1247/rollcall/protocol"

// maxDeparted bounds what a partition remembers of rooms that do not exist;
// the oldest goes first.
const maxDeparted = 256

// departed remembers in which version a user left a room that does not exist:
// the word of the enter before it may still be on its way, and must not bring
// the user back. Rooms that exist remember for themselves.
type departed struct {
	versions map[visit]protocol.Version
	order    []visit // oldest first
}

type visit struct {
	room protocol.RoomID
	user protocol.UserID
}

// note remembers an exit or a loss.
func (d *departed) note(cmd protocol.Command) {
	if cmd.Verb != protocol.VerbExit && cmd.Verb != protocol.VerbLoss || cmd.Version == 0 {
		return
	}
	v := visit{cmd.Room, cmd.User}
	if d.versions == nil {
		d.versions = make(map[visit]protocol.Version)
	}
	if _, known := d.versions[v]; !known {
		d.order = append(d.order, v)
	}
	d.versions[v] = max(d.versions[v], cmd.Version)
	if len(d.order) > maxDeparted {
		delete(d.versions, d.order[0])
		d.order = d.order[1:]
	}
}

// after reports whether an enter comes after the user's leaving.
func (d *departed) after(cmd protocol.Command) bool {
	return cmd.Verb == protocol.VerbEnter && cmd.Version != 0 && cmd.Version <= d.versions[visit{cmd.Room, cmd.User}]
}
