package storetest

import (
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
)

// watches has a node watch a queue that has nothing for it.
func (e *env) watches(node mns.Store, q chat.QueueName) chat.Received {
	e.Helper()
	r, err := node.Receive(e.ctx(), chat.Receive{Queue: q, Max: 1, Watch: true})
	e.must(err)
	if len(r.Messages) != 0 {
		e.Fatalf("received %q", bodies(r.Messages))
	}
	return r
}

func watch(e *env) {
	e.queue("q", nil)
	node, l := e.listen("n2")
	wake := func(what string, do func()) {
		e.Helper()
		e.watches(node, "q")
		do()
		if got := hears(e, l.woken); got != "q/" {
			e.Fatalf("%s: heard %q", what, got)
		}
	}
	long := time.Hour
	wake("a message", func() { e.send("q", "a", nil) })
	m := e.takes("q", "a")[0]
	wake("a delayed message", func() { e.send("q", "b", func(d *chat.Draft) { d.Delay = &long }) })
	wake("a changed visibility", func() {
		var err error
		m.Handle, err = e.ChangeVisibility(e.ctx(), "q", m.Handle, time.Minute)
		e.must(err)
	})
	wake("a return", func() { e.must(e.Return(e.ctx(), "q", []chat.Handle{m.Handle})) })
	// With something to receive nobody watches.
	r, err := node.Receive(e.ctx(), chat.Receive{Queue: "q", Max: 1, Watch: true})
	e.must(err)
	if len(r.Messages) != 1 || r.Messages[0].DequeueCount != 1 {
		e.Fatalf("received %+v", r.Messages)
	}
	e.send("q", "c", nil)
	silent(e, l.woken)
}

func watchOnce(e *env) {
	e.queue("q", nil)
	a, la := e.listen("n2")
	b, lb := e.listen("n3")
	e.watches(a, "q")
	e.watches(b, "q")
	e.watches(b, "q")
	e.send("q", "a", nil)
	e.send("q", "b", nil)
	hears(e, la.woken)
	hears(e, lb.woken)
	silent(e, la.woken)
	silent(e, lb.woken)
}

func deletedWhileWatched(e *env) {
	e.queue("q", nil)
	node, l := e.listen("n2")
	r := e.watches(node, "q")
	e.must(e.DeleteQueue(e.ctx(), "q"))
	got := hears(e, l.woken)
	name, gone, _ := strings.Cut(got, "/")
	if name != "q" || chat.Epoch(gone) != r.Epoch {
		e.Fatalf("heard %q, want the end of %s", got, r.Epoch)
	}
}
