package room

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// TestVersionsDecide: what is late changes nothing, in whatever order it comes.
func TestVersionsDecide(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	enter := func(v protocol.Version) protocol.Command {
		return protocol.Command{Verb: protocol.VerbEnter, User: 1, Version: v, Conn: 1, Edge: edgeA}
	}
	exit := func(v protocol.Version) protocol.Command {
		return protocol.Command{Verb: protocol.VerbExit, User: 1, Version: v}
	}
	w.enter(9, 1, edgeA)
	w.refused(exit(6), protocol.CodeNotInRoom)
	w.refused(enter(5), protocol.CodeStale) // the exit of version 6 came first
	w.apply(enter(7))
	w.refused(exit(7), protocol.CodeStale)
	w.refused(exit(6), protocol.CodeStale)
	w.refused(enter(6), protocol.CodeStale)
	if res := w.apply(enter(7)); len(res.Changes)+len(res.Publications) != 0 {
		t.Errorf("the same enter again: %+v", res)
	}
	w.lose(1, 8)
	w.refused(enter(8), protocol.CodeStale)
	if res := w.lose(1, 8); len(res.Changes)+len(res.Events) != 0 {
		t.Errorf("the same loss again: %+v", res)
	}
	w.lose(1, 11) // of an entry that has not come yet
	w.refused(enter(10), protocol.CodeStale)
	w.handOver()
	w.refused(enter(11), protocol.CodeStale)
	w.apply(enter(12))
}

// TestRemovedIsBounded: the versions of those removed are kept for the last few.
func TestRemovedIsBounded(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	for user := protocol.UserID(2); user < 2+2*removedKept; user++ {
		w.lose(user, 5)
	}
	if n := len(w.room.removed.order); n != removedKept || len(w.room.removed.versions) != n {
		t.Errorf("%d and %d users are remembered, want %d", n, len(w.room.removed.versions), removedKept)
	}
	w.refused(protocol.Command{Verb: protocol.VerbEnter, User: 1 + 2*removedKept, Version: 4}, protocol.CodeStale)
	w.apply(protocol.Command{Verb: protocol.VerbEnter, User: 2, Version: 4})
}

// TestLossByConnection: where the record could not be written, the loss names
// the connection, and counts only if that is still the occupant's.
func TestLossByConnection(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 5, edgeA)
	w.apply(protocol.Command{Verb: protocol.VerbPresent, User: 2, Conn: 4, Edge: edgeB})
	w.apply(protocol.Command{Verb: protocol.VerbLoss, User: 2, Version: 4, Conn: 1})
	if w.room.Count() != 2 {
		t.Fatal("the close of a superseded connection is a loss")
	}
	w.apply(protocol.Command{Verb: protocol.VerbLoss, User: 2, Version: 4, Conn: 4})
	if w.room.Count() != 1 {
		t.Error("the close of the connection is no loss")
	}
	// Entered anew by the backend after the connection was gone: the number is
	// the record's, the connection is not.
	w.apply(protocol.Command{Verb: protocol.VerbEnter, User: 2, Version: 8, Conn: 4})
	w.apply(protocol.Command{Verb: protocol.VerbLoss, User: 2, Version: 7, Conn: 4})
	if w.room.Count() != 2 {
		t.Error("a late loss takes out who has entered since")
	}
	// An edge without the store takes the next version for that of the loss.
	w.apply(protocol.Command{Verb: protocol.VerbPresent, User: 2, Conn: 6, Edge: edgeB})
	w.apply(protocol.Command{Verb: protocol.VerbLoss, User: 2, Version: 9, Conn: 4})
	if w.room.Count() != 2 {
		t.Error("the loss of a connection takes out who has come back on another")
	}
}

