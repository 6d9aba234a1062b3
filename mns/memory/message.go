package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// Send puts messages into a queue.
func (n *Node) Send(_ context.Context, name chat.QueueName, drafts []chat.Draft) ([]chat.Sent, error) {
	s, leave, err := n.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return nil, chat.ErrQueueNotExist
	}
	now := millis()
	sent := make([]chat.Sent, len(drafts))
	for i, d := range drafts {
		switch {
		case len(d.Body) > q.settings.MaxMessageSize:
			sent[i].Err = chat.OutOfRange("MessageBody", 1, q.settings.MaxMessageSize, "bytes")
		case len(q.messages) >= s.limit:
			sent[i].Err = chat.ErrQps
		default:
			sent[i].Handle = q.add(d, now)
		}
	}
	s.wake(q, "")
	return sent, nil
}

func (q *queue) add(d chat.Draft, now int64) chat.Handle {
	q.seq++
	m := &message{draft: d, place: uint64(d.Priority)<<48 + q.seq, enqueued: now}
	delay := q.settings.Delay
	if d.Delay != nil {
		delay = *d.Delay
	}
	at, _ := slices.BinarySearchFunc(q.messages, m.place, func(m *message, p uint64) int { return cmp.Compare(m.place, p) })
	q.messages = slices.Insert(q.messages, at, m)
	if delay <= 0 {
		return chat.Handle{}
	}
	m.state, m.until = delayed, uint64(now+delay.Milliseconds())*1024
	return chat.Handle{Epoch: q.epoch, Place: m.place, Until: m.until, Delayed: true}
}

// Receive gives out messages.
func (n *Node) Receive(_ context.Context, r chat.Receive) (chat.Received, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Received{}, err
	}
	defer leave()
	q := s.queues[r.Queue]
	if q == nil || r.Epoch != "" && r.Epoch != q.epoch {
		return chat.Received{}, chat.ErrQueueNotExist
	}
	now := millis()
	q.advance(now)
	q.revive()
	out := chat.Received{Epoch: q.epoch, PollingWait: q.settings.PollingWait, Due: -1, DeadQueue: q.settings.DeadLetter.Queue}
	for _, m := range q.messages {
		if len(out.Messages) == r.Max {
			break
		}
		if m.state != ready {
			continue
		}
		if d := q.settings.DeadLetter; d.Queue != "" && m.count >= d.MaxReceives {
			m.state, m.until = dead, 0
			continue
		}
		out.Messages = append(out.Messages, q.give(m, now, cmp.Or(r.Visibility, q.settings.Visibility)))
	}
	for _, m := range q.messages {
		if m.state == dead {
			out.Dead++
		}
	}
	if len(out.Messages) == 0 || len(out.Messages) < r.Max && r.Watch {
		out.Due = q.due(now)
	}
	if len(out.Messages) < r.Max && r.Watch {
		q.watchers[n.name] = true
	}
	return out, nil
}

// revive lets messages back in that nothing takes any more, as the queue has no
// dead-letter queue now.
func (q *queue) revive() {
	if q.settings.DeadLetter.Queue != "" {
		return
	}
	for _, m := range q.messages {
		if m.state == dead {
			m.state, m.until = ready, 0
		}
	}
}

func (q *queue) give(m *message, now int64, visibility time.Duration) chat.Message {
	m.count++
	if m.first == 0 {
		m.first = now
	}
	m.state, m.until = inflight, uint64(now+visibility.Milliseconds())*1024+uint64(m.count%1024)
	v := m.view()
	v.Handle = chat.Handle{Epoch: q.epoch, Place: m.place, Until: m.until, First: m.first}
	v.NextVisible = v.Handle.Ends()
	return v
}

func (m *message) view() chat.Message {
	return chat.Message{
		ID: m.draft.ID, Body: m.draft.Body, MD5: m.draft.MD5, Priority: m.draft.Priority, Extra: m.draft.Extra,
		Enqueued: fromMillis(m.enqueued), FirstDequeue: fromMillis(cmp.Or(m.first, m.enqueued)), DequeueCount: m.count,
	}
}

// Peek looks at messages.
func (n *Node) Peek(_ context.Context, name chat.QueueName, max int) ([]chat.Message, error) {
	s, leave, err := n.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return nil, chat.ErrQueueNotExist
	}
	q.advance(millis())
	var out []chat.Message
	for _, m := range q.messages {
		if m.state == ready && len(out) < max {
			out = append(out, m.view())
		}
	}
	return out, nil
}

// holds returns the message that a handle is good for.
func (q *queue) holds(h chat.Handle, now int64) *message {
	m := q.find(h.Place)
	want := inflight
	if h.Delayed {
		want = delayed
	}
	if m == nil || h.Epoch != q.epoch || m.state != want || m.until != h.Until || ends(m.until) <= now {
		return nil
	}
	return m
}

// Delete removes messages by their handles.
func (n *Node) Delete(_ context.Context, name chat.QueueName, handles []chat.Handle) ([]*chat.Error, error) {
	s, leave, err := n.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return nil, chat.ErrQueueNotExist
	}
	now := millis()
	q.advance(now)
	verdicts := make([]*chat.Error, len(handles))
	for i, h := range handles {
		if m := q.holds(h, now); m != nil {
			q.remove(m.place)
		} else {
			verdicts[i] = chat.ErrMessageNotExist
		}
	}
	return verdicts, nil
}

// ChangeVisibility moves the moment at which a message is visible again.
func (n *Node) ChangeVisibility(_ context.Context, name chat.QueueName, h chat.Handle, d time.Duration) (chat.Handle, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Handle{}, err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return chat.Handle{}, chat.ErrQueueNotExist
	}
	now := millis()
	q.advance(now)
	m := q.holds(h, now)
	if m == nil || h.Delayed {
		return chat.Handle{}, chat.ErrMessageNotExist
	}
	m.until = uint64(now+d.Milliseconds())*1024 + (m.until+1)%1024
	h.Until = m.until
	s.wake(q, "")
	return h, nil
}

// Return undoes a receive.
func (n *Node) Return(_ context.Context, name chat.QueueName, handles []chat.Handle) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return chat.ErrQueueNotExist
	}
	now := millis()
	for _, h := range handles {
		m := q.holds(h, now)
		if m == nil || h.Delayed {
			continue
		}
		m.state, m.until = ready, 0
		if m.count--; m.count == 0 {
			m.first = 0
		}
	}
	s.wake(q, "")
	return nil
}
