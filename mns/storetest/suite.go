package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
)

// Open returns the store of a node of that name. All calls within one test
// reach the same, at first empty, store.
type Open func(t testing.TB, node string) mns.Store

// Run holds a store to the suite. Each case gets an empty store.
func Run(t *testing.T, empty func(t testing.TB) Open) {
	for name, test := range cases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := empty(t)
			test(&env{T: t, Store: open(t, "n1"), open: open})
		})
	}
}

func cases() map[string]func(*env) {
	return map[string]func(*env){
		"queue life":            queueLife,
		"queue settings":        queueSettings,
		"queue list":            queueList,
		"send and receive":      sendAndReceive,
		"order":                 order,
		"delay":                 delay,
		"visibility":            visibility,
		"change visibility":     changeVisibility,
		"handles of other life": handlesOfOtherLife,
		"batch delete":          batchDelete,
		"return":                giveBack,
		"peek":                  peek,
		"purge":                 purge,
		"too large":             tooLarge,
		"dead letters":          deadLetters,
		"watch":                 watch,
		"watch is told once":    watchOnce,
		"deleted while watched": deletedWhileWatched,
		"no message twice":      noMessageTwice,
		"topic life":            topicLife,
		"subscriptions":         subscriptions,
		"publish":               publish,
		"follow again":          followAgain,
		"publish once":          publishOnce,
		"publish to durable":    publishToDurable,
		"news of changes":       newsOfChanges,
		"account":               account,
	}
}

// env is one case's surroundings.
type env struct {
	*testing.T
	mns.Store
	open Open
	ids  atomic.Int64
}

// ctx lasts for the test. Each call of the store is short.
func (e *env) ctx() context.Context { return e.T.Context() }

// must ends the test on an error.
func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// wants fails the test unless err is the fault want, or nil.
func (e *env) wants(err error, want *chat.Error) {
	e.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		e.Fatalf("got error %v, want %v", err, want)
	}
}

// eventually waits for a condition, which returns what is missing.
func (e *env) eventually(what string, check func() error) {
	e.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			e.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}

// queue makes a queue with the usual settings, changed.
func (e *env) queue(name chat.QueueName, change func(*chat.QueueSettings)) {
	e.Helper()
	s := chat.DefaultQueueSettings()
	if change != nil {
		change(&s)
	}
	_, created, err := e.CreateQueue(e.ctx(), name, s)
	e.must(err)
	if !created {
		e.Fatalf("queue %s was there already", name)
	}
}

func (e *env) draft(body string) chat.Draft {
	return chat.Draft{
		ID: chat.MessageID(fmt.Sprintf("ID-%d", e.ids.Add(1))), Body: body, MD5: "MD5" + body,
		Priority: chat.DefaultPriority,
	}
}

// send sends a body with the queue's delay and returns what became of it.
func (e *env) send(q chat.QueueName, body string, change func(*chat.Draft)) chat.Sent {
	e.Helper()
	d := e.draft(body)
	if change != nil {
		change(&d)
	}
	sent, err := e.Send(e.ctx(), q, []chat.Draft{d})
	e.must(err)
	return sent[0]
}

// take receives up to n messages with a visibility of its own.
func (e *env) take(q chat.QueueName, n int, visibility time.Duration) []chat.Message {
	e.Helper()
	r, err := e.Receive(e.ctx(), chat.Receive{Queue: q, Max: n, Visibility: visibility})
	e.must(err)
	return r.Messages
}

// takes receives all that can be, and compares the bodies.
func (e *env) takes(q chat.QueueName, want ...string) []chat.Message {
	e.Helper()
	got := e.take(q, chat.MaxReceive, time.Minute)
	if bodies(got) != strings.Join(want, " ") {
		e.Fatalf("received %q, want %q", bodies(got), strings.Join(want, " "))
	}
	return got
}

func bodies(messages []chat.Message) string {
	var out []string
	for _, m := range messages {
		out = append(out, m.Body)
	}
	return strings.Join(out, " ")
}

// counts compares active, inactive and delayed messages.
func (e *env) counts(q chat.QueueName, active, inactive, delayed int) {
	e.Helper()
	v, err := e.Queue(e.ctx(), q)
	e.must(err)
	if v.Active != active || v.Inactive != inactive || v.Delayed != delayed {
		e.Fatalf("queue holds %d active, %d inactive, %d delayed, want %d, %d, %d",
			v.Active, v.Inactive, v.Delayed, active, inactive, delayed)
	}
}

// ear remembers what a node hears.
type ear struct {
	woken   chan string
	news    chan chat.News
	renewed chan struct{}
}

func (l *ear) Woken(q chat.QueueName, gone chat.Epoch) { l.woken <- string(q) + "/" + string(gone) }
func (l *ear) Heard(n chat.News)                       { l.news <- n }
func (l *ear) Renewed()                                { l.renewed <- struct{}{} }

// listen returns another node's store, and what the node hears. It returns once
// the node does hear.
func (e *env) listen(node string) (mns.Store, *ear) {
	e.Helper()
	store := e.open(e.T, node)
	l := &ear{make(chan string, 1000), make(chan chat.News, 1000), make(chan struct{}, 1000)}
	ctx, cancel := context.WithCancel(e.ctx())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := store.Listen(ctx, l); !errors.Is(err, context.Canceled) {
			e.Errorf("listen ended with %v", err)
		}
	}()
	e.Cleanup(func() { cancel(); <-ended })
	// A queue tells that the node is listening: it watches, and is woken.
	probe := chat.QueueName("probe-" + node)
	e.queue(probe, nil)
	e.eventually("node hears", func() error {
		if _, err := store.Receive(e.ctx(), chat.Receive{Queue: probe, Max: chat.MaxReceive, Watch: true}); err != nil {
			return err
		}
		e.send(probe, "x", nil)
		select {
		case <-l.woken:
			return nil
		case <-time.After(20 * time.Millisecond):
			return errors.New("it does not")
		}
	})
	e.must(e.DeleteQueue(e.ctx(), probe))
	l.drain()
	return store, l
}

func (l *ear) drain() {
	for {
		select {
		case <-l.woken:
		case <-l.news:
		case <-time.After(30 * time.Millisecond):
			return
		}
	}
}

// hears waits for one word.
func hears[T any](e *env, from chan T) T {
	e.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(5 * time.Second):
		e.Fatal("nothing was heard")
		panic("unreachable")
	}
}

// silent fails if something is heard.
func silent[T any](e *env, from chan T) {
	e.Helper()
	select {
	case v := <-from:
		e.Fatalf("heard %v", v)
	case <-time.After(50 * time.Millisecond):
	}
}
