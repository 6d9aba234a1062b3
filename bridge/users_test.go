package bridge

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const alice, bob = protocol.UserID(math.MaxInt64), protocol.UserID(42)

func connect(t testing.TB, s store, user protocol.UserID, edge protocol.Incarnation, token string) protocol.Connected {
	t.Helper()
	return must(s.Connect(t.Context(), protocol.Connect{Partition: 7, User: user, Edge: edge, Token: token, Event: []byte("online " + token)}))(t)
}

func closeConn(t testing.TB, s store, user protocol.UserID, conn protocol.ConnNumber, by protocol.Incarnation) protocol.Closed {
	t.Helper()
	return must(s.Close(t.Context(), protocol.Close{Partition: 7, User: user, Conn: conn, By: by, Reason: "silent", Event: []byte("offline")}))(t)
}

// move changes the room of a user, or the call if op says so.
func move(t testing.TB, s store, user protocol.UserID, to protocol.RoomID, op protocol.Move) protocol.Moved {
	t.Helper()
	op.Partition, op.User, op.To = 7, user, to
	if op.By == "" {
		op.By = n3
	}
	return must(s.Move(t.Context(), op))(t)
}

func record(t testing.TB, s store, user protocol.UserID) protocol.UserRecord {
	t.Helper()
	return must(s.Users(t.Context(), []protocol.UserAt{{Partition: 7, User: user}}))(t)[0]
}

func remains(t testing.TB, s store, of ...protocol.Incarnation) []protocol.Remains {
	t.Helper()
	return must(s.Remains(t.Context(), []protocol.PartitionID{6, 7, 8}, func(inc protocol.Incarnation) bool {
		return slices.Contains(of, inc)
	}))(t)
}

func events(t testing.TB, s store) string {
	t.Helper()
	entries, _, err := s.Outbox(t.Context(), 7, 100)
	check(t, err)
	var texts []string
	for _, e := range entries {
		texts = append(texts, string(e.Event))
	}
	return strings.Join(texts, ", ")
}

func TestConnectSupersedes(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		before := must(s.Now(t.Context()))(t)
		first := connect(t, s, alice, n1, "t1")
		if first.FormerEdge != "" || first.FormerConn != 0 {
			t.Errorf("the first connection superseded %s %d", first.FormerEdge, first.FormerConn)
		}
		r := first.Record
		if r.User != alice || r.Edge != n1 || !r.Online() || r.Room != "" || r.Version != 0 || r.Since.Before(before) {
			t.Errorf("the record is %+v", r)
		}
		if int64(r.Conn) < before.UnixMilli()-60_000 {
			t.Errorf("connection number %d is not drawn from the clock", r.Conn)
		}
		second := connect(t, s, alice, n2, "t2")
		if second.FormerEdge != n1 || second.FormerConn != r.Conn {
			t.Errorf("the second superseded %s %d", second.FormerEdge, second.FormerConn)
		}
		if second.Record.Conn <= r.Conn || second.Record.Edge != n2 || !second.Record.Since.Equal(r.Since) {
			t.Errorf("the record is %+v after %+v", second.Record, r)
		}
		third := connect(t, s, alice, n2, "t3")
		if third.FormerEdge != n2 || third.FormerConn != second.Record.Conn {
			t.Errorf("the third superseded %s %d", third.FormerEdge, third.FormerConn)
		}
		if got := events(t, s); got != "online t1, online t2, online t3" {
			t.Errorf("events: %s", got)
		}
	})
}

func TestConnectAgainGetsTheSameAnswer(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		connect(t, s, bob, n1, "t1")
		second := connect(t, s, bob, n2, "t2")
		again := connect(t, s, bob, n2, "t2")
		if again != second {
			t.Errorf("answered %+v, then %+v", second, again)
		}
		if got := events(t, s); got != "online t1, online t2" {
			t.Errorf("events: %s", got)
		}
		if !closeConn(t, s, bob, second.Record.Conn, n2).Won {
			t.Fatal("the close was refused")
		}
		if late := connect(t, s, bob, n2, "t2"); late.Record.Online() || late.Record.Conn != second.Record.Conn {
			t.Errorf("a repeat after the close was answered with %+v", late)
		}
		third := connect(t, s, bob, n1, "t3")
		if third.FormerEdge != "" || third.FormerConn != 0 || third.Record.Conn <= second.Record.Conn {
			t.Errorf("after the close: %+v", third)
		}
	})
}

