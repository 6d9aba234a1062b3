package room

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

func say(text string) protocol.Command {
	return protocol.Command{Verb: protocol.VerbPublish, Frame: json.RawMessage(fmt.Sprintf(`{"action":"send_topic_msg","content":%q}`, text))}
}

func (w *owner) synced(epoch protocol.Epoch, seq protocol.Seq) protocol.SyncView {
	w.tb.Helper()
	var view protocol.SyncView
	res := w.apply(protocol.Command{Verb: protocol.VerbSync, Epoch: epoch, Seq: seq})
	if err := json.Unmarshal(res.Reply.Body, &view); err != nil {
		w.tb.Fatalf("sync answers %s: %v", res.Reply.Body, err)
	}
	return view
}

// TestHistoryIsBounded by frames and by bytes, and tells what it holds without
// gap, and what it does not by a resync.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"frames": {HistoryFrames: 10},
		"bytes":  {HistoryBytes: 1200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newOwner(t, testRoom, cfg)
			w.enter(1, 1, edgeA)
			for i := range 100 {
				w.apply(say(fmt.Sprint(i)))
				h := &w.room.history
				if len(h.frames) > w.room.cfg.HistoryFrames || h.bytes > w.room.cfg.HistoryBytes {
					t.Fatalf("%d frames of %d bytes are kept", len(h.frames), h.bytes)
				}
			}
			kept := protocol.Seq(len(w.room.history.frames))
			if kept < 5 {
				t.Fatalf("only %d frames are kept", kept)
			}
			for missed := range kept + 2 {
				view := w.synced(w.epoch, w.room.Seq()-missed)
				if (view.Resync == nil) != (missed <= kept) || missed <= kept && len(view.Frames) != int(missed) {
					t.Fatalf("%d missed of %d kept: %d frames, resync %v", missed, kept, len(view.Frames), view.Resync)
				}
			}
		})
	}
	w := newOwner(t, testRoom, Config{HistoryBytes: 100})
	w.enter(1, 1, edgeA)
	w.apply(say(strings.Repeat("x", 200)))
	if n := w.room.history.bytes; n != 0 {
		t.Errorf("a frame larger than the history leaves %d bytes in it", n)
	}
	if view := w.synced(w.epoch, w.room.Seq()-1); view.Resync == nil {
		t.Error("a frame that is not kept is not missed")
	}
}

// TestHistoryAges: rooms that have gone quiet keep nothing.
func TestHistoryAges(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	for range 90 {
		w.apply(say("x"))
		w.pass(2 * time.Second)
	}
	if n := len(w.room.history.frames); n < 58 || n > 60 {
		t.Errorf("%d frames are kept of one each 2 s, for 2 m", n)
	}
	w.handOver()
	w.pass(119 * time.Second)
	if view := w.synced(w.epoch-1, w.room.Seq()-50); len(view.Frames) != 50 {
		t.Errorf("%d frames are left by the handover", len(view.Frames))
	}
	w.pass(time.Second)
	if h := &w.room.history; len(h.frames) != 0 || h.bytes != 0 || !w.room.Next().IsZero() {
		t.Errorf("%d frames of %d bytes are kept, next due %v", len(h.frames), h.bytes, w.room.Next())
	}
	if view := w.synced(w.epoch, w.room.Seq()-1); view.Resync == nil {
		t.Error("what is gone is not told as gone")
	}
}

// TestRelayOnly: what is published goes to one member, who passes it on.
func TestRelayOnly(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{RelayOnly: true})
	w.enter(1, 1, "")
	if res := w.apply(say("nobody hears")); len(res.Publications) != 0 || res.Reply.Delivered != 0 || res.Reply.Seq != 2 {
		t.Errorf("with nobody online: %+v", res)
	}
	w.enter(2, 1, edgeA)
	w.enter(3, 1, edgeA)
	w.up(2, 1)
	res := w.apply(say("hello"))
	if len(res.Publications) != 1 || res.Publications[0].Only != 2 || res.Reply.Delivered != 1 {
		t.Errorf("published %+v", res)
	}
	if res := w.enter(4, 1, edgeB); res.Publications[0].Only != 0 {
		t.Error("enter_room goes to one only")
	}
}

