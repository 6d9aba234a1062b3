package mns

import (
	"context"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// Store keeps queues, topics and what they hold, for all nodes of a cluster;
// each node has a Store of its own, which knows the node's name. A *chat.Error
// is the answer; any other error means that the store could not be asked, and
// that what was asked for may or may not have happened.
//
// Its clock is one for all nodes.
type Store interface {
	QueueStore
	MessageStore
	HandleStore
	DeadStore
	TopicStore
	SubscriptionStore
	PublishStore
	AccountStore
	Bus
}

// QueueStore keeps the queues themselves.
type QueueStore interface {
	// CreateQueue makes a queue. If there is one already it is returned as it
	// is, and created is false.
	CreateQueue(ctx context.Context, q chat.QueueName, s chat.QueueSettings) (queue chat.Queue, created bool, err error)
	ChangeQueue(ctx context.Context, q chat.QueueName, c chat.QueueChange) error
	// DeleteQueue removes a queue and its messages, and wakes who watches it. A
	// queue that is not there is no error.
	DeleteQueue(ctx context.Context, q chat.QueueName) error
	// Queue returns a queue with its counts.
	Queue(ctx context.Context, q chat.QueueName) (chat.Queue, error)
	// Queues returns names in order, and whether there are more.
	Queues(ctx context.Context, p chat.Page) (names []chat.QueueName, more bool, err error)
}

// MessageStore moves messages in and out of a queue.
type MessageStore interface {
	// Send takes one verdict per draft, in their order.
	Send(ctx context.Context, q chat.QueueName, drafts []chat.Draft) ([]chat.Sent, error)
	Receive(ctx context.Context, r chat.Receive) (chat.Received, error)
	// Peek looks at up to n messages and changes nothing.
	Peek(ctx context.Context, q chat.QueueName, n int) ([]chat.Message, error)
}

// HandleStore acts on received messages by their handles. A handle whose state
// has passed is chat.ErrMessageNotExist.
type HandleStore interface {
	// Delete returns one verdict per handle, nil for those that were deleted.
	Delete(ctx context.Context, q chat.QueueName, handles []chat.Handle) ([]*chat.Error, error)
	// ChangeVisibility lets the message be visible after d, counted from now,
	// and returns the handle that replaces h.
	ChangeVisibility(ctx context.Context, q chat.QueueName, h chat.Handle, d time.Duration) (chat.Handle, error)
	// Return undoes a receive: the messages are as if it had not happened.
	Return(ctx context.Context, q chat.QueueName, handles []chat.Handle) error
}

// DeadStore is the upkeep of a queue.
type DeadStore interface {
	// Purge removes a queue's messages.
	Purge(ctx context.Context, q chat.QueueName) error
	// Dead lends up to n messages that are to be moved to the dead-letter queue,
	// to nobody else for the time of the loan.
	Dead(ctx context.Context, q chat.QueueName, n int, loan time.Duration) ([]chat.DeadMessage, error)
	// Bury removes such messages once they have been moved.
	Bury(ctx context.Context, q chat.QueueName, places []uint64) error
}

// TopicStore keeps topics.
type TopicStore interface {
	CreateTopic(ctx context.Context, t chat.TopicName, s chat.TopicSettings) (topic chat.Topic, created bool, err error)
	ChangeTopic(ctx context.Context, t chat.TopicName, c chat.TopicChange) error
	// DeleteTopic removes a topic and its subscriptions, and tells who follows.
	DeleteTopic(ctx context.Context, t chat.TopicName) error
	Topic(ctx context.Context, t chat.TopicName) (chat.Topic, error)
	Topics(ctx context.Context, p chat.Page) (names []chat.TopicName, more bool, err error)
}

// SubscriptionStore keeps the subscriptions of topics.
type SubscriptionStore interface {
	// Subscribe makes a subscription. If there is one of that name already it is
	// returned as it is, and created is false.
	Subscribe(ctx context.Context, t chat.TopicName, s chat.Subscription) (sub chat.Subscription, created bool, err error)
	// ChangeSubscription changes a subscription and tells who follows.
	ChangeSubscription(ctx context.Context, t chat.TopicName, s chat.SubscriptionName, c chat.SubscriptionChange) error
	// Unsubscribe removes a subscription and tells who follows. One that is not
	// there is no error.
	Unsubscribe(ctx context.Context, t chat.TopicName, s chat.SubscriptionName) error
	Subscription(ctx context.Context, t chat.TopicName, s chat.SubscriptionName) (chat.Subscription, error)
	Subscriptions(ctx context.Context, t chat.TopicName, p chat.Page) (names []chat.SubscriptionName, more bool, err error)
}

// PublishStore gives publications to those who follow a topic.
type PublishStore interface {
	Publish(ctx context.Context, p chat.Publish) (chat.Published, error)
}

// AccountStore keeps the one setting of the account.
type AccountStore interface {
	LoggingBucket(ctx context.Context) (string, error)
	SetLoggingBucket(ctx context.Context, bucket string) error
}

// Bus is how nodes hear of each other's doings.
type Bus interface {
	// Listen calls l until ctx ends, and returns its error. It is called once.
	Listen(ctx context.Context, l chat.Listener) error
	// Follow returns when news of the topic reach the Listener; Unfollow ends it.
	Follow(ctx context.Context, t chat.TopicName) error
	Unfollow(t chat.TopicName)
}
