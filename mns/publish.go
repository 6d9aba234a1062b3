package mns

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

// durableAtOnce is how many subscriptions are given a publication at once.
const durableAtOnce = 16

// publishMessage publishes to a topic. An extension of ours, for publishers that
// may repeat themselves after a crash: Once lists names that must not have been
// published to the topic before. If one was, nothing is published, and the
// answer is 409 PublishedBefore with the names, Before.
func (s *Server) publishMessage(c *call) error {
	p, once, err := wire.DecodePublish(c.body.Bytes())
	if err != nil {
		return err
	}
	if err := s.checkTag("MessageTag", p.Tag); err != nil {
		return err
	}
	p.Topic, p.ID, p.MD5 = c.names.topic, s.ids.messageID(), chat.Digest(p.Body)
	p.At = time.Now().Truncate(time.Millisecond)
	publish := chat.Publish{Publication: p, Once: once, Memory: s.cfg.OnceMemory}
	done, err := s.store.Publish(c.ctx(), publish)
	if err != nil {
		return err
	}
	if len(done.Durable) > 0 {
		// Those who must not miss it get it first: a crash in between repeats
		// it for them when the publisher tries again, and loses nothing.
		if err := s.deliver(c.ctx(), done.Durable, &p); err != nil {
			return err
		}
		publish.Delivered = true
		if done, err = s.store.Publish(c.ctx(), publish); err != nil {
			return err
		}
	}
	if len(done.Before) > 0 {
		c.before = done.Before
		return chat.ErrPublishedBefore
	}
	s.metrics.published.Inc()
	c.status = http.StatusCreated
	c.doc.Sent(p.ID, p.MD5, chat.Handle{})
	return nil
}

// deliver gives a publication to the subscriptions that must not miss it.
func (s *Server) deliver(ctx context.Context, subscriptions []chat.Subscription, p *chat.Publication) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(durableAtOnce)
	for _, sub := range subscriptions {
		if sub.Tag != "" && sub.Tag != p.Tag {
			continue
		}
		g.Go(func() error { return s.notifier.Deliver(ctx, sub, p) })
	}
	return g.Wait()
}
