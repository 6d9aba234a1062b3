package memory

import (
	"context"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// Purge removes a queue's messages.
func (n *Node) Purge(_ context.Context, name chat.QueueName) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return chat.ErrQueueNotExist
	}
	q.messages = nil
	return nil
}

// Dead lends messages that are to be moved to the dead-letter queue.
func (n *Node) Dead(_ context.Context, name chat.QueueName, max int, loan time.Duration) ([]chat.DeadMessage, error) {
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
	var out []chat.DeadMessage
	for _, m := range q.messages {
		if m.state == dead && ends(m.until) <= now && len(out) < max {
			m.until = uint64(now+loan.Milliseconds()) * 1024
			out = append(out, chat.DeadMessage{Draft: m.draft, Place: m.place})
		}
	}
	return out, nil
}

// Bury removes messages that were moved.
func (n *Node) Bury(_ context.Context, name chat.QueueName, places []uint64) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	q := s.queues[name]
	if q == nil {
		return nil
	}
	for _, p := range places {
		if m := q.find(p); m != nil && m.state == dead {
			q.remove(p)
		}
	}
	return nil
}
