package edge

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// seq returns the number of the next publication.
func (c *client) seq() protocol.Seq {
	c.t.Helper()
	n, _ := c.expect("send_topic_msg")["seq"].(float64)
	return protocol.Seq(n)
}

func (c *client) expectSeqs(first, last protocol.Seq) {
	c.t.Helper()
	for want := first; want <= last; want++ {
		if got := c.seq(); got != want {
			c.t.Fatalf("publication %d, want %d", got, want)
		}
	}
}

// syncAnswer is what an owner answers to a sync.
func syncAnswer(view protocol.SyncView) protocol.Reply {
	body, err := json.Marshal(view)
	if err != nil {
		panic(err)
	}
	return protocol.Reply{Body: body}
}

// history answers syncs with the publications first..last of an epoch.
func history(room protocol.RoomID, epoch protocol.Epoch, last protocol.Seq) func(protocol.Command) protocol.Reply {
	return func(c protocol.Command) protocol.Reply {
		if c.Verb != protocol.VerbSync {
			return protocol.Reply{}
		}
		if c.Epoch != epoch {
			return syncAnswer(protocol.SyncView{Epoch: epoch, Seq: last, Resync: &protocol.RoomView{RoomID: string(room), Epoch: epoch, Seq: last}})
		}
		view := protocol.SyncView{Epoch: epoch, Seq: last}
		for seq := c.Seq + 1; seq <= last; seq++ {
			view.Frames = append(view.Frames, numbered(room, epoch, seq))
		}
		return syncAnswer(view)
	}
}

// C18, I5: publications reach the room's connections and nobody else.
func TestPublish(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	in := []*client{w.connect(1), w.connect(2), w.connect(3)}
	out := w.connect(4)
	for user := protocol.UserID(1); user <= 3; user++ {
		w.enter(user, "room", 1, 0)
	}
	w.enter(4, "other", 1, 0)
	for seq := protocol.Seq(1); seq <= 50; seq++ {
		w.edge.Publish([]protocol.Publication{publication("room", seq), publication("nobody", seq)})
	}
	for _, c := range in {
		c.expectSeqs(1, 50)
		c.silent()
	}
	out.silent()
}

// Each kind of frame reaches exactly those whom it is for.
func TestVariants(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	legacy, v2, other := w.connect(1), w.connect(2, "&v=2"), w.connect(3)
	for user := protocol.UserID(1); user <= 3; user++ {
		w.enter(user, "r", 1, 0)
	}
	kinds := []protocol.Publication{
		{Frame: []byte(`{"action":"all"}`), Seq: 1},
		{Frame: []byte(`{"action":"except1"}`), Seq: 2, Except: 1},
		{Frame: []byte(`{"action":"except2"}`), Seq: 3, Except: 2},
		{Frame: []byte(`{"action":"v2"}`), V2: true},
		{Frame: []byte(`{"action":"only3"}`), Seq: 4, Only: 3},
		{Frame: []byte(`{"action":"minor"}`), Seq: 5, Importance: 16},
		{Frame: []byte(`{"action":"end"}`), Seq: 6},
	}
	for i := range kinds {
		kinds[i].Room, kinds[i].Epoch = "r", 1
	}
	for range 2 { // one message, and one for each frame
		w.edge.Publish(kinds)
		for _, test := range []struct {
			c    *client
			want []string
		}{
			{legacy, []string{"all", "except2", "minor", "end"}},
			{v2, []string{"all", "except1", "except2", "v2", "minor", "end"}},
			{other, []string{"all", "except1", "except2", "only3", "minor", "end"}},
		} {
			for _, action := range test.want {
				test.c.expect(action)
			}
			test.c.silent()
		}
		for i := range kinds {
			if kinds[i].Seq > 0 {
				kinds[i].Seq += 6
			}
		}
	}
}

