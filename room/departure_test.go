package room

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// TestRelayOrder: hosts in the order of entry, seats in theirs, then the latest
// entrant; only who is online; never who left; and who was asked for too much
// after all others.
func TestRelayOrder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		setUp func(*owner)
		want  []protocol.UserID
	}{
		{"latest entrant first", func(*owner) {}, []protocol.UserID{4, 3, 2, 1}},
		{"seats before all others", func(w *owner) { w.up(1, 7); w.up(3, 2) }, []protocol.UserID{3, 1, 4, 2}},
		{"hosts before seats", func(w *owner) {
			w.up(4, 1)
			for _, user := range []protocol.UserID{3, 2} {
				p := *profileOf(user)
				p.Role = "host"
				w.apply(protocol.Command{Verb: protocol.VerbEnter, User: user, Version: 2, Conn: 1, Edge: edgeA, Profile: &p})
			}
		}, []protocol.UserID{2, 3, 4, 1}},
		{"not who is offline", func(w *owner) {
			w.take(w.room.Noticed("", 4, 1, protocol.NoticeGone, w.now))
			w.apply(protocol.Command{Verb: protocol.VerbExit, User: 2, Version: 2})
		}, []protocol.UserID{3, 1}},
		{"a new connection is online again", func(w *owner) {
			w.take(w.room.EdgeDied(edgeA, w.now))
			w.apply(protocol.Command{Verb: protocol.VerbPresent, User: 2, Version: 1, Conn: 2, Edge: edgeB})
		}, []protocol.UserID{2}},
		{"down is no seat", func(w *owner) {
			w.up(1, 1)
			w.apply(protocol.Command{Verb: protocol.VerbSeat, Seat: 1, SeatChange: &protocol.SeatChange{Down: true}})
		}, []protocol.UserID{4, 3, 2, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newOwner(t, testRoom, Config{})
			for user := protocol.UserID(1); user <= 5; user++ {
				w.enter(user, 1, edgeA)
			}
			w.up(5, 8)
			test.setUp(w)
			got := []protocol.UserID{askedNow(t, w.lose(5, 9))}
			for range len(test.want) - 1 {
				got = append(got, askedNow(t, w.pass(5 * time.Second)[0]))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("asked %v, want %v", got, test.want)
			}
			if again := askedNow(t, w.pass(5 * time.Second)[0]); again != test.want[0] {
				t.Errorf("after all have been asked, %d is, want %d", again, test.want[0])
			}
		})
	}
}

// TestBusyRelay: one with 32 departures unreported is passed over while another
// is free, and is asked all the same when nobody is.
func TestBusyRelay(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	host := *profileOf(1)
	host.Role = "host"
	w.apply(protocol.Command{Verb: protocol.VerbEnter, User: 1, Version: 1, Conn: 1, Edge: edgeA, Profile: &host})
	w.enter(2, 1, edgeA)
	for i := range protocol.UserID(70) {
		w.enter(100+i, 1, edgeA)
	}
	var asked []protocol.UserID
	for i := range protocol.UserID(2*busyAt + 1) {
		asked = append(asked, askedNow(t, w.lose(100+i, 2)))
	}
	want := slices.Concat(slices.Repeat([]protocol.UserID{1}, busyAt), slices.Repeat([]protocol.UserID{169}, busyAt), []protocol.UserID{168})
	if !slices.Equal(asked, want) {
		t.Errorf("asked %v, want the host, then the latest entrant, each %d times", asked, busyAt)
	}
	w.apply(protocol.Command{Verb: protocol.VerbReport, User: 1, Subject: 100})
	if got := askedNow(t, w.lose(165, 2)); got != 1 {
		t.Errorf("%d is asked, want the host, who is free again", got)
	}
}

// TestOnlyRelayIsAskedAlways: with nobody else to ask, even one with far too
// much unreported is.
func TestOnlyRelayIsAskedAlways(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	for i := range protocol.UserID(100) {
		w.enter(1+i, 1, edgeA)
	}
	for i := range protocol.UserID(98) {
		w.now = w.now.Add(time.Nanosecond)
		w.lose(100-i, 2)
	}
	if got := len(w.lose(2, 2).Notices); got == 0 {
		t.Error("the only one left is not asked")
	}
	if w.room.unsaid[1] != 99 {
		t.Errorf("the only one left is asked for %d of 99 departures", w.room.unsaid[1])
	}
}

