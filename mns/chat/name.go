package chat

import "strings"

// QueueName names a queue, TopicName a topic, SubscriptionName a subscription
// of one topic.
type (
	QueueName        string
	TopicName        string
	SubscriptionName string
)

// Tag marks a message for some of a topic's subscribers.
type Tag string

// Key is the id of an access key.
type Key string

// maxName is the longest name, in bytes.
const maxName = 256

// DeliveryQueue holds what is still to be sent to the HTTP endpoints of
// subscriptions. No client can name it and no list shows it.
const DeliveryQueue QueueName = "_deliveries"

// Internal reports whether clients cannot name the queue.
func (q QueueName) Internal() bool { return strings.HasPrefix(string(q), "_") }

// Check returns ErrQueueName or ErrQueueNameLength for what is no queue's name.
func (q QueueName) Check() error {
	return checkName(string(q), ErrQueueName, ErrQueueNameLength)
}

// Check returns ErrTopicName or ErrTopicNameLength for what is no topic's name.
func (t TopicName) Check() error {
	return checkName(string(t), ErrTopicName, ErrTopicNameLength)
}

// Check returns ErrSubscriptionName or ErrSubscriptionLength for what is no
// subscription's name.
func (s SubscriptionName) Check() error {
	return checkName(string(s), ErrSubscriptionName, ErrSubscriptionLength)
}

// checkName accepts letters, digits and '-', beginning with a letter or digit:
// clients in use name queues after room numbers.
func checkName(name string, invalid, length *Error) error {
	if name == "" || len(name) > maxName {
		return length
	}
	if name[0] == '-' {
		return invalid
	}
	for i := range len(name) {
		c := name[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return invalid
		}
	}
	return nil
}

// Page asks for a part of a sorted list of names.
type Page struct {
	// Prefix is what the names begin with.
	Prefix string
	// After is the last name of the page before.
	After string
	// Limit is how many names at most; it is positive.
	Limit int
}
