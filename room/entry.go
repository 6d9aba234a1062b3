package room

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// The kinds of journal entries.
const (
	kindSettings = "m"
	kindOccupant = "o"
	kindDebt     = "d"
	kindKey      = "k"
)

// The entries, as they are in the journal. Times are nanoseconds since 1970, 0
// for none.
type (
	settingsEntry struct {
		Format     int            `json:"f"`
		Configured bool           `json:"c,omitempty"`
		Seats      int            `json:"s,omitempty"`
		Channel    string         `json:"n,omitempty"`
		KeepEmpty  *time.Duration `json:"k,omitempty"`
		Closed     []int          `json:"x,omitempty"`
		Muted      []int          `json:"q,omitempty"`
		EmptySince int64          `json:"e,omitempty"`
	}
	occupantEntry struct {
		Format  int                  `json:"f"`
		Number  uint64               `json:"n"`
		Version protocol.Version     `json:"v,omitempty"`
		Conn    protocol.ConnNumber  `json:"c,omitempty"`
		Edge    protocol.Incarnation `json:"e,omitempty"`
		Since   int64                `json:"t"`
		Seat    int                  `json:"s,omitempty"`
		Due     int64                `json:"u,omitempty"`
		Profile protocol.Profile     `json:"p"`
	}
	debtEntry struct {
		Format   int                  `json:"f"`
		Number   uint64               `json:"n"`
		Subject  protocol.UserID      `json:"u"`
		Seat     *seatEntry           `json:"s,omitempty"`
		Channel  string               `json:"h,omitempty"`
		Deadline int64                `json:"l"`
		Asked    []askedEntry         `json:"a,omitempty"`
		Round    int                  `json:"r,omitempty"`
		Turn     protocol.UserID      `json:"w,omitempty"`
		AskedAt  int64                `json:"t,omitempty"`
		Conn     protocol.ConnNumber  `json:"c,omitempty"`
		Edge     protocol.Incarnation `json:"e,omitempty"`
		Gone     bool                 `json:"g,omitempty"`
	}
	seatEntry struct {
		Number     int  `json:"n"`
		Status     int  `json:"s"`
		Microphone bool `json:"m"`
	}
	askedEntry struct {
		User  protocol.UserID `json:"u"`
		Round int             `json:"r,omitempty"`
	}
	keyEntry struct {
		Format    int            `json:"f"`
		Number    uint64         `json:"n"`
		Key       string         `json:"k"`
		Epoch     protocol.Epoch `json:"e"`
		Seq       protocol.Seq   `json:"s"`
		Delivered int            `json:"d,omitempty"`
	}
)

// separator parts a room's id from the kind of an entry, and that from its
// name. No id has it.
const separator = ":"

func (r *Room) entryKey(kind, name string) string {
	return string(r.id) + separator + kind + separator + name
}

func (r *Room) settingsKey() string { return r.entryKey(kindSettings, "") }

func (r *Room) occupantKey(user protocol.UserID) string {
	return r.entryKey(kindOccupant, user.String())
}

func (s *step) storeOccupant(o *occupant) { s.store(s.occupantKey(o.user), s.occupantEntry(o)) }

func (s *step) storeDebt(d *debt) { s.store(s.entryKey(kindDebt, string(d.id)), s.debtEntry(d)) }

func (r *Room) settingsEntry() settingsEntry {
	t := &r.settings
	return settingsEntry{
		Format: r.cfg.Format, Configured: t.configured, Seats: t.seats, Channel: t.channel,
		KeepEmpty: t.keepEmpty, Closed: slices.Sorted(maps.Keys(t.closed)),
		Muted: slices.Sorted(maps.Keys(t.muted)), EmptySince: nanos(t.emptySince),
	}
}

func (r *Room) occupantEntry(o *occupant) occupantEntry {
	return occupantEntry{
		Format: r.cfg.Format, Number: o.number, Version: o.version, Conn: o.conn, Edge: o.edge,
		Since: nanos(o.since), Seat: o.seat, Due: nanos(o.due), Profile: o.profile,
	}
}

func (r *Room) debtEntry(d *debt) debtEntry {
	e := debtEntry{
		Format: r.cfg.Format, Number: d.number, Subject: d.subject, Channel: d.channel,
		Deadline: nanos(d.deadline), Round: d.round, Turn: d.turn, AskedAt: nanos(d.askedAt),
		Conn: d.conn, Edge: d.edge, Gone: d.gone,
	}
	if d.seat != nil {
		e.Seat = &seatEntry{d.seat.ID, d.seat.Status, d.seat.Microphone}
	}
	for _, a := range d.asked {
		e.Asked = append(e.Asked, askedEntry{a.user, a.round})
	}
	return e
}

func (r *Room) keyEntry(m remembered) keyEntry {
	return keyEntry{
		Format: r.cfg.Format, Number: m.number, Key: m.key,
		Epoch: m.reply.Epoch, Seq: m.reply.Seq, Delivered: m.reply.Delivered,
	}
}

// Entries returns the whole journal of the room, which is what all Changes it
// has returned add up to.
func (r *Room) Entries() map[string][]byte {
	entries := maps.Clone(r.foreign)
	if entries == nil {
		entries = make(map[string][]byte)
	}
	if r.settings.stored {
		entries[r.settingsKey()] = encode(r.settingsEntry())
	}
	for _, o := range r.roster.all() {
		entries[r.occupantKey(o.user)] = encode(r.occupantEntry(o))
	}
	for _, d := range r.owed.all() {
		entries[r.entryKey(kindDebt, string(d.id))] = encode(r.debtEntry(d))
	}
	for _, m := range r.keys.all() {
		entries[r.entryKey(kindKey, m.slot())] = encode(r.keyEntry(m))
	}
	return entries
}

// Split sorts a partition's journal by room.
func Split(entries map[string][]byte) (map[protocol.RoomID]map[string][]byte, error) {
	rooms := make(map[protocol.RoomID]map[string][]byte)
	for k, v := range entries {
		id, _, ok := strings.Cut(k, separator)
		if !ok || id == "" {
			return nil, fmt.Errorf("journal entry %q belongs to no room", k)
		}
		room := rooms[protocol.RoomID(id)]
		if room == nil {
			room = make(map[string][]byte)
			rooms[protocol.RoomID(id)] = room
		}
		room[k] = v
	}
	return rooms, nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