// TestKeys: a repeated command is answered as the first one was, after a crash
// and a handover too, for as long as its key is among the last 16.
func TestKeys(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	up := protocol.Command{Verb: protocol.VerbSeat, Seat: 2, SeatChange: &protocol.SeatChange{Up: 1}, Key: "first"}
	first := w.apply(up).Reply
	w.apply(protocol.Command{Verb: protocol.VerbSeat, Seat: 2, SeatChange: &protocol.SeatChange{Down: true}})
	again := func() {
		t.Helper()
		res := w.apply(up)
		if res.Reply.Seq != first.Seq || res.Reply.Epoch != first.Epoch || len(res.Changes)+len(res.Publications) != 0 {
			t.Errorf("repeated: %+v, want only %+v", res, first)
		}
	}
	again()
	w.crash()
	again()
	w.handOver()
	again()
	for i := range keysKept {
		status := i % 2
		w.apply(protocol.Command{Verb: protocol.VerbSeat, Seat: 3, SeatChange: &protocol.SeatChange{Status: &status}, Key: fmt.Sprint(i)})
	}
	if res := w.apply(up); len(res.Changes) == 0 {
		t.Error("the seventeenth key is remembered")
	}
	w.refused(protocol.Command{Verb: protocol.VerbSeat, Seat: 99, SeatChange: &protocol.SeatChange{Up: 1}, Key: "bad"}, protocol.CodeSeatNotFound)
	w.refused(protocol.Command{Verb: protocol.VerbSeat, Seat: 99, SeatChange: &protocol.SeatChange{Up: 1}, Key: "bad"}, protocol.CodeSeatNotFound)
}

// TestPublishKeys: a publication is repeated to nobody, and its key is not
// journaled, nor does it push out those of changes.
func TestPublishKeys(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.apply(protocol.Command{Verb: protocol.VerbSeat, Seat: 1, SeatChange: &protocol.SeatChange{Up: 1}, Key: "change"})
	cmd := say("once")
	cmd.Key = "p"
	first := w.apply(cmd)
	if len(first.Changes) != 0 {
		t.Errorf("a publication writes %v", first.Changes)
	}
	for i := range unstoredKept - 1 {
		other := say("more")
		other.Key = fmt.Sprint(i)
		w.apply(other)
	}
	w.handOver()
	if res := w.apply(cmd); len(res.Publications) != 0 || res.Reply.Seq != first.Reply.Seq || res.Reply.Delivered != 1 {
		t.Errorf("repeated: %+v", res)
	}
	if _, ok := w.room.keys.reply("change"); !ok {
		t.Error("publications push out the key of a change")
	}
}

