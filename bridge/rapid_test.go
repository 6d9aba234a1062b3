package bridge

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
)

// The two stores are two independent programs, so each is the other's model:
// whatever is asked of them in whatever order, they answer alike. All numbers
// begin ahead of the clock, so that both stores count them one by one.

// ahead is a number that the clock reaches in 2065.
const ahead = 3_000_000_000_000

type twin struct{ redis, memory store }

func newTwin(t testing.TB, url string) twin {
	return twin{
		redis:  openRedis(t, Config{URL: url, Prefix: newPrefix(), Timeout: 10 * time.Second}),
		memory: NewMemory().Client(n1),
	}
}

// same performs op on both stores and compares what it returns.
func (w twin) same(t *rapid.T, op func(s store) (any, error)) {
	t.Helper()
	first, err := op(w.redis)
	if err != nil {
		t.Fatal(err)
	}
	second, err := op(w.memory)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, second) {
		t.Fatalf("redis  %+v\nmemory %+v", first, second)
	}
}

// without drops the moments, which differ.
func without(r protocol.UserRecord) protocol.UserRecord {
	r.Since = time.Time{}
	if r.Removal != nil {
		removal := *r.Removal
		removal.At = time.Time{}
		r.Removal = &removal
	}
	return r
}

func withoutMoment(i protocol.Intent) protocol.Intent {
	i.At = time.Time{}
	if len(i.Body) == 0 {
		i.Body = nil
	}
	return i
}

var (
	someUsers = rapid.SampledFrom([]protocol.UserID{1, 2, alice})
	someNodes = rapid.SampledFrom([]protocol.Incarnation{n1, n2})
	someRooms = rapid.SampledFrom([]protocol.RoomID{"", "r1", "r2"})
	someCount = rapid.Uint64Range(ahead-1, ahead+12)
)

func TestStoresAgreeOnUsers(t *testing.T) {
	t.Parallel()
	url := testServers.single(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := newTwin(t, url)
		ctx := context.Background()
		w.same(rt, func(s store) (any, error) {
			var all []protocol.UserRecord
			for _, u := range []protocol.UserID{1, 2, alice} {
				all = append(all, protocol.UserRecord{User: u, Conn: ahead, Version: ahead, Since: time.UnixMilli(1)})
			}
			return nil, s.RestoreUsers(ctx, 7, all)
		})
		rt.Repeat(map[string]func(*rapid.T){
			"connect": func(rt *rapid.T) { w.drawConnect(ctx, rt) },
			"close":   func(rt *rapid.T) { w.drawClose(ctx, rt) },
			"move":    func(rt *rapid.T) { w.drawMove(ctx, rt) },
			"settle":  func(rt *rapid.T) { w.drawSettle(ctx, rt) },
			"restore": func(rt *rapid.T) { w.drawRestoreUsers(ctx, rt) },
			"":        func(rt *rapid.T) { w.sameUsers(ctx, rt) },
		})
	})
}

func (w twin) drawConnect(ctx context.Context, rt *rapid.T) {
	op := protocol.Connect{
		Partition: 7, User: someUsers.Draw(rt, "user"), Edge: someNodes.Draw(rt, "edge"),
		Token: fmt.Sprint("t", rapid.IntRange(0, 6).Draw(rt, "token")), Event: []byte("online"),
	}
	w.same(rt, func(s store) (any, error) {
		got, err := s.Connect(ctx, op)
		got.Record = without(got.Record)
		return got, err
	})
}

func (w twin) drawClose(ctx context.Context, rt *rapid.T) {
	op := protocol.Close{Partition: 7, User: someUsers.Draw(rt, "user"), By: someNodes.Draw(rt, "by"), Reason: "gone", Event: []byte("offline")}
	conn, latest := someCount.Draw(rt, "conn"), rapid.Bool().Draw(rt, "latest")
	w.same(rt, func(s store) (any, error) {
		records, err := s.Users(ctx, []protocol.UserAt{{Partition: 7, User: op.User}})
		if err != nil {
			return nil, err
		}
		if op.Conn = protocol.ConnNumber(conn); latest {
			op.Conn = records[0].Conn
		}
		got, err := s.Close(ctx, op)
		got.Record, got.Intent = without(got.Record), withoutMoment(got.Intent)
		return got, err
	})
}

func (w twin) drawMove(ctx context.Context, rt *rapid.T) {
	op := protocol.Move{
		Partition: 7, User: someUsers.Draw(rt, "user"), By: someNodes.Draw(rt, "by"),
		Call: rapid.Bool().Draw(rt, "call"), To: someRooms.Draw(rt, "to"),
		Body: rapid.SliceOf(rapid.Byte()).Draw(rt, "body"), Reason: rapid.SampledFrom([]string{"", "moved"}).Draw(rt, "reason"),
	}
	if rapid.IntRange(0, 3).Draw(rt, "conditional") == 0 {
		op.From = someRooms.Draw(rt, "from")
	}
	if rapid.IntRange(0, 3).Draw(rt, "versioned") == 0 {
		op.IfVersion = protocol.Version(someCount.Draw(rt, "version"))
	}
	if rapid.Bool().Draw(rt, "keyed") {
		op.Key = fmt.Sprint("k", rapid.IntRange(0, 30).Draw(rt, "key"))
	}
	w.same(rt, func(s store) (any, error) {
		got, err := s.Move(ctx, op)
		got.Record, got.Intent = without(got.Record), withoutMoment(got.Intent)
		return got, err
	})
}

