package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/protocol"
)

func TestSpreadOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		count int
		loads []spreadLoad
		want  string
	}{
		{"one is enough", 10, []spreadLoad{{"a", 10, 10}, {"b", 0, 0}}, "[{a 2}]"},
		{"the least loaded comes next", 11, []spreadLoad{{"a", 80, 11}, {"b", 50, 0}, {"c", 40, 0}}, "[{a 11} {c 51}]"},
		{"who has the room already comes before", 11, []spreadLoad{{"a", 80, 8}, {"b", 50, 3}, {"c", 40, 0}}, "[{a 11} {b 41}]"},
		{"even ones share evenly", 30, []spreadLoad{{"a", 10, 10}, {"b", 10, 10}, {"c", 10, 10}}, "[{a 2} {b 2} {c 2}]"},
		{"no more than there are", 99, []spreadLoad{{"b", 16, 16}, {"a", 83, 83}}, "[{a 11} {b 78}]"},
		{"a figure of connections that lags", 11, []spreadLoad{{"a", 0, 11}, {"b", 0, 0}}, "[{a 2} {b 13}]"},
	} {
		if got := fmt.Sprint(spreadOver(c.count, 10, "a", c.loads)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Whatever the loads are: the owner is first, nobody comes twice, everyone has a
// share, and who is less loaded has no smaller one.
func TestSpreadOverHoldsForAllLoads(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 100).Draw(t, "nodes")
		most := rapid.IntRange(1, 50).Draw(t, "most")
		count := rapid.IntRange(most+1, 100*most).Draw(t, "count")
		load := map[protocol.Incarnation]int{}
		var loads []spreadLoad
		for i := range n {
			l := spreadLoad{
				edge:        protocol.Incarnation(fmt.Sprintf("n%d@b", i)),
				connections: rapid.IntRange(0, 1<<20).Draw(t, "connections"), here: rapid.IntRange(0, 1<<20).Draw(t, "here"),
			}
			load[l.edge] = max(l.connections, l.here)
			loads = append(loads, l)
		}
		owner := loads[rapid.IntRange(0, n-1).Draw(t, "owner")].edge
		edges := spreadOver(count, most, owner, loads)
		if want := min((count+most-1)/most, n, maxSpreadEdges); len(edges) != want || edges[0].Edge != owner {
			t.Fatalf("%d edges, the first %s; want %d, the first %s", len(edges), edges[0].Edge, want, owner)
		}
		seen := map[protocol.Incarnation]bool{}
		for i, a := range edges {
			if seen[a.Edge] || a.Share == 0 {
				t.Fatalf("edge %s comes twice, or has no share", a.Edge)
			}
			seen[a.Edge] = true
			for _, b := range edges[:i] {
				if load[a.Edge] < load[b.Edge] && a.Share < b.Share {
					t.Fatalf("%v has more than the less loaded %v", b, a)
				}
			}
		}
	})
}

// A storm of newcomers that are drawn by shares evens the edges out.
func TestDrawnNewcomersEvenOut(t *testing.T) {
	t.Parallel()
	loads := []spreadLoad{{"a", 5000, 5000}, {"b", 0, 0}, {"c", 2000, 0}}
	for range 100 {
		edges := spreadOver(30_000, 5000, "a", loads)
		for range 250 {
			drawn := drawEdge(edges, func(protocol.Incarnation) bool { return true })
			i := slices.IndexFunc(loads, func(l spreadLoad) bool { return l.edge == drawn })
			loads[i].here++
			loads[i].connections++
		}
	}
	for _, l := range loads {
		if l.connections < 9000 || l.connections > 13_000 {
			t.Errorf("edge %s has %d of 32,000 connections", l.edge, l.connections)
		}
	}
}

func TestDrawEdgePassesOverWhoTakesNobody(t *testing.T) {
	t.Parallel()
	edges := []spreadEdge{{"a", 1}, {"b", 1}, {"c", 0}}
	for range 100 {
		if got := drawEdge(edges, func(e protocol.Incarnation) bool { return e != "a" }); got != "b" {
			t.Fatalf("drew %q, want b: a takes nobody, c has no share", got)
		}
	}
	if got := drawEdge(edges, func(protocol.Incarnation) bool { return false }); got != "" {
		t.Errorf("drew %q of none", got)
	}
}

