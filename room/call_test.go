package room

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
)

// TestCallNeverHalf: whatever happens to a call, it has both its parties, or
// one for half a minute, or none; who is out by the call's decision is evicted;
// and a departure is owed to the one who did not drop.
func TestCallNeverHalf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := &callCheck{owner: newOwner(rt, testCall, Config{}), rt: rt}
		rt.Repeat(map[string]func(*rapid.T){
			"enter":   c.command(protocol.VerbEnter),
			"enter2":  c.command(protocol.VerbEnter),
			"exit":    c.command(protocol.VerbExit),
			"loss":    c.command(protocol.VerbLoss),
			"present": c.command(protocol.VerbPresent),
			"report":  c.command(protocol.VerbReport),
			"close":   c.command(protocol.VerbClose),
			"noticed": c.noticed,
			"edgeDied": func(*rapid.T) {
				c.edges++
				c.step(func() { c.take(c.room.EdgeDied(c.edge(c.edges-1), c.now)) })
			},
			"pass": func(rt *rapid.T) {
				d := time.Duration(rapid.IntRange(0, 40).Draw(rt, "seconds")) * time.Second
				c.pass(d)
			},
			"crash":    func(*rapid.T) { c.crash() },
			"handOver": func(*rapid.T) { c.handOver() },
			"":         c.check,
		})
	})
}

type callCheck struct {
	*owner
	rt      *rapid.T
	edges   int
	version protocol.Version
}

func (c *callCheck) edge(n int) protocol.Incarnation {
	return protocol.Incarnation(fmt.Sprintf("n1@%d", n))
}

func (c *callCheck) command(verb protocol.Verb) func(*rapid.T) {
	return func(rt *rapid.T) {
		c.version++
		cmd := protocol.Command{
			Verb: verb, User: protocol.UserID(rapid.IntRange(1, 3).Draw(rt, "user")),
			Version: c.version, Conn: protocol.ConnNumber(rapid.IntRange(1, 3).Draw(rt, "conn")),
			Subject: protocol.UserID(rapid.IntRange(1, 3).Draw(rt, "subject")), Edge: c.edge(c.edges),
		}
		if verb == protocol.VerbEnter && rapid.IntRange(0, 3).Draw(rt, "offline") == 0 {
			cmd.Edge = ""
		}
		c.step(func() { _ = c.try(cmd) })
	}
}

func (c *callCheck) noticed(rt *rapid.T) {
	outcome := protocol.NoticeOutcome(rapid.IntRange(1, 3).Draw(rt, "outcome"))
	for _, d := range c.room.owed.values() {
		c.step(func() { c.take(c.room.Noticed(d.id, d.turn, d.conn, outcome, c.now)) })
	}
}

// step does something and holds the result against who was in the call before.
func (c *callCheck) step(do func()) {
	before := make(map[protocol.UserID]bool)
	for user := range c.room.occupants {
		before[user] = true
	}
	c.last = Result{}
	do()
	ended := false
	for _, e := range c.last.Events {
		ended = ended || e.Event == "call_ended"
	}
	if ended != (len(before) > 0 && c.room.Empty()) {
		c.rt.Fatalf("ended: %t, parties before %v, now %d", ended, before, c.room.Count())
	}
	for _, e := range c.last.Evicted {
		if c.room.occupants[e.User] != nil {
			c.rt.Fatalf("user %d is evicted and in the call", e.User)
		}
	}
	for _, n := range c.last.Notices {
		if n.User == n.Subject {
			c.rt.Fatalf("user %d is told of its own departure", n.User)
		}
	}
}

func (c *callCheck) check(*rapid.T) {
	if n := c.room.Count(); n > 2 || n == 1 && c.room.Next().IsZero() {
		c.rt.Fatalf("%d parties, next due %v", n, c.room.Next())
	}
	if len(c.room.debts) > 1 {
		c.rt.Fatalf("%d departures are owed", len(c.room.debts))
	}
	for subject, d := range c.room.debts {
		if d.turn == 0 || d.turn == subject || c.room.occupants[subject] != nil || c.room.occupants[d.turn] != nil {
			c.rt.Fatalf("the departure of %d is owed to %d, parties %d", subject, d.turn, c.room.Count())
		}
	}
	if c.room.Empty() && len(c.room.debts) == 0 && (!c.room.Disposable() || len(c.journal) != 0) {
		c.rt.Fatalf("a call that is over leaves\n%s", dump(c.journal))
	}
}

// TestHangUpUntilDeadline: C17.
func TestHangUpUntilDeadline(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testCall, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeB)
	asks := len(w.lose(1, 2).Notices)
	for _, res := range w.pass(2 * time.Minute) {
		asks += len(res.Notices)
	}
	if asks != 12 || w.last.Events[0].Event != "unreported" || !w.room.Disposable() {
		t.Errorf("hang_up was sent %d times in 60 s, then %+v", asks, w.last.Events)
	}
}

// TestHangUpAcrossEdgeDeath: a party whose edge dies is told where it comes
// back, if its record still had the call there.
func TestHangUpAcrossEdgeDeath(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testCall, Config{})
	w.enter(1, 1, edgeA)
	w.enter(2, 1, edgeB)
	w.take(w.room.EdgeDied(edgeB, w.now))
	if n := len(w.lose(1, 2).Notices); n != 0 {
		t.Errorf("%d frames go to a dead edge", n)
	}
	w.crash()
	res := w.apply(protocol.Command{Verb: protocol.VerbPresent, User: 2, Version: 1, Conn: 2, Edge: edgeA})
	if askedNow(t, res) != 2 || res.Notices[0].Edge != edgeA || len(res.Evicted) != 1 {
		t.Errorf("on its return: %+v", res)
	}
	for edge := range w.room.Edges() {
		if edge != edgeA {
			t.Errorf("has to do with %s", edge)
		}
	}
	w.take(w.room.EdgeDied(edgeA, w.now))
	if n := len(w.pass(30 * time.Second)); n != 0 {
		t.Errorf("%d things happen while the party is out of reach", n)
	}
}
