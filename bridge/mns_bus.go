package bridge

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/mns/chat"
)

// maxSubscribe bounds the channels of one SUBSCRIBE.
const maxSubscribe = 1024

// follows are the topics that the node follows, and how far the server knows.
type follows struct {
	kick chan struct{} // the topics have changed

	// guarded by mu
	mu       sync.Mutex
	wanted   map[chat.TopicName]*follow
	channels map[chat.TopicName]*channel
}

// follow is one topic. ready is closed when news of it arrive.
type follow struct {
	ready chan struct{}
	once  sync.Once
}

// channel is a topic's channel on the present connection.
type channel struct {
	asked   bool // subscribed to last, not unsubscribed from
	pending int  // subscriptions that the server has not confirmed yet
}

func newFollows() *follows {
	return &follows{
		kick:   make(chan struct{}, 1),
		wanted: map[chat.TopicName]*follow{}, channels: map[chat.TopicName]*channel{},
	}
}

// Follow returns when news of the topic reach the node.
func (m *MNS) Follow(ctx context.Context, t chat.TopicName) error {
	f := m.follows.want(t)
	select {
	case <-f.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (fs *follows) want(t chat.TopicName) *follow {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.wanted[t]
	if f == nil {
		f = &follow{ready: make(chan struct{})}
		fs.wanted[t] = f
		if c := fs.channels[t]; c != nil && c.asked && c.pending == 0 {
			f.once.Do(func() { close(f.ready) }) // not unsubscribed from yet
		}
		fs.signal()
	}
	return f
}

// Unfollow ends Follow.
func (m *MNS) Unfollow(t chat.TopicName) {
	m.follows.mu.Lock()
	defer m.follows.mu.Unlock()
	delete(m.follows.wanted, t)
	m.follows.signal()
}

func (fs *follows) signal() {
	select {
	case fs.kick <- struct{}{}:
	default:
	}
}

// difference returns what to subscribe to and what no longer, at most
// maxSubscribe of each, and takes it for done.
func (fs *follows) difference() (add, drop []chat.TopicName) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for t := range fs.wanted {
		c := fs.channels[t]
		if c != nil && c.asked || len(add) == maxSubscribe {
			continue
		}
		if c == nil {
			c = &channel{}
			fs.channels[t] = c
		}
		c.asked = true
		c.pending++
		add = append(add, t)
	}
	for t, c := range fs.channels {
		if !c.asked || fs.wanted[t] != nil || len(drop) == maxSubscribe {
			continue
		}
		drop = append(drop, t)
		c.asked = false
		if c.pending == 0 {
			delete(fs.channels, t)
		}
	}
	if len(add) == maxSubscribe || len(drop) == maxSubscribe {
		fs.signal()
	}
	return add, drop
}

// renew returns all topics, for a new connection to subscribe to.
func (fs *follows) renew() []chat.TopicName {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	clear(fs.channels)
	topics := make([]chat.TopicName, 0, len(fs.wanted)+1)
	for t := range fs.wanted {
		fs.channels[t] = &channel{asked: true, pending: 1}
		topics = append(topics, t)
	}
	return topics
}

// confirm is told that a subscription stands. Only the last one counts: others
// were ended again.
func (fs *follows) confirm(t chat.TopicName) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	c := fs.channels[t]
	if c == nil {
		return
	}
	if c.pending--; c.pending > 0 {
		return
	}
	if !c.asked {
		delete(fs.channels, t)
		return
	}
	if f := fs.wanted[t]; f != nil {
		f.once.Do(func() { close(f.ready) })
	}
}

// Listen calls l until ctx ends. Queues and topics have a connection each, so
// that a busy topic does not hold up a long poll.
func (m *MNS) Listen(ctx context.Context, l chat.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return m.subscribe(ctx, m.nodeChannel(m.node), nil, l, func(message *redis.Message) {
			name, gone, _ := strings.Cut(message.Payload, "\n")
			l.Woken(chat.QueueName(name), chat.Epoch(gone))
		})
	})
	g.Go(func() error {
		// A connection needs a channel of its own: without any it is none.
		base := m.topicChannel("")
		return m.subscribe(ctx, base, m.follows, l, func(message *redis.Message) {
			topic := chat.TopicName(strings.TrimPrefix(message.Channel, base))
			news, err := decodeNews(topic, message.Payload)
			if err != nil {
				m.redis.log.Warn("news of a topic ignored", "err", err)
				return
			}
			l.Heard(news)
		})
	})
	return g.Wait()
}

// subscribe keeps a subscription up, as Redis.listen does.
func (m *MNS) subscribe(ctx context.Context, channel string, fs *follows, l chat.Listener, handle func(*redis.Message)) error {
	pause := time.Duration(0)
	for {
		stood, err := m.subscribeOnce(ctx, channel, fs, l, handle)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.redis.log.Warn("subscription ended", "channel", channel, "err", err)
		if stood {
			pause = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(max(firstPause, 2*pause), longestPause)
	}
}

// subscribeOnce lives as long as one connection.
func (m *MNS) subscribeOnce(
	ctx context.Context, channel string, fs *follows, l chat.Listener, handle func(*redis.Message),
) (stood bool, err error) {
	dial, cancel := context.WithTimeout(ctx, 2*m.redis.cfg.Timeout)
	defer cancel()
	// The channel of its own comes last: once it is confirmed, all are.
	channels := []string{channel}
	if fs != nil {
		channels = channelsOf(append(fs.renew(), ""), channel)
	}
	sub := m.redis.client.Subscribe(dial, channels...)
	var signs signs
	inner, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() {
		defer func() { _ = sub.Close() }() // ends ReceiveTimeout
		probe(inner, sub, &signs)
	})
	if fs != nil {
		helpers.Go(func() { fs.keep(inner, sub, channel) })
	}
	defer func() {
		stop()
		helpers.Wait()
	}()
	for {
		message, err := sub.ReceiveTimeout(ctx, 0)
		if err != nil {
			return stood, err
		}
		signs.heard.Add(1)
		switch v := message.(type) {
		case *redis.Message:
			handle(v)
		case *redis.Subscription:
			switch {
			case v.Channel != channel:
				if v.Kind == "subscribe" {
					fs.confirm(chat.TopicName(strings.TrimPrefix(v.Channel, channel)))
				}
			case v.Kind != "subscribe":
				return stood, errors.New("the server ended the subscription")
			default:
				stood = true
				m.redis.metrics.subscriptions.Inc()
				l.Renewed()
			}
		}
	}
}

// keep subscribes to what is followed, and no longer to what is not. An error
// closes the connection, which ends its reader too.
func (fs *follows) keep(ctx context.Context, sub *redis.PubSub, base string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-fs.kick:
		}
		add, drop := fs.difference()
		var err error
		if len(drop) > 0 {
			err = sub.Unsubscribe(ctx, channelsOf(drop, base)...)
		}
		if len(add) > 0 && err == nil {
			err = sub.Subscribe(ctx, channelsOf(add, base)...)
		}
		if err != nil {
			_ = sub.Close()
			return
		}
	}
}

func channelsOf(topics []chat.TopicName, base string) []string {
	out := make([]string, len(topics))
	for i, t := range topics {
		out[i] = base + string(t)
	}
	return out
}
