package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// errRecord is returned for a message's record that cannot be read.
var errRecord = errors.New("record of a message in an unknown format")

// recordVersion begins the form of records below. Before it the script puts the
// moment at which the message was sent.
const recordVersion = "1"

// encodeDraft lays out what the scripts keep and never look into: a line each
// for version, id, digest and length of the extra part, then that and the body.
func encodeDraft(d *chat.Draft) string {
	var b strings.Builder
	b.Grow(len(d.ID) + len(d.MD5) + len(d.Extra) + len(d.Body) + 16)
	b.WriteString(recordVersion + "\n" + string(d.ID) + "\n" + d.MD5 + "\n" + strconv.Itoa(len(d.Extra)) + "\n")
	b.WriteString(d.Extra)
	b.WriteString(d.Body)
	return b.String()
}

// decodeDraft reads a record and when the message was sent.
func decodeDraft(record string) (d chat.Draft, sent time.Time, err error) {
	var head [5]string
	for i := range head {
		var ok bool
		if head[i], record, ok = strings.Cut(record, "\n"); !ok {
			return d, sent, errRecord
		}
	}
	ms, err1 := strconv.ParseInt(head[0], 10, 64)
	extra, err2 := strconv.Atoi(head[4])
	if err1 != nil || err2 != nil || head[1] != recordVersion || extra < 0 || extra > len(record) {
		return d, sent, errRecord
	}
	d.ID, d.MD5, d.Extra, d.Body = chat.MessageID(head[2]), head[3], record[:extra], record[extra:]
	return d, fromMillis(ms), nil
}

// Send puts messages into a queue.
func (m *MNS) Send(ctx context.Context, q chat.QueueName, drafts []chat.Draft) ([]chat.Sent, error) {
	args := make([]any, 0, 4*len(drafts))
	for i := range drafts {
		d := &drafts[i]
		delay := int64(-1)
		if d.Delay != nil {
			delay = d.Delay.Milliseconds()
		}
		args = append(args, chatLetter(d.Priority), delay, len(d.Body), encodeDraft(d))
	}
	answer, before, err := m.share(ctx, errand{script: "send", tag: queueTag(q)}, len(drafts), args, func(int) []any {
		return []any{m.nodeChannel(""), string(q), maxQueueLength}
	})
	if err != nil {
		return nil, fmt.Errorf("send to queue %q: %w", q, err)
	}
	if len(answer) == 0 {
		return nil, chat.ErrQueueNotExist
	}
	sent := make([]chat.Sent, len(drafts))
	if len(answer) == 1 {
		return sent, nil
	}
	f := &fields{values: answer}
	epoch, largest := chat.Epoch(f.text(0)), int(f.number(1))
	for i := range sent {
		switch verdict := f.text(2 + before + i); verdict {
		case "":
		case "large":
			sent[i].Err = chat.OutOfRange("MessageBody", 1, largest, "bytes")
		case "full":
			sent[i].Err = chat.ErrQps.With("The queue holds %d messages, which is all it can.", maxQueueLength)
		default:
			if sent[i].Handle, _, err = parseMember(verdict); err != nil {
				return nil, fmt.Errorf("send to queue %q: %w", q, err)
			}
			sent[i].Handle.Epoch = epoch
		}
	}
	return sent, f.err
}

