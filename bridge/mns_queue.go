package bridge

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// CreateQueue makes a queue, or returns the one that is there.
func (m *MNS) CreateQueue(ctx context.Context, q chat.QueueName, s chat.QueueSettings) (chat.Queue, bool, error) {
	if !q.Internal() {
		if err := m.register(ctx, "q", string(q)); err != nil {
			return chat.Queue{}, false, err
		}
	}
	all := chat.QueueChange{
		Delay: &s.Delay, Retention: &s.Retention, Visibility: &s.Visibility, PollingWait: &s.PollingWait,
		MaxMessageSize: &s.MaxMessageSize, Logging: &s.Logging, DeadLetter: &s.DeadLetter,
	}
	made, err := m.int(ctx, "queue_create", queueTag(q), append([]any{newEpoch(), firstSeq}, queueFields(all)...)...)
	if err != nil {
		return chat.Queue{}, false, fmt.Errorf("create queue %q: %w", q, err)
	}
	if made == 1 && !q.Internal() {
		if err := m.register(ctx, "q", string(q)); err != nil {
			return chat.Queue{}, false, err
		}
	}
	queue, err := m.Queue(ctx, q)
	return queue, made == 1, err
}

// newEpoch names a queue's life.
func newEpoch() string {
	var b [7]byte
	_, _ = rand.Read(b[:]) // never fails
	return new(big.Int).SetBytes(b[:]).Text(36)
}

// queueFields lists the settings of a change as the scripts keep them.
func queueFields(c chat.QueueChange) []any {
	var out []any
	period := func(name string, d *time.Duration) {
		if d != nil {
			out = append(out, name, d.Milliseconds())
		}
	}
	period("delay", c.Delay)
	period("retention", c.Retention)
	period("visibility", c.Visibility)
	period("wait", c.PollingWait)
	if c.MaxMessageSize != nil {
		out = append(out, "max", *c.MaxMessageSize)
	}
	if c.Logging != nil {
		out = append(out, "logging", *c.Logging)
	}
	if d := c.DeadLetter; d != nil {
		out = append(out, "dead", string(d.Queue), "receives", d.MaxReceives)
	}
	return out
}

// ChangeQueue changes settings.
func (m *MNS) ChangeQueue(ctx context.Context, q chat.QueueName, c chat.QueueChange) error {
	args := append([]any{m.nodeChannel(""), string(q)}, queueFields(c)...)
	done, err := m.int(ctx, "queue_change", queueTag(q), args...)
	return queueVerdict("change", q, done, err)
}

// DeleteQueue removes a queue.
func (m *MNS) DeleteQueue(ctx context.Context, q chat.QueueName) error {
	if _, err := m.int(ctx, "queue_delete", queueTag(q), m.nodeChannel(""), string(q)); err != nil {
		return fmt.Errorf("delete queue %q: %w", q, err)
	}
	return m.unregister(ctx, "q", string(q), queueTag(q))
}

// Purge removes a queue's messages.
func (m *MNS) Purge(ctx context.Context, q chat.QueueName) error {
	done, err := m.int(ctx, "queue_purge", queueTag(q))
	return queueVerdict("purge", q, done, err)
}

// queueVerdict reads the answer of a script that says whether there is a queue.
func queueVerdict(what string, q chat.QueueName, there int64, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s queue %q: %w", what, q, err)
	case there == 0:
		return chat.ErrQueueNotExist
	default:
		return nil
	}
}

// Queue returns a queue with its counts.
func (m *MNS) Queue(ctx context.Context, q chat.QueueName) (chat.Queue, error) {
	f, err := m.list(ctx, "queue_view", queueTag(q))
	if err != nil {
		return chat.Queue{}, fmt.Errorf("look at queue %q: %w", q, err)
	}
	if f.len() == 0 {
		return chat.Queue{}, chat.ErrQueueNotExist
	}
	v := chat.Queue{Name: q, Epoch: chat.Epoch(f.text(0)), Created: fromMillis(f.number(1)), Modified: fromMillis(f.number(2))}
	v.Delay, v.MaxMessageSize, v.Retention = f.period(3), int(f.number(4)), f.period(5)
	v.Visibility, v.PollingWait, v.Logging = f.period(6), f.period(7), f.text(8) == "1"
	v.DeadLetter = chat.DeadLetter{Queue: chat.QueueName(f.text(9)), MaxReceives: int(f.number(10))}
	v.Active, v.Inactive, v.Delayed, v.Dead = int(f.int(11)), int(f.int(12)), int(f.int(13)), int(f.int(14))
	if f.text(15) != "" {
		v.Oldest = fromMillis(f.number(15))
	}
	return v, f.err
}

// Queues returns names in order.
func (m *MNS) Queues(ctx context.Context, p chat.Page) ([]chat.QueueName, bool, error) {
	names, more, err := m.page(ctx, "q", p, func(name string) string { return "q:" + name })
	return convert[chat.QueueName](names), more, err
}

func convert[T ~string](names []string) []T {
	out := make([]T, len(names))
	for i, name := range names {
		out[i] = T(name)
	}
	return out
}

// number reads a number that the store keeps as text.
func (f *fields) number(i int) int64 {
	text := f.text(i)
	if f.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f.err = fmt.Errorf("field %d of the store's answer: %w", i, err)
	}
	return n
}

// period reads a number of milliseconds.
func (f *fields) period(i int) time.Duration { return time.Duration(f.number(i)) * time.Millisecond }
