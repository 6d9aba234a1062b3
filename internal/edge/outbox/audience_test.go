package outbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
)

// numbersIn returns the numbers of the frames in b.
func numbersIn(t interface{ Fatal(...any) }, b []byte) []int {
	var got []int
	for len(b) > 0 {
		n := frameLen(b)
		var number int
		if _, err := fmt.Sscanf(string(b[n-8:n]), "%d", &number); err != nil {
			t.Fatal(err)
		}
		got = append(got, number)
		b = b[n:]
	}
	return got
}

// Against a dumb model: whatever is published in whatever turns, each
// subscriber gets exactly its frames, in order, with their importance.
func TestTurnsAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := New(Config{MaxPending: 1 << 30})
		var mu sync.Mutex
		a := NewAudience(f, &mu)
		type member struct {
			sub       *Subscriber
			want, got []int
			rank      []Importance // of each frame in got
		}
		var members []*member
		w := newWorker(f, false)
		published := 0
		// serve takes one lane's turn as a worker does, but keeps the bursts.
		serve := func() {
			l := f.next(false)
			w.turn.take(l)
			w.turn.prepare()
			for i := range w.turn.subscribers {
				s := &w.turn.subscribers[i]
				if s.from >= w.turn.end || len(w.turn.data) == 0 {
					continue
				}
				b := w.turn.burstFor(s)
				m := members[slices.IndexFunc(members, func(m *member) bool { return m.sub.Conn == s.conn })]
				m.got = append(m.got, numbersIn(t, b.data)...)
				frames := 0
				for _, r := range b.runs {
					for range r.frames {
						m.rank = append(m.rank, r.importance)
					}
					frames += r.frames
				}
				if n := len(numbersIn(t, b.data)); n != frames || n > 0 && b.runs[len(b.runs)-1].end != len(b.data) {
					t.Fatalf("runs %v of %d frames in %d bytes", b.runs, n, len(b.data))
				}
			}
			l.queued = l.at < a.end && len(l.subscribers) > 0
			a.forget()
			again := l.queued
			w.turn.clear()
			if again {
				f.push(l, false)
			}
		}
		rank := make(map[int]Importance)
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				m := &member{sub: &Subscriber{
					Conn: &Conn{}, User: protocol.UserID(1 + len(members)%5), V2: rapid.Bool().Draw(t, "v2"),
				}}
				a.Add(m.sub)
				members = append(members, m)
			},
			"leave": func(t *rapid.T) {
				if len(members) == 0 || f.head < len(f.queue) {
					return // the model has no half-served leavers
				}
				i := rapid.IntRange(0, len(members)-1).Draw(t, "who")
				a.Remove(members[i].sub)
				members = slices.Delete(members, i, i+1)
			},
			"publish": func(t *rapid.T) {
				for range rapid.IntRange(1, 40).Draw(t, "frames") {
					published++
					size := rapid.SampledFrom([]int{0, 10, 200, 9000}).Draw(t, "size")
					frame := Frame{Payload: fmt.Appendf(make([]byte, size), "%08d", published)}
					switch rapid.IntRange(0, 6).Draw(t, "kind") {
					case 0:
						frame.Except = protocol.UserID(rapid.IntRange(1, 6).Draw(t, "except"))
					case 1:
						frame.Only = protocol.UserID(rapid.IntRange(1, 6).Draw(t, "only"))
					case 2:
						frame.V2 = true
					case 3:
						frame.Importance = Importance(rapid.IntRange(1, 16).Draw(t, "importance"))
					}
					rank[published] = frame.Importance
					if frame.Importance == 0 {
						rank[published] = Kept
					}
					a.Publish(frame)
					for _, m := range members {
						s := m.sub
						if frame.V2 && !s.V2 || frame.Only != 0 && frame.Only != s.User || frame.Except == s.User && !s.V2 {
							continue
						}
						m.want = append(m.want, published)
					}
				}
			},
			"turn": func(*rapid.T) {
				if f.head < len(f.queue) {
					serve()
				}
			},
		})
		for f.head < len(f.queue) {
			serve()
		}
		for _, m := range members {
			if !slices.Equal(m.got, m.want) {
				t.Fatalf("user %d v2 %v: got %v, want %v", m.sub.User, m.sub.V2, m.got, m.want)
			}
			for i, n := range m.got {
				if m.rank[i] != rank[n] {
					t.Fatalf("frame %d has importance %d, want %d", n, m.rank[i], rank[n])
				}
			}
		}
		if len(a.pages) != 0 || len(a.marks) != 0 {
			t.Fatalf("%d pages and %d marks are kept when all is written", len(a.pages), len(a.marks))
		}
	})
}