// Receive gives out messages, also when ctx ends meanwhile.
func (m *MNS) Receive(ctx context.Context, r chat.Receive) (chat.Received, error) {
	ctx = context.WithoutCancel(ctx)
	answer, before, err := m.receive(ctx, r)
	if err != nil {
		return chat.Received{}, fmt.Errorf("receive from queue %q: %w", r.Queue, err)
	}
	if len(answer) == 0 {
		return chat.Received{}, chat.ErrQueueNotExist
	}
	f := &fields{values: answer}
	messages := make([]chat.Message, 0, min(r.Max, max(0, f.len()/2-2-before)))
	out := chat.Received{
		Epoch: chat.Epoch(f.text(0)), PollingWait: f.period(1), Due: time.Duration(f.int(2)) * time.Millisecond,
		Dead: int(f.int(3)), DeadQueue: chat.QueueName(f.text(4)), Messages: messages,
	}
	for i := 5 + 2*before; i+1 < f.len() && len(out.Messages) < r.Max; i += 2 {
		h, count, err := parseMember(f.text(i))
		if err == nil {
			h.Epoch = out.Epoch
			var v chat.Message
			v, err = f.message(h.Place, int64(count), h.First, i+1)
			v.Handle, v.NextVisible = h, h.Ends()
			out.Messages = append(out.Messages, v)
		}
		if err != nil {
			return chat.Received{}, fmt.Errorf("receive from queue %q: %w", r.Queue, err)
		}
	}
	return out, f.err
}

// receive asks for messages. Who came first is served first. Those who watch
// ask alone: each of them is many.
func (m *MNS) receive(ctx context.Context, r chat.Receive) (answer []any, before int, err error) {
	visibility := r.Visibility.Milliseconds()
	if r.Watch || r.Epoch != "" {
		watcher := ""
		if r.Watch {
			watcher = m.node
		}
		f, err := m.list(ctx, "receive", queueTag(r.Queue), r.Max, visibility, watcher, string(r.Epoch))
		if err != nil {
			return nil, 0, err
		}
		return f.values, 0, nil
	}
	e := errand{script: "receive", tag: queueTag(r.Queue), variant: visibility}
	return m.share(ctx, e, r.Max, nil, func(count int) []any { return []any{count, visibility, "", ""} })
}

// message reads the record of a message that was received so often, and first
// then.
func (f *fields) message(place uint64, count, first int64, i int) (chat.Message, error) {
	record := f.text(i)
	if f.err != nil {
		return chat.Message{}, f.err
	}
	d, sent, err := decodeDraft(record)
	if err != nil {
		return chat.Message{}, err
	}
	v := chat.Message{
		ID: d.ID, Body: d.Body, MD5: d.MD5, Extra: d.Extra, Priority: priorityOf(place),
		Enqueued: sent, FirstDequeue: sent, DequeueCount: int(count),
	}
	if first != 0 {
		v.FirstDequeue = fromMillis(first)
	}
	return v, nil
}

// Peek looks at messages.
func (m *MNS) Peek(ctx context.Context, q chat.QueueName, n int) ([]chat.Message, error) {
	f, err := m.list(ctx, "peek", queueTag(q), n)
	if err != nil {
		return nil, fmt.Errorf("peek into queue %q: %w", q, err)
	}
	if f.len() == 0 {
		return nil, chat.ErrQueueNotExist
	}
	var out []chat.Message
	for i := 1; i+3 < f.len(); i += 4 {
		place, err := parsePlace(f.text(i))
		if err != nil {
			return nil, fmt.Errorf("peek into queue %q: %w", q, err)
		}
		v, err := f.message(place, f.number(i+1), f.number(i+2), i+3)
		if err != nil {
			return nil, fmt.Errorf("peek into queue %q: %w", q, err)
		}
		out = append(out, v)
	}
	return out, f.err
}