func TestCloseOfARoomAndACall(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		conn := connect(t, s, alice, n1, "t1").Record.Conn
		room := move(t, s, alice, "r1", protocol.Move{})
		call := move(t, s, alice, "call/9", protocol.Move{Call: true})
		if call.Record.Room != "r1" || call.Record.Call != "call/9" || call.Record.Version <= room.Record.Version {
			t.Errorf("the record is %+v", call.Record)
		}
		closed := closeConn(t, s, alice, conn, n1)
		r, i := closed.Record, closed.Intent
		if !closed.Won || r.Online() || r.Room != "" || r.Call != "" || r.Version <= call.Record.Version || r.Conn != conn {
			t.Errorf("closed: %+v", closed)
		}
		if i.User != alice || i.Version != r.Version || i.Conn != conn || i.Edge != n1 || !i.Lost || i.Reason != "silent" ||
			!slices.Equal(i.Leave, []protocol.RoomID{"r1", "call/9"}) || i.Enter != "" || !i.At.Equal(r.Since) {
			t.Errorf("the intent is %+v", i)
		}
		if x := r.Removal; x == nil || x.Room != "r1" || x.Call != "call/9" || x.Reason != "silent" || x.By != "n1" || !x.At.Equal(i.At) {
			t.Errorf("the removal is %+v", x)
		}
		if again := closeConn(t, s, alice, conn, n1); !again.Won || again.Intent.Version != i.Version || !slices.Equal(again.Intent.Leave, i.Leave) {
			t.Errorf("closed again: %+v", again)
		}
		if other := closeConn(t, s, alice, conn, n2); other.Won {
			t.Errorf("another one closed it as well: %+v", other)
		}
		check(t, s.Settle(t.Context(), protocol.Settle{Partition: 7, By: n1, User: alice, Version: i.Version}))
		if settled := closeConn(t, s, alice, conn, n1); settled.Won {
			t.Errorf("closed again after it was settled: %+v", settled)
		}
		if got := events(t, s); got != "online t1, offline" {
			t.Errorf("events: %s", got)
		}
	})
}

func TestCloseOfNothingNeedsNoTelling(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		conn := connect(t, s, bob, n1, "t1").Record.Conn
		for range 2 {
			closed := closeConn(t, s, bob, conn, n1)
			if !closed.Won || closed.Intent.Version != 0 || closed.Record.Version != 0 || closed.Record.Removal != nil || closed.Record.Online() {
				t.Errorf("closed: %+v", closed)
			}
		}
		if left := remains(t, s, n1); len(left) != 0 {
			t.Errorf("remains: %+v", left)
		}
	})
}

func TestCloseAfterAnEarlierClose(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		first := connect(t, s, bob, n1, "t1").Record.Conn
		move(t, s, bob, "r1", protocol.Move{})
		closed := closeConn(t, s, bob, first, n1)
		eventually(t, "the clock to go on", func() bool {
			return must(s.Now(t.Context()))(t).After(closed.Record.Since)
		})
		second := connect(t, s, bob, n1, "t2").Record
		if !second.Since.After(closed.Record.Since) {
			t.Errorf("online since %s, offline since %s", second.Since, closed.Record.Since)
		}
		for range 2 {
			again := closeConn(t, s, bob, second.Conn, n1)
			if !again.Won || again.Intent.Version != 0 || again.Record.Removal.Room != "r1" {
				t.Errorf("closed: %+v", again)
			}
		}
		if left := remains(t, s, n1); len(left) != 1 || len(left[0].Intents) != 1 {
			t.Errorf("remains: %+v", left)
		}
	})
}

func TestCloseOfAnythingButTheLatestLoses(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		if closed := closeConn(t, s, bob, 1, n1); closed.Won || closed.Record.User != bob || closed.Record.Conn != 0 {
			t.Errorf("an unknown user's: %+v", closed)
		}
		first := connect(t, s, bob, n1, "t1").Record.Conn
		second := connect(t, s, bob, n2, "t2").Record.Conn
		for _, conn := range []protocol.ConnNumber{first, second + 1, 0} {
			if closed := closeConn(t, s, bob, conn, n1); closed.Won || closed.Record.Conn != second || !closed.Record.Online() {
				t.Errorf("connection %d: %+v", conn, closed)
			}
		}
		if r := record(t, s, bob); !r.Online() {
			t.Errorf("the record is %+v", r)
		}
	})
}

