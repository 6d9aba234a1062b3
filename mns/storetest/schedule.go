package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
)

// Schedule is a queue's settings and what is done to it over a day, drawn before
// any of it is played: what is drawn while virtual time runs cannot be shrunk.
type Schedule struct {
	Settings chat.QueueSettings
	Steps    []Step
}

// Step is one operation, After the one before.
type Step struct {
	After      time.Duration
	Op         string
	N          int           // messages to send, receive or look at; which handle
	Priority   chat.Priority // of what is sent
	Delay      time.Duration // of what is sent; negative: the queue's
	Visibility time.Duration // 0: the queue's
}

func (s Step) String() string {
	return fmt.Sprintf("+%v %s n=%d p=%d delay=%v visibility=%v", s.After, s.Op, s.N, s.Priority, s.Delay, s.Visibility)
}

// Draw draws a schedule of about a day.
func Draw(t *rapid.T) Schedule {
	pick := func(label string, from ...time.Duration) time.Duration { return rapid.SampledFrom(from).Draw(t, label) }
	s := Schedule{Settings: chat.DefaultQueueSettings()}
	s.Settings.Delay = pick("queue delay", 0, 0, 5*time.Second, time.Hour)
	s.Settings.Visibility = pick("queue visibility", time.Second, 30*time.Second, 12*time.Hour)
	s.Settings.Retention = pick("retention", time.Minute, time.Hour, 6*time.Hour, 96*time.Hour)
	step := rapid.Custom(func(t *rapid.T) Step {
		pick := func(label string, from ...time.Duration) time.Duration { return rapid.SampledFrom(from).Draw(t, label) }
		return Step{
			After: pick("after", 0, 0, time.Millisecond, 999*time.Millisecond, time.Second, 29*time.Second, time.Minute,
				17*time.Minute, time.Hour, 5*time.Hour),
			Op: rapid.SampledFrom([]string{
				"send", "send", "send", "receive", "receive", "receive", "delete", "delete", "change", "return", "peek", "count", "purge",
			}).Draw(t, "op"),
			N:          rapid.IntRange(0, 5).Draw(t, "n"),
			Priority:   chat.Priority(rapid.IntRange(1, 16).Draw(t, "priority")),
			Delay:      pick("delay", -1, -1, 0, time.Second, time.Minute, 10*time.Hour),
			Visibility: pick("visibility", 0, 0, time.Second, time.Minute, 12*time.Hour),
		}
	})
	steps := rapid.SliceOfN(step, 1, 60).Draw(t, "steps")
	for day := time.Duration(0); len(s.Steps) < len(steps) && day < 24*time.Hour; {
		next := steps[len(s.Steps)]
		day += next.After
		s.Steps = append(s.Steps, next)
	}
	return s
}

// Play plays a schedule on a store and on the model, and returns the first
// difference. It is called in a bubble of virtual time.
func (s Schedule) Play(ctx context.Context, store mns.Store) error {
	const name = "model"
	if _, _, err := store.CreateQueue(ctx, name, s.Settings); err != nil {
		return err
	}
	p := &player{ctx: ctx, store: store, queue: name, model: &model{settings: s.Settings}}
	for i, step := range s.Steps {
		time.Sleep(step.After)
		p.model.now = time.Now().UnixMilli()
		if err := p.step(step); err != nil {
			return fmt.Errorf("step %d, %v: %w", i, step, err)
		}
	}
	p.model.now = time.Now().UnixMilli()
	return p.count()
}

// player does each step on both.
type player struct {
	ctx   context.Context
	store mns.Store
	queue chat.QueueName
	model *model
	sent  int
	// handles are all that were given out, with the state of the model's message
	// that they are good for.
	handles []given
}

type given struct {
	handle  chat.Handle
	message *modelMessage
	state   int
}

func (p *player) step(s Step) error {
	switch s.Op {
	case "send":
		return p.send(s)
	case "receive":
		return p.receive(s)
	case "delete":
		return p.delete(s)
	case "change":
		return p.change(s)
	case "return":
		return p.giveBack(s)
	case "peek":
		return p.peek(s)
	case "purge":
		if s.N > 0 {
			return p.count() // a purge in six is enough
		}
		p.model.messages = nil
		return p.store.Purge(p.ctx, p.queue)
	default:
		return p.count()
	}
}

