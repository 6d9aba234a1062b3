package clustertest

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	linearUsers = 6
	linearSeats = 3
	// linearBound limits the checker, in real time.
	linearBound = time.Minute
)

var linearSeeds = flag.Uint64("linear.seeds", 4, "histories that TestRoomIsLinearizable draws")

// write is one request about the room, answer what came of it.
type write struct {
	kind string // enter, exit, sit, stand, look
	user int
	seat int
}

type answer struct {
	status int    // 0 for unknown: it may take effect now, later or never
	code   string // of a refusal
	roster string // what look saw
}

// What backends write to a room, all at once and through every node, is as if
// it had been written in one order that each of them could have seen: while
// owners are killed, frozen and replaced, and while answers get lost.
func TestRoomIsLinearizable(t *testing.T) {
	for seed := range *linearSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				history := writeHistory(t, seed)
				model := roomModel.ToModel()
				result, info := porcupine.CheckOperationsVerbose(model, history, linearBound)
				unknown := 0
				for _, op := range history {
					if op.Output.(answer).status == 0 {
						unknown++
					}
				}
				t.Logf("%d operations, the outcome of %d unknown: %s", len(history), unknown, result)
				if result != porcupine.Ok {
					t.Errorf("%d operations: %s", len(history), result)
					explain(t, history, info)
				}
			})
		})
	}
}

// explain shows where the longest order that fits ends, and what it can't go on
// with.
func explain(t *testing.T, history []porcupine.Operation, info porcupine.LinearizationInfo) {
	var longest []porcupine.Operation
	for _, orders := range info.PartialLinearizationsOperations() {
		for _, order := range orders {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	show := func(op porcupine.Operation) {
		t.Logf("%5d to %5d: %+v answers %+v", op.Call, op.Return, op.Input, op.Output)
	}
	t.Log("the longest order ends with")
	for _, op := range longest[max(0, len(longest)-40):] {
		show(op)
	}
	t.Log("and is without")
	in := map[int64]bool{}
	for _, op := range longest {
		in[op.Call] = true
	}
	rest := slices.DeleteFunc(slices.Clone(history), func(op porcupine.Operation) bool { return in[op.Call] })
	slices.SortFunc(rest, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	for _, op := range rest[:min(12, len(rest))] {
		show(op)
	}
}

// The checker itself: a history that no order explains is found.
func TestRoomModelFindsALostWrite(t *testing.T) {
	t.Parallel()
	history := []porcupine.Operation{
		{Input: write{kind: "enter", user: 1}, Output: answer{status: 200}, Call: 1, Return: 2},
		{Input: write{kind: "sit", user: 1, seat: 2}, Output: answer{status: 200}, Call: 3, Return: 4},
		{Input: write{kind: "look"}, Output: answer{status: 200, roster: "1:0"}, Call: 5, Return: 6},
	}
	if porcupine.CheckOperations(roomModel.ToModel(), history) {
		t.Error("an acknowledged seat may be forgotten")
	}
	history[1].Output = answer{}
	if !porcupine.CheckOperations(roomModel.ToModel(), history) {
		t.Error("a seat whose fate is unknown must be there")
	}
}

// writeHistory has every user write through random nodes under faults. Each
// user's own requests follow one another.
func writeHistory(t *testing.T, seed uint64) []porcupine.Operation {
	c := New(t, 3, Options{})
	c.size = 3
	c.Store.SetLatency(2 * time.Millisecond)
	var clock atomic.Int64
	var mu sync.Mutex
	var history []porcupine.Operation
	var users sync.WaitGroup
	stop := make(chan struct{})
	for user := 1; user <= linearUsers; user++ {
		p := c.NewPerson(user, "")
		defer p.End()
		p.Online(user%3 + 1)
		users.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(user)))
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(r.IntN(400)) * time.Millisecond):
				}
				w := drawWrite(r, user)
				op := porcupine.Operation{ClientId: user - 1, Input: w, Call: clock.Add(1)}
				op.Output = c.write(r.IntN(3)+1, w)
				op.Return = clock.Add(1)
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for range 5 {
		time.Sleep(time.Duration(500+r.IntN(1500)) * time.Millisecond)
		c.disturb(r)
	}
	time.Sleep(time.Second)
	close(stop)
	users.Wait()
	c.Settle()
	for i := range history {
		if history[i].Output.(answer).status == 0 {
			history[i].Return = clock.Add(1) // its fate is open to the end
		}
	}
	return history
}

