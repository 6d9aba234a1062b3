package push

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/mns/chat"
)

const (
	// followTimeout bounds the wait for the bus.
	followTimeout = 5 * time.Second
	// lookupsAtOnce is how many subscriptions in doubt are looked up at once.
	lookupsAtOnce = 64
	// doubtPause is the pause after a lookup that failed.
	doubtPause = time.Second
)

// ErrNotWebsocket refuses a subscription with another endpoint.
var ErrNotWebsocket = errors.New("push: not a websocket subscription")

// Subscribe has a connection get what is published to a topic from now on. The
// subscription must be there and be a websocket's. It is called on the
// connection's reader.
func (h *Hub) Subscribe(ctx context.Context, c *Conn, t chat.TopicName, name chat.SubscriptionName, tags []chat.Tag) error {
	a, known := c.topics[t]
	if known && a.stale() {
		h.leaveTopic(c, t, a)
		known = false
	}
	if !known {
		a = h.enter(t)
		c.topics[t] = a
	}
	err := h.subscribe(ctx, c, a, name, tags)
	if err != nil && !a.holds(c) {
		h.leaveTopic(c, t, a)
	}
	return err
}

func (h *Hub) leaveTopic(c *Conn, t chat.TopicName, a *audience) {
	delete(c.topics, t)
	h.leave(t, a)
}

func (h *Hub) subscribe(ctx context.Context, c *Conn, a *audience, name chat.SubscriptionName, tags []chat.Tag) error {
	if c.full(h.cfg.MaxSubscriptions) && !a.has(c, name) {
		return ErrTooMany
	}
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	if err := h.cfg.Bus.Follow(ctx, a.topic); err != nil {
		return err
	}
	// Looked up after the topic is followed, so that a change is either seen
	// here or heard.
	s, err := h.cfg.Lookup.Subscription(ctx, a.topic, name)
	if err != nil {
		return err
	}
	if s.Kind() != chat.EndpointWebsocket {
		return ErrNotWebsocket
	}
	added, ok := a.put(c, Subscription{Topic: a.topic, Name: name, Filter: s.Tag, Tags: tags, Format: s.ShownFormat()})
	if !ok {
		return chat.ErrTopicNotExist
	}
	if added {
		c.gained()
	}
	return nil
}

// full reports whether the connection has as many subscriptions as it may.
func (c *Conn) full(limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscriptions >= limit
}

// Unsubscribe ends a subscription, and reports whether there was one. It is
// called on the connection's reader.
func (h *Hub) Unsubscribe(c *Conn, t chat.TopicName, name chat.SubscriptionName) bool {
	a := c.topics[t]
	if a == nil {
		return false
	}
	n, left := a.remove(c, name)
	if n > 0 {
		c.lost(n)
	}
	if left {
		h.leaveTopic(c, t, a)
	}
	return n > 0
}

func (a *audience) stale() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gone
}

func (a *audience) holds(c *Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.members[c] != nil
}

func (a *audience) has(c *Conn, name chat.SubscriptionName) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.members[c]
	if m == nil {
		return false
	}
	_, ok := m.find(name)
	return ok
}

// Heard takes news of a topic. It does not block.
func (h *Hub) Heard(n chat.News) {
	a := h.audience(n.Topic)
	if a == nil {
		return
	}
	switch {
	case n.Gone:
		h.dropTopic(a)
	case n.Publication == nil:
		h.suspect(doubt{n.Topic, n.Changed})
	default:
		h.publish(a, n.Publication)
	}
}

// publish lays a publication out once for each look of it, and gives it to those
// who want it.
func (h *Hub) publish(a *audience, p *chat.Publication) {
	var plain []byte
	special := map[chat.SubscriptionName][]byte(nil)
	n := a.publish(p, func(s *Subscription) []byte {
		if s.Format == chat.FormatSimplified {
			if plain == nil {
				plain = textFrame([]byte(p.Body))
			}
			return plain
		}
		if special == nil {
			special = map[chat.SubscriptionName][]byte{}
		}
		f := special[s.Name]
		if f == nil {
			f = textFrame(h.cfg.Handler.Render(s, p))
			special[s.Name] = f
		}
		return f
	})
	h.stats.Published.Add(1)
	h.stats.Delivered.Add(int64(n))
}

// dropTopic ends the subscriptions to a topic that was deleted. One made anew
// under its name gets an audience of its own.
func (h *Hub) dropTopic(a *audience) {
	h.mu.Lock()
	if h.audiences[a.topic] == a {
		delete(h.audiences, a.topic)
		h.stats.Topics.Add(-1)
		h.cfg.Bus.Unfollow(a.topic)
	}
	h.mu.Unlock()
	sendAway(a.drop(""))
}

// sendAway closes the connections that have no subscription left.
func sendAway(losses []loss) {
	for _, l := range losses {
		if l.conn.lost(l.n) {
			l.conn.CloseWith(CodeGone, "TopicNotExist")
		}
	}
}

// Renewed puts every subscription in doubt, as news may have been missed.
func (h *Hub) Renewed() { h.suspect(doubt{}) }

// suspect puts a subscription in doubt; the zero doubt is all of them.
func (h *Hub) suspect(d doubt) {
	if d != (doubt{}) {
		select {
		case h.doubts <- d:
			return
		default:
		}
	}
	h.mu.Lock()
	h.unsure = true
	h.mu.Unlock()
	select {
	case h.doubts <- doubt{}:
	default: // some doubt is on its way, and the flag is seen after it
	}
}

// settleDoubts looks up what is in doubt.
func (h *Hub) settleDoubts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-h.doubts:
			todo := []doubt{d}
			if d == (doubt{}) {
				todo = nil
			}
			if h.takeUnsure() {
				todo = h.everything()
			}
			h.settle(ctx, todo)
		}
	}
}

func (h *Hub) takeUnsure() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	unsure := h.unsure
	h.unsure = false
	return unsure
}

// everything returns all subscriptions in use.
func (h *Hub) everything() []doubt {
	h.mu.Lock()
	all := make([]*audience, 0, len(h.audiences))
	for _, a := range h.audiences {
		all = append(all, a)
	}
	h.mu.Unlock()
	var out []doubt
	for _, a := range all {
		for _, name := range a.names() {
			out = append(out, doubt{a.topic, name})
		}
	}
	return out
}

func (h *Hub) settle(ctx context.Context, todo []doubt) {
	var g errgroup.Group
	g.SetLimit(lookupsAtOnce)
	for _, d := range todo {
		g.Go(func() error { return h.settleOne(ctx, d) })
	}
	if g.Wait() == nil || ctx.Err() != nil {
		return
	}
	// Some could not be looked up: all again, a little later.
	timer := time.NewTimer(doubtPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		h.suspect(doubt{})
	case <-ctx.Done():
	}
}

func (h *Hub) settleOne(ctx context.Context, d doubt) error {
	a := h.audience(d.topic)
	if a == nil {
		return nil
	}
	s, err := h.cfg.Lookup.Subscription(ctx, d.topic, d.name)
	switch {
	case errors.Is(err, chat.ErrTopicNotExist):
		h.dropTopic(a)
	case errors.Is(err, chat.ErrSubscriptionNotExist):
		sendAway(a.drop(d.name))
	case err != nil:
		return err
	default:
		a.refilter(d.name, s.Tag)
	}
	return nil
}