func TestOneOfManyClosersWins(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		first := b.client(t)
		conn := connect(t, first, alice, n1, "t1").Record.Conn
		move(t, first, alice, "r1", protocol.Move{})
		const closers = 8
		closed := make([]protocol.Closed, closers)
		var wg sync.WaitGroup
		for i := range closers {
			s := b.client(t)
			wg.Go(func() {
				closed[i], _ = s.Close(t.Context(), protocol.Close{
					Partition: 7, User: alice, Conn: conn, By: protocol.Incarnation(fmt.Sprintf("n%d@x", i)),
				})
			})
		}
		wg.Wait()
		won := 0
		for _, c := range closed {
			if c.Won {
				won++
			}
			if c.Won != c.Intent.Lost {
				t.Errorf("won %v with intent %+v", c.Won, c.Intent)
			}
		}
		if won != 1 {
			t.Errorf("%d closers won", won)
		}
	})
}

func TestConcurrentConnectsAreInOneOrder(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		const clients, each = 4, 25
		var mu sync.Mutex
		seen := make(map[protocol.ConnNumber]bool)
		former := make(map[protocol.ConnNumber]bool)
		var wg sync.WaitGroup
		for i := range clients {
			s := b.client(t)
			for n := range each {
				wg.Go(func() {
					edge := protocol.Incarnation(fmt.Sprintf("n%d@x", i))
					got, err := s.Connect(t.Context(), protocol.Connect{Partition: 7, User: alice, Edge: edge, Token: fmt.Sprint(i, n)})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if seen[got.Record.Conn] || former[got.FormerConn] {
						t.Errorf("number %d or former %d came twice", got.Record.Conn, got.FormerConn)
					}
					seen[got.Record.Conn], former[got.FormerConn] = true, true
				})
			}
		}
		wg.Wait()
		s := b.client(t)
		latest := record(t, s, alice)
		if len(seen) != clients*each || former[latest.Conn] {
			t.Errorf("%d numbers; the latest one, %d, was superseded: %v", len(seen), latest.Conn, former[latest.Conn])
		}
		left := remains(t, s, "n0@x", "n1@x", "n2@x", "n3@x")
		if len(left) != 1 || left[0].Incarnation != latest.Edge || !slices.Equal(left[0].Connections, []protocol.UserConn{{User: alice, Conn: latest.Conn}}) {
			t.Errorf("remains: %+v of %+v", left, latest)
		}
	})
}

func TestMoveOfAUserNeverSeen(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		if nowhere := move(t, s, bob, "", protocol.Move{}); nowhere.Refused || nowhere.Intent.Version != 0 || nowhere.Record.Version != 0 {
			t.Errorf("from nowhere to nowhere: %+v", nowhere)
		}
		moved := move(t, s, bob, "r1", protocol.Move{Body: []byte("\x00\xff{}"), Reason: "api"})
		i, r := moved.Intent, moved.Record
		if moved.Refused || moved.Repeated || r.Room != "r1" || r.Online() || r.Conn != 0 || r.Version == 0 || r.Removal != nil {
			t.Errorf("moved: %+v", moved)
		}
		if i.User != bob || i.Version != r.Version || i.Conn != 0 || i.Edge != "" || i.Leave != nil || i.Enter != "r1" ||
			string(i.Body) != "\x00\xff{}" || i.Lost || i.Reason != "api" || i.At.IsZero() {
			t.Errorf("the intent is %+v", i)
		}
		if got := record(t, s, bob); got.Room != "r1" || got.Version != r.Version {
			t.Errorf("the record is %+v", got)
		}
	})
}

func TestMoveFromRoomToRoom(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		conn := connect(t, s, alice, n1, "t1").Record.Conn
		first := move(t, s, alice, "r1", protocol.Move{})
		second := move(t, s, alice, "r2", protocol.Move{Reason: "moved"})
		i := second.Intent
		if !slices.Equal(i.Leave, []protocol.RoomID{"r1"}) || i.Enter != "r2" || i.Conn != conn || i.Edge != n1 || i.Version <= first.Intent.Version {
			t.Errorf("the intent is %+v", i)
		}
		if x := second.Record.Removal; x == nil || x.Room != "r1" || x.Call != "" || x.Reason != "moved" || x.By != "n3" {
			t.Errorf("the removal is %+v", x)
		}
		again := move(t, s, alice, "r2", protocol.Move{})
		if again.Intent.Leave != nil || again.Intent.Enter != "r2" || again.Intent.Version <= i.Version {
			t.Errorf("entering again: %+v", again)
		}
		out := move(t, s, alice, "", protocol.Move{Reason: "exit"})
		if !slices.Equal(out.Intent.Leave, []protocol.RoomID{"r2"}) || out.Intent.Enter != "" || out.Record.Room != "" || out.Record.Removal.Room != "r2" {
			t.Errorf("leaving: %+v", out)
		}
		call := move(t, s, alice, "call/1", protocol.Move{Call: true})
		if call.Record.Room != "" || call.Record.Call != "call/1" || call.Intent.Leave != nil {
			t.Errorf("calling: %+v", call)
		}
		hangUp := move(t, s, alice, "", protocol.Move{Call: true, Reason: "ended"})
		if x := hangUp.Record.Removal; x.Room != "" || x.Call != "call/1" {
			t.Errorf("the removal is %+v", x)
		}
	})
}