func TestEnteredComesFirst(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	old := w.connect(1)
	w.enter(1, "r", 1, 3)
	v2 := w.connect(2, "&v=2")
	info, _ := w.edge.Session(2)
	// An owner sends the subscriptions of a turn before its publications.
	w.edge.Subscribe([]protocol.Subscription{{
		Room: "r", User: 2, Conn: info.Conn, Version: 1, Epoch: 1, Seq: 5, Entered: []byte(`{"action":"entered","seq":5}`),
	}})
	w.edge.Publish([]protocol.Publication{publication("r", 4), publication("r", 5), publication("r", 6)})
	v2.expect("entered")
	v2.expectSeqs(6, 6)
	v2.silent()
	old.expectSeqs(4, 6)
}

func TestGapIsFilledOnceForAll(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	a, b := w.connect(1), w.connect(2)
	w.enter(1, "r", 1, 0)
	w.enter(2, "r", 1, 0)
	answer := make(chan struct{})
	w.owners.setAnswer(func(c protocol.Command) protocol.Reply {
		<-answer
		return history("r", 1, 6)(c)
	})
	w.edge.Publish([]protocol.Publication{publication("r", 1), publication("r", 2)})
	w.edge.Publish([]protocol.Publication{publication("r", 5)}) // 3 and 4 are lost
	w.edge.Publish([]protocol.Publication{publication("r", 6), publication("r", 7)})
	a.expectSeqs(1, 2)
	w.eventually("the owner is asked", func() bool { return len(w.owners.of(protocol.VerbSync)) == 1 })
	w.edge.Publish([]protocol.Publication{publication("r", 8)})
	close(answer)
	a.expectSeqs(3, 8)
	b.expectSeqs(1, 8)
	w.edge.Publish([]protocol.Publication{publication("r", 9)})
	a.expectSeqs(9, 9)
	a.silent()
	if asked := w.owners.of(protocol.VerbSync); len(asked) != 1 || asked[0].Seq != 2 || asked[0].Epoch != 1 || asked[0].User != 0 {
		t.Errorf("%+v", asked)
	}
}

func TestGapThatCannotBeFilled(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "r", 1, 0)
	w.owners.setAnswer(func(protocol.Command) protocol.Reply { return protocol.Reply{Code: protocol.CodeUnavailable} })
	w.edge.Publish([]protocol.Publication{publication("r", 1), publication("r", 4), publication("r", 6)})
	for _, want := range []protocol.Seq{1, 4, 6} {
		if got := c.seq(); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	}
	w.edge.Publish([]protocol.Publication{publication("r", 7)})
	c.expectSeqs(7, 7)
}

func TestGapIsBounded(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "r", 1, 0)
	answer := make(chan struct{})
	w.owners.setAnswer(func(protocol.Command) protocol.Reply {
		<-answer
		return protocol.Reply{Code: protocol.CodeUnavailable}
	})
	for seq := protocol.Seq(3); seq < 3+maxGapFrames+10; seq++ {
		w.edge.Publish([]protocol.Publication{publication("r", seq)})
	}
	c.expectSeqs(3, 3+maxGapFrames+9)
	close(answer)
	w.edge.Publish([]protocol.Publication{publication("r", 3+maxGapFrames+10)})
	c.expectSeqs(3+maxGapFrames+10, 3+maxGapFrames+10)
}

// An owner that was outranked reaches nobody, whatever it sends.
func TestLowerEpochs(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "r", 1, 0)
	newer := publication("r", 1)
	newer.Epoch, newer.Frame = 2, numbered("r", 2, 1)
	w.edge.Publish([]protocol.Publication{newer, publication("r", 1), publication("r", 2)})
	c.expectSeqs(1, 1)
	c.silent()
	info, _ := w.edge.Session(1)
	off := protocol.Subscription{Room: "r", User: 1, Conn: info.Conn, Version: 9, Epoch: 1, Off: true}
	w.edge.Subscribe([]protocol.Subscription{off})
	newer.Seq, newer.Frame = 2, numbered("r", 2, 2)
	w.edge.Publish([]protocol.Publication{newer})
	c.expectSeqs(2, 2)
	p := w.edge.cfg.RoomPartition("r")
	if got := w.edge.Attach(protocol.Attach{Partition: p, Epoch: 1}); got.Outranked != 2 {
		t.Errorf("%+v", got)
	}
}