func (w twin) drawSettle(ctx context.Context, rt *rapid.T) {
	op := protocol.Settle{
		Partition: 7, User: someUsers.Draw(rt, "user"), By: someNodes.Draw(rt, "by"),
		Version: protocol.Version(someCount.Draw(rt, "version")),
	}
	w.same(rt, func(s store) (any, error) { return nil, s.Settle(ctx, op) })
}

func (w twin) drawRestoreUsers(ctx context.Context, rt *rapid.T) {
	back := protocol.UserRecord{
		User: someUsers.Draw(rt, "user"), Edge: someNodes.Draw(rt, "edge"),
		Room: someRooms.Draw(rt, "room"), Call: someRooms.Draw(rt, "call"), Since: time.UnixMilli(1000),
		Conn: protocol.ConnNumber(someCount.Draw(rt, "conn")), Version: protocol.Version(someCount.Draw(rt, "version")),
	}
	w.same(rt, func(s store) (any, error) {
		return nil, s.RestoreUsers(ctx, 7, []protocol.UserRecord{back})
	})
}

// sameUsers compares all that the stores hold, and holds it to what must be
// true of it.
func (w twin) sameUsers(ctx context.Context, rt *rapid.T) {
	w.same(rt, func(s store) (any, error) {
		records, err := s.Users(ctx, []protocol.UserAt{{Partition: 7, User: 1}, {Partition: 7, User: 2}, {Partition: 7, User: alice}})
		if err != nil {
			return nil, err
		}
		left, err := s.Remains(ctx, []protocol.PartitionID{7}, func(protocol.Incarnation) bool { return true })
		if err != nil {
			return nil, err
		}
		entries, gap, err := s.Outbox(ctx, 7, 1000)
		for n, r := range records {
			if got := connectionsOf(left, r); got > 1 || r.Online() != (got == 1) {
				rt.Fatalf("%d connections of %+v remain in %+v", got, r, left)
			}
			records[n] = without(r)
		}
		for _, r := range left {
			for n, i := range r.Intents {
				r.Intents[n] = withoutMoment(i)
			}
			slices.SortFunc(r.Connections, func(a, b protocol.UserConn) int { return cmp.Compare(a.User, b.User) })
			slices.SortFunc(r.Intents, func(a, b protocol.Intent) int {
				return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Version, b.Version))
			})
		}
		slices.SortFunc(left, func(a, b protocol.Remains) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
		return []any{records, left, entries, gap}, err
	})
}

// connectionsOf counts the connections of a user that remain, one that is not
// the record's as 100.
func connectionsOf(left []protocol.Remains, r protocol.UserRecord) int {
	n := 0
	for _, remains := range left {
		for _, c := range remains.Connections {
			switch {
			case c.User != r.User:
			case c.Conn == r.Conn && remains.Incarnation == r.Edge:
				n++
			default:
				n += 100
			}
		}
	}
	return n
}

func TestStoresAgreeOnTheJournal(t *testing.T) {
	t.Parallel()
	url := testServers.single(t)
	somePosition := rapid.Uint64Range(0, 6)
	rapid.Check(t, func(rt *rapid.T) {
		w := newTwin(t, url)
		ctx := context.Background()
		rt.Repeat(map[string]func(*rapid.T){
			"take": func(rt *rapid.T) {
				op := protocol.Take{Partition: 7, Owner: someNodes.Draw(rt, "owner"), Heard: ahead, IfAny: rapid.Bool().Draw(rt, "ifAny")}
				if rapid.Bool().Draw(rt, "anyDead") {
					op.Dead = []protocol.Incarnation{someNodes.Draw(rt, "dead")}
				}
				w.same(rt, func(s store) (any, error) { return s.Take(ctx, []protocol.Take{op}) })
			},
			"commit": func(rt *rapid.T) {
				op := step(someNodes.Draw(rt, "owner"), protocol.Epoch(someCount.Draw(rt, "epoch")), somePosition.Draw(rt, "position"))
				op.After += rapid.Uint64Range(0, 2).Draw(rt, "further")
				w.same(rt, func(s store) (any, error) { return s.Commit(ctx, []protocol.Commit{op}) })
			},
			"restore": func(rt *rapid.T) {
				op := protocol.Restore{
					Partition: 7, Owner: someNodes.Draw(rt, "owner"), Epoch: protocol.Epoch(someCount.Draw(rt, "epoch")),
					Position: somePosition.Draw(rt, "position"), Entries: map[string][]byte{"r": []byte("x")},
				}
				w.same(rt, func(s store) (any, error) { return s.Restore(ctx, op) })
			},
			"release": func(rt *rapid.T) {
				op := protocol.Release{
					Partition: 7, Owner: someNodes.Draw(rt, "owner"), Epoch: protocol.Epoch(someCount.Draw(rt, "epoch")),
					Position: somePosition.Draw(rt, "position"),
				}
				w.same(rt, func(s store) (any, error) { return s.Release(ctx, []protocol.Release{op}) })
			},
			"": func(rt *rapid.T) {
				w.same(rt, func(s store) (any, error) {
					entries, gap, err := s.Outbox(ctx, 7, 1000)
					return []any{entries, gap}, err
				})
			},
		})
	})
}
