package clustertest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
)

// tripwire is a node's store that strikes before or after a chosen call.
type tripwire struct {
	node.Store
	mu     sync.Mutex
	strike func(call string, after bool)
}

func (w *tripwire) hit(call string, after bool) {
	w.mu.Lock()
	strike := w.strike
	w.mu.Unlock()
	if strike != nil {
		strike(call, after)
	}
}

func (w *tripwire) arm(strike func(call string, after bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.strike = strike
}

func (w *tripwire) Move(ctx context.Context, m protocol.Move) (protocol.Moved, error) {
	w.hit("move", false)
	moved, err := w.Store.Move(ctx, m)
	w.hit("move", true)
	return moved, err
}

func (w *tripwire) Settle(ctx context.Context, s protocol.Settle) error {
	w.hit("settle", false)
	err := w.Store.Settle(ctx, s)
	w.hit("settle", true)
	return err
}

func (w *tripwire) Commit(ctx context.Context, commits []protocol.Commit) ([]protocol.CommitStatus, error) {
	w.hit("commit", false)
	statuses, err := w.Store.Commit(ctx, commits)
	w.hit("commit", true)
	return statuses, err
}

// rooms of which each has another owner, by owner.
func (c *Cluster) roomsByOwner() map[int]string {
	c.tb.Helper()
	found := map[int]string{}
	for i := 0; len(found) < len(c.nodes); i++ {
		room := fmt.Sprintf("m%d", i)
		if n := c.OwnerOf(room); found[n] == "" {
			found[n] = room
		}
	}
	return found
}

// agreed is nil when the user's record, the rosters and (if connected) the edge
// put the user into the same room, or all into none.
func (c *Cluster) agreed(user int, rooms []string) error {
	n := c.anyNode()
	status, record := c.Call(http.MethodGet, n, fmt.Sprintf("/v1/users/%d", user), nil)
	if status != http.StatusOK {
		return fmt.Errorf("user's record: %d %v", status, record)
	}
	room, _ := record["current_room_id"].(string)
	for _, r := range rooms {
		status, answer := c.Call(http.MethodGet, n, "/v1/rooms/"+r, nil)
		if status != http.StatusOK && status != http.StatusNotFound {
			return fmt.Errorf("room %s: %d %v", r, status, answer)
		}
		in := false
		if list, ok := answer["occupants"].([]any); ok {
			in = slices.ContainsFunc(list, func(o any) bool { return int(o.(map[string]any)["user_id"].(float64)) == user })
		}
		if in != (r == room) {
			return fmt.Errorf("record says %q, room %s has the user: %t", room, r, in)
		}
	}
	return c.edgeAgrees(user, room, rooms)
}

// edgeAgrees publishes to every room and reports whether the user's connection
// hears its own room and no other.
func (c *Cluster) edgeAgrees(user int, room string, rooms []string) error {
	p := c.phones[user]
	if p == nil || p.Gone() != nil {
		return nil
	}
	c.marks++
	mark := float64(c.marks)
	for _, r := range rooms {
		c.Call(http.MethodPost, c.anyNode(), "/v1/rooms/"+r+"/publish", map[string]any{"action": "probe", "mark": mark, "of": r})
	}
	time.Sleep(300 * time.Millisecond)
	var heard []string
	for _, f := range p.Heard("probe") {
		if f.Fields["mark"] == mark {
			heard = append(heard, f.Fields["of"].(string))
		}
	}
	want := []string{}
	if room != "" {
		want = append(want, room)
	}
	if !slices.Equal(heard, want) {
		return fmt.Errorf("the connection hears %v, the record says %q", heard, room)
	}
	return nil
}

func (c *Cluster) anyNode() int { return slices.Min(slices.Collect(maps.Keys(c.nodes))) }

// Scenario 7: U moves from r1 to r2 while a party is killed at each step: the
// node that was asked, either room's owner, the edge. Within 11 s of the
// takeover the rosters, the record and the edge agree.
func TestScenario7MoveWithKills(t *testing.T) {
	for _, victim := range []string{"asked", "former", "next"} {
		for _, step := range []string{"move", "commit", "settle"} {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s after=%t", victim, step, after), func(t *testing.T) {
					bubble(t, func(t *testing.T) { moveWithKill(t, victim, step, after) })
				})
			}
		}
	}
}

const user7 = 7

