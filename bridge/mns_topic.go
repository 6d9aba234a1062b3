package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// CreateTopic makes a topic, or returns the one that is there.
func (m *MNS) CreateTopic(ctx context.Context, t chat.TopicName, s chat.TopicSettings) (chat.Topic, bool, error) {
	if err := m.register(ctx, "t", string(t)); err != nil {
		return chat.Topic{}, false, err
	}
	fields := topicFields(chat.TopicChange{MaxMessageSize: &s.MaxMessageSize, Logging: &s.Logging})
	made, err := m.int(ctx, "topic_create", topicTag(t), fields...)
	if err != nil {
		return chat.Topic{}, false, fmt.Errorf("create topic %q: %w", t, err)
	}
	if made == 1 {
		if err := m.register(ctx, "t", string(t)); err != nil {
			return chat.Topic{}, false, err
		}
	}
	topic, err := m.Topic(ctx, t)
	return topic, made == 1, err
}

func topicFields(c chat.TopicChange) []any {
	var out []any
	if c.MaxMessageSize != nil {
		out = append(out, "max", *c.MaxMessageSize)
	}
	if c.Logging != nil {
		out = append(out, "logging", *c.Logging)
	}
	return out
}

// ChangeTopic changes settings.
func (m *MNS) ChangeTopic(ctx context.Context, t chat.TopicName, c chat.TopicChange) error {
	there, err := m.int(ctx, "topic_change", topicTag(t), topicFields(c)...)
	if err != nil {
		return fmt.Errorf("change topic %q: %w", t, err)
	}
	if there == 0 {
		return chat.ErrTopicNotExist
	}
	return nil
}

// DeleteTopic removes a topic and its subscriptions.
func (m *MNS) DeleteTopic(ctx context.Context, t chat.TopicName) error {
	news := encodeNews(&chat.News{Topic: t, Gone: true})
	if _, err := m.int(ctx, "topic_delete", topicTag(t), m.topicChannel(t), news); err != nil {
		return fmt.Errorf("delete topic %q: %w", t, err)
	}
	return m.unregister(ctx, "t", string(t), topicTag(t))
}

// Topic returns a topic.
func (m *MNS) Topic(ctx context.Context, t chat.TopicName) (chat.Topic, error) {
	c, err := m.plain(ctx, "hmget", m.keys(topicTag(t), "a")[0], "created", "modified", "count", "max", "logging")
	if err != nil {
		return chat.Topic{}, err
	}
	f, err := c.list()
	if err != nil {
		return chat.Topic{}, fmt.Errorf("look at topic %q: %w", t, err)
	}
	if f.len() != 5 || f.values[0] == nil {
		return chat.Topic{}, chat.ErrTopicNotExist
	}
	v := chat.Topic{Name: t, Created: fromMillis(f.number(0)), Modified: fromMillis(f.number(1)), Published: f.number(2)}
	v.MaxMessageSize, v.Logging = int(f.number(3)), f.text(4) == "1"
	return v, f.err
}

// Topics returns names in order.
func (m *MNS) Topics(ctx context.Context, p chat.Page) ([]chat.TopicName, bool, error) {
	names, more, err := m.page(ctx, "t", p, func(name string) string { return "t:" + name })
	return convert[chat.TopicName](names), more, err
}

// Subscribe makes a subscription, or returns the one that is there.
func (m *MNS) Subscribe(ctx context.Context, t chat.TopicName, s chat.Subscription) (chat.Subscription, bool, error) {
	s.Created = time.Now().UTC().Truncate(time.Millisecond)
	s.Modified = s.Created
	text, err := json.Marshal(s)
	if err != nil {
		return chat.Subscription{}, false, fmt.Errorf("subscribe %q to topic %q: %w", s.Name, t, err)
	}
	durable := s.Kind() != chat.EndpointWebsocket
	former, err := m.text(ctx, "subscribe", topicTag(t), string(s.Name), text, durable, chat.MaxSubscriptions)
	switch {
	case err != nil:
		return chat.Subscription{}, false, fmt.Errorf("subscribe %q to topic %q: %w", s.Name, t, err)
	case former == "topic":
		return chat.Subscription{}, false, chat.ErrTopicNotExist
	case former == "full":
		return chat.Subscription{}, false, chat.ErrTooManySubscriptions
	case former == "":
		return s, true, nil
	}
	s, err = decodeSubscription(former)
	return s, false, err
}

func decodeSubscription(text string) (s chat.Subscription, err error) {
	if err = json.Unmarshal([]byte(text), &s); err != nil {
		err = fmt.Errorf("subscription: %w", err)
	}
	return s, err
}

