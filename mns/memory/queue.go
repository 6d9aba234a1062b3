package memory

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// queue is a queue and its messages, in the order in which they are received.
type queue struct {
	name              chat.QueueName
	epoch             chat.Epoch
	settings          chat.QueueSettings
	created, modified int64
	seq               uint64
	messages          []*message
	watchers          map[string]bool
}

type state uint8

const (
	ready state = iota
	delayed
	inflight
	dead
)

type message struct {
	draft    chat.Draft
	place    uint64
	enqueued int64
	first    int64
	count    int
	state    state
	until    uint64 // when the state ends, as in a handle
}

// CreateQueue makes a queue, or returns the one that is there.
func (n *Node) CreateQueue(_ context.Context, name chat.QueueName, settings chat.QueueSettings) (chat.Queue, bool, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Queue{}, false, err
	}
	defer leave()
	if q := s.queues[name]; q != nil {
		return q.view(), false, nil
	}
	s.epochs++
	now := millis()
	q := &queue{
		name: name, epoch: chat.Epoch("m" + strconv.Itoa(s.epochs)), settings: settings,
		created: now, modified: now, watchers: map[string]bool{},
	}
	s.queues[name] = q
	return q.view(), true, nil
}

// ChangeQueue changes settings.
func (n *Node) ChangeQueue(_ context.Context, name chat.QueueName, c chat.QueueChange) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return chat.ErrQueueNotExist
	}
	q.settings = c.Apply(q.settings)
	q.modified = millis()
	s.wake(q, "")
	return nil
}

// DeleteQueue removes a queue.
func (n *Node) DeleteQueue(_ context.Context, name chat.QueueName) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	if q := s.queues[name]; q != nil {
		delete(s.queues, name)
		s.wake(q, q.epoch)
	}
	return nil
}

// Queue returns a queue with its counts.
func (n *Node) Queue(_ context.Context, name chat.QueueName) (chat.Queue, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Queue{}, err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return chat.Queue{}, chat.ErrQueueNotExist
	}
	q.advance(millis())
	return q.view(), nil
}

// Queues returns names in order.
func (n *Node) Queues(_ context.Context, p chat.Page) ([]chat.QueueName, bool, error) {
	s, leave, err := n.enter()
	if err != nil {
		return nil, false, err
	}
	defer leave()
	names, more := page(s.queues, p, chat.QueueName.Internal)
	return names, more, nil
}

// page returns a page of a map's keys, less the hidden ones.
func page[K ~string, V any](m map[K]V, p chat.Page, hidden func(K) bool) ([]K, bool) {
	var names []K
	for name := range m {
		if strings.HasPrefix(string(name), p.Prefix) && string(name) > p.After && !hidden(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(len(names), p.Limit)], len(names) > p.Limit
}

func (q *queue) view() chat.Queue {
	v := chat.Queue{
		Name: q.name, Epoch: q.epoch, QueueSettings: q.settings,
		Created: fromMillis(q.created), Modified: fromMillis(q.modified),
	}
	oldest := int64(0)
	for _, m := range q.messages {
		switch m.state {
		case ready:
			v.Active++
		case delayed:
			v.Delayed++
		case inflight:
			v.Inactive++
		case dead:
			v.Dead++
		}
		if m.state == ready && (oldest == 0 || m.enqueued < oldest) {
			oldest = m.enqueued
		}
	}
	if oldest != 0 {
		v.Oldest = fromMillis(oldest)
	}
	return v
}

// advance forgets what has expired and makes visible what is due.
func (q *queue) advance(now int64) {
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool {
		return m.enqueued+q.settings.Retention.Milliseconds() <= now
	})
	for _, m := range q.messages {
		if (m.state == delayed || m.state == inflight) && ends(m.until) <= now {
			m.state, m.until = ready, 0
		}
	}
}

// ends returns the moment that a state's number stands for.
func ends(until uint64) int64 { return int64(until / 1024) }

func (q *queue) find(place uint64) *message {
	i, ok := slices.BinarySearchFunc(q.messages, place, func(m *message, p uint64) int { return cmp.Compare(m.place, p) })
	if !ok {
		return nil
	}
	return q.messages[i]
}

func (q *queue) remove(place uint64) {
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool { return m.place == place })
}

// due returns how long until a message becomes visible by itself, or expires
// before that.
func (q *queue) due(now int64) time.Duration {
	next := int64(-1)
	for _, m := range q.messages {
		if m.state != delayed && m.state != inflight {
			continue
		}
		if wait := min(ends(m.until), m.enqueued+q.settings.Retention.Milliseconds()) - now; next < 0 || wait < next {
			next = wait
		}
	}
	return time.Duration(next) * time.Millisecond
}

// wake tells the nodes that watch the queue, once.
func (s *Store) wake(q *queue, gone chat.Epoch) {
	for name := range q.watchers {
		s.nodes[name].say(func(l chat.Listener) { l.Woken(q.name, gone) })
	}
	clear(q.watchers)
}