// Many audiences, some of them large, under churn and over real sockets: every
// subscriber sees one order, from where it began, without a hole.
func TestAudiencesUnderLoad(t *testing.T) {
	t.Parallel()
	f := startFanout(t, Config{MaxBacklogBytes: 1 << 30, MaxBacklogFrames: 1 << 30, MaxPending: 1 << 30, Workers: 3})
	var all sync.WaitGroup
	for _, size := range []int{1, 3, 40, 90} {
		var mu sync.Mutex
		a := NewAudience(f, &mu)
		const count = 1500
		var readers sync.WaitGroup
		join := func() {
			server, client := tcpPair(t)
			c, client := pair(t, f, server, client)
			mu.Lock()
			a.Add(&Subscriber{Conn: c})
			mu.Unlock()
			readers.Go(func() {
				last := -1
				if err := readNumbers(client, func(n int) bool {
					if last >= 0 && n != last+1 {
						t.Errorf("frame %d after %d", n, last)
						return false
					}
					last = n
					return n < count-1
				}); err != nil {
					t.Error(err)
				}
			})
		}
		join()
		all.Go(func() {
			for n := range count {
				if n%(count/size/2+1) == 0 && n < count/2 {
					join()
				}
				mu.Lock()
				a.Publish(Frame{Payload: fmt.Appendf(nil, "%08d", n)})
				mu.Unlock()
			}
			readers.Wait()
		})
	}
	all.Wait()
}

// What nobody takes is bounded; unimportant frames go first.
func TestPendingIsBounded(t *testing.T) {
	t.Parallel()
	f := New(Config{MaxPending: 100_000}) // nobody serves
	var mu sync.Mutex
	a := NewAudience(f, &mu)
	a.Add(&Subscriber{Conn: &Conn{}})
	dropped := 0
	for range 3000 {
		if !a.Publish(Frame{Payload: make([]byte, 100), Importance: Importance(8 + 8*rand.IntN(2))}) {
			dropped++
		}
		if a.pending() > 100_000 {
			t.Fatalf("%d bytes are pending", a.pending())
		}
	}
	if n := f.Counters().DroppedPending.Load(); dropped == 0 || n != uint64(dropped) {
		t.Errorf("%d dropped, %d counted", dropped, n)
	}
	if !a.Publish(Frame{Payload: nil, Importance: 1}) && a.pending() < 99_000 {
		t.Error("an important frame was dropped early")
	}
	low := 0
	for _, m := range a.marks {
		if m.importance == 16 && m.start > 50_000 {
			low++
		}
	}
	if low > 0 {
		t.Errorf("%d unimportant frames in the second half", low)
	}
}

// A large audience does not keep a small one waiting: it waits for one lane.
func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	f := New(Config{})
	var mu sync.Mutex
	large, small := NewAudience(f, &mu), NewAudience(f, &mu)
	for range 3*laneSize + 1 {
		large.Add(&Subscriber{Conn: &Conn{}})
	}
	small.Add(&Subscriber{Conn: &Conn{}})
	large.Publish(Frame{Payload: []byte("x")})
	small.Publish(Frame{Payload: []byte("x")})
	large.Publish(Frame{Payload: []byte("x")})
	var order []bool
	for f.head < len(f.queue) {
		order = append(order, f.next(false).audience == small)
	}
	if !slices.Equal(order, []bool{false, true, false, false, false}) {
		t.Errorf("%v", order)
	}
	for large.Len() > 0 {
		for s := range large.Subscribers {
			large.Remove(s)
			break
		}
	}
	if len(large.lanes) != 0 {
		t.Errorf("%d lanes of nobody", len(large.lanes))
	}
}

// A lane waits for one worker at a time, however often it is published to: two
// would serve its subscribers out of order.
func TestLaneIsQueuedOnce(t *testing.T) {
	t.Parallel()
	f := New(Config{})
	var mu sync.Mutex
	a := NewAudience(f, &mu)
	a.Add(&Subscriber{Conn: &Conn{closing: true}})
	publish := func() {
		mu.Lock()
		defer mu.Unlock()
		a.Publish(Frame{Payload: make([]byte, pageMax)}) // one turn takes one page
	}
	waiting := func() int { return len(f.queue) - f.head }
	publish()
	publish()
	for range 3 {
		if waiting() != 1 {
			t.Fatalf("queued %d times", waiting())
		}
		newWorker(f, false).serve(f.next(false))
		publish()
		publish()
	}
	for waiting() > 0 {
		newWorker(f, false).serve(f.next(false))
	}
	if a.pending() != 0 || a.lanes[0].queued {
		t.Errorf("%d bytes are pending and nobody is queued", a.pending())
	}
}
