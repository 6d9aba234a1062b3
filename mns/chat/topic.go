package chat

import (
	"cmp"
	"net/url"
	"strings"
	"time"
)

// TopicRetention is how long a topic tries to deliver a message.
const TopicRetention = 24 * time.Hour

// MaxTag is the longest tag by default, in bytes. Apps in use exceed what the
// service documents.
const MaxTag = 16

// TopicSettings are the attributes of a topic that a client chooses.
type TopicSettings struct {
	MaxMessageSize int
	Logging        bool
}

// DefaultTopicSettings are those of a topic created without any.
func DefaultTopicSettings() TopicSettings { return TopicSettings{MaxMessageSize: MaxMessageSize} }

// Check reports the first setting that is out of its range.
func (s TopicSettings) Check() error {
	return between("MaximumMessageSize", s.MaxMessageSize, MinMessageSize, MaxMessageSize, "bytes")
}

// TopicChange changes the settings whose pointers are set.
type TopicChange struct {
	MaxMessageSize *int
	Logging        *bool
}

// Apply returns the settings with the change made.
func (c TopicChange) Apply(s TopicSettings) TopicSettings {
	set(&s.MaxMessageSize, c.MaxMessageSize)
	set(&s.Logging, c.Logging)
	return s
}

// Topic is a topic as it is now.
type Topic struct {
	Name TopicName
	TopicSettings
	Created, Modified time.Time
	// Published counts the messages of the topic's life.
	Published int64
}

// Strategy says how often a delivery that failed is tried again.
type Strategy string

// Backoff tries 3 times, 10 to 20 s apart; Decay 176 times in a day, ever more
// rarely.
const (
	Backoff Strategy = "BACKOFF_RETRY"
	Decay   Strategy = "EXPONENTIAL_DECAY_RETRY"
)

// Format says how a message looks to its subscriber.
type Format string

// The formats. Simplified is the body alone.
const (
	FormatXML        Format = "XML"
	FormatJSON       Format = "JSON"
	FormatSimplified Format = "SIMPLIFIED"
)

// Subscription is one subscriber of a topic, by its endpoint.
type Subscription struct {
	Name     SubscriptionName `json:"name"`
	Endpoint string           `json:"endpoint"`
	Tag      Tag              `json:"tag,omitempty"` // gets only what bears it
	Strategy Strategy         `json:"strategy"`
	// Format is empty where the client named none.
	Format   Format    `json:"format,omitempty"`
	Created  time.Time `json:"created"`
	Modified time.Time `json:"modified"`
}

// Same reports whether both were asked for alike.
func (s Subscription) Same(o Subscription) bool {
	return strings.EqualFold(s.Endpoint, o.Endpoint) && s.Tag == o.Tag && s.Strategy == o.Strategy && s.Format == o.Format
}

// SubscriptionChange changes what its pointers are set to.
type SubscriptionChange struct {
	Strategy *Strategy
	Tag      *Tag
}

// Apply returns the subscription with the change made.
func (c SubscriptionChange) Apply(s Subscription) Subscription {
	set(&s.Strategy, c.Strategy)
	set(&s.Tag, c.Tag)
	return s
}

// EndpointKind tells the sorts of endpoints apart.
type EndpointKind uint8

// The sorts of endpoints.
const (
	EndpointWebsocket EndpointKind = iota + 1
	EndpointQueue
	EndpointHTTP
	EndpointRoom
)

// Kind returns what sort of endpoint the subscription has.
func (s Subscription) Kind() EndpointKind {
	kind, _, _ := ParseEndpoint(s.Endpoint)
	return kind
}

// ShownFormat is the format as clients are told it: a websocket or a room
// without a format of its own gets the body alone, other endpoints get XML.
func (s Subscription) ShownFormat() Format {
	if kind := s.Kind(); kind == EndpointWebsocket || kind == EndpointRoom {
		return cmp.Or(s.Format, FormatSimplified)
	}
	return cmp.Or(s.Format, FormatXML)
}

// ParseEndpoint returns the sort of an endpoint and, for a queue, its name. Of a
// queue's resource name only the queue counts: clients make up region and
// account from the host that they talk to. An extension of ours is room:ID, the
// occupants of a room. Mail, SMS and push are not among the endpoints.
func ParseEndpoint(text string) (EndpointKind, QueueName, error) {
	switch {
	case strings.EqualFold(text, "websocket"):
		return EndpointWebsocket, "", nil
	case strings.HasPrefix(text, "acs:mns:"):
		parts := strings.SplitN(text, ":", 5)
		name, ok := strings.CutPrefix(parts[len(parts)-1], "queues/")
		if q := QueueName(name); len(parts) == 5 && ok && q.Check() == nil {
			return EndpointQueue, q, nil
		}
	case strings.HasPrefix(text, roomEndpoint):
		if id := strings.TrimPrefix(text, roomEndpoint); id != "" && len(text) <= 2048 {
			return EndpointRoom, "", nil
		}
	case strings.HasPrefix(text, "http://"), strings.HasPrefix(text, "https://"):
		u, err := url.Parse(text)
		if err == nil && u.Hostname() != "" && u.User == nil && len(text) <= 2048 {
			return EndpointHTTP, "", nil
		}
	}
	return 0, "", ErrEndpoint
}

const roomEndpoint = "room:"

// RoomEndpoint is the endpoint of a room's occupants.
func RoomEndpoint(id string) string { return roomEndpoint + id }

// Room returns the id of the room that is the subscription's endpoint.
func (s Subscription) Room() string { return strings.TrimPrefix(s.Endpoint, roomEndpoint) }

// Publication is a message on its way to the subscribers of a topic.
type Publication struct {
	Topic      TopicName
	ID         MessageID
	Body       string
	MD5        string
	Tag        Tag
	Importance Importance
	At         time.Time
}

// Publish asks the store to give a publication to those who listen.
type Publish struct {
	Publication Publication
	// Once names what the publication makes good for ever: it is refused, and
	// nothing happens, when one of the names was published before within Memory.
	Once   []string
	Memory time.Duration
	// Delivered: subscriptions that must not miss it have it already. Without
	// it nothing is published while there are any, and they are answered.
	Delivered bool
}

// Published answers Publish.
type Published struct {
	// Done: it was given to those who listen.
	Done bool
	// Before are the names in Once that were published before.
	Before []string
	// Durable are the subscriptions that must not miss it: queues and HTTP.
	Durable []Subscription
}

// MaxSubscriptions bounds the subscriptions of one topic.
const MaxSubscriptions = 1000

// MaxOnce bounds the names of one publication.
const MaxOnce = 1024

// ErrPublishedBefore answers a publication of which a part was published before.
var ErrPublishedBefore = &Error{409, "PublishedBefore", "Some of it was published before."}

// ErrTooManySubscriptions refuses a subscription over MaxSubscriptions.
var ErrTooManySubscriptions = ErrQps.With("a topic has at most %d subscriptions", MaxSubscriptions)
