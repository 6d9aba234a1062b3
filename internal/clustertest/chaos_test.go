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
	Redis bool // the embedded Redis is the store
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

const (
	chaosRooms = 4
	// redisEvery is of how many schedules one has the embedded Redis as its
	// store, the others the store in Go.
	redisEvery = 20
)

var chaosLog = flag.Bool("chaos.log", false, "show the nodes' logs of each schedule")

var (
	userSteps  = []string{"online", "offline", "enter", "enter", "enter", "exit", "seat", "call", "publish"}
	faultSteps = []string{
		"kill", "restart", "drain", "freeze", "cut", "oneway", "slowlink", "storeaway", "storeslow", "storepaused", "nodestoreaway",
		"answerslost", "refused", "doubled", "late", "lost", "flush", "rollback", "failover",
	}
)

// crowd makes schedules as large as the ones that are counted in
// docs/testing.md. Small ones find the same and shrink faster.
var crowd = flag.Bool("chaos.crowd", false, "draw schedules of 3 to 7 nodes and 20 to 200 users")

func drawSchedule(t *rapid.T) schedule {
	s := schedule{Nodes: rapid.IntRange(3, 5).Draw(t, "nodes"), Users: rapid.IntRange(3, 12).Draw(t, "users")}
	n := rapid.IntRange(5, 40).Draw(t, "steps")
	if *crowd {
		s.Nodes = rapid.IntRange(3, 7).Draw(t, "nodes of a crowd")
		s.Users = rapid.SampledFrom([]int{20, 20, 20, 25, 30, 40, 60, 100, 200}).Draw(t, "users of a crowd")
		n += s.Users / 2
	}
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
	s.Redis = rapid.IntRange(1, redisEvery).Draw(t, "store") == redisEvery
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

func runChaos(t *testing.T, s schedule) error { return runSabotaged(t, s, nil) }

// runSabotaged is runChaos with something done to the cluster's options.
func runSabotaged(t *testing.T, s schedule, sabotage func(*Options)) (err error) {
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
		w := newWorld(v, s, sabotage)
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

	depot   depot
	posts   map[int]*post // the nodes' ways to each other, by node
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

func newWorld(v *verdict, s schedule, sabotage func(*Options)) *world {
	w := &world{v: v, begun: time.Now(), entered: map[int]entering{}, posts: map[int]*post{}}
	opts := Options{Log: *chaosLog, WrapStore: w.wrap}
	if s.Redis {
		d, err := newRedisDepot()
		if err != nil {
			v.Fatal(err)
		}
		w.depot, opts.OpenStore = d, d.open
	}
	if sabotage != nil {
		sabotage(&opts)
	}
	w.Cluster = New(v, s.Nodes, opts)
	if w.depot == nil {
		w.depot = memoryDepot{w.Cluster}
	}
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
	if d, ok := w.depot.(*redisDepot); ok {
		d.close()
	}
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