func moveWithKill(t *testing.T, victim, step string, after bool) {
	wires := map[int]*tripwire{}
	c := New(t, 5, Options{WrapStore: func(n int, s node.Store) node.Store {
		wires[n] = &tripwire{Store: s}
		return wires[n]
	}})
	rooms := c.roomsByOwner()
	asked, former, next, edge := 1, 2, 3, 4
	r1, r2 := rooms[former], rooms[next]
	c.Keep(c.Dial(user7, edge, PhoneOptions{}))
	c.Enter(5, r1, user7, nil)
	doomed := map[string]int{"asked": asked, "former": former, "next": next}[victim]
	died := make(chan struct{}, 1)
	wires[doomed].arm(func(call string, late bool) {
		if call == step && late == after {
			c.Strike(doomed)
			select {
			case died <- struct{}{}:
			default:
			}
		}
	})
	c.Call(http.MethodPut, asked, fmt.Sprintf("/v1/rooms/%s/occupants/%d", r2, user7), map[string]any{})
	select {
	case <-died:
		c.Kill(doomed)
	default: // this party makes no such call on the way
		wires[doomed].arm(nil)
	}
	time.Sleep(3 * time.Second) // the lease ends, the heirs take over
	c.Eventually(11*time.Second, func() error { return c.agreed(user7, []string{r1, r2}) })
	time.Sleep(15 * time.Second)
	if err := c.agreed(user7, []string{r1, r2}); err != nil {
		t.Errorf("later: %v", err)
	}
	c.Check()
	c.Release()
}

// Scenario 7, the edge: it is killed while its user is being moved, and the
// user comes back elsewhere.
func TestScenario7MoveWithEdgeKilled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 5, Options{})
		rooms := c.roomsByOwner()
		r1, r2 := rooms[2], rooms[3]
		p := c.Dial(user7, 4, PhoneOptions{})
		c.Enter(5, r1, user7, nil)
		moved := make(chan struct{})
		go func() {
			defer close(moved)
			c.Call(http.MethodPut, 1, fmt.Sprintf("/v1/rooms/%s/occupants/%d", r2, user7), map[string]any{})
		}()
		c.Kill(4)
		<-moved
		p.Hang()
		c.Keep(c.Dial(user7, 5, PhoneOptions{}))
		c.Eventually(11*time.Second, func() error { return c.agreed(user7, []string{r1, r2}) })
		time.Sleep(25 * time.Second)
		if err := c.agreed(user7, []string{r1, r2}); err != nil {
			t.Errorf("later: %v", err)
		}
		if u := c.user(1, user7); u["current_room_id"] != r2 {
			t.Errorf("user is %v, want in %s", u, r2)
		}
		c.Check()
		c.Release()
	})
}

// Scenario 7, the race: two nodes move the same user to different rooms at
// once, again and again.
func TestScenario7RacingMoves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 4, Options{})
		rooms := c.roomsByOwner()
		c.Keep(c.Dial(user7, 4, PhoneOptions{}))
		c.Enter(1, rooms[1], user7, nil)
		all := []string{rooms[1], rooms[2], rooms[3]}
		for range 10 {
			var wg sync.WaitGroup
			for _, n := range []int{2, 3} {
				wg.Go(func() {
					c.Call(http.MethodPut, n, fmt.Sprintf("/v1/rooms/%s/occupants/%d", rooms[n], user7), map[string]any{})
				})
			}
			wg.Wait()
			c.Eventually(11*time.Second, func() error { return c.agreed(user7, all) })
			c.Enter(1, rooms[1], user7, nil)
		}
		c.Check()
		c.Release()
	})
}

// poison makes the journal of a room's partition unreadable, as a fault of a
// former version could have, in the name of the node that owns it.
func (c *Cluster) poison(room string, owner int) {
	c.tb.Helper()
	var view struct {
		Members []struct {
			Node        string
			Incarnation protocol.Incarnation
		}
	}
	if err := c.Get(owner, "/v1/cluster", &view); err != nil {
		c.tb.Fatal(err)
	}
	for _, m := range view.Members {
		if m.Node != name(owner) {
			continue
		}
		status, err := c.StoreOf(owner).Restore(c.ctx, protocol.Restore{
			Partition: ring.Config{Partitions: Partitions}.Room(protocol.RoomID(room)),
			Epoch:     protocol.Epoch(time.Now().UnixMilli() + 1000), Owner: m.Incarnation, Position: 1,
			Entries: map[string][]byte{room + ":o:1": []byte("{")},
		})
		if err != nil || status != protocol.Committed {
			c.tb.Fatalf("journal not poisoned: %d %v", status, err)
		}
	}
}