// TestAskedUntilDeadline: C12, and the end of it.
func TestAskedUntilDeadline(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeA)
	lost := w.lose(2, 2)
	asks := len(lost.Notices)
	id := lost.Notices[0].Departure
	var events []protocol.Event
	for _, res := range w.pass(2 * time.Minute) {
		asks += len(res.Notices)
		events = append(events, res.Events...)
		for _, n := range res.Notices {
			if n.Departure != id {
				t.Errorf("departure %s becomes %s", id, n.Departure)
			}
		}
	}
	if asks != 12 {
		t.Errorf("the only relay is asked %d times in 60 s, want every 5 s", asks)
	}
	if len(events) != 1 || events[0].Event != "unreported" || events[0].DepartureID != id || !events[0].At.Equal(w.start.Add(time.Minute)) {
		t.Errorf("events at the end: %+v", events)
	}
	if w.room.Owed() != 0 || len(w.room.unsaid) != 0 {
		t.Error("something is owed after the deadline")
	}
}

// TestNextRelayAtOnce: a relay that can't report any more is not waited for,
// whatever became of it.
func TestNextRelayAtOnce(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*owner) Result{
		"exit":      func(w *owner) Result { return w.apply(protocol.Command{Verb: protocol.VerbExit, User: 2, Version: 2}) },
		"edge died": func(w *owner) Result { return w.take(w.room.EdgeDied(edgeB, w.now)) },
		"gone":      func(w *owner) Result { return w.take(w.room.Noticed("", 2, 1, protocol.NoticeGone, w.now)) },
		"superseded": func(w *owner) Result {
			return w.apply(protocol.Command{Verb: protocol.VerbPresent, User: 2, Conn: 2, Edge: edgeA})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newOwner(t, testRoom, Config{})
			w.enter(1, 1, edgeA)
			w.enter(2, 1, edgeB)
			w.enter(3, 1, edgeB)
			if got := askedNow(t, w.lose(3, 2)); got != 2 {
				t.Fatalf("%d is asked first", got)
			}
			if got := askedNow(t, end(w)); got != 1 {
				t.Errorf("%d is asked next, at once, want 1", got)
			}
		})
	}
}

// TestNobodyOnline: a debt waits for a connection, and nothing spins meanwhile.
func TestNobodyOnline(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeA)
	w.lose(2, 2)
	w.take(w.room.Noticed("", 1, 1, protocol.NoticeGone, w.now))
	if n := len(w.pass(20 * time.Second)); n != 0 {
		t.Errorf("%d things happen to a debt that can't be asked of anybody", n)
	}
	res := w.apply(protocol.Command{Verb: protocol.VerbPresent, User: 1, Conn: 2, Edge: edgeB})
	if askedNow(t, res) != 1 {
		t.Error("the first to come back is not asked")
	}
	if n := res.Notices[0]; n.Conn != 2 || n.Edge != edgeB {
		t.Errorf("asked on connection %d at %s", n.Conn, n.Edge)
	}
}

// TestEdgeDeathPassesOnce: what one dying edge's relays were asked for goes to
// the living, not to the next one that died with it.
func TestEdgeDeathPassesOnce(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	for user := protocol.UserID(2); user <= 6; user++ {
		w.enter(user, 1, edgeB)
	}
	w.enter(7, 1, edgeA)
	w.lose(7, 2)
	if got := askedNow(t, w.take(w.room.EdgeDied(edgeB, w.now))); got != 1 {
		t.Errorf("%d is asked, want 1, the only one at a living edge", got)
	}
	if len(w.last.Changes) != 1 {
		t.Errorf("the death of an edge writes %d entries, want the debt's alone", len(w.last.Changes))
	}
}

