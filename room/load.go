package room

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/faac1247/rollcall/protocol"
)

// maxNumber bounds the numbers of entries and departures, so that what counts
// on from them can't overflow.
const maxNumber = 1 << 60

// Load returns the room that a journal describes, after a takeover: counting
// starts again in the new epoch, history and what is not journaled is gone,
// every edge is taken to live. entries are the room's own, as Split returns
// them. Load keeps them.
//
// An error means that this version can't read the journal; nothing that is
// journaled makes Load or the room it returns panic.
func Load(id protocol.RoomID, cfg *Config, epoch protocol.Epoch, mint func() protocol.DepartureID, entries map[string][]byte) (*Room, error) {
	r := New(id, cfg, epoch, mint)
	r.loaded = true
	l := loader{Room: r}
	for _, k := range slices.Sorted(maps.Keys(entries)) {
		if err := l.sort(k, entries[k]); err != nil {
			return nil, fmt.Errorf("journal entry %q: %w", k, err)
		}
	}
	if err := l.assemble(); err != nil {
		return nil, fmt.Errorf("journal of room %q: %w", id, err)
	}
	return r, nil
}

// loader reads a room's entries before it puts them together.
type loader struct {
	*Room
	in   []*occupant
	dues []*debt
}

// sort reads one entry. Those of unknown kinds are kept as they are.
func (l *loader) sort(k string, v []byte) error {
	rest, ok := strings.CutPrefix(k, string(l.id)+separator)
	if !ok {
		return errors.New("is another room's")
	}
	kind, name, _ := strings.Cut(rest, separator)
	switch kind {
	case kindSettings:
		return l.readSettings(name, v)
	case kindOccupant:
		return l.readOccupant(name, v)
	case kindDebt:
		return l.readDebt(name, v)
	case kindKey:
		return l.readKey(name, v)
	}
	if l.foreign == nil {
		l.foreign = make(map[string][]byte)
	}
	l.foreign[k] = v
	return nil
}

// decode reads an entry. f is where its format number goes.
func decode(v []byte, into any, f *int) error {
	if err := json.Unmarshal(v, into); err != nil {
		return err
	}
	if *f != format {
		return fmt.Errorf("format is %d, this version reads %d", *f, format)
	}
	return nil
}

func (l *loader) readSettings(name string, v []byte) error {
	var e settingsEntry
	if err := decode(v, &e, &e.Format); err != nil {
		return err
	}
	switch {
	case name != "":
		return errors.New("settings have no name")
	case e.Seats < 0 || e.Seats > maxSeats:
		return fmt.Errorf("%d seats", e.Seats)
	case e.KeepEmpty != nil && *e.KeepEmpty < 0:
		return fmt.Errorf("kept for %v", *e.KeepEmpty)
	case badTime(e.EmptySince):
		return fmt.Errorf("empty since %d", e.EmptySince)
	}
	t := &l.settings
	t.configured, t.seats, t.channel, t.keepEmpty = e.Configured, e.Seats, e.Channel, e.KeepEmpty
	t.emptySince, t.stored = fromNanos(e.EmptySince), true
	var err error
	if t.closed, err = seatSet(e.Closed); err != nil {
		return err
	}
	t.muted, err = seatSet(e.Muted)
	return err
}

func seatSet(seats []int) (map[int]bool, error) {
	set := make(map[int]bool, len(seats))
	for _, n := range seats {
		if n < 1 || n > maxSeats {
			return nil, fmt.Errorf("seat %d", n)
		}
		set[n] = true
	}
	return set, nil
}

func (l *loader) readOccupant(name string, v []byte) error {
	var e occupantEntry
	if err := decode(v, &e, &e.Format); err != nil {
		return err
	}
	user, err := protocol.ParseUserID(name)
	switch {
	case err != nil:
		return err
	case user.String() != name:
		return fmt.Errorf("name is not how user %d is written", user)
	case e.Number == 0 || e.Number > maxNumber:
		return fmt.Errorf("number %d", e.Number)
	case e.Seat < 0 || e.Seat > maxSeats || e.Seat != 0 && l.id.IsCall():
		return fmt.Errorf("seat %d", e.Seat)
	case badTime(e.Since) || badTime(e.Due):
		return fmt.Errorf("since %d, due %d", e.Since, e.Due)
	}
	l.in = append(l.in, &occupant{
		user: user, number: e.Number, version: e.Version, conn: e.Conn, edge: e.Edge,
		since: fromNanos(e.Since), profile: e.Profile, seat: e.Seat, due: fromNanos(e.Due),
	})
	return nil
}

