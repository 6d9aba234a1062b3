package mns

import (
	"net/http"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

func (s *Server) subscribe(c *call) error {
	r, err := wire.DecodeSubscribe(c.body.Bytes())
	if err != nil {
		return err
	}
	if err := s.checkTag("FilterTag", r.Tag); err != nil {
		return err
	}
	kind, queue, err := chat.ParseEndpoint(r.Endpoint)
	if err != nil {
		return err
	}
	if kind == chat.EndpointRoom && s.cfg.Rooms == nil {
		return chat.ErrEndpoint
	}
	if kind == chat.EndpointQueue && !c.key.may(RightSend|RightManage, target{name: string(queue)}) {
		return chat.ErrAccessDenied
	}
	want := chat.Subscription{
		Name: c.names.subscription, Endpoint: r.Endpoint, Tag: r.Tag, Strategy: r.Strategy, Format: r.Format,
	}
	got, made, err := s.store.Subscribe(c.ctx(), c.names.topic, want)
	if err != nil {
		return err
	}
	if !made && !got.Same(want) {
		return chat.ErrSubscriptionExists
	}
	c.created(made)
	return nil
}

func (s *Server) checkTag(element string, t chat.Tag) error {
	if len(t) > s.cfg.MaxTag {
		return chat.OutOfRange(element, 1, s.cfg.MaxTag, "bytes")
	}
	return nil
}

func (s *Server) setSubscription(c *call) error {
	change, err := wire.DecodeSubscription(c.body.Bytes())
	if err != nil {
		return err
	}
	if change.Tag != nil {
		if err := s.checkTag("FilterTag", *change.Tag); err != nil {
			return err
		}
	}
	c.status = http.StatusNoContent
	return s.store.ChangeSubscription(c.ctx(), c.names.topic, c.names.subscription, change)
}

func (s *Server) getSubscription(c *call) error {
	sub, err := s.store.Subscription(c.ctx(), c.names.topic, c.names.subscription)
	if err != nil {
		return err
	}
	c.doc.Subscription(s.cfg.Account, c.names.topic, &sub)
	return nil
}

// unsubscribe removes a subscription. That there was none is no fault.
func (s *Server) unsubscribe(c *call) error {
	if _, err := s.store.Topic(c.ctx(), c.names.topic); err != nil {
		return err
	}
	c.status = http.StatusNoContent
	return s.store.Unsubscribe(c.ctx(), c.names.topic, c.names.subscription)
}

func (s *Server) listSubscriptions(c *call) error {
	page, err := c.page()
	if err != nil {
		return err
	}
	found, more, err := s.store.Subscriptions(c.ctx(), c.names.topic, page)
	if err != nil {
		return err
	}
	base := "/topics/" + string(c.names.topic) + "/subscriptions/"
	return list(c, "Subscriptions", found, more, func(name chat.SubscriptionName) error {
		c.listed("Subscription", base+string(name), nil)
		return nil
	})
}