// TestCrashWaitsOut: the heir of a debt waits for the relay that was asked, and
// does not ask it twice.
func TestCrashWaitsOut(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	for user := protocol.UserID(1); user <= 3; user++ {
		w.enter(user, 1, edgeA)
	}
	w.up(3, 4)
	first := w.lose(3, 2)
	w.pass(2 * time.Second)
	w.crash()
	if n := len(w.pass(2999 * time.Millisecond)); n != 0 {
		t.Fatalf("%d things happen before the turn is over", n)
	}
	res := w.pass(time.Millisecond)
	if len(res) != 1 || askedNow(t, res[0]) != 1 {
		t.Fatalf("after the turn: %+v", res)
	}
	if got, want := string(res[0].Notices[0].Frame), string(first.Notices[0].Frame); got != want {
		t.Errorf("the heir says %s, the former owner said %s", got, want)
	}
	w.crash()
	w.apply(protocol.Command{Verb: protocol.VerbReport, User: 2, Subject: 3})
	if w.room.Owed() != 0 {
		t.Error("the report of one asked before two crashes does not count")
	}
}

// TestDeadlineCutsTheLastTurn: a departure is given up at its deadline, not at
// the end of the turn under way.
func TestDeadlineCutsTheLastTurn(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{ReportTimeout: 7 * time.Second})
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeA)
	w.lose(2, 2)
	w.pass(59 * time.Second)
	w.crash()
	w.pass(time.Second)
	if events := w.last.Events; len(events) != 1 || events[0].Event != "unreported" {
		t.Errorf("at the deadline: %+v", w.last)
	}
}

// TestCloseOwesNothing: a close tells nobody, not even what was owed before.
func TestCloseOwesNothing(t *testing.T) {
	t.Parallel()
	for _, id := range []protocol.RoomID{testRoom, testCall} {
		w := newOwner(t, id, Config{})
		w.enter(1, 1, edgeA)
		w.enter(2, 1, edgeA)
		if id == testRoom {
			w.up(1, 1) // the relay, and the first to be out
			w.enter(3, 1, edgeA)
			w.lose(3, 2)
		}
		res := w.apply(protocol.Command{Verb: protocol.VerbClose})
		if len(res.Notices)+len(res.Publications) != 0 || len(res.Evicted) != 2 || !w.room.Disposable() {
			t.Errorf("the close of %q leads to %+v", id, res)
		}
	}
}

// TestMaxDebts: the oldest departure of too many is given up, and said so.
func TestMaxDebts(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{MaxDebts: 3})
	for user := protocol.UserID(1); user <= 6; user++ {
		w.enter(user, 1, edgeA)
	}
	for user := protocol.UserID(2); user <= 5; user++ {
		w.lose(user, 2)
	}
	events := w.last.Events
	if w.room.Owed() != 3 || len(events) != 2 || events[0].Event != "unreported" || events[0].UserID != 2 {
		t.Errorf("%d owed, events %+v", w.room.Owed(), events)
	}
}

// TestManyRelays: of very many relays that do not report, a bounded number is
// remembered.
func TestManyRelays(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{ReportTimeout: 500 * time.Millisecond})
	for user := protocol.UserID(1); user <= 101; user++ {
		w.enter(user, 1, edgeA)
	}
	w.lose(101, 2)
	w.pass(59 * time.Second)
	d := w.room.debts[101]
	if len(d.asked) != maxAsked || len(w.room.unsaid) != maxAsked {
		t.Errorf("%d relays are remembered, %d counted, want %d", len(d.asked), len(w.room.unsaid), maxAsked)
	}
	w.apply(protocol.Command{Verb: protocol.VerbReport, User: d.asked[0].user, Departure: d.id})
	if w.room.Owed() != 0 || len(w.room.unsaid) != 0 {
		t.Error("the report of one who was asked does not count")
	}
}

func ExampleRoom_Apply() {
	n := uint64(0)
	mint := func() protocol.DepartureID { n++; return protocol.NewDepartureID(9, 1, n) }
	r := New("lobby", &Config{}, 1, mint)
	now := time.Unix(1_800_000_000, 0)
	for user := range protocol.UserID(2) {
		_, _ = r.Apply(protocol.Command{Verb: protocol.VerbEnter, User: user + 1, Version: 1, Conn: 1, Edge: "n1@x"}, now)
	}
	res, err := r.Apply(protocol.Command{Verb: protocol.VerbLoss, User: 2, Version: 2}, now)
	fmt.Println(err, len(res.Changes), "changes;", res.Notices[0].User, "is asked at", res.Notices[0].Edge)
	fmt.Printf("%s\n", res.Notices[0].Frame)
	// Output:
	// <nil> 2 changes; 1 is asked at n1@x
	// {"action":"exit_room","user_id":2,"channel_name":"","room_seat":null,"departure_id":"9-1-1"}
}