// An epoch that was heard for one room, or in a list, holds for its partition.
func TestEpochsAreThePartitions(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "r", 1, 0)
	newer := publication("s", 1) // of the same partition
	newer.Epoch = 2
	w.edge.Publish([]protocol.Publication{publication("r", 1), newer, publication("r", 2)})
	c.expectSeqs(1, 1)
	c.silent()
	w.edge.Attach(protocol.Attach{Partition: w.edge.cfg.RoomPartition("r"), Epoch: 3})
	stale := publication("r", 2)
	stale.Epoch = 2
	w.edge.Publish([]protocol.Publication{stale})
	c.silent()
}

// What was kept in a gap is held against the epoch when it gets its turn.
func TestGapOfOutrankedOwner(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "r", 1, 0)
	answer := make(chan struct{})
	w.owners.setAnswer(func(cmd protocol.Command) protocol.Reply {
		<-answer
		return history("r", 2, 1)(cmd)
	})
	w.edge.Publish([]protocol.Publication{publication("r", 1), publication("r", 3)})
	c.expectSeqs(1, 1)
	w.edge.Attach(protocol.Attach{Partition: w.edge.cfg.RoomPartition("r"), Epoch: 2})
	close(answer)
	if f := c.expect("send_topic_msg"); f["epoch"] != 2.0 || f["seq"] != 1.0 {
		t.Errorf("%v", f)
	}
	c.silent()

	// Nor is it delivered where nothing could be fetched.
	asked := len(w.owners.of(protocol.VerbSync))
	answer = make(chan struct{})
	w.owners.setAnswer(func(protocol.Command) protocol.Reply {
		<-answer
		return protocol.Reply{Code: protocol.CodeUnavailable}
	})
	stale, fresh := publication("r", 5), publication("r", 1)
	stale.Epoch, fresh.Epoch, fresh.Frame = 2, 3, numbered("r", 3, 1)
	w.edge.Publish([]protocol.Publication{stale})
	w.eventually("the owner is asked", func() bool { return len(w.owners.of(protocol.VerbSync)) > asked })
	w.edge.Attach(protocol.Attach{Partition: w.edge.cfg.RoomPartition("r"), Epoch: 3})
	close(answer)
	w.edge.Publish([]protocol.Publication{fresh})
	if f := c.expect("send_topic_msg"); f["epoch"] != 3.0 {
		t.Errorf("%v", f)
	}
	c.silent()
}

func TestForgottenSessionStaysOut(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.connect(1)
	w.edge.leaveAll(w.edge.registry.session(1)) // found, and forgotten before it is subscribed
	sub := protocol.Subscription{Room: "r", User: 1, Conn: 1, Version: 1, Epoch: 1}
	if refused := w.edge.Subscribe([]protocol.Subscription{sub}); len(refused) != 1 || w.rooms("r") != 0 {
		t.Error("subscribed")
	}
}

