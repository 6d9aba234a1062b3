package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

func queueLife(e *env) {
	s := chat.DefaultQueueSettings()
	s.Visibility = 7 * time.Second
	first, created, err := e.CreateQueue(e.ctx(), "q", s)
	e.must(err)
	if !created || first.Name != "q" || first.QueueSettings != s || first.Epoch == "" || first.Created.IsZero() {
		e.Fatalf("created %v: %+v", created, first)
	}
	again, created, err := e.CreateQueue(e.ctx(), "q", chat.DefaultQueueSettings())
	e.must(err)
	if created || again.QueueSettings != s || again.Epoch != first.Epoch {
		e.Fatalf("created %v again: %+v", created, again)
	}
	e.send("q", "lost", nil)
	e.must(e.DeleteQueue(e.ctx(), "q"))
	e.must(e.DeleteQueue(e.ctx(), "q"))
	_, err = e.Queue(e.ctx(), "q")
	e.wants(err, chat.ErrQueueNotExist)
	_, err = e.Send(e.ctx(), "q", []chat.Draft{e.draft("x")})
	e.wants(err, chat.ErrQueueNotExist)
	_, err = e.Receive(e.ctx(), chat.Receive{Queue: "q", Max: 1})
	e.wants(err, chat.ErrQueueNotExist)
	_, err = e.Peek(e.ctx(), "q", 1)
	e.wants(err, chat.ErrQueueNotExist)
	_, err = e.Delete(e.ctx(), "q", []chat.Handle{{Epoch: first.Epoch, Place: 1, Until: 1}})
	e.wants(err, chat.ErrQueueNotExist)
	_, err = e.ChangeVisibility(e.ctx(), "q", chat.Handle{Epoch: first.Epoch, Place: 1, Until: 1}, time.Second)
	e.wants(err, chat.ErrQueueNotExist)
	e.wants(e.Purge(e.ctx(), "q"), chat.ErrQueueNotExist)
	e.wants(e.ChangeQueue(e.ctx(), "q", chat.QueueChange{}), chat.ErrQueueNotExist)
	e.queue("q", nil)
	e.takes("q")
	second, err := e.Queue(e.ctx(), "q")
	e.must(err)
	if second.Epoch == first.Epoch {
		e.Fatal("a queue made anew is taken for the old one")
	}
}

func queueSettings(e *env) {
	e.queue("q", nil)
	before, err := e.Queue(e.ctx(), "q")
	e.must(err)
	wait, size, logging := 20*time.Second, 2048, true
	dead := chat.DeadLetter{Queue: "d", MaxReceives: 4}
	e.eventually("modified later", func() error {
		e.must(e.ChangeQueue(e.ctx(), "q", chat.QueueChange{PollingWait: &wait, MaxMessageSize: &size, Logging: &logging, DeadLetter: &dead}))
		after, err := e.Queue(e.ctx(), "q")
		e.must(err)
		want := before.QueueSettings
		want.PollingWait, want.MaxMessageSize, want.Logging, want.DeadLetter = wait, size, logging, dead
		if after.QueueSettings != want {
			e.Fatalf("settings are %+v, want %+v", after.QueueSettings, want)
		}
		if !after.Modified.After(before.Modified) || !after.Created.Equal(before.Created) {
			return errors.New("it was not")
		}
		return nil
	})
}

func queueList(e *env) {
	var all []chat.QueueName
	for i := range 25 {
		name := chat.QueueName(fmt.Sprintf("room-%02d", i))
		e.queue(name, nil)
		all = append(all, name)
	}
	e.queue("a", nil)
	e.queue("zz", nil)
	_, _, err := e.CreateQueue(e.ctx(), chat.DeliveryQueue, chat.DefaultQueueSettings())
	e.must(err)
	e.must(e.DeleteQueue(e.ctx(), "room-07"))
	all = slices.Delete(all, 7, 8)
	var got []chat.QueueName
	page := chat.Page{Prefix: "room-", Limit: 5}
	for {
		names, more, err := e.Queues(e.ctx(), page)
		e.must(err)
		got = append(got, names...)
		if !more {
			break
		}
		if len(names) != page.Limit {
			e.Fatalf("a page of %d names has %d", page.Limit, len(names))
		}
		page.After = string(names[len(names)-1])
	}
	if !slices.Equal(got, all) {
		e.Fatalf("listed %v, want %v", got, all)
	}
	everything, more, err := e.Queues(e.ctx(), chat.Page{Limit: 1000})
	e.must(err)
	if len(everything) != 26 || more || everything[0] != "a" || everything[25] != "zz" {
		e.Fatalf("listed %v, more %v", everything, more)
	}
	after, _, err := e.Queues(e.ctx(), chat.Page{After: "room-24", Limit: 1000})
	e.must(err)
	if len(after) != 1 || after[0] != "zz" {
		e.Fatalf("after the last room come %v", after)
	}
}