func (l *loader) readDebt(name string, v []byte) error {
	var e debtEntry
	if err := decode(v, &e, &e.Format); err != nil {
		return err
	}
	switch {
	case name == "":
		return errors.New("departure has no id")
	case e.Number == 0 || e.Number > maxNumber:
		return fmt.Errorf("number %d", e.Number)
	case e.Subject <= 0 || e.Turn < 0 || e.Turn == e.Subject:
		return fmt.Errorf("subject %d, turn of %d", e.Subject, e.Turn)
	case e.Turn == 0 && l.id.IsCall():
		return errors.New("a call's departure is owed to nobody")
	case badTime(e.Deadline) || badTime(e.AskedAt) || e.Round < 0 || e.Round > maxNumber:
		return fmt.Errorf("deadline %d, asked at %d in round %d", e.Deadline, e.AskedAt, e.Round)
	}
	d := &debt{
		id: protocol.DepartureID(name), number: e.Number, subject: e.Subject, channel: e.Channel,
		deadline: fromNanos(e.Deadline), round: e.Round, turn: e.Turn, askedAt: fromNanos(e.AskedAt),
		conn: e.Conn, edge: e.Edge, gone: e.Gone,
	}
	if e.Seat != nil {
		d.seat = &protocol.SeatView{ID: e.Seat.Number, Status: e.Seat.Status, Microphone: e.Seat.Microphone}
	}
	for _, a := range e.Asked {
		if a.User <= 0 || d.askedOf(a.User) {
			return fmt.Errorf("user %d is asked", a.User)
		}
		d.asked = append(d.asked, asked{a.User, a.Round})
	}
	l.dues = append(l.dues, d)
	return nil
}

func (l *loader) readKey(name string, v []byte) error {
	var e keyEntry
	if err := decode(v, &e, &e.Format); err != nil {
		return err
	}
	m := remembered{number: e.Number, key: e.Key, reply: protocol.Reply{Epoch: e.Epoch, Seq: e.Seq, Delivered: e.Delivered}}
	if e.Number == 0 || e.Number > maxNumber || m.slot() != name || e.Key == "" {
		return fmt.Errorf("key %q has number %d", e.Key, e.Number)
	}
	l.keys.put(m)
	return nil
}

// badTime reports what is no time in this or the next century.
func badTime(n int64) bool { return n < 0 || n > maxNumber<<2 }

// assemble puts together what was read, and sets the timers.
func (l *loader) assemble() error {
	numbers := make(map[uint64]bool)
	for _, o := range l.in {
		if numbers[o.number] || o.seat != 0 && l.seated[o.seat] != nil {
			return fmt.Errorf("user %d has the number or seat of another", o.user)
		}
		numbers[o.number] = true
		l.entries = max(l.entries, o.number)
		l.admit(o)
		l.setOccupantAlarm(o)
	}
	if l.id.IsCall() && len(l.occupants) > 2 {
		return fmt.Errorf("a call of %d", len(l.occupants))
	}
	clear(numbers)
	for _, d := range l.dues {
		if numbers[d.number] || l.debts[d.subject] != nil || l.occupants[d.subject] != nil {
			return fmt.Errorf("departure %s has the number of another, or one too many of user %d", d.id, d.subject)
		}
		numbers[d.number] = true
		l.departed = max(l.departed, d.number)
		l.fileDebt(d)
	}
	for _, o := range l.in {
		l.rank(o) // after what they are asked for is known
	}
	for _, d := range l.dues {
		l.resume(d)
	}
	l.setRoomAlarms()
	return nil
}

// setOccupantAlarm limits the wait for an occupant that has no connection.
func (r *Room) setOccupantAlarm(o *occupant) {
	if o.edge != "" {
		return
	}
	due := o.due
	if due.IsZero() {
		due = o.since.Add(r.cfg.NeverConnected)
	}
	r.set(&o.alarm, due, o.number, timer{kind: timerOccupant, occupant: o})
}

// resume takes a debt up where the former owner left it: who was asked is
// waited for, as the frame may have gone out or not.
func (r *Room) resume(d *debt) {
	o := r.occupants[d.turn]
	if o != nil {
		o.turns.put(key{lo: d.number}, d)
	}
	if d.turn == 0 {
		r.waiting.put(key{lo: d.number}, d)
	}
	r.resumeAlarm(d)
}

// resumeAlarm sets when a debt is taken up again: at once for one that waits
// and need not, as more relays are taken to be online than its former owner
// knew of.
func (r *Room) resumeAlarm(d *debt) {
	if d.turn == 0 && r.relays.len() == 0 || r.id.IsCall() && d.edge == "" && !d.gone {
		r.set(&d.alarm, d.deadline, d.number, timer{kind: timerDebt, debt: d})
		return
	}
	r.setDebtAlarm(d)
}

// setRoomAlarms sets the timers of the room itself.
func (r *Room) setRoomAlarms() {
	if r.id.IsCall() && len(r.occupants) == 1 {
		_, o, _ := r.roster.min()
		r.set(&r.alone, o.since.Add(r.cfg.NeverConnected), 0, timer{kind: timerCall})
	}
	if r.Empty() && (r.settings.stored || len(r.keys.all()) > 0) {
		r.setEmptyAlarm()
	}
}
