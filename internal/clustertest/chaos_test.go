package clustertest

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A schedule is drawn before the bubble starts, so that a failure shrinks to
// the steps that matter and its seed replays them.
type schedule struct {
	Nodes int
	Users int
	Steps []step
}

type step struct {
	Pause time.Duration // before the step
	Kind  string
	Node  int
	Other int
	User  int
	Room  int
	For   time.Duration // how long a fault lasts
}

func (s step) String() string {
	return fmt.Sprintf("+%s %s node=%d other=%d user=%d room=%d for=%s", s.Pause, s.Kind, s.Node, s.Other, s.User, s.Room, s.For)
}

const chaosRooms = 4

var chaosLog = flag.Bool("chaos.log", false, "show the nodes' logs of each schedule")

var (
	userSteps  = []string{"online", "offline", "enter", "enter", "enter", "exit", "seat", "call", "publish"}
	faultSteps = []string{"kill", "restart", "drain", "freeze", "cut", "oneway", "storeaway", "nodestoreaway", "answerslost", "flush", "rollback"}
)

func drawSchedule(t *rapid.T) schedule {
	s := schedule{Nodes: rapid.IntRange(3, 5).Draw(t, "nodes"), Users: rapid.IntRange(3, 12).Draw(t, "users")}
	n := rapid.IntRange(5, 40).Draw(t, "steps")
	for range n {
		st := step{
			Pause: time.Duration(rapid.IntRange(0, 4000).Draw(t, "pause")) * time.Millisecond,
			Node:  rapid.IntRange(1, s.Nodes).Draw(t, "node"),
			Other: rapid.IntRange(1, s.Nodes).Draw(t, "other"),
			User:  rapid.IntRange(1, s.Users).Draw(t, "user"),
			Room:  rapid.IntRange(0, chaosRooms-1).Draw(t, "room"),
			For:   time.Duration(rapid.IntRange(100, 15000).Draw(t, "for")) * time.Millisecond,
		}
		if rapid.IntRange(0, 3).Draw(t, "fault") == 0 {
			st.Kind = rapid.SampledFrom(faultSteps).Draw(t, "kind")
		} else {
			st.Kind = rapid.SampledFrom(userSteps).Draw(t, "kind")
		}
		s.Steps = append(s.Steps, st)
	}
	return s
}

// TestChaos runs drawn schedules of faults against whole clusters and judges
// what the clients heard. Without flags it runs the same few schedules each
// time; make chaos draws others.
func TestChaos(t *testing.T) {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": "8", "rapid.seed": "7"} {
		if given["rapid.checks"] || given["rapid.seed"] {
			break
		}
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := drawSchedule(rt)
		if err := runChaos(t, s); err != nil {
			for _, st := range s.Steps {
				rt.Log(st)
			}
			rt.Fatal(err)
		}
	})
}

// failure is what a story's Fatal becomes inside a bubble.
type failure struct{ error }

// verdict gathers a story's failures instead of ending the test.
type verdict struct {
	testing.TB
	errs []error
}

func (v *verdict) Helper() {}
func (v *verdict) Errorf(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf(format, args...))
}
func (v *verdict) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (v *verdict) Fatal(args ...any)                 { panic(failure{errors.New(fmt.Sprint(args...))}) }
func (v *verdict) Cleanup(func())                    {}

func runChaos(t *testing.T, s schedule) (err error) {
	synctest.Test(t, func(t *testing.T) {
		v := &verdict{TB: t}
		defer func() {
			if e := recover(); e != nil {
				f, ok := e.(failure)
				if !ok {
					panic(e)
				}
				v.errs = append(v.errs, f)
			}
			err = errors.Join(v.errs...)
		}()
		w := newWorld(v, s)
		defer w.end()
		for _, st := range s.Steps {
			time.Sleep(st.Pause)
			w.perform(st)
		}
		w.judge()
	})
	return err
}

// world is a cluster under a schedule, and the truth about its users.
type world struct {
	*Cluster
	v       *verdict
	persons []*Person
	begun   time.Time
	healed  []func() // what ends the faults under way
	due     []time.Time
	faults  []fault

	entered map[int]entering
	lossy   bool // the store lost what it had acknowledged
}

// fault is a time during which a node did not work for its clients.
type fault struct {
	node     int // 0: all
	from, to time.Time
}

// entering is the last place that a user was put into, as far as the answer
// tells.
type entering struct {
	room string
	at   time.Time
	sure bool
}

func newWorld(v *verdict, s schedule) *world {
	w := &world{Cluster: New(v, s.Nodes, Options{Log: *chaosLog}), v: v, begun: time.Now(), entered: map[int]entering{}}
	w.size = s.Nodes
	for user := 1; user <= s.Users; user++ {
		p := w.NewPerson(user, []string{"", "&v=2"}[user%2])
		p.Online(user%s.Nodes + 1)
		w.persons = append(w.persons, p)
	}
	time.Sleep(time.Second)
	return w
}