func sendAndReceive(e *env) {
	e.queue("q", nil)
	before := time.Now().Add(-time.Second)
	e.send("q", "<body>\n&\r中文", func(d *chat.Draft) { d.ID, d.MD5, d.Extra, d.Priority = "ID", "MD5", "<X>1\n2</X>", 3 })
	m := e.take("q", 1, 30*time.Second)[0]
	if m.ID != "ID" || m.Body != "<body>\n&\r中文" || m.MD5 != "MD5" || m.Extra != "<X>1\n2</X>" || m.Priority != 3 || m.DequeueCount != 1 {
		e.Fatalf("received %+v", m)
	}
	if m.Enqueued.Before(before) || m.Enqueued.After(time.Now().Add(time.Second)) || m.FirstDequeue.Before(m.Enqueued) {
		e.Fatalf("sent at %v, received at %v", m.Enqueued, m.FirstDequeue)
	}
	if !m.NextVisible.Equal(m.FirstDequeue.Add(30*time.Second)) || !m.NextVisible.Equal(m.Handle.Ends()) {
		e.Fatalf("received at %v, visible again at %v", m.FirstDequeue, m.NextVisible)
	}
	e.takes("q")
	e.counts("q", 0, 1, 0)
}

func order(e *env) {
	e.queue("q", nil)
	for p := chat.MaxPriority; p >= 1; p-- {
		for i := range 2 {
			e.send("q", fmt.Sprintf("%d.%d", p, i), func(d *chat.Draft) { d.Priority = p })
		}
	}
	var want []string
	for p := chat.Priority(1); p <= chat.MaxPriority; p++ {
		want = append(want, fmt.Sprintf("%d.0", p), fmt.Sprintf("%d.1", p))
	}
	first := e.take("q", 1, time.Millisecond)
	if bodies(first) != want[0] {
		e.Fatalf("first is %q", bodies(first))
	}
	// One that comes back takes its old place.
	e.eventually("it comes back", func() error {
		if v, err := e.Queue(e.ctx(), "q"); err != nil || v.Active != len(want) {
			return fmt.Errorf("%d active, %w", v.Active, err)
		}
		return nil
	})
	e.takes("q", want...)
}

