package room

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	testRoom = protocol.RoomID("100")
	testCall = protocol.RoomID("call/c1")
	edgeA    = protocol.Incarnation("n1@a")
	edgeB    = protocol.Incarnation("n2@b")
)

// tester is what rapid and testing have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// owner drives a room as its owner would: it keeps the journal, the clock and
// the last results, and after every step holds the room to what it promises of
// them.
type owner struct {
	tb      tester
	cfg     *Config
	id      protocol.RoomID
	room    *Room
	now     time.Time
	start   time.Time
	epoch   protocol.Epoch
	minted  int
	journal map[string][]byte
	last    Result
	err     error
}

func newOwner(tb tester, id protocol.RoomID, cfg Config) *owner {
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	w := &owner{tb: tb, cfg: &cfg, id: id, now: start, start: start, epoch: 7, journal: make(map[string][]byte)}
	w.room = New(id, w.cfg, w.epoch, w.mint)
	return w
}

func (w *owner) mint() protocol.DepartureID {
	w.minted++
	return protocol.NewDepartureID(3, w.epoch, uint64(w.minted))
}

// apply applies a command and returns the result, for commands that work.
func (w *owner) apply(cmd protocol.Command) Result {
	w.tb.Helper()
	if err := w.try(cmd); err != nil {
		w.tb.Fatalf("%s of user %d: %v", cmd.Verb, cmd.User, err)
	}
	return w.last
}

// refused applies a command that must be refused.
func (w *owner) refused(cmd protocol.Command, want protocol.Code) {
	w.tb.Helper()
	if err := w.try(cmd); protocol.CodeOf(err) != want {
		w.tb.Errorf("%s of user %d: %v, want %s", cmd.Verb, cmd.User, err, want)
	}
}

func (w *owner) try(cmd protocol.Command) error {
	w.tb.Helper()
	cmd.Room = w.id
	before := w.room.Entries()
	seq := w.room.Seq()
	res, err := w.room.Apply(cmd, w.now)
	w.err = err
	if err != nil {
		w.last = Result{}
		if !equalEntries(before, w.room.Entries()) || seq != w.room.Seq() {
			w.tb.Errorf("%s of user %d was refused (%v) and changed the room", cmd.Verb, cmd.User, err)
		}
		return err
	}
	w.take(res)
	return nil
}

// take commits a result and checks what every result must keep.
func (w *owner) take(res Result) Result {
	w.tb.Helper()
	w.last = res
	for _, c := range res.Changes {
		if c.Value == nil {
			delete(w.journal, c.Key)
		} else {
			w.journal[c.Key] = c.Value
		}
	}
	if entries := w.room.Entries(); !equalEntries(w.journal, entries) {
		w.tb.Fatalf("the changes add up to\n%s\nthe room's entries are\n%s", dump(w.journal), dump(entries))
	}
	seq := w.room.Seq()
	for _, p := range res.Publications {
		if p.Seq != 0 {
			seq--
		}
	}
	for _, p := range res.Publications {
		number := seq // that of the publication before, for one that has none
		if p.Seq != 0 {
			seq++
			number = seq
		} else if p.Only == 0 || !p.V2 {
			w.tb.Fatalf("%s goes to everybody and has no number", p.Frame)
		}
		if p.Seq != 0 && p.Seq != seq || p.Epoch != w.epoch || p.Room != w.id {
			w.tb.Fatalf("publication %d of epoch %d, want %d of %d", p.Seq, p.Epoch, seq, w.epoch)
		}
		var frame struct {
			Epoch protocol.Epoch `json:"epoch"`
			Seq   protocol.Seq   `json:"seq"`
		}
		if err := json.Unmarshal(p.Frame, &frame); err != nil || frame.Epoch != p.Epoch || frame.Seq != number {
			w.tb.Fatalf("frame %s is not numbered %d of epoch %d (%v)", p.Frame, number, p.Epoch, err)
		}
	}
	for _, n := range res.Notices {
		if n.Edge == "" || n.Conn == 0 && n.Departure != "" {
			w.tb.Fatalf("notice to user %d has no address: %+v", n.User, n)
		}
	}
	return res
}

// pass lets time go by, firing what falls due when it does.
func (w *owner) pass(d time.Duration) (all []Result) {
	w.tb.Helper()
	until := w.now.Add(d)
	for {
		next := w.room.Next()
		if next.IsZero() || next.After(until) {
			break
		}
		if next.After(w.now) {
			w.now = next
		}
		all = append(all, w.take(w.room.Tick(w.now)))
		if after := w.room.Next(); after.Equal(next) {
			w.tb.Fatalf("what was due at %v is still due", next)
		}
	}
	w.now = until
	return all
}

// crash replaces the room by what its journal describes, in a new epoch.
func (w *owner) crash() {
	w.tb.Helper()
	w.epoch++
	r, err := Load(w.id, w.cfg, w.epoch, w.mint, maps.Clone(w.journal))
	if err != nil {
		w.tb.Fatalf("load: %v", err)
	}
	w.room = r
	if entries := r.Entries(); !equalEntries(w.journal, entries) {
		w.tb.Fatalf("loaded from\n%s\nthe room's entries are\n%s", dump(w.journal), dump(entries))
	}
}

// handOver gives the room to another owner.
func (w *owner) handOver() {
	w.tb.Helper()
	export, err := w.room.Export()
	if err != nil {
		w.tb.Fatal(err)
	}
	w.epoch++
	former := w.room
	w.room, err = Import(w.id, w.cfg, w.epoch, w.mint, maps.Clone(w.journal), export)
	if err != nil {
		w.tb.Fatalf("import: %v", err)
	}
	if w.room.Seq() != former.Seq() || !equalEntries(former.Entries(), w.room.Entries()) {
		w.tb.Fatal("the handover changed the room")
	}
}

func (w *owner) enter(user protocol.UserID, version protocol.Version, edge protocol.Incarnation) Result {
	w.tb.Helper()
	conn := protocol.ConnNumber(1)
	if edge == "" {
		conn = 0
	}
	return w.apply(protocol.Command{
		Verb: protocol.VerbEnter, User: user, Version: version, Conn: conn, Edge: edge, Profile: profileOf(user),
	})
}

func (w *owner) lose(user protocol.UserID, version protocol.Version) Result {
	w.tb.Helper()
	return w.apply(protocol.Command{Verb: protocol.VerbLoss, User: user, Version: version, Reason: "timeout"})
}

func (w *owner) up(user protocol.UserID, seat int) Result {
	w.tb.Helper()
	return w.apply(protocol.Command{Verb: protocol.VerbSeat, Seat: seat, SeatChange: &protocol.SeatChange{Up: user}})
}

func profileOf(user protocol.UserID) *protocol.Profile {
	return &protocol.Profile{Nickname: fmt.Sprintf("名%d", user), AvatarURL: "http://a/<b>&", ChannelName: "own"}
}

// askedNow returns the one relay that a result asks, 0 for none.
func askedNow(tb tester, res Result) protocol.UserID {
	tb.Helper()
	switch len(res.Notices) {
	case 0:
		return 0
	case 1:
		return res.Notices[0].User
	}
	tb.Fatalf("%d relays are asked at once", len(res.Notices))
	return 0
}

func equalEntries(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func dump(entries map[string][]byte) string {
	var b bytes.Buffer
	for _, k := range sortedKeys(entries) {
		fmt.Fprintf(&b, "  %s = %s\n", k, entries[k])
	}
	return b.String()
}