// end_point follows the owner's word of a large room, for no other room, from
// nobody else, and no longer than it holds.
func TestEndPointOfALargeRoom(t *testing.T) {
	t.Parallel()
	e, sid := testEndPoint(t, edge.SignHMAC)
	members := e.life.members.table()
	setState := func(id protocol.NodeID, state gossip.State) {
		m := members.members[id]
		m.meta.State = state
		members.members[id] = m
	}
	for id := range members.members {
		setState(id, gossip.Serving)
	}
	owner, _ := members.owner(e.life.partition("big"))
	other := protocol.Incarnation("n1@a")
	if owner == other {
		other = "n2@a"
	}
	body, err := encode([]crowd{{Room: "big", Edges: []spreadEdge{{Edge: other, Share: 1}}}})
	if err != nil {
		t.Fatal(err)
	}
	at := func(room string) any { return askEndPoint(t, e, "sid="+sid+"&room_id="+room)["end_point"] }
	home, away := e.life.clientAddress(members, owner), e.life.clientAddress(members, other)
	e.life.crowds.word("stranger@x", body)
	e.life.crowds.word(other, body)
	if got := at("big"); got != home {
		t.Errorf("without the owner's word: %v, want its own %v", got, home)
	}
	e.life.crowds.word(owner, body)
	if got := at("big"); got != away {
		t.Errorf("the owner named %v, end_point answers %v", away, got)
	}
	if got, want := at("small"), e.life.clientAddress(members, first(members.owner(e.life.partition("small")))); got != want {
		t.Errorf("a small room is at %v, want %v", got, want)
	}
	setState(other.Node(), gossip.Draining)
	if got := at("big"); got != home {
		t.Errorf("the edge takes nobody, end_point answers %v, want %v", got, home)
	}
	e.life.crowds.mu.Lock()
	e.life.crowds.words[owner] = crowdList{at: time.Now().Add(-crowdFor), crowds: e.life.crowds.words[owner].crowds}
	e.life.crowds.mu.Unlock()
	setState(other.Node(), gossip.Serving)
	e.life.crowds.expire()
	if got := at("big"); got != home {
		t.Errorf("after its time the owner's word still holds: %v", got)
	}
}

func first[A, B any](a A, _ B) A { return a }

// What one owner can make another node keep is bounded.
func TestCrowdWordsAreBounded(t *testing.T) {
	t.Parallel()
	e, _ := testEndPoint(t, edge.SignHMAC)
	var list []crowd
	for i := range 3 * maxCrowds {
		list = append(list, crowd{Room: protocol.RoomID(fmt.Sprint(i)), Edges: make([]spreadEdge, 3*maxSpreadEdges)})
	}
	body, err := encode(list)
	if err != nil {
		t.Fatal(err)
	}
	e.life.crowds.word("n2@a", body)
	large := *e.life.crowds.current.Load()
	if len(large) != maxCrowds || len(large["0"].edges) != maxSpreadEdges {
		t.Errorf("%d rooms of %d edges are kept, want %d of %d", len(large), len(large["0"].edges), maxCrowds, maxSpreadEdges)
	}
}

// BenchmarkEdgeOfRoom is what large rooms add to end_point: nothing known of
// any, and a room of 64 edges among as many rooms as there can be of 20 owners.
func BenchmarkEdgeOfRoom(b *testing.B) {
	for _, rooms := range []int{0, 20 * maxCrowds} {
		b.Run(fmt.Sprint(rooms), func(b *testing.B) {
			e, _ := testEndPoint(b, edge.SignHMAC)
			t := e.life.members.table()
			edges := make([]spreadEdge, maxSpreadEdges)
			for i := range edges {
				id := protocol.NodeID(fmt.Sprintf("e%d", i))
				edges[i] = spreadEdge{Edge: protocol.NewIncarnation(id, "a"), Share: uint32(i + 1)}
				t.members[id] = member{inc: edges[i].Edge, alive: true, meta: gossip.Meta{State: gossip.Serving}}
			}
			large := make(map[protocol.RoomID]spreadRoom)
			for i := range rooms {
				large[protocol.RoomID(fmt.Sprint(i))] = spreadRoom{owner: "n1@a", edges: edges}
			}
			e.life.crowds.current.Store(&large)
			b.ReportAllocs()
			for b.Loop() {
				e.life.crowds.edge(t, "1234", "n1@a")
			}
		})
	}
}