// TestEnterAgain: who enters a room that it is in is told so, after all that was
// published before, and nobody else is.
func TestEnterAgain(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 2, edgeB)
	seq := w.room.Seq()
	res := w.enter(1, 3, edgeA)
	if len(res.Publications) != 1 {
		t.Fatalf("publications %+v", res.Publications)
	}
	own := res.Publications[0]
	if want := fmt.Sprintf(`{"action":"entered","room_id":%s,"epoch":%d,"seq":%d,`, testRoom, own.Epoch, seq); own.Only != 1 || !own.V2 || own.Seq != 0 ||
		!strings.HasPrefix(string(own.Frame), want) {
		t.Errorf("%s to %d, want %s… to 1 alone", own.Frame, own.Only, want)
	}
	// The same told again, by a node that did not hear the answer.
	if res := w.enter(1, 3, edgeA); len(res.Publications) != 0 {
		t.Errorf("publications %+v for the same entry", res.Publications)
	}
	// From a new connection: its subscription begins with the frame.
	res = w.apply(protocol.Command{Verb: protocol.VerbEnter, User: 1, Version: 4, Conn: 9, Edge: edgeB})
	if n := len(res.Subscriptions); n == 0 || len(res.Subscriptions[n-1].Entered) == 0 || len(res.Publications) != 0 {
		t.Errorf("subscriptions %+v, publications %+v", res.Subscriptions, res.Publications)
	}
}

// TestPresent: who is where is decided by the connection's number.
func TestPresent(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	present := func(conn protocol.ConnNumber, edge protocol.Incarnation) protocol.Command {
		return protocol.Command{Verb: protocol.VerbPresent, User: 1, Conn: conn, Edge: edge}
	}
	w.refused(present(1, edgeA), protocol.CodeNotInRoom)
	w.enter(1, 3, edgeA)
	res := w.apply(present(5, edgeB))
	if len(res.Subscriptions) != 2 || !res.Subscriptions[0].Off || res.Subscriptions[0].Edge != edgeA ||
		res.Subscriptions[1].Off || res.Subscriptions[1].Edge != edgeB || res.Subscriptions[1].Version != 3 {
		t.Errorf("subscriptions %+v", res.Subscriptions)
	}
	w.refused(present(4, edgeA), protocol.CodeStale)
	w.refused(present(6, ""), protocol.CodeBadRequest)
	if res := w.apply(present(5, edgeB)); len(res.Subscriptions) != 1 || len(res.Changes) != 0 {
		t.Errorf("the same again: %+v", res)
	}
	w.take(w.room.EdgeDied(edgeB, w.now))
	w.refused(present(5, edgeB), protocol.CodeStale) // the dead do not return
	if edges := slices.Collect(w.room.Edges()); len(edges) != 0 {
		t.Errorf("edges %v after the death of the only one", edges)
	}
	w.apply(present(5, "n2@reborn")) // the same socket, taken along into a new life
	if edges := slices.Collect(w.room.Edges()); !slices.Equal(edges, []protocol.Incarnation{"n2@reborn"}) {
		t.Errorf("edges %v", edges)
	}
}

// TestNeverConnected: entered and not connected in time is a loss like others,
// by the room's own decision.
func TestNeverConnected(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 4, "")
	w.pass(20 * time.Second)
	w.enter(2, 5, "") // the backend expects it anew
	if n := len(w.pass(29 * time.Second)); n != 0 {
		t.Fatalf("%d things happen before the time is over", n)
	}
	res := w.pass(time.Second)[0]
	if len(res.Evicted) != 1 || res.Evicted[0] != (Eviction{User: 2, Version: 5, Reason: ReasonNeverConnected}) {
		t.Errorf("evicted %+v", res.Evicted)
	}
	if askedNow(t, res) != 1 || res.Events[0].Reason != ReasonNeverConnected {
		t.Errorf("the loss leads to %+v", res)
	}
	w.refused(protocol.Command{Verb: protocol.VerbEnter, User: 2, Version: 5}, protocol.CodeStale)
}