func delay(e *env) {
	const queueDelay = 300 * time.Millisecond
	e.queue("q", func(s *chat.QueueSettings) { s.Delay = queueDelay })
	start := time.Now()
	sent := e.send("q", "later", nil)
	zero := time.Duration(0)
	now := e.send("q", "now", func(d *chat.Draft) { d.Delay = &zero })
	if sent.Handle.IsZero() || !sent.Handle.Delayed || !now.Handle.IsZero() {
		e.Fatalf("handles %v and %v", sent.Handle, now.Handle)
	}
	e.counts("q", 1, 0, 1)
	r, err := e.Receive(e.ctx(), chat.Receive{Queue: "q", Max: 5, Watch: true})
	e.must(err)
	if bodies(r.Messages) != "now" || r.Due <= 0 || r.Due > queueDelay {
		e.Fatalf("received %q, next in %v", bodies(r.Messages), r.Due)
	}
	e.eventually("due", func() error {
		if got := e.take("q", 1, time.Minute); len(got) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	if took := time.Since(start); took < queueDelay-10*time.Millisecond {
		e.Fatalf("visible after %v", took)
	}
	// A handle of the sender is good before the message is due, and only then.
	long := time.Hour
	sent = e.send("q", "gone", func(d *chat.Draft) { d.Delay = &long })
	_, err = e.ChangeVisibility(e.ctx(), "q", sent.Handle, time.Second)
	e.wants(err, chat.ErrMessageNotExist)
	verdicts, err := e.Delete(e.ctx(), "q", []chat.Handle{sent.Handle, sent.Handle})
	e.must(err)
	if verdicts[0] != nil || verdicts[1] == nil {
		e.Fatalf("deleted: %v", verdicts)
	}
	e.counts("q", 0, 2, 0)
}

func visibility(e *env) {
	e.queue("q", func(s *chat.QueueSettings) { s.Visibility = time.Hour })
	e.send("q", "m", nil)
	first := e.take("q", 1, 50*time.Millisecond)[0]
	var second chat.Message
	e.eventually("comes back", func() error {
		got := e.take("q", 1, 0)
		if len(got) == 0 {
			return errors.New("not yet")
		}
		second = got[0]
		return nil
	})
	if second.DequeueCount != 2 || second.Handle == first.Handle || !second.FirstDequeue.Equal(first.FirstDequeue) {
		e.Fatalf("came back as %+v", second)
	}
	if left := time.Until(second.NextVisible); left < 59*time.Minute {
		e.Fatalf("the queue's visibility counts for %v", left)
	}
	verdicts, err := e.Delete(e.ctx(), "q", []chat.Handle{first.Handle})
	e.must(err)
	if !errors.Is(verdicts[0], chat.ErrMessageNotExist) {
		e.Fatalf("the old handle is still good: %v", verdicts[0])
	}
	verdicts, err = e.Delete(e.ctx(), "q", []chat.Handle{second.Handle})
	e.must(err)
	if verdicts[0] != nil {
		e.Fatalf("the new handle is no good: %v", verdicts[0])
	}
	e.counts("q", 0, 0, 0)
}

func changeVisibility(e *env) {
	e.queue("q", nil)
	e.send("q", "m", nil)
	m := e.take("q", 1, time.Minute)[0]
	again, err := e.ChangeVisibility(e.ctx(), "q", m.Handle, time.Minute)
	e.must(err)
	if again == m.Handle {
		e.Fatal("the handle is the same")
	}
	_, err = e.ChangeVisibility(e.ctx(), "q", m.Handle, time.Minute)
	e.wants(err, chat.ErrMessageNotExist)
	short, err := e.ChangeVisibility(e.ctx(), "q", again, 20*time.Millisecond)
	e.must(err)
	e.eventually("visible again", func() error {
		if got := e.take("q", 1, time.Minute); len(got) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	_, err = e.ChangeVisibility(e.ctx(), "q", short, time.Minute)
	e.wants(err, chat.ErrMessageNotExist)
}

func handlesOfOtherLife(e *env) {
	e.queue("q", nil)
	e.send("q", "m", nil)
	old := e.take("q", 1, time.Minute)[0].Handle
	e.must(e.DeleteQueue(e.ctx(), "q"))
	e.queue("q", nil)
	e.send("q", "m", nil)
	e.take("q", 1, time.Minute)
	verdicts, err := e.Delete(e.ctx(), "q", []chat.Handle{old})
	e.must(err)
	_, changed := e.ChangeVisibility(e.ctx(), "q", old, time.Second)
	if verdicts[0] == nil || changed == nil {
		e.Fatal("a handle outlived its queue")
	}
	_, err = e.Receive(e.ctx(), chat.Receive{Queue: "q", Max: 1, Epoch: old.Epoch})
	e.wants(err, chat.ErrQueueNotExist)
}

func batchDelete(e *env) {
	e.queue("q", nil)
	for i := range 16 {
		e.send("q", fmt.Sprint(i), nil)
	}
	var handles []chat.Handle
	for _, m := range e.take("q", 16, time.Minute) {
		handles = append(handles, m.Handle)
	}
	bad := handles[3]
	bad.Until++
	handles[3] = bad
	verdicts, err := e.Delete(e.ctx(), "q", handles)
	e.must(err)
	for i, v := range verdicts {
		if (v != nil) != (i == 3) {
			e.Fatalf("handle %d: %v", i, v)
		}
	}
	e.counts("q", 0, 1, 0)
}

func giveBack(e *env) {
	e.queue("q", nil)
	e.send("q", "a", nil)
	e.send("q", "b", nil)
	got := e.takes("q", "a", "b")
	e.must(e.Return(e.ctx(), "q", []chat.Handle{got[0].Handle}))
	e.must(e.Return(e.ctx(), "q", []chat.Handle{got[0].Handle}))
	e.counts("q", 1, 1, 0)
	again := e.takes("q", "a")[0]
	if again.DequeueCount != 1 {
		e.Fatalf("a receive that was undone counts: %d", again.DequeueCount)
	}
	if again.Handle == got[0].Handle && again.NextVisible.After(got[0].NextVisible) {
		e.Fatal("the old handle is good again")
	}
}

func peek(e *env) {
	e.queue("q", nil)
	e.send("q", "a", nil)
	e.send("q", "b", nil)
	for range 2 {
		got, err := e.Peek(e.ctx(), "q", 16)
		e.must(err)
		if bodies(got) != "a b" || !got[0].Handle.IsZero() || !got[0].NextVisible.IsZero() ||
			got[0].DequeueCount != 0 || !got[0].FirstDequeue.Equal(got[0].Enqueued) {
			e.Fatalf("looked at %+v", got)
		}
	}
	one, err := e.Peek(e.ctx(), "q", 1)
	e.must(err)
	if bodies(one) != "a" {
		e.Fatalf("looked at %q", bodies(one))
	}
	e.takes("q", "a", "b")
}

func purge(e *env) {
	long := time.Hour
	e.queue("q", nil)
	e.send("q", "a", nil)
	e.take("q", 1, time.Minute)
	e.send("q", "b", nil)
	e.send("q", "c", func(d *chat.Draft) { d.Delay = &long })
	e.must(e.Purge(e.ctx(), "q"))
	e.counts("q", 0, 0, 0)
	e.send("q", "d", nil)
	e.takes("q", "d")
}

func tooLarge(e *env) {
	e.queue("q", func(s *chat.QueueSettings) { s.MaxMessageSize = 1024 })
	sent, err := e.Send(e.ctx(), "q", []chat.Draft{
		e.draft(strings.Repeat("x", 1025)), e.draft(strings.Repeat("y", 1024)),
	})
	e.must(err)
	if !errors.Is(sent[0].Err, chat.ErrInvalidArgument) || sent[1].Err != nil {
		e.Fatalf("sent: %v, %v", sent[0].Err, sent[1].Err)
	}
	e.counts("q", 1, 0, 0)
}

func deadLetters(e *env) {
	e.queue("q", func(s *chat.QueueSettings) { s.DeadLetter = chat.DeadLetter{Queue: "d", MaxReceives: 2} })
	e.send("q", "m", func(d *chat.Draft) { d.Priority = 5 })
	for range 2 {
		e.eventually("received", func() error {
			if got := e.take("q", 1, time.Millisecond); bodies(got) != "m" {
				return fmt.Errorf("got %q", bodies(got))
			}
			return nil
		})
	}
	var r chat.Received
	e.eventually("dead", func() (err error) {
		r, err = e.Receive(e.ctx(), chat.Receive{Queue: "q", Max: 1, Visibility: time.Millisecond})
		if err == nil && r.Dead != 1 {
			err = fmt.Errorf("received %q", bodies(r.Messages))
		}
		return err
	})
	e.send("q", "n", nil)
	if r.DeadQueue != "d" {
		e.Fatalf("dead-letter queue %q", r.DeadQueue)
	}
	lent, err := e.Dead(e.ctx(), "q", 10, time.Hour)
	e.must(err)
	if len(lent) != 1 || lent[0].Draft.Body != "m" || lent[0].Draft.Priority != 5 || lent[0].Draft.ID == "" {
		e.Fatalf("dead: %+v", lent)
	}
	if again, err := e.Dead(e.ctx(), "q", 10, time.Hour); err != nil || len(again) != 0 {
		e.Fatalf("lent twice: %v, %v", again, err)
	}
	e.must(e.Bury(e.ctx(), "q", []uint64{lent[0].Place}))
	v, err := e.Queue(e.ctx(), "q")
	e.must(err)
	if v.Dead != 0 || v.Active+v.Inactive != 1 {
		e.Fatalf("left: %+v", v.Counts)
	}
}

func noMessageTwice(e *env) {
	e.queue("q", nil)
	const total = 400
	for i := 0; i < total; i += 16 {
		var drafts []chat.Draft
		for j := i; j < min(i+16, total); j++ {
			drafts = append(drafts, e.draft(fmt.Sprint(j)))
		}
		_, err := e.Send(e.ctx(), "q", drafts)
		e.must(err)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for {
				r, err := e.Receive(e.ctx(), chat.Receive{Queue: "q", Max: 7})
				if err != nil {
					e.Error(err)
				}
				if len(r.Messages) == 0 {
					return
				}
				mu.Lock()
				for _, m := range r.Messages {
					seen[m.Body]++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	for body, n := range seen {
		if n != 1 {
			e.Errorf("message %s was received %d times", body, n)
		}
	}
	if len(seen) != total {
		e.Errorf("%d messages were received, not %d", len(seen), total)
	}
}