// TestPresenceFrames tell the net change, one revision at a time.
func TestPresenceFrames(t *testing.T) {
	t.Parallel()
	type told struct {
		Epoch protocol.Epoch
		Rev   uint64
		In    []protocol.OccupantView
		Out   []struct {
			UserID protocol.UserID `json:"user_id"`
			Reason string
		}
		Count int
	}
	w := newOwner(t, testRoom, Config{})
	flush := func() (f told, ok bool) {
		t.Helper()
		frame, ok := w.room.FlushPresence()
		if ok {
			if err := json.Unmarshal(frame, &f); err != nil {
				t.Fatalf("%s: %v", frame, err)
			}
		}
		return f, ok
	}
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeA)
	w.lose(2, 2)
	w.enter(3, 1, edgeA)
	if f, _ := flush(); f.Rev != 1 || len(f.In) != 2 || f.In[0].UserID != 1 || f.In[1].UserID != 3 || len(f.Out) != 0 || f.Count != 2 {
		t.Errorf("first frame %+v", f)
	}
	if f, ok := flush(); ok {
		t.Errorf("nothing has changed, and %+v is told", f)
	}
	w.lose(3, 2)
	w.handOver()
	if f, _ := flush(); f.Rev != 2 || f.Epoch != w.epoch || f.In != nil || f.Count != 1 {
		t.Errorf("frame after a handover with something untold: %+v", f)
	}
	w.enter(3, 3, edgeA)
	flush()
	w.lose(3, 4)
	w.lose(1, 4)
	if f, _ := flush(); len(f.Out) != 2 || f.Out[1].UserID != 3 || f.Out[1].Reason != "timeout" || f.Count != 0 {
		t.Errorf("frame of losses %+v", f)
	}
	for user := protocol.UserID(10); user <= 10+namedAtMost; user++ {
		w.apply(protocol.Command{Verb: protocol.VerbEnter, User: user, Version: 1})
	}
	if f, _ := flush(); f.In != nil || f.Count != namedAtMost+1 {
		t.Errorf("frame of a large room names %d, counts %d", len(f.In), f.Count)
	}
	if frame, ok := newOwner(t, testCall, Config{}).room.FlushPresence(); ok {
		t.Errorf("a call tells %s", frame)
	}
}

// TestViewPages: all occupants in the order of entry, page by page, while some
// leave between.
func TestViewPages(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{Node: "n1"})
	for user := protocol.UserID(250); user > 0; user-- {
		w.enter(user, 1, edgeA)
	}
	var seen []protocol.UserID
	after := ""
	for {
		view := w.room.View(after, 0)
		if view.Node != "n1" || len(view.Occupants) > pageDefault {
			t.Fatalf("page of %d by %q", len(view.Occupants), view.Node)
		}
		for _, o := range view.Occupants {
			seen = append(seen, o.UserID)
		}
		if view.Next == "" {
			break
		}
		after = view.Next
		w.lose(seen[len(seen)-1], 2)
	}
	if len(seen) != 250 || seen[0] != 250 || seen[249] != 1 {
		t.Errorf("%d seen, from %d to %d", len(seen), seen[0], seen[len(seen)-1])
	}
	if n := len(w.room.View("", 1<<20).Occupants); n != 248 {
		t.Errorf("a large page has %d of 248", n)
	}
	if _, err := w.room.Apply(protocol.Command{Verb: protocol.VerbLook, After: "zz"}, w.now); protocol.CodeOf(err) != protocol.CodeBadRequest {
		t.Errorf("a page after nothing: %v", err)
	}
	var one protocol.RoomView
	res := w.apply(protocol.Command{Verb: protocol.VerbLook, User: 7})
	if err := json.Unmarshal(res.Reply.Body, &one); err != nil || len(one.Occupants) != 1 || one.Occupants[0].UserID != 7 || one.Count != 248 {
		t.Errorf("a look at one: %s (%v)", res.Reply.Body, err)
	}
}

// TestContinue: a room that is made again in one epoch numbers nothing twice.
func TestContinue(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	w.apply(say("a"))
	last := w.room.Seq()
	w.apply(protocol.Command{Verb: protocol.VerbExit, User: 1, Version: 2})
	if !w.room.Disposable() {
		t.Fatal("an empty room is not disposable")
	}
	w.room = New(testRoom, w.cfg, w.epoch, w.mint)
	w.room.Continue(last)
	if res := w.enter(1, 3, edgeA); res.Publications[0].Seq != last+1 || res.Subscriptions[0].Seq != last {
		t.Errorf("counts on with %d after %d", res.Publications[0].Seq, last)
	}
}

// TestConfig: zero values work, and all faults are told at once.
func TestConfig(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Seats: -1, ReportTimeout: -time.Second, Format: 2}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("faults: %v", err)
	}
	complete := (Config{}).WithDefaults()
	if New(testRoom, &complete, 1, nil).cfg != &complete {
		t.Error("a complete configuration is copied for every room")
	}
}