func TestMoveOnConditions(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		if got := move(t, s, bob, "", protocol.Move{From: "r1"}); !got.Refused || got.Record.Version != 0 {
			t.Errorf("from a room that an unknown user is not in: %+v", got)
		}
		there := move(t, s, bob, "r1", protocol.Move{})
		if got := move(t, s, bob, "r3", protocol.Move{From: "r2"}); !got.Refused || got.Record.Room != "r1" || got.Intent.Version != 0 {
			t.Errorf("from another room: %+v", got)
		}
		if got := move(t, s, bob, "", protocol.Move{From: "r1", Call: true}); !got.Refused {
			t.Errorf("from the room, as a call: %+v", got)
		}
		if got := move(t, s, bob, "r3", protocol.Move{IfVersion: there.Record.Version - 1}); !got.Refused {
			t.Errorf("at another version: %+v", got)
		}
		if got := move(t, s, bob, "r3", protocol.Move{IfVersion: there.Record.Version, From: "r1"}); got.Refused || got.Record.Room != "r3" {
			t.Errorf("as it is: %+v", got)
		}
	})
}

func TestMoveIsRememberedByItsKey(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		move(t, s, alice, "r0", protocol.Move{})
		first := move(t, s, alice, "r1", protocol.Move{Key: "key 0", Body: []byte("b"), Reason: "api"})
		for i := 1; i < keyMemory; i++ {
			move(t, s, alice, "r2", protocol.Move{Key: fmt.Sprintf("key %d", i)})
		}
		if got := move(t, s, alice, "r3", protocol.Move{Key: "refused", From: "r1"}); !got.Refused {
			t.Errorf("refused: %+v", got)
		}
		check(t, s.Settle(t.Context(), protocol.Settle{Partition: 7, By: n3, User: alice, Version: first.Intent.Version}))
		again := move(t, s, alice, "r1", protocol.Move{Key: "key 0", Body: []byte("b"), Reason: "api"})
		if !again.Repeated || again.Refused || again.Record.Room != "r2" {
			t.Errorf("repeated: %+v", again)
		}
		a, b := first.Intent, again.Intent
		if a.Version != b.Version || a.Enter != b.Enter || !slices.Equal(a.Leave, b.Leave) || string(a.Body) != string(b.Body) || a.Reason != b.Reason || !a.At.Equal(b.At) {
			t.Errorf("the intent is %+v, then %+v", a, b)
		}
		if got := move(t, s, bob, "r1", protocol.Move{Key: "key 0"}); got.Repeated {
			t.Error("another user's key was taken for this one's")
		}
		move(t, s, alice, "r2", protocol.Move{Key: "one more"})
		if got := move(t, s, alice, "r1", protocol.Move{Key: "key 1"}); !got.Repeated {
			t.Error("the second of 17 keys is forgotten")
		}
		if got := move(t, s, alice, "r1", protocol.Move{Key: "key 0"}); got.Repeated || got.Record.Room != "r1" {
			t.Errorf("the first of 17 keys is remembered: %+v", got)
		}
	})
}

func TestUsersInTheOrderAsked(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		connect(t, s, alice, n1, "t1")
		at := []protocol.UserAt{{Partition: 7, User: bob}, {Partition: 7, User: alice}, {Partition: 6, User: alice}, {Partition: 7, User: alice}}
		got := must(s.Users(t.Context(), at))(t)
		if len(got) != 4 || got[0] != (protocol.UserRecord{User: bob}) || got[1].Edge != n1 || got[2] != (protocol.UserRecord{User: alice}) || got[3] != got[1] {
			t.Errorf("records: %+v", got)
		}
		if none := must(s.Users(t.Context(), nil))(t); len(none) != 0 {
			t.Errorf("records of nobody: %+v", none)
		}
	})
}