// After a crash the new owner counts from 1; after a handover it goes on.
func TestTrack(t *testing.T) {
	t.Parallel()
	type step struct {
		epoch protocol.Epoch
		seq   protocol.Seq
		want  verdict
	}
	for name, steps := range map[string][]step{
		"in order":              {{1, 6, inOrder}, {1, 7, inOrder}},
		"repeated":              {{1, 5, repeated}, {1, 4, repeated}, {1, 6, inOrder}, {1, 6, repeated}},
		"missed":                {{1, 7, missed}, {1, 8, missed}},
		"handover":              {{2, 6, inOrder}, {2, 7, inOrder}, {1, 8, repeated}},
		"crash":                 {{2, 1, inOrder}, {2, 2, inOrder}},
		"crash, first missed":   {{2, 3, missed}, {2, 1, inOrder}},
		"handover, some missed": {{2, 9, missed}},
	} {
		track := track{epoch: 1, seq: 5}
		for _, s := range steps {
			if got := track.take(s.epoch, s.seq); got != s.want {
				t.Errorf("%s: (%d, %d) is %d, want %d", name, s.epoch, s.seq, got, s.want)
			}
		}
	}
	for _, test := range []struct {
		epoch protocol.Epoch
		seq   protocol.Seq
		want  bool
		after track
	}{
		{1, 5, false, track{1, 5}},
		{1, 7, true, track{1, 5}},
		{1, 3, false, track{1, 5}}, // the list is older than what came since
		{2, 5, false, track{2, 5}},
		{2, 7, true, track{1, 5}}, // asked for by the old epoch: handover or crash
		{2, 0, false, track{2, 0}},
		{2, 3, true, track{2, 0}},
		{0, 9, false, track{1, 5}},
	} {
		track := track{epoch: 1, seq: 5}
		if got := track.reached(test.epoch, test.seq); got != test.want || track != test.after {
			t.Errorf("reached (%d, %d): %v, %+v", test.epoch, test.seq, got, track)
		}
	}
}

// A crash that lost frames of both epochs: the new owner does not know the old
// epoch and is asked for its own from the beginning.
func TestGapAcrossCrash(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.enter(1, "r", 1, 2)
	w.owners.setAnswer(history("r", 4, 5))
	newer := publication("r", 6)
	newer.Epoch, newer.Frame = 4, numbered("r", 4, 6)
	w.edge.Publish([]protocol.Publication{newer})
	c.expectSeqs(1, 6)
	asked := w.owners.of(protocol.VerbSync)
	if len(asked) != 2 || asked[0].Epoch != 1 || asked[0].Seq != 2 || asked[1].Epoch != 4 || asked[1].Seq != 0 {
		t.Errorf("%+v", asked)
	}
}

func TestLateSubscriptionCatchesUp(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	first, late := w.connect(1), w.connect(2)
	w.enter(1, "r", 1, 0)
	w.edge.Publish([]protocol.Publication{publication("r", 1), publication("r", 2), publication("r", 3)})
	first.expectSeqs(1, 3)
	answer := make(chan struct{})
	w.owners.setAnswer(func(c protocol.Command) protocol.Reply {
		<-answer
		return history("r", 1, 5)(c)
	})
	w.enter(2, "r", 1, 1)
	w.edge.Publish([]protocol.Publication{publication("r", 4), publication("r", 5)})
	first.expectSeqs(4, 5)
	close(answer)
	late.expectSeqs(2, 5)
	w.edge.Publish([]protocol.Publication{publication("r", 6)})
	late.expectSeqs(6, 6)
	late.silent()
	if asked := w.owners.of(protocol.VerbSync); len(asked) != 1 || asked[0].User != 2 || asked[0].Seq != 1 {
		t.Errorf("%+v", asked)
	}
	// Without an answer the client gets what came since, and sees the hole.
	third := w.connect(3)
	w.owners.setAnswer(func(protocol.Command) protocol.Reply { return protocol.Reply{Code: protocol.CodeUnavailable} })
	w.enter(3, "r", 1, 4)
	w.edge.Publish([]protocol.Publication{publication("r", 7)})
	third.expectSeqs(7, 7)
}

func TestSubscribeVersions(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.connect(1)
	sub := w.enter(1, "r", 5, 0)
	stale := sub
	stale.Off, stale.Version = true, 4
	w.edge.Subscribe([]protocol.Subscription{stale})
	if w.rooms("r") != 1 {
		t.Fatal("an older exit undid a newer entry")
	}
	other := sub
	other.Conn++
	if refused := w.edge.Subscribe([]protocol.Subscription{other}); len(refused) != 1 {
		t.Error("a connection that is not here was subscribed")
	}
	stale.Version = 6
	w.edge.Subscribe([]protocol.Subscription{stale})
	if info, _ := w.edge.Session(1); w.rooms("r") != 0 || info.Room != "" || info.Version != 6 {
		t.Errorf("%+v", info)
	}
	// The owner's store loses the exit: its list names who has left.
	if refused := w.edge.Subscribe([]protocol.Subscription{sub}); len(refused) != 1 || w.rooms("r") != 0 {
		t.Errorf("an entry older than the exit is followed: refused %+v", refused)
	}
	call := sub
	call.Room = "call/1"
	if refused := w.edge.Subscribe([]protocol.Subscription{call}); len(refused) != 0 {
		t.Error("the room's exit counts against a call")
	}
	// What is put back into a store that lost it says where the user is.
	if info, _ := w.edge.Session(1); info.Call != call.Room || info.Version != 6 {
		t.Errorf("an entry older than another place's word: %+v", info)
	}
}