// TestNeverConnectedAfterTakeover: whose connection came while nobody owned the
// room gets time to be told of.
func TestNeverConnectedAfterTakeover(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 4, "")
	w.now = w.now.Add(40 * time.Second) // nobody ticks
	w.crash()
	if res := w.take(w.room.Tick(w.now)); len(res.Events) != 0 {
		t.Fatalf("the heir's first act: %+v", res.Events)
	}
	w.pass(4 * time.Second)
	w.apply(protocol.Command{Verb: protocol.VerbPresent, User: 2, Conn: 1, Edge: edgeB})
	w.pass(time.Minute)
	if w.room.Count() != 2 {
		t.Error("an occupant with a connection is out")
	}
}

// TestEdgeGrace: when nothing more is heard of those at a dead edge, they are
// out in the end, handover or not.
func TestEdgeGrace(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeB)
	w.take(w.room.EdgeDied(edgeB, w.now))
	w.pass(20 * time.Second)
	w.handOver()
	w.take(w.room.EdgeDied(edgeB, w.now)) // known already
	w.pass(9999 * time.Millisecond)
	if w.room.Count() != 2 {
		t.Fatal("out before the grace is over")
	}
	res := w.pass(time.Millisecond)
	if len(res) != 1 || len(res[0].Evicted) != 1 || res[0].Evicted[0].Reason != ReasonNodeLost || askedNow(t, res[0]) != 1 {
		t.Errorf("at the end of the grace: %+v", res)
	}
}

// TestRefusals: what is wrong is said by its code, and changes nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{MaxOccupants: 2})
	seat := func(n int, c protocol.SeatChange) protocol.Command {
		return protocol.Command{Verb: protocol.VerbSeat, Seat: n, SeatChange: &c}
	}
	number := func(n int) *int { return &n }
	long := string(make([]byte, maxProfile+1))
	w.refused(protocol.Command{Verb: protocol.VerbPublish, Frame: []byte(`{"action":"a"}`)}, protocol.CodeRoomNotFound)
	w.refused(seat(1, protocol.SeatChange{Up: 1}), protocol.CodeRoomNotFound)
	w.refused(protocol.Command{Verb: protocol.VerbSync}, protocol.CodeRoomNotFound)
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeA)
	for _, test := range []struct {
		cmd  protocol.Command
		want protocol.Code
	}{
		{protocol.Command{Verb: "dance"}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbEnter, User: -1}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbEnter, User: 3, Version: 1}, protocol.CodeRoomFull},
		{protocol.Command{Verb: protocol.VerbEnter, User: 1, Version: 2, Profile: &protocol.Profile{Role: "king"}}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbEnter, User: 1, Version: 2, Profile: &protocol.Profile{Nickname: long}}, protocol.CodeTooLarge},
		{protocol.Command{Verb: protocol.VerbExit, User: 1, Version: 2, Key: string(make([]byte, maxKey+1))}, protocol.CodeTooLarge},
		{seat(0, protocol.SeatChange{Up: 1}), protocol.CodeSeatNotFound},
		{seat(9, protocol.SeatChange{Down: true}), protocol.CodeSeatNotFound},
		{seat(1, protocol.SeatChange{}), protocol.CodeBadRequest},
		{seat(1, protocol.SeatChange{Up: 1, Down: true}), protocol.CodeBadRequest},
		{seat(1, protocol.SeatChange{Status: number(2)}), protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbSeat, Seat: 1}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbConfigure}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbConfigure, Settings: &protocol.Settings{Seats: number(0)}}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbConfigure, Settings: &protocol.Settings{Seats: number(maxSeats + 1)}}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbConfigure, Settings: &protocol.Settings{ChannelName: &long}}, protocol.CodeTooLarge},
		{protocol.Command{Verb: protocol.VerbPublish, Frame: []byte(`{"content":"no action"}`)}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbPublish, Frame: []byte(`{"action":7}`)}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbPublish, Frame: []byte(`["action"]`)}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbPublish}, protocol.CodeBadRequest},
		{protocol.Command{Verb: protocol.VerbPublish, Frame: make([]byte, maxFrame+1)}, protocol.CodeTooLarge},
		{protocol.Command{Verb: protocol.VerbPublish, User: 3, Frame: []byte(`{"action":"a"}`)}, protocol.CodeNotInRoom},
		{protocol.Command{Verb: protocol.VerbPublish, Subject: 3, Frame: []byte(`{"action":"a"}`)}, protocol.CodeNotInRoom},
		{protocol.Command{Verb: protocol.VerbSync, User: 3}, protocol.CodeNotInRoom},
	} {
		w.refused(test.cmd, test.want)
	}
	call := newOwner(t, testCall, Config{})
	call.refused(protocol.Command{Verb: protocol.VerbEnter, User: 1, Version: 1, Profile: &protocol.Profile{Role: roleHost}}, protocol.CodeBadRequest)
	call.refused(seat(1, protocol.SeatChange{Up: 1}), protocol.CodeBadRequest)
	call.refused(protocol.Command{Verb: protocol.VerbConfigure, Settings: &protocol.Settings{}}, protocol.CodeBadRequest)
	call.refused(protocol.Command{Verb: protocol.VerbClose}, protocol.CodeCallNotFound)
}

