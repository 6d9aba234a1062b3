package chat

import (
	"cmp"
	"time"
)

// The bounds and defaults of a queue's settings.
const (
	MaxDelay         = 604800 * time.Second
	MinMessageSize   = 1024
	MaxMessageSize   = 65536
	MinRetention     = 60 * time.Second
	MaxRetention     = 1296000 * time.Second
	MinVisibility    = time.Second
	MaxVisibility    = 43200 * time.Second
	MaxPollingWait   = 30 * time.Second
	MaxDeadReceives  = 1000
	defaultRetention = 345600 * time.Second
	defaultVisible   = 30 * time.Second
)

// QueueSettings are the attributes of a queue that a client chooses.
type QueueSettings struct {
	// Delay is how long a message without a delay of its own stays invisible.
	Delay time.Duration
	// MaxMessageSize bounds a message's body, in bytes.
	MaxMessageSize int
	// Retention is how long a message is kept, received or not.
	Retention time.Duration
	// Visibility is how long a received message stays with its receiver.
	Visibility time.Duration
	// PollingWait is how long a receive waits that does not say it.
	PollingWait time.Duration
	// Logging is kept and does nothing.
	Logging bool
	// DeadLetter says where a message goes that nobody deletes.
	DeadLetter DeadLetter
}

// DeadLetter moves messages to another queue instead of giving them out once
// more than MaxReceives times. The zero value does not.
type DeadLetter struct {
	Queue       QueueName
	MaxReceives int
}

// DefaultQueueSettings are those of a queue created without any.
func DefaultQueueSettings() QueueSettings {
	return QueueSettings{MaxMessageSize: MaxMessageSize, Retention: defaultRetention, Visibility: defaultVisible}
}

// Check reports the first setting that is out of its range.
func (s QueueSettings) Check() error {
	return cmp.Or(
		seconds("DelaySeconds", s.Delay, 0, MaxDelay),
		between("MaximumMessageSize", s.MaxMessageSize, MinMessageSize, MaxMessageSize, "bytes"),
		seconds("MessageRetentionPeriod", s.Retention, MinRetention, MaxRetention),
		seconds("VisibilityTimeout", s.Visibility, MinVisibility, MaxVisibility),
		seconds("PollingWaitSeconds", s.PollingWait, 0, MaxPollingWait),
		s.DeadLetter.check(),
	)
}

func (d DeadLetter) check() error {
	if d == (DeadLetter{}) {
		return nil
	}
	if d.Queue.Check() != nil {
		return Malformed("DeadLetterTargetQueue")
	}
	return between("MaxReceiveCount", d.MaxReceives, 1, MaxDeadReceives, "")
}

func seconds(element string, v, low, high time.Duration) error {
	return between(element, int(v/time.Second), int(low/time.Second), int(high/time.Second), "seconds")
}

// between returns an untyped nil for a value within its bounds.
func between(element string, v, low, high int, unit string) error {
	if v < low || v > high {
		return OutOfRange(element, low, high, unit)
	}
	return nil
}

// QueueChange changes the settings whose pointers are set.
type QueueChange struct {
	Delay, Retention, Visibility, PollingWait *time.Duration
	MaxMessageSize                            *int
	Logging                                   *bool
	DeadLetter                                *DeadLetter
}

// Apply returns the settings with the change made.
func (c QueueChange) Apply(s QueueSettings) QueueSettings {
	set(&s.Delay, c.Delay)
	set(&s.Retention, c.Retention)
	set(&s.Visibility, c.Visibility)
	set(&s.PollingWait, c.PollingWait)
	set(&s.MaxMessageSize, c.MaxMessageSize)
	set(&s.Logging, c.Logging)
	set(&s.DeadLetter, c.DeadLetter)
	return s
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// Epoch tells apart queues that had the same name one after the other.
type Epoch string

// Queue is a queue as it is now.
type Queue struct {
	Name  QueueName
	Epoch Epoch
	QueueSettings
	Created, Modified time.Time
	Counts
}

// Counts are how many messages of a queue can be received, are with a receiver
// and are not due yet; Dead are on their way to the dead-letter queue.
type Counts struct {
	Active, Inactive, Delayed, Dead int
	// Oldest is when the oldest message was sent that can be received, zero without
	// any.
	Oldest time.Time
}