// Delete removes messages by their handles.
func (m *MNS) Delete(ctx context.Context, q chat.QueueName, handles []chat.Handle) ([]*chat.Error, error) {
	args := make([]any, 0, 5*len(handles))
	for _, h := range handles {
		set := "i"
		if h.Delayed {
			set = "d"
		}
		member := chatMember(h)
		place, ending := cutMember(member)
		args = append(args, string(h.Epoch), set, place, ending, member)
	}
	e := errand{script: "delete", tag: queueTag(q)}
	answer, before, err := m.share(ctx, e, len(handles), args, func(int) []any { return nil })
	if err != nil {
		return nil, fmt.Errorf("delete from queue %q: %w", q, err)
	}
	if len(answer) == 0 {
		return nil, chat.ErrQueueNotExist
	}
	f := &fields{values: answer}
	verdicts := make([]*chat.Error, len(handles))
	word := f.text(0)
	if f.err == nil && len(word) < before+len(handles) {
		f.err = fmt.Errorf("%d verdicts on %d handles", len(word), before+len(handles))
	}
	if f.err != nil {
		return nil, fmt.Errorf("delete from queue %q: %w", q, f.err)
	}
	for i := range verdicts {
		if word[before+i] != '1' {
			verdicts[i] = chat.ErrMessageNotExist
		}
	}
	return verdicts, nil
}

// ChangeVisibility moves the moment at which a message is visible again.
func (m *MNS) ChangeVisibility(ctx context.Context, q chat.QueueName, h chat.Handle, d time.Duration) (chat.Handle, error) {
	if h.Delayed {
		_, err := m.Queue(ctx, q)
		return chat.Handle{}, errors.Join(err, chat.ErrMessageNotExist)
	}
	next := h
	next.Until = (h.Until + 1) % 1024
	ending, err := m.text(ctx, "visibility", queueTag(q), m.nodeChannel(""), string(q), string(h.Epoch), chatPlace(h.Place),
		h.Until/1024, chatMember(h), chatPlace(h.Place)+" ", string(appendTail(nil, next)), d.Milliseconds())
	switch {
	case err != nil:
		return chat.Handle{}, fmt.Errorf("change visibility in queue %q: %w", q, err)
	case ending == "queue":
		return chat.Handle{}, chat.ErrQueueNotExist
	case ending == "":
		return chat.Handle{}, chat.ErrMessageNotExist
	}
	until, err := strconv.ParseUint(ending, 10, 43)
	if err != nil {
		return chat.Handle{}, fmt.Errorf("change visibility in queue %q: %w", q, err)
	}
	next.Until += until * 1024
	return next, nil
}

// Return undoes a receive.
func (m *MNS) Return(ctx context.Context, q chat.QueueName, handles []chat.Handle) error {
	args := []any{m.nodeChannel(""), string(q)}
	for _, h := range handles {
		member := chatMember(h)
		place, ending := cutMember(member)
		args = append(args, string(h.Epoch), place, ending, member)
	}
	there, err := m.int(ctx, "return", queueTag(q), args...)
	return queueVerdict("return to", q, there, err)
}

// Dead lends messages that are to be moved to the dead-letter queue.
func (m *MNS) Dead(ctx context.Context, q chat.QueueName, n int, loan time.Duration) ([]chat.DeadMessage, error) {
	f, err := m.list(ctx, "dead", queueTag(q), n, loan.Milliseconds())
	if err != nil {
		return nil, fmt.Errorf("dead of queue %q: %w", q, err)
	}
	if f.len() == 0 {
		return nil, chat.ErrQueueNotExist
	}
	var out []chat.DeadMessage
	for i := 1; i+1 < f.len(); i += 2 {
		place, err := parsePlace(f.text(i))
		if err != nil {
			return nil, fmt.Errorf("dead of queue %q: %w", q, err)
		}
		d, _, err := decodeDraft(f.text(i + 1))
		if err != nil {
			return nil, fmt.Errorf("dead of queue %q: %w", q, err)
		}
		d.Priority = priorityOf(place)
		out = append(out, chat.DeadMessage{Draft: d, Place: place})
	}
	return out, f.err
}

// Bury removes messages that were moved.
func (m *MNS) Bury(ctx context.Context, q chat.QueueName, places []uint64) error {
	args := make([]any, len(places))
	for i, p := range places {
		args[i] = chatPlace(p)
	}
	if _, err := m.int(ctx, "bury", queueTag(q), args...); err != nil {
		return fmt.Errorf("bury the dead of queue %q: %w", q, err)
	}
	return nil
}
