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
	all     set               // those that may want any publication
	tagged  map[chat.Tag]*set // the others, by what they want
}

// member is one connection in an audience.
type member struct {
	conn          *Conn
	subscriptions []Subscription // ordered by name
}

// set is a set of members in the order in which they came, as far as none has
// left: sockets that were made one after the other are written to so.
type set struct {
	list []*member
	at   map[*member]int
}

func (s *set) add(m *member) {
	if _, in := s.at[m]; in {
		return
	}
	if s.at == nil {
		s.at = map[*member]int{}
	}
	s.at[m] = len(s.list)
	s.list = append(s.list, m)
}

func (s *set) remove(m *member) {
	i, in := s.at[m]
	if !in {
		return
	}
	last := len(s.list) - 1
	s.list[i] = s.list[last]
	s.at[s.list[i]] = i
	s.list[last] = nil
	s.list = s.list[:last]
	delete(s.at, m)
}

func newAudience(t chat.TopicName) *audience {
	return &audience{topic: t, members: map[*Conn]*member{}, tagged: map[chat.Tag]*set{}}
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
			a.all.add(m)
			return
		}
	}
	for i := range m.subscriptions {
		for _, tag := range m.subscriptions[i].Tags {
			if a.tagged[tag] == nil {
				a.tagged[tag] = &set{}
			}
			a.tagged[tag].add(m)
		}
	}
}

func (a *audience) unlist(m *member) {
	a.all.remove(m)
	for i := range m.subscriptions {
		for _, tag := range m.subscriptions[i].Tags {
			s := a.tagged[tag]
			if s == nil {
				continue // one of its subscriptions wants the same
			}
			if s.remove(m); len(s.list) == 0 {
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

// inLine is how many connections are put in line together: enough to share the
// line's lock, few enough that the first are written to meanwhile.
const inLine = 128

// publish gives a publication to those who want it, each once, and returns how
// many they are.
func (a *audience) publish(p *chat.Publication, frame func(s *Subscription) []byte) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	line := make([]*Conn, 0, inLine)
	groups := [2][]*member{a.all.list}
	if s := a.tagged[p.Tag]; s != nil {
		groups[1] = s.list
	}
	for _, group := range groups {
		for _, m := range group {
			for i := range m.subscriptions {
				if s := &m.subscriptions[i]; s.wants(p.Tag) {
					if m.conn.give(p.Importance, frame(s)) {
						line = append(line, m.conn)
					}
					n++
					break
				}
			}
			if len(line) == inLine {
				line[0].hub.writers.push(line...)
				line = line[:0]
			}
		}
	}
	if len(line) > 0 {
		line[0].hub.writers.push(line...)
	}
	return n
}