func (w *world) end() {
	for _, p := range w.persons {
		p.End()
	}
	w.Close()
}

// until ends a fault after d.
func (w *world) until(d time.Duration, node int, end func()) {
	w.due = append(w.due, time.Now().Add(d))
	w.healed = append(w.healed, end)
	w.faults = append(w.faults, fault{node: node, from: time.Now(), to: time.Now().Add(d)})
}

// heal ends the faults whose time has come, all of them with force.
func (w *world) heal(force bool) {
	for i := 0; i < len(w.due); {
		if force || !w.due[i].After(time.Now()) {
			w.healed[i]()
			w.due, w.healed = slices.Delete(w.due, i, i+1), slices.Delete(w.healed, i, i+1)
			continue
		}
		i++
	}
}

func roomName(i int) string { return fmt.Sprintf("room%d", i) }

func (w *world) perform(st step) {
	w.heal(false)
	p := w.persons[st.User-1]
	switch st.Kind {
	case "online":
		p.Online(st.Node)
	case "offline":
		p.Offline()
	case "enter":
		w.enter(st)
	case "exit":
		if e := w.entered[st.User]; e.room != "" {
			status, _ := w.try(http.MethodDelete, st.Node, fmt.Sprintf("/v1/rooms/%s/occupants/%d", e.room, st.User), nil)
			w.entered[st.User] = entering{at: time.Now(), sure: status == http.StatusNoContent || status == http.StatusOK}
		}
	case "seat":
		if e := w.entered[st.User]; e.room != "" {
			w.try(http.MethodPut, st.Node, fmt.Sprintf("/v1/rooms/%s/seats/%d", e.room, st.Room+1), map[string]any{"user_id": st.User})
		}
	case "call":
		other := st.User%len(w.persons) + 1
		w.try(http.MethodPut, st.Node, fmt.Sprintf("/v1/calls/c%d", st.Room), map[string]any{"caller_id": st.User, "receiver_id": other})
	case "publish":
		w.try(http.MethodPost, st.Node, "/v1/rooms/"+roomName(st.Room)+"/publish", map[string]any{"action": "probe"})
	default:
		w.fault(st)
	}
}

// try asks a node, or the next one that runs.
func (w *world) try(method string, n int, path string, body any) (int, map[string]any) {
	for range w.size {
		if w.nodes[n] != nil {
			return w.Call(method, n, path, body)
		}
		n = n%w.size + 1
	}
	return 0, nil
}

func (w *world) enter(st step) {
	room := roomName(st.Room)
	status, _ := w.try(http.MethodPut, st.Node, fmt.Sprintf("/v1/rooms/%s/occupants/%d", room, st.User), map[string]any{})
	w.entered[st.User] = entering{room: room, at: time.Now(), sure: status == http.StatusOK}
}

// running counts the nodes that run.
func (w *world) running() int { return len(w.nodes) }

func (w *world) fault(st step) {
	n := st.Node
	switch st.Kind {
	case "kill", "drain":
		if w.nodes[n] == nil || w.running() < 3 {
			return
		}
		if st.Kind == "kill" {
			w.Kill(n)
		} else {
			w.Drain(n)
		}
		w.until(st.For, n, func() { w.Start(n) })
	case "restart":
		if w.nodes[n] == nil || w.running() < 3 {
			return
		}
		w.Kill(n)
		time.Sleep(150 * time.Millisecond)
		w.Start(n)
		w.faults = append(w.faults, fault{node: n, from: time.Now().Add(-time.Second), to: time.Now().Add(3 * time.Second)})
	case "freeze":
		w.freeze(n)
		w.until(st.For, n, func() { w.thaw(n) })
	case "cut":
		w.Cut(n, st.Other)
		w.until(st.For, -1, w.Heal)
	case "oneway":
		w.Net.CutOneWay(host(n), host(st.Other))
		w.until(st.For, -1, w.Heal)
	case "storeaway":
		w.Store.SetAway(true)
		w.until(st.For, 0, func() { w.Store.SetAway(false) })
	case "nodestoreaway":
		w.StoreOf(n).SetAway(true)
		w.until(st.For, n, func() { w.StoreOf(n).SetAway(false) })
	case "answerslost":
		w.StoreOf(n).SetAnswersLost(true)
		w.until(min(st.For, time.Second), n, func() { w.StoreOf(n).SetAnswersLost(false) })
	case "flush":
		w.lossy = true
		w.Store.Flush()
		w.faults = append(w.faults, fault{node: 0, from: time.Now(), to: time.Now().Add(5 * time.Second)})
	case "rollback":
		w.lossy = true
		snapshot := w.Store.Snapshot()
		w.until(min(st.For, 500*time.Millisecond), 0, func() { w.Store.Rollback(snapshot) })
	}
}