func TestRemainsAreThoseOfTheDead(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		// Names that begin like another one's must not be mixed up with it.
		for i, edge := range []protocol.Incarnation{"a@1", "a@1!", "a@10", "a@1~", "a@2"} {
			connect(t, s, protocol.UserID(100+i), edge, "t")
			moved := move(t, s, protocol.UserID(100+i), "r1", protocol.Move{By: edge})
			if i == 3 {
				check(t, s.Settle(t.Context(), protocol.Settle{Partition: 7, By: edge, User: 103, Version: moved.Intent.Version}))
			}
		}
		latest := connect(t, s, 100, "a@2", "t2").Record.Conn
		closed := closeConn(t, s, 101, record(t, s, 101).Conn, "z@9")
		check(t, s.Settle(t.Context(), protocol.Settle{Partition: 7, By: "nobody@1", User: 101, Version: closed.Intent.Version}))

		if left := remains(t, s); len(left) != 0 {
			t.Errorf("nobody is dead, remains: %+v", left)
		}
		count := func(of protocol.Incarnation) (connections, intents int) {
			left := remains(t, s, of)
			if len(left) > 1 || len(left) == 1 && (left[0].Incarnation != of || left[0].Partition != 7) {
				t.Fatalf("remains of %s: %+v", of, left)
			}
			for _, r := range left {
				connections, intents = len(r.Connections), len(r.Intents)
			}
			return connections, intents
		}
		for of, want := range map[protocol.Incarnation][2]int{
			"a@1": {0, 1}, "a@1!": {0, 1}, "a@10": {1, 1}, "a@1~": {1, 0}, "a@2": {2, 1}, "z@9": {0, 1}, "a@": {0, 0},
		} {
			if c, i := count(of); c != want[0] || i != want[1] {
				t.Errorf("%s left %d connections and %d intents, want %v", of, c, i, want)
			}
		}
		if left := remains(t, s, "a@2", "z@9"); len(left) != 2 {
			t.Errorf("remains of two: %+v", left)
		} else if !slices.Contains(left[0].Connections, protocol.UserConn{User: 100, Conn: latest}) {
			t.Errorf("remains of a@2: %+v", left[0])
		} else if i := left[1].Intents[0]; i.User != 101 || i.Version != closed.Intent.Version || !i.Lost || i.Edge != "a@1!" {
			t.Errorf("remains of z@9: %+v", i)
		}
	})
}

func TestRestoreUsersOnlyWhereTheStoreIsOlder(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		s := b.client(t)
		connect(t, s, alice, n1, "t1")
		move(t, s, alice, "r1", protocol.Move{Reason: "x"})
		old := move(t, s, alice, "call/1", protocol.Move{Call: true}).Record
		connect(t, s, bob, n1, "t1")
		ours := []protocol.UserRecord{old, record(t, s, bob)}

		moved := move(t, s, alice, "r2", protocol.Move{Reason: "moved"}).Record
		latest := connect(t, s, alice, n2, "t2").Record
		if !closeConn(t, s, bob, ours[1].Conn, n1).Won {
			t.Fatal("the close was refused")
		}
		check(t, s.RestoreUsers(t.Context(), 7, ours))
		if got := record(t, s, alice); got.Conn != latest.Conn || got.Edge != n2 || got.Version != moved.Version || got.Room != "r2" || got.Call != "call/1" {
			t.Errorf("the newer record was replaced by %+v", got)
		}
		if record(t, s, bob).Online() {
			t.Error("a closed connection came back")
		}

		ours[0] = record(t, s, alice)
		b.flush(t)
		check(t, s.RestoreUsers(t.Context(), 7, ours))
		check(t, s.RestoreUsers(t.Context(), 7, ours))
		got := record(t, s, alice)
		if got.Conn != latest.Conn || got.Edge != n2 || got.Version != moved.Version || got.Room != "r2" || got.Call != "call/1" || !got.Since.Equal(latest.Since) {
			t.Errorf("restored: %+v", got)
		}
		if x := got.Removal; x == nil || *x != *moved.Removal {
			t.Errorf("restored removal: %+v", x)
		}
		left := remains(t, s, n2)
		if len(left) != 1 || !slices.Equal(left[0].Connections, []protocol.UserConn{{User: alice, Conn: latest.Conn}}) {
			t.Errorf("remains: %+v", left)
		}
		next := connect(t, s, alice, n1, "t3")
		if next.Record.Conn <= latest.Conn || next.FormerConn != latest.Conn || next.FormerEdge != n2 {
			t.Errorf("connected after the restore: %+v", next)
		}
		if left := remains(t, s, n2); len(left) != 0 {
			t.Errorf("remains after it was superseded: %+v", left)
		}
		if closed := closeConn(t, s, bob, ours[1].Conn, n1); !closed.Won {
			t.Errorf("closing a restored connection: %+v", closed)
		}
	})
}