// An owner that is new to a room has read that the user is in it; the user has
// moved on since, which the record said when the connection was made.
func TestFormerRoomOfTheRecord(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.store.put(1, func(r *protocol.UserRecord) { r.Room, r.Version = "new", 9 })
	c := w.connect(1)
	info, _ := w.edge.Session(1)
	sync := func(room string, code string) {
		t.Helper()
		c.send("sync", frame{"room_id": room})
		if f := c.expect("error"); f["request"] != "sync" || f["room_id"] != room || f["code"] != code {
			t.Errorf("%v", f)
		}
	}
	sync("new", "unavailable")
	sync("former", "not_in_room")
	for _, version := range []protocol.Version{5, 9} {
		sub := protocol.Subscription{Room: "former", User: 1, Conn: info.Conn, Version: version, Epoch: 1}
		if refused := w.edge.Subscribe([]protocol.Subscription{sub}); len(refused) != 1 || w.rooms("former") != 0 {
			t.Errorf("version %d: refused %+v", version, refused)
		}
	}
	w.enter(1, "new", 8, 0) // a call has raised the record's version since
	w.enter(1, "former", 10, 0)
	if w.rooms("new") != 0 || w.rooms("former") != 1 {
		t.Error("a later move was not followed")
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.connect(1)
	w.connect(2)
	w.connect(3)
	w.enter(1, "r", 1, 0)
	w.enter(2, "r", 2, 0)
	occupant := func(user protocol.UserID, conn protocol.ConnNumber, v protocol.Version) protocol.Occupant {
		return protocol.Occupant{User: user, Conn: conn, Version: v}
	}
	attach := func(seq protocol.Seq, occupants ...protocol.Occupant) protocol.Attach {
		a := protocol.Attach{
			Partition: w.edge.cfg.RoomPartition("r"), Owner: "n2@b", Epoch: 1,
			Rooms: []protocol.AttachRoom{{Room: "r", Seq: seq, Occupants: occupants}},
		}
		for _, o := range occupants {
			a.Hash += o.Fingerprint("r")
		}
		return a
	}
	same := attach(0, occupant(1, 1, 1), occupant(2, 1, 2))
	if got := w.edge.Attach(same); got.Differs {
		t.Error("equal lists differ")
	}
	other := attach(0, occupant(1, 1, 1), occupant(2, 1, 3))
	if got := w.edge.Attach(other); !got.Differs {
		t.Error("different lists are equal")
	}
	// 1 is newer there, 2 is missing, 3 was never subscribed, 4 is not here, and
	// two publications have not arrived.
	w.owners.setAnswer(history("r", 1, 2))
	full := attach(2, occupant(1, 1, 4), occupant(3, 1, 1), occupant(4, 7, 1))
	full.Full = true
	got := w.edge.Attach(full)
	if len(got.Absent) != 1 || got.Absent[0].User != 4 || got.Absent[0].Conn != 7 || got.Absent[0].Room != "r" {
		t.Errorf("absent %+v", got.Absent)
	}
	if len(got.Unlisted) != 1 || got.Unlisted[0].User != 2 || got.Unlisted[0].Version != 2 {
		t.Errorf("unlisted %+v", got.Unlisted)
	}
	c.expectSeqs(1, 2)
	if info, _ := w.edge.Session(1); info.Version != 4 {
		t.Errorf("%+v", info)
	}
	w.edge.Subscribe([]protocol.Subscription{{Room: "r", User: 2, Conn: 1, Version: 3, Epoch: 1, Off: true}})
	if got := w.edge.Attach(attach(2, occupant(1, 1, 4), occupant(3, 1, 1))); got.Differs {
		t.Error("the lists differ after the attach")
	}
}

// An owner that died between an exit and the word of it leaves a subscription
// that its heir knows nothing of. It ends with the second list without it.
func TestUnlistedSubscriptionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		c := w.connect(1)
		w.connect(2)
		w.enter(1, "r", 1, 0)
		w.enter(2, "r", 1, 0)
		heir := protocol.Attach{
			Partition: w.edge.cfg.RoomPartition("r"), Epoch: 2, Full: true,
			Rooms: []protocol.AttachRoom{{Room: "r", Occupants: []protocol.Occupant{{User: 2, Conn: 1, Version: 1}}}},
		}
		full := func(a protocol.Attach, unlisted int) {
			t.Helper()
			if got := w.edge.Attach(a); len(got.Unlisted) != unlisted {
				t.Errorf("unlisted %+v", got.Unlisted)
			}
		}
		in := func(want bool) {
			t.Helper()
			s := w.edge.registry.session(1)
			if _, got, _ := s.subscribed("r"); got != want {
				t.Errorf("subscribed is %v", got)
			}
		}
		with := heir
		with.Rooms = []protocol.AttachRoom{{Room: "r", Occupants: []protocol.Occupant{
			{User: 1, Conn: 1, Version: 1}, {User: 2, Conn: 1, Version: 1},
		}}}
		full(heir, 1)
		full(heir, 1)
		in(true) // lists that follow at once may be one and the same
		full(with, 0)
		time.Sleep(unlistedGrace)
		c.send("ping", nil)
		full(heir, 1)
		in(true)
		time.Sleep(unlistedGrace)
		full(heir, 1)
		in(false)
		full(heir, 0)
		if info, _ := w.edge.Session(1); info.Room != "" {
			t.Errorf("%+v", info)
		}
		c.silent()
		if info, _ := w.edge.Session(2); info.Room != "r" {
			t.Errorf("who is listed is gone: %+v", info)
		}
	})
}

