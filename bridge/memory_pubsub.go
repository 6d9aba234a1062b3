package bridge

import (
	"bytes"
	"context"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// memoryRetry is the pause between attempts to subscribe to a store that is
// away.
const memoryRetry = 50 * time.Millisecond

// memoryEvents is the channel of events; incarnations cannot have this name.
const memoryEvents = " events"

// memorySubscription is one subscriber of a channel.
type memorySubscription struct {
	client   *MemoryClient
	channel  string
	messages chan memoryMessage
	broken   chan struct{} // closed with the store's mutex held
	failed   bool          // guarded by the store's mutex
}

type memoryMessage struct {
	due     time.Time
	payload []byte
}

// fail breaks the subscription; its Subscribe renews it.
func (s *memorySubscription) fail() {
	if !s.failed {
		s.failed = true
		close(s.broken)
	}
}

func (c *MemoryClient) failSubscriptions() {
	for s := range c.subscriptions {
		s.fail()
	}
}

// Publish is like Redis.Publish.
func (c *MemoryClient) Publish(ctx context.Context, to protocol.Incarnation, payload []byte) (receivers int, err error) {
	if err := checkIncarnation(to); err != nil {
		return 0, err
	}
	return c.publish(ctx, string(to), payload)
}

// PublishEvent is like Redis.PublishEvent.
func (c *MemoryClient) PublishEvent(ctx context.Context, payload []byte) error {
	_, err := c.publish(ctx, memoryEvents, payload)
	return err
}

func (c *MemoryClient) publish(ctx context.Context, channel string, payload []byte) (int, error) {
	payload = bytes.Clone(payload)
	return ask(ctx, c, func(*memoryState, int64) (int, error) {
		return c.store.deliver(channel, payload), nil
	})
}

// deliver hands a message to the subscribers. It is called with mu held.
func (m *Memory) deliver(channel string, payload []byte) int {
	receivers := 0
	due := time.Now().Add(m.latency / 2)
	for s := range m.mailbox[channel] {
		if s.failed {
			continue
		}
		receivers++
		if s.client.silent {
			continue
		}
		select {
		case s.messages <- memoryMessage{due, bytes.Clone(payload)}:
		default:
			s.fail()
		}
	}
	return receivers
}

// Subscribe is like Redis.Subscribe.
func (c *MemoryClient) Subscribe(ctx context.Context, self protocol.Incarnation, handle func([]byte), renewed func()) error {
	if err := checkIncarnation(self); err != nil {
		return err
	}
	return c.listen(ctx, string(self), handle, renewed)
}

// SubscribeEvents is like Redis.SubscribeEvents.
func (c *MemoryClient) SubscribeEvents(ctx context.Context, handle func([]byte), renewed func()) error {
	return c.listen(ctx, memoryEvents, handle, renewed)
}

func (c *MemoryClient) listen(ctx context.Context, channel string, handle func([]byte), renewed func()) error {
	for ctx.Err() == nil {
		if s, err := c.subscribe(ctx, channel); err == nil {
			renewed()
			s.serve(ctx, handle)
			c.unsubscribe(s)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(memoryRetry):
		}
	}
	return ctx.Err()
}

func (c *MemoryClient) subscribe(ctx context.Context, channel string) (*memorySubscription, error) {
	s := &memorySubscription{
		client: c, channel: channel,
		messages: make(chan memoryMessage, memoryMailbox), broken: make(chan struct{}),
	}
	_, err := ask(ctx, c, func(*memoryState, int64) (struct{}, error) {
		if !s.failed { // given up while the store was paused
			c.add(s)
		}
		return struct{}{}, nil
	})
	if err != nil {
		c.unsubscribe(s)
		return nil, err
	}
	return s, nil
}

// add is called with the store's mutex held.
func (c *MemoryClient) add(s *memorySubscription) {
	if c.store.mailbox[s.channel] == nil {
		c.store.mailbox[s.channel] = make(map[*memorySubscription]struct{})
	}
	c.store.mailbox[s.channel][s] = struct{}{}
	if c.subscriptions == nil {
		c.subscriptions = make(map[*memorySubscription]struct{})
	}
	c.subscriptions[s] = struct{}{}
}

func (c *MemoryClient) unsubscribe(s *memorySubscription) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	s.fail()
	delete(c.subscriptions, s)
	delete(c.store.mailbox[s.channel], s)
	if len(c.store.mailbox[s.channel]) == 0 {
		delete(c.store.mailbox, s.channel)
	}
}

// serve hands messages over until the subscription breaks or ctx ends.
func (s *memorySubscription) serve(ctx context.Context, handle func([]byte)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.broken:
			return
		case m := <-s.messages:
			if wait := time.Until(m.due); wait > 0 {
				select {
				case <-ctx.Done():
					return
				case <-time.After(wait):
				}
			}
			handle(m.payload)
		}
	}
}