func TestPruneForgetsOnlyWhoIsLongGone(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		now := must(s.Now(t.Context()))(t)
		long := now.Add(-48 * time.Hour)
		then := uint64(long.UnixMilli())
		check(t, s.RestoreUsers(t.Context(), 7, []protocol.UserRecord{
			{User: 1, Conn: protocol.ConnNumber(then), Version: protocol.Version(then), Since: long},
			{User: 2, Conn: protocol.ConnNumber(then), Edge: n1, Since: long},
			{User: 3, Conn: protocol.ConnNumber(then), Room: "r1", Version: 1, Since: long},
			{User: 4, Conn: protocol.ConnNumber(then), Call: "call/1", Version: 1, Since: long},
			{User: 5, Conn: protocol.ConnNumber(then), Version: protocol.Version(now.UnixMilli()), Since: long},
			{User: 6, Conn: protocol.ConnNumber(then), Since: now},
		}))
		if n := must(s.Prune(t.Context(), 7, 72*time.Hour))(t); n != 0 {
			t.Errorf("%d users forgotten too early", n)
		}
		if n := must(s.Prune(t.Context(), 7, 24*time.Hour))(t); n != 1 {
			t.Errorf("%d users forgotten", n)
		}
		if r := record(t, s, 1); r != (protocol.UserRecord{User: 1}) {
			t.Errorf("the record is still %+v", r)
		}
		for user := protocol.UserID(2); user <= 6; user++ {
			if record(t, s, user).Conn == 0 {
				t.Errorf("user %d was forgotten", user)
			}
		}
		if back := connect(t, s, 1, n1, "t1"); uint64(back.Record.Conn) <= then {
			t.Errorf("a forgotten user's number began again at %d", back.Record.Conn)
		}
		if back := move(t, s, 1, "r1", protocol.Move{}); uint64(back.Record.Version) <= then {
			t.Errorf("a forgotten user's version began again at %d", back.Record.Version)
		}
		if _, err := s.Prune(t.Context(), 7, time.Second); protocol.CodeOf(err) != protocol.CodeBadRequest {
			t.Errorf("forgetting at once was answered with %v", err)
		}
	})
}

func TestPruneOfManyUsers(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		long := must(s.Now(t.Context()))(t).Add(-48 * time.Hour)
		var records []protocol.UserRecord
		for u := range protocol.UserID(1200) {
			records = append(records, protocol.UserRecord{User: u + 1, Conn: 1, Since: long})
		}
		check(t, s.RestoreUsers(t.Context(), 7, records))
		if n := must(s.Prune(t.Context(), 7, 24*time.Hour))(t); n != len(records) {
			t.Errorf("%d of %d users forgotten", n, len(records))
		}
	})
}

func TestCallsThatCannotBeKeptAreRefused(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		ctx := t.Context()
		_, connect1 := s.Connect(ctx, protocol.Connect{User: 1, Edge: n1})
		_, connect2 := s.Connect(ctx, protocol.Connect{User: 0, Edge: n1, Token: "t"})
		_, connect3 := s.Connect(ctx, protocol.Connect{User: 1, Edge: "a b", Token: "t"})
		_, close1 := s.Close(ctx, protocol.Close{User: -1, Conn: 1, By: n1})
		_, move1 := s.Move(ctx, protocol.Move{User: 1, To: "r1"})
		_, move2 := s.Move(ctx, protocol.Move{User: 1, To: "r1", By: n1, Key: strings.Repeat("k", maxKey+1)})
		settle := s.Settle(ctx, protocol.Settle{User: 1})
		restore1 := s.RestoreUsers(ctx, 7, []protocol.UserRecord{{User: 1, Conn: 1 << 60}})
		for i, err := range []error{connect1, connect2, connect3, close1, move1, move2, settle, restore1} {
			if protocol.CodeOf(err) != protocol.CodeBadRequest {
				t.Errorf("call %d was answered with %v", i, err)
			}
		}
	})
}