// I6: whatever is published by whom, every occupant sees one order.
func TestOrderUnderConcurrency(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	const users, rooms, frames = 24, 3, 400
	var clients []*client
	for user := protocol.UserID(1); user <= users; user++ {
		clients = append(clients, w.connect(user))
		w.enter(user, protocol.RoomID(fmt.Sprint("r", user%rooms)), 1, 0)
	}
	var all sync.WaitGroup
	for room := range rooms {
		all.Go(func() {
			id := protocol.RoomID(fmt.Sprint("r", room))
			for seq := protocol.Seq(1); seq <= frames; {
				var batch []protocol.Publication
				for range 1 + rand.IntN(8) {
					if seq <= frames {
						batch = append(batch, publication(id, seq))
						seq++
					}
				}
				w.edge.Publish(batch)
			}
		})
		all.Go(func() { // notices come in between and disturb nothing
			for range 50 {
				w.edge.Notify(protocol.Notice{User: protocol.UserID(1 + rand.IntN(users)), Frame: []byte(`{"action":"notice"}`)})
			}
		})
	}
	for _, c := range clients {
		all.Go(func() {
			for want := 1.0; want <= frames; {
				f, err := c.next()
				if err != nil {
					t.Error(err)
					return
				}
				if f["action"] == "notice" {
					continue
				}
				if f["seq"] != want {
					t.Errorf("%v, want %v", f, want)
					return
				}
				want++
			}
		})
	}
	all.Wait()
}