func (p *player) send(s Step) error {
	var drafts []chat.Draft
	var want []*modelMessage
	for range s.N + 1 {
		p.sent++
		d := chat.Draft{ID: chat.MessageID(fmt.Sprint(p.sent)), Body: "b", Priority: s.Priority}
		if s.Delay >= 0 {
			d.Delay = &s.Delay
		}
		drafts = append(drafts, d)
		want = append(want, p.model.send(d))
	}
	sent, err := p.store.Send(p.ctx, p.queue, drafts)
	if err != nil {
		return err
	}
	for i, got := range sent {
		if got.Err != nil || got.Handle.IsZero() != (want[i].until <= p.model.now) {
			return fmt.Errorf("sent %+v, the model %+v", got, want[i])
		}
		if !got.Handle.IsZero() {
			p.handles = append(p.handles, given{got.Handle, want[i], want[i].state})
		}
	}
	return nil
}

func (p *player) receive(s Step) error {
	got, err := p.store.Receive(p.ctx, chat.Receive{Queue: p.queue, Max: s.N + 1, Visibility: s.Visibility, Watch: s.N%2 == 0})
	if err != nil {
		return err
	}
	want := p.model.receive(s.N+1, s.Visibility)
	if err := same(got.Messages, want); err != nil {
		return err
	}
	for i, m := range got.Messages {
		if m.NextVisible.UnixMilli() != want[i].until {
			return fmt.Errorf("message %s is visible again at %v, the model says %d", m.ID, m.NextVisible, want[i].until)
		}
		p.handles = append(p.handles, given{m.Handle, want[i], want[i].state})
	}
	if len(want) == 0 || len(want) <= s.N && s.N%2 == 0 {
		if due := p.model.due(); got.Due != due {
			return fmt.Errorf("the next is due in %v, the model says %v", got.Due, due)
		}
	}
	return nil
}

func same(got []chat.Message, want []*modelMessage) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d messages, the model has %d", len(got), len(want))
	}
	for i, m := range got {
		w := want[i]
		first := w.first
		if first == 0 {
			first = w.sent
		}
		if m.ID != w.id || m.Priority != w.priority || m.DequeueCount != w.count || m.Enqueued.UnixMilli() != w.sent ||
			m.FirstDequeue.UnixMilli() != first {
			return fmt.Errorf("message %+v, the model has %+v", m, *w)
		}
	}
	return nil
}

// pick chooses one of the handles, the latest more often.
func (p *player) pick(s Step) (given, bool) {
	if len(p.handles) == 0 {
		return given{}, false
	}
	return p.handles[max(0, len(p.handles)-1-s.N)], true
}

func (p *player) delete(s Step) error {
	g, ok := p.pick(s)
	if !ok {
		return nil
	}
	verdicts, err := p.store.Delete(p.ctx, p.queue, []chat.Handle{g.handle})
	if err != nil {
		return err
	}
	good := p.model.good(g)
	if (verdicts[0] == nil) != good {
		return fmt.Errorf("deleted: %v, the model says %v of message %s", verdicts[0], good, g.message.id)
	}
	if good {
		p.model.remove(g.message)
	}
	return nil
}

func (p *player) change(s Step) error {
	g, ok := p.pick(s)
	if !ok {
		return nil
	}
	d := max(s.Visibility, time.Second)
	h, err := p.store.ChangeVisibility(p.ctx, p.queue, g.handle, d)
	good := p.model.good(g) && !g.handle.Delayed
	if good != (err == nil) || err != nil && !errors.Is(err, chat.ErrMessageNotExist) {
		return fmt.Errorf("changed: %w, the model says %v of message %s", err, good, g.message.id)
	}
	if good {
		g.message.state++
		g.message.until = p.model.now + d.Milliseconds()
		p.handles = append(p.handles, given{h, g.message, g.message.state})
	}
	return nil
}

func (p *player) giveBack(s Step) error {
	g, ok := p.pick(s)
	if !ok {
		return nil
	}
	if p.model.good(g) && !g.handle.Delayed {
		m := g.message
		m.state++
		m.until = p.model.now
		if m.count--; m.count == 0 {
			m.first = 0
		}
	}
	return p.store.Return(p.ctx, p.queue, []chat.Handle{g.handle})
}

func (p *player) peek(s Step) error {
	got, err := p.store.Peek(p.ctx, p.queue, s.N+1)
	if err != nil {
		return err
	}
	return same(got, p.model.visible(s.N+1))
}

func (p *player) count() error {
	q, err := p.store.Queue(p.ctx, p.queue)
	if err != nil {
		return err
	}
	active, inactive, delayed := p.model.counts()
	if q.Active != active || q.Inactive != inactive || q.Delayed != delayed {
		return fmt.Errorf("%+v, the model counts %d, %d, %d", q.Counts, active, inactive, delayed)
	}
	return nil
}