// disturb harms one node for a while, and waits until it is well again. Users
// are back long before their grace is over.
func (c *Cluster) disturb(r *rand.Rand) {
	n := r.IntN(3) + 1
	pause := func(limit int) { time.Sleep(time.Duration(r.IntN(limit)) * time.Millisecond) }
	switch r.IntN(4) {
	case 0:
		c.Kill(n)
		pause(4000)
		c.Start(n)
	case 1:
		c.freeze(n)
		pause(6000)
		c.thaw(n)
	case 2:
		c.StoreOf(n).SetAnswersLost(true)
		pause(900)
		c.StoreOf(n).SetAnswersLost(false)
	case 3:
		c.Drain(n)
		c.Start(n)
	}
}

func drawWrite(r *rand.Rand, user int) write {
	switch r.IntN(6) {
	case 0:
		return write{kind: "exit", user: user}
	case 1, 2:
		return write{kind: "enter", user: user}
	case 3:
		return write{kind: "sit", user: user, seat: r.IntN(linearSeats) + 1}
	case 4:
		return write{kind: "stand", seat: r.IntN(linearSeats) + 1}
	default:
		return write{kind: "look"}
	}
}

// write sends one request to a node.
func (c *Cluster) write(n int, w write) answer {
	const room = "/v1/rooms/linear"
	var status int
	var body map[string]any
	switch w.kind {
	case "enter":
		status, body = c.Call(http.MethodPut, n, fmt.Sprintf("%s/occupants/%d", room, w.user), map[string]any{})
	case "exit":
		status, body = c.Call(http.MethodDelete, n, fmt.Sprintf("%s/occupants/%d", room, w.user), nil)
	case "sit":
		status, body = c.Call(http.MethodPut, n, fmt.Sprintf("%s/seats/%d", room, w.seat), map[string]any{"user_id": w.user})
	case "stand":
		status, body = c.Call(http.MethodDelete, n, fmt.Sprintf("%s/seats/%d", room, w.seat), nil)
	case "look":
		status, body = c.Call(http.MethodGet, n, room, nil)
	}
	a := answer{status: status}
	switch {
	case status/100 != 2 && status/100 != 4:
		return answer{}
	case status/100 == 4:
		e, _ := body["error"].(map[string]any)
		a.code = fmt.Sprint(e["code"])
	case w.kind == "look":
		seats := map[int]int{}
		for _, o := range body["occupants"].([]any) {
			o := o.(map[string]any)
			seats[int(o["user_id"].(float64))] = int(o["seat"].(float64))
		}
		a.roster = roster(seats)
	}
	return a
}

// roster spells who is in a room and where each sits.
func roster(seats map[int]int) string {
	var parts []string
	for _, user := range slices.Sorted(maps.Keys(seats)) {
		parts = append(parts, fmt.Sprintf("%d:%d", user, seats[user]))
	}
	return strings.Join(parts, " ")
}

func parseRoster(s string) map[int]int {
	seats := map[int]int{}
	for _, part := range strings.Fields(s) {
		var user, seat int
		if _, err := fmt.Sscanf(part, "%d:%d", &user, &seat); err != nil {
			panic(err)
		}
		seats[user] = seat
	}
	return seats
}

// roomModel is a room as a backend may think of it: who is in, on which seat.
var roomModel = &porcupine.NondeterministicModel{
	Init: func() []any { return []any{""} },
	Step: func(state, input, output any) []any {
		w, got := input.(write), output.(answer)
		next, want := w.apply(state.(string))
		switch {
		case got.status == 0 && next != state.(string):
			return []any{state, next}
		case got.status == 0, want == got.code && (w.kind != "look" || want != "" || got.roster == state.(string)):
			return []any{next}
		}
		return nil
	},
}

// apply returns the state after a write, and the code of its refusal.
func (w write) apply(state string) (next, code string) {
	seats := parseRoster(state)
	seat, in := seats[w.user]
	sitter := 0
	for user, s := range seats {
		if s == w.seat && s != 0 {
			sitter = user
		}
	}
	switch {
	case w.kind == "enter":
		seats[w.user] = seat
	case w.kind == "exit" && !in:
		return state, "not_in_room"
	case w.kind == "exit":
		delete(seats, w.user)
	case len(seats) == 0:
		return state, "room_not_found"
	case w.kind == "look":
	case w.kind == "stand" && sitter != 0:
		seats[sitter] = 0
	case w.kind == "stand":
	case !in:
		return state, "not_in_room"
	case sitter != 0 && sitter != w.user:
		return state, "seat_taken"
	default:
		seats[w.user] = w.seat
	}
	return roster(seats), ""
}