// TestSeatDown: down empties a seat, or only if the user named sits there.
func TestSeatDown(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	down := func(n int, user protocol.UserID) protocol.Command {
		return protocol.Command{Verb: protocol.VerbSeat, Seat: n, User: user, SeatChange: &protocol.SeatChange{Down: true}}
	}
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeA)
	w.up(1, 3)
	w.refused(down(3, 2), protocol.CodeSeatTaken)
	if res := w.apply(down(3, 1)); len(res.Publications) != 1 || res.Publications[0].Except != 1 {
		t.Errorf("down publishes %+v", res.Publications)
	}
	if res := w.apply(down(3, 0)); len(res.Publications)+len(res.Changes) != 0 {
		t.Errorf("down from an empty seat: %+v", res)
	}
	w.up(2, 5)
	w.apply(down(0, 2)) // wherever it sits
	if w.room.occupants[2].seat != 0 {
		t.Error("still sits")
	}
}

// TestShrunkSeatsAreForgotten: a seat that is taken away and comes back is as
// new.
func TestShrunkSeatsAreForgotten(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	seats := func(n int) {
		w.apply(protocol.Command{Verb: protocol.VerbConfigure, Settings: &protocol.Settings{Seats: &n}})
	}
	closed := 0
	seats(12)
	w.apply(protocol.Command{Verb: protocol.VerbSeat, Seat: 11, SeatChange: &protocol.SeatChange{Status: &closed}})
	w.apply(protocol.Command{Verb: protocol.VerbSeat, Seat: 3, SeatChange: &protocol.SeatChange{Status: &closed}})
	seats(8)
	seats(12)
	if views := w.room.seatViews(); views[10].Status != 1 || views[2].Status != 0 {
		t.Errorf("seats %+v", views)
	}
}

// TestOccupants: everybody once, and where.
func TestOccupants(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 3, edgeA)
	w.enter(2, 1, "")
	w.enter(3, 1, edgeB)
	w.enter(4, 1, edgeA)
	w.take(w.room.EdgeDied(edgeB, w.now))
	w.take(w.room.Noticed("", 4, 1, protocol.NoticeGone, w.now)) // attach finds out about it
	at := make(map[protocol.UserID]protocol.Incarnation)
	for edge, o := range w.room.Occupants() {
		at[o.User] = edge
	}
	if want := (map[protocol.UserID]protocol.Incarnation{1: edgeA, 2: "", 3: "", 4: edgeA}); !maps.Equal(at, want) {
		t.Errorf("occupants at %v, want %v", at, want)
	}
}