// The churn of subscriptions, losses and publications leaves nothing behind.
func TestChurn(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	var all sync.WaitGroup
	for user := protocol.UserID(1); user <= 16; user++ {
		all.Go(func() {
			for range supersedings { // a close may be noticed after the next connection
				c := w.connect(user)
				for v := protocol.Version(1); v < 20; v++ {
					if s := w.edge.registry.session(user); s != nil {
						w.edge.Subscribe([]protocol.Subscription{{
							Room: protocol.RoomID(fmt.Sprint("room", rand.IntN(3))), User: user, Conn: s.conn,
							Version: v, Epoch: 1, Seq: protocol.Seq(rand.IntN(3)), Off: rand.IntN(2) == 0,
						}})
					}
					w.edge.Publish([]protocol.Publication{publication(protocol.RoomID(fmt.Sprint("room", rand.IntN(3))), protocol.Seq(v))})
				}
				c.close()
			}
		})
	}
	all.Wait()
	w.eventually("all is forgotten", func() bool {
		n := 0
		for i := range w.edge.partitions {
			p := &w.edge.partitions[i]
			p.mu.Lock()
			n += len(p.rooms)
			p.mu.Unlock()
		}
		return n == 0 && w.edge.Count() == 0
	})
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, func(c *Config) { c.TimelineEvents = 8 })
		w.connect(1)
		w.enter(1, "r", 1, 0)
		time.Sleep(21 * time.Second)
		synctest.Wait()
		var got []string
		for _, e := range w.edge.Timeline(1) {
			got = append(got, e.Event+" "+string(e.Room)+e.Reason)
		}
		if s := fmt.Sprint(got); s != "[connected  entered r closed timeout]" {
			t.Error(s)
		}
		for user := protocol.UserID(2); user < 20; user++ {
			w.connect(user)
		}
		if n := len(w.edge.Timeline(1)) + len(w.edge.timeline.events); n != 8 {
			t.Errorf("%d events", n)
		}
	})
}

// A room that went with its owner and the store at once is named in no list.
// Its subscriptions are handed over, until an owner speaks of them again.
func TestOrphans(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.connect(1)
	w.enter(1, "r", 7, 0)
	if got := w.edge.orphans(w.edge.now()); len(got) != 0 {
		t.Errorf("a fresh subscription is orphaned: %+v", got)
	}
	later := w.edge.now() + orphanAge
	got := w.edge.orphans(later)
	if len(got) != 1 || got[0].User != 1 || got[0].Conn != 1 || got[0].Room != "r" || got[0].Version != 7 {
		t.Fatalf("orphans %+v", got)
	}
	w.edge.Attach(protocol.Attach{Partition: w.edge.cfg.RoomPartition("r"), Owner: "n2@b", Epoch: 1})
	if got := w.edge.orphans(later); len(got) != 0 {
		t.Errorf("orphaned although its owner speaks: %+v", got)
	}
	older := got[0]
	older.Version = 6
	w.edge.Forget(older)
	if got := w.edge.orphans(later + orphanAge); len(got) != 1 {
		t.Errorf("a word about a former stay ended this one: %+v", got)
	}
	w.edge.Forget(got[0])
	if got := w.edge.orphans(later + orphanAge); len(got) != 0 {
		t.Errorf("forgotten and still here: %+v", got)
	}
}

// A user whose record says in a room, and whom no owner has subscribed to it for
// long, is handed over: nobody may know of the room any more.
func TestStrays(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.store.put(1, func(r *protocol.UserRecord) { r.Room, r.Version = "r", 7 })
	w.connect(1)
	w.connect(2)
	var st strays
	for k := 1; k < strayLooks; k++ {
		if got := st.look(w.edge); len(got) != 0 {
			t.Fatalf("look %d: %+v", k, got)
		}
	}
	for range 2 {
		got := st.look(w.edge)
		if len(got) != 1 || got[0].User != 1 || got[0].Conn != 1 || got[0].Room != "r" || got[0].Version != 7 {
			t.Fatalf("strays %+v", got)
		}
	}
	w.enter(1, "r", 8, 0)
	if got := st.look(w.edge); len(got) != 0 || len(st) != 0 {
		t.Errorf("subscribed, and strays %+v, counted %v", got, st)
	}
}
