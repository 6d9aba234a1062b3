package storetest

import (
	"cmp"
	"slices"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// model is a queue as one would explain it: a list of messages, each with the
// moment from which it can be received. Everything else is looked for.
type model struct {
	settings chat.QueueSettings
	now      int64
	messages []*modelMessage // in the order in which they were sent
}

type modelMessage struct {
	id       chat.MessageID
	priority chat.Priority
	sent     int64
	until    int64 // can be received from then on
	received bool  // else it is or was delayed
	first    int64
	count    int
	state    int // grows with every change: a handle is good for one
}

func (m *model) send(d chat.Draft) *modelMessage {
	delay := m.settings.Delay
	if d.Delay != nil {
		delay = *d.Delay
	}
	v := &modelMessage{id: d.ID, priority: d.Priority, sent: m.now, until: m.now + delay.Milliseconds()}
	m.messages = append(m.messages, v)
	return v
}

// kept returns the messages that have not expired.
func (m *model) kept() []*modelMessage {
	m.messages = slices.DeleteFunc(m.messages, func(v *modelMessage) bool {
		return v.sent+m.settings.Retention.Milliseconds() <= m.now
	})
	return m.messages
}

// visible returns up to n messages that can be received, in their order.
func (m *model) visible(n int) []*modelMessage {
	var out []*modelMessage
	for _, v := range m.kept() {
		if v.until <= m.now {
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, func(a, b *modelMessage) int { return cmp.Compare(a.priority, b.priority) })
	return out[:min(n, len(out))]
}

func (m *model) receive(n int, visibility time.Duration) []*modelMessage {
	out := m.visible(n)
	for _, v := range out {
		v.state++
		v.count++
		v.received = true
		if v.first == 0 {
			v.first = m.now
		}
		v.until = m.now + cmp.Or(visibility, m.settings.Visibility).Milliseconds()
	}
	return out
}

// due returns when the next message can be received, or expires before that,
// negative for never.
func (m *model) due() time.Duration {
	next := int64(-1)
	for _, v := range m.kept() {
		wait := min(v.until, v.sent+m.settings.Retention.Milliseconds()) - m.now
		if v.until > m.now && (next < 0 || wait < next) {
			next = wait
		}
	}
	return time.Duration(next) * time.Millisecond
}

// good reports whether a handle is.
func (m *model) good(g given) bool {
	return slices.Contains(m.kept(), g.message) && g.message.state == g.state && g.message.until > m.now
}

func (m *model) remove(v *modelMessage) {
	m.messages = slices.DeleteFunc(m.messages, func(o *modelMessage) bool { return o == v })
}

func (m *model) counts() (active, inactive, delayed int) {
	for _, v := range m.kept() {
		switch {
		case v.until <= m.now:
			active++
		case v.received:
			inactive++
		default:
			delayed++
		}
	}
	return active, inactive, delayed
}