// Subscription returns a subscription.
func (m *MNS) Subscription(ctx context.Context, t chat.TopicName, s chat.SubscriptionName) (chat.Subscription, error) {
	text, err := m.subscription(ctx, t, s)
	if err != nil {
		return chat.Subscription{}, err
	}
	return decodeSubscription(text)
}

// subscription returns a subscription as it is kept.
func (m *MNS) subscription(ctx context.Context, t chat.TopicName, s chat.SubscriptionName) (string, error) {
	text, err := m.text(ctx, "subscription", topicTag(t), string(s))
	switch {
	case err != nil:
		return "", fmt.Errorf("look at subscription %q of topic %q: %w", s, t, err)
	case text == "topic":
		return "", chat.ErrTopicNotExist
	case text == "":
		return "", chat.ErrSubscriptionNotExist
	default:
		return text, nil
	}
}

// changeTries bounds how often a change is made anew because another one came
// in between.
const changeTries = 16

// ChangeSubscription changes a subscription.
func (m *MNS) ChangeSubscription(ctx context.Context, t chat.TopicName, name chat.SubscriptionName, c chat.SubscriptionChange) error {
	for range changeTries {
		former, err := m.subscription(ctx, t, name)
		if err != nil {
			return err
		}
		s, err := decodeSubscription(former)
		if err != nil {
			return err
		}
		s = c.Apply(s)
		s.Modified = time.Now().UTC().Truncate(time.Millisecond)
		text, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("change subscription %q of topic %q: %w", name, t, err)
		}
		news := encodeNews(&chat.News{Topic: t, Changed: name})
		done, err := m.int(ctx, "subscription_change", topicTag(t), m.topicChannel(t), news, string(name), former, text)
		if err != nil {
			return fmt.Errorf("change subscription %q of topic %q: %w", name, t, err)
		}
		if done == 1 {
			return nil
		}
	}
	return fmt.Errorf("change subscription %q of topic %q: others keep changing it", name, t)
}

// Unsubscribe removes a subscription.
func (m *MNS) Unsubscribe(ctx context.Context, t chat.TopicName, name chat.SubscriptionName) error {
	news := encodeNews(&chat.News{Topic: t, Changed: name})
	if _, err := m.int(ctx, "unsubscribe", topicTag(t), m.topicChannel(t), news, string(name)); err != nil {
		return fmt.Errorf("unsubscribe %q from topic %q: %w", name, t, err)
	}
	return nil
}

// Subscriptions returns names in order.
func (m *MNS) Subscriptions(ctx context.Context, t chat.TopicName, p chat.Page) ([]chat.SubscriptionName, bool, error) {
	f, err := m.list(ctx, "subscriptions", topicTag(t))
	if err != nil {
		return nil, false, fmt.Errorf("list subscriptions of topic %q: %w", t, err)
	}
	if f.len() == 0 {
		return nil, false, chat.ErrTopicNotExist
	}
	var names []chat.SubscriptionName
	for i := 1; i < f.len(); i++ {
		if name := f.text(i); strings.HasPrefix(name, p.Prefix) && name > p.After {
			names = append(names, chat.SubscriptionName(name))
		}
	}
	slices.Sort(names)
	return names[:min(len(names), p.Limit)], len(names) > p.Limit, f.err
}

// Publish gives a publication to those who follow.
func (m *MNS) Publish(ctx context.Context, p chat.Publish) (chat.Published, error) {
	t := p.Publication.Topic
	news := encodeNews(&chat.News{Topic: t, Publication: &p.Publication})
	args := []any{m.topicChannel(t), news, len(p.Publication.Body), p.Delivered, p.Memory.Milliseconds(), maxOnce}
	for _, name := range p.Once {
		args = append(args, name)
	}
	f, err := m.list(ctx, "publish", topicTag(t), args...)
	if err != nil {
		return chat.Published{}, fmt.Errorf("publish to topic %q: %w", t, err)
	}
	var out chat.Published
	switch f.text(0) {
	case "topic":
		return out, chat.ErrTopicNotExist
	case "large":
		return out, chat.OutOfRange("MessageBody", 1, int(f.number(1)), "bytes")
	case "before":
		for i := 1; i < f.len(); i++ {
			out.Before = append(out.Before, f.text(i))
		}
	case "durable":
		for i := 1; i < f.len() && f.err == nil; i++ {
			var s chat.Subscription
			s, f.err = decodeSubscription(f.text(i))
			out.Durable = append(out.Durable, s)
		}
	default:
		out.Done = true
	}
	return out, f.err
}