// bad reports whether a node did not work for its clients at some time.
func (w *world) bad(node int, from, to time.Time) bool {
	return slices.ContainsFunc(w.faults, func(f fault) bool {
		return f.node >= 0 && (f.node == 0 || f.node == node) && f.from.Before(to) && f.to.Add(3*time.Second).After(from)
	})
}

// judge ends all faults, lets the cluster settle, and compares what every
// client heard with what it was owed.
func (w *world) judge() {
	w.heal(true)
	for n := 1; n <= w.size; n++ {
		if w.nodes[n] == nil {
			w.Start(n)
		}
	}
	w.Settle()
	time.Sleep(75 * time.Second)
	w.Check()
	w.judgePlaces()
	w.judgeDepartures()
	for _, p := range w.persons {
		w.judgeOrder(p)
	}
}

// judgePlaces holds records, rosters and sockets against each other.
func (w *world) judgePlaces() {
	in := map[int][]string{}
	for i := range chaosRooms {
		room := roomName(i)
		status, answer := w.Call(http.MethodGet, 1, "/v1/rooms/"+room, nil)
		if status == http.StatusNotFound {
			continue
		}
		if status != http.StatusOK {
			w.v.Fatalf("%s: %d %v", room, status, answer)
		}
		for _, o := range answer["occupants"].([]any) {
			user := int(o.(map[string]any)["user_id"].(float64))
			in[user] = append(in[user], room)
		}
	}
	for _, p := range w.persons {
		rooms := in[p.User]
		if len(rooms) > 1 {
			w.v.Errorf("%s is in %v", p, rooms)
		}
		if len(rooms) > 0 && !p.Connected() {
			w.v.Errorf("%s is a ghost in %v", p, rooms)
		}
		status, record := w.Call(http.MethodGet, 1, fmt.Sprintf("/v1/users/%d", p.User), nil)
		// Where a store lost its tail, nobody holds the record of a user who is
		// offline: it is settled when the user connects.
		if status == http.StatusOK && (p.Connected() || !w.lossy) {
			if room := fmt.Sprint(record["current_room_id"]); (len(rooms) == 1 && room != rooms[0]) || (len(rooms) == 0 && room != "") {
				_, timeline := w.Call(http.MethodGet, 1, fmt.Sprintf("/v1/users/%d/timeline", p.User), nil)
				w.v.Errorf("%s is in %v, the record says %q: %v; timeline %v; connections %v; put %+v", p, rooms, room, record, timeline, p.spans, w.entered[p.User])
			}
			if record["online"] != p.Connected() {
				w.v.Errorf("%s: record says online %v, connected is %t", p, record["online"], p.Connected())
			}
		}
		e := w.entered[p.User]
		if e.sure && e.room != "" && !w.lossy && p.steady(e.at.Add(-time.Second), time.Now(), 5*time.Second, w.bad) && !slices.Contains(rooms, e.room) {
			w.v.Errorf("%s was put into %s at %s, stayed connected, and is in %v", p, e.room, e.at.Sub(w.begun), rooms)
		}
	}
}

// judgeDepartures looks for departures told of users who were there all the
// time.
func (w *world) judgeDepartures() {
	for _, p := range w.persons {
		for _, f := range p.Heard() {
			if f.Action != "exit_room" && f.Action != "hang_up" {
				continue
			}
			id, _ := f.Fields["user_id"].(float64)
			user := int(id)
			if user == p.User {
				w.v.Errorf("%s was told of its own departure", p)
			}
			if user < 1 || user > len(w.persons) {
				w.v.Errorf("%s was told of user %d, who does not exist", p, user)
				continue
			}
			gone := w.persons[user-1]
			if gone.steady(f.At.Add(-90*time.Second), f.At, 5*time.Second, w.bad) && f.At.Sub(w.begun) > 90*time.Second {
				w.v.Errorf("%s was told at %s that %s left, who was connected all the time", p, f.At.Sub(w.begun), gone)
			}
		}
	}
}

// judgeOrder fails where seq went back or repeated within an epoch.
func (w *world) judgeOrder(p *Person) {
	for _, phone := range p.past {
		last := map[string]float64{}
		for _, f := range phone.Heard("") {
			seq, ok := f.Fields["seq"].(float64)
			if !ok || f.Action == "entered" {
				continue
			}
			key := fmt.Sprint(f.Fields["room_id"], f.Fields["epoch"])
			if before, seen := last[key]; seen && seq <= before {
				w.v.Errorf("%s: %s %v after %v in %s", p, f.Action, seq, before, key)
			}
			last[key] = seq
		}
	}
}
