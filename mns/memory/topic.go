package memory

import (
	"context"
	"slices"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

type topic struct {
	name              chat.TopicName
	settings          chat.TopicSettings
	created, modified int64
	published         int64
	subscriptions     map[chat.SubscriptionName]chat.Subscription
	once              map[string]int64
}

// CreateTopic makes a topic, or returns the one that is there.
func (n *Node) CreateTopic(_ context.Context, name chat.TopicName, settings chat.TopicSettings) (chat.Topic, bool, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Topic{}, false, err
	}
	defer leave()
	if t := s.topics[name]; t != nil {
		return t.view(), false, nil
	}
	now := millis()
	t := &topic{
		name: name, settings: settings, created: now, modified: now,
		subscriptions: map[chat.SubscriptionName]chat.Subscription{}, once: map[string]int64{},
	}
	s.topics[name] = t
	return t.view(), true, nil
}

func (t *topic) view() chat.Topic {
	return chat.Topic{
		Name: t.name, TopicSettings: t.settings, Published: t.published,
		Created: fromMillis(t.created), Modified: fromMillis(t.modified),
	}
}

// ChangeTopic changes settings.
func (n *Node) ChangeTopic(_ context.Context, name chat.TopicName, c chat.TopicChange) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	t := s.topics[name]
	if t == nil {
		return chat.ErrTopicNotExist
	}
	t.settings, t.modified = c.Apply(t.settings), millis()
	return nil
}

// DeleteTopic removes a topic and its subscriptions.
func (n *Node) DeleteTopic(_ context.Context, name chat.TopicName) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	if s.topics[name] != nil {
		delete(s.topics, name)
		s.tell(chat.News{Topic: name, Gone: true})
	}
	return nil
}

// Topic returns a topic.
func (n *Node) Topic(_ context.Context, name chat.TopicName) (chat.Topic, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Topic{}, err
	}
	defer leave()
	t := s.topics[name]
	if t == nil {
		return chat.Topic{}, chat.ErrTopicNotExist
	}
	return t.view(), nil
}

// Topics returns names in order.
func (n *Node) Topics(_ context.Context, p chat.Page) ([]chat.TopicName, bool, error) {
	s, leave, err := n.enter()
	if err != nil {
		return nil, false, err
	}
	defer leave()
	names, more := page(s.topics, p, func(chat.TopicName) bool { return false })
	return names, more, nil
}

// Subscribe makes a subscription, or returns the one that is there.
func (n *Node) Subscribe(_ context.Context, name chat.TopicName, sub chat.Subscription) (chat.Subscription, bool, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Subscription{}, false, err
	}
	defer leave()
	t := s.topics[name]
	if t == nil {
		return chat.Subscription{}, false, chat.ErrTopicNotExist
	}
	if former, ok := t.subscriptions[sub.Name]; ok {
		return former, false, nil
	}
	if len(t.subscriptions) >= chat.MaxSubscriptions {
		return chat.Subscription{}, false, chat.ErrTooManySubscriptions
	}
	sub.Created = time.Now().UTC().Truncate(time.Millisecond)
	sub.Modified = sub.Created
	t.subscriptions[sub.Name] = sub
	return sub, true, nil
}

// ChangeSubscription changes a subscription.
func (n *Node) ChangeSubscription(_ context.Context, name chat.TopicName, sub chat.SubscriptionName, c chat.SubscriptionChange) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	v, err := s.subscription(name, sub)
	if err != nil {
		return err
	}
	v = c.Apply(v)
	v.Modified = time.Now().UTC().Truncate(time.Millisecond)
	s.topics[name].subscriptions[sub] = v
	s.tell(chat.News{Topic: name, Changed: sub})
	return nil
}

// Unsubscribe removes a subscription.
func (n *Node) Unsubscribe(_ context.Context, name chat.TopicName, sub chat.SubscriptionName) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	if _, err := s.subscription(name, sub); err == nil {
		delete(s.topics[name].subscriptions, sub)
		s.tell(chat.News{Topic: name, Changed: sub})
	}
	return nil
}

// Subscription returns a subscription.
func (n *Node) Subscription(_ context.Context, name chat.TopicName, sub chat.SubscriptionName) (chat.Subscription, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Subscription{}, err
	}
	defer leave()
	return s.subscription(name, sub)
}

func (s *Store) subscription(name chat.TopicName, sub chat.SubscriptionName) (chat.Subscription, error) {
	t := s.topics[name]
	if t == nil {
		return chat.Subscription{}, chat.ErrTopicNotExist
	}
	v, ok := t.subscriptions[sub]
	if !ok {
		return chat.Subscription{}, chat.ErrSubscriptionNotExist
	}
	return v, nil
}

// Subscriptions returns names in order.
func (n *Node) Subscriptions(_ context.Context, name chat.TopicName, p chat.Page) ([]chat.SubscriptionName, bool, error) {
	s, leave, err := n.enter()
	if err != nil {
		return nil, false, err
	}
	defer leave()
	t := s.topics[name]
	if t == nil {
		return nil, false, chat.ErrTopicNotExist
	}
	names, more := page(t.subscriptions, p, func(chat.SubscriptionName) bool { return false })
	return names, more, nil
}

// Publish gives a publication to those who follow.
func (n *Node) Publish(_ context.Context, p chat.Publish) (chat.Published, error) {
	s, leave, err := n.enter()
	if err != nil {
		return chat.Published{}, err
	}
	defer leave()
	t := s.topics[p.Publication.Topic]
	if t == nil {
		return chat.Published{}, chat.ErrTopicNotExist
	}
	if len(p.Publication.Body) > t.settings.MaxMessageSize {
		return chat.Published{}, chat.OutOfRange("MessageBody", 1, t.settings.MaxMessageSize, "bytes")
	}
	now := millis()
	var out chat.Published
	for _, name := range p.Once {
		if at, ok := t.once[name]; ok && at > now {
			out.Before = append(out.Before, name)
		}
	}
	if len(out.Before) > 0 {
		return out, nil
	}
	if !p.Delivered {
		if out.Durable = t.durable(); len(out.Durable) > 0 {
			return out, nil
		}
	}
	for name, at := range t.once {
		if at <= now {
			delete(t.once, name)
		}
	}
	for _, name := range p.Once {
		t.once[name] = now + p.Memory.Milliseconds()
	}
	t.published++
	publication := p.Publication
	s.tell(chat.News{Topic: t.name, Publication: &publication})
	out.Done = true
	return out, nil
}

// durable returns the subscriptions that must not miss a publication.
func (t *topic) durable() []chat.Subscription {
	var out []chat.Subscription
	for _, s := range t.subscriptions {
		if s.Kind() != chat.EndpointWebsocket {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b chat.Subscription) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	return out
}

// LoggingBucket returns the account's setting.
func (n *Node) LoggingBucket(context.Context) (string, error) {
	s, leave, err := n.enter()
	if err != nil {
		return "", err
	}
	defer leave()
	return s.bucket, nil
}

// SetLoggingBucket sets it.
func (n *Node) SetLoggingBucket(_ context.Context, bucket string) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	s.bucket = bucket
	return nil
}
