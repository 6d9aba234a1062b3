package push

import (
	"slices"
	"sync"

	"github.com/faac1247/rollcall/mns/chat"
)

// Subscription is what a connection wants of a topic.
type Subscription struct {
	Topic chat.TopicName
	Name  chat.SubscriptionName
	// Filter is the subscription's own: with it, only what bears the tag.
	Filter chat.Tag
	// Tags are the connection's: with any, only what bears one of them.
	Tags   []chat.Tag
	Format chat.Format
}

// wants reports whether a publication with that tag is for it.
func (s *Subscription) wants(tag chat.Tag) bool {
	if s.Filter != "" && s.Filter != tag {
		return false
	}
	return len(s.Tags) == 0 || tag != "" && slices.Contains(s.Tags, tag)
}

// audience is the connections that want something of one topic.
type audience struct {
	// set by Hub.enter
	topic chat.TopicName

	// guarded by hub.mu
	users int // connections that are in it or about to be

	// guarded by mu
	mu      sync.Mutex
	gone    bool // the topic was deleted
	members map[*Conn]*member
	all     set              // those that may want any publication
	tagged  map[chat.Tag]set // the others, by what they want
}

// member is one connection in an audience.
type member struct {
	conn          *Conn
	subscriptions []Subscription // ordered by name
}

// set is a set of members that is quick to go through.
type set map[*member]struct{}

func newAudience(t chat.TopicName) *audience {
	return &audience{topic: t, members: map[*Conn]*member{}, all: set{}, tagged: map[chat.Tag]set{}}
}

// put adds a subscription of a connection, or replaces the one of that name, and
// reports whether it is new; ok is false when the topic is gone.
func (a *audience) put(c *Conn, s Subscription) (added, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return false, false
	}
	m := a.members[c]
	if m == nil {
		m = &member{conn: c}
		a.members[c] = m
	}
	a.unlist(m)
	i, found := m.find(s.Name)
	if found {
		m.subscriptions[i] = s
	} else {
		m.subscriptions = slices.Insert(m.subscriptions, i, s)
	}
	a.list(m)
	return !found, true
}

func (m *member) find(name chat.SubscriptionName) (int, bool) {
	return slices.BinarySearchFunc(m.subscriptions, name, func(s Subscription, n chat.SubscriptionName) int {
		return compare(s.Name, n)
	})
}

func compare[T ~string](x, y T) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	default:
		return 0
	}
}

// list puts a member where publications look for it: in all when one of its
// subscriptions has no tags, else under each of its tags. So it is in no two
// places where one publication looks.
func (a *audience) list(m *member) {
	for i := range m.subscriptions {
		if len(m.subscriptions[i].Tags) == 0 {
			a.all[m] = struct{}{}
			return
		}
	}
	for i := range m.subscriptions {
		for _, tag := range m.subscriptions[i].Tags {
			if a.tagged[tag] == nil {
				a.tagged[tag] = set{}
			}
			a.tagged[tag][m] = struct{}{}
		}
	}
}

func (a *audience) unlist(m *member) {
	delete(a.all, m)
	for i := range m.subscriptions {
		for _, tag := range m.subscriptions[i].Tags {
			delete(a.tagged[tag], m)
			if len(a.tagged[tag]) == 0 {
				delete(a.tagged, tag)
			}
		}
	}
}

// remove takes one subscription of a connection out, or with an empty name all,
// and returns how many they were, and whether the connection has left.
func (a *audience) remove(c *Conn, name chat.SubscriptionName) (n int, left bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.members[c]
	if m == nil {
		return 0, false
	}
	return a.take(m, name)
}

func (a *audience) take(m *member, name chat.SubscriptionName) (n int, left bool) {
	a.unlist(m)
	before := len(m.subscriptions)
	m.subscriptions = slices.DeleteFunc(m.subscriptions, func(s Subscription) bool { return name == "" || s.Name == name })
	a.list(m)
	if left = len(m.subscriptions) == 0; left {
		delete(a.members, m.conn)
	}
	return before - len(m.subscriptions), left
}

// loss is a connection that lost subscriptions.
type loss struct {
	conn *Conn
	n    int
	left bool
}

// drop takes a subscription out of all connections, or with an empty name all
// subscriptions, as the topic is gone.
func (a *audience) drop(name chat.SubscriptionName) []loss {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name == "" {
		a.gone = true
	}
	var out []loss
	for _, m := range a.members {
		if n, left := a.take(m, name); n > 0 {
			out = append(out, loss{m.conn, n, left})
		}
	}
	return out
}

// refilter gives a subscription another filter.
func (a *audience) refilter(name chat.SubscriptionName, filter chat.Tag) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.members {
		if i, ok := m.find(name); ok {
			m.subscriptions[i].Filter = filter
		}
	}
}

// names returns the subscriptions that are in use.
func (a *audience) names() []chat.SubscriptionName {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[chat.SubscriptionName]bool{}
	var out []chat.SubscriptionName
	for _, m := range a.members {
		for i := range m.subscriptions {
			if name := m.subscriptions[i].Name; !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
	}
	return out
}

// publish gives a publication to those who want it, each once, and returns how
// many they are.
func (a *audience) publish(p *chat.Publication, frame func(s *Subscription) []byte) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, group := range []set{a.all, a.tagged[p.Tag]} {
		for m := range group {
			for i := range m.subscriptions {
				if s := &m.subscriptions[i]; s.wants(p.Tag) {
					m.conn.push(p.Importance, frame(s))
					n++
					break
				}
			}
		}
	}
	return n
}
