package mns

import (
	"context"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

const (
	// HeaderOnce, on a publish, lists names that must not have been published
	// to the topic before; they are letters, digits, '-' and '_', with commas
	// between. If one was, nothing is published and the answer is 409
	// PublishedBefore, with HeaderBefore. It is an extension of ours, for
	// publishers that may repeat themselves after a crash.
	HeaderOnce = "x-mns-once"
	// HeaderBefore lists which of the names were published before.
	HeaderBefore = "x-mns-once-before"

	// maxOnceNames bounds the names of one publication, maxOnceName one of them.
	maxOnceNames, maxOnceName = 64, 128
	// durableAtOnce is how many subscriptions are given a publication at once.
	durableAtOnce = 16
)

// ErrPublishedBefore answers a publish of which a part was published before.
var ErrPublishedBefore = &chat.Error{
	Status: http.StatusConflict, Code: "PublishedBefore", Message: "Some of it was published before.",
}

func (s *Server) publishMessage(c *call) error {
	p, err := wire.DecodePublish(c.body.Bytes())
	if err != nil {
		return err
	}
	if err := s.checkTag("MessageTag", p.Tag); err != nil {
		return err
	}
	once, err := onceNames(c.http.Header.Get(HeaderOnce))
	if err != nil {
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
		return ErrPublishedBefore
	}
	s.metrics.published.Inc()
	c.status = http.StatusCreated
	c.doc.Sent(p.ID, p.MD5, chat.Handle{})
	return nil
}

// onceNames reads HeaderOnce.
func onceNames(header string) ([]string, error) {
	if header == "" {
		return nil, nil
	}
	names := strings.Split(header, ",")
	if len(names) > maxOnceNames {
		return nil, chat.OutOfRange(HeaderOnce, 1, maxOnceNames, "names")
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if name := names[i]; name == "" || len(name) > maxOnceName || strings.Trim(name, onceAlphabet) != "" {
			return nil, chat.ErrInvalidArgument.With("The value of %s is not a list of names.", HeaderOnce)
		}
	}
	return names, nil
}

const onceAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

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
