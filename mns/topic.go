package mns

import (
	"net/http"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

func (s *Server) createTopic(c *call) error {
	change, err := wire.DecodeTopic(c.body.Bytes())
	if err != nil {
		return err
	}
	settings := change.Apply(chat.DefaultTopicSettings())
	if err := settings.Check(); err != nil {
		return err
	}
	t, made, err := s.store.CreateTopic(c.ctx(), c.names.topic, settings)
	if err != nil {
		return err
	}
	if !made && t.TopicSettings != settings {
		return chat.ErrTopicExists
	}
	c.created(made)
	return nil
}

func (s *Server) setTopic(c *call) error {
	change, err := wire.DecodeTopic(c.body.Bytes())
	if err != nil {
		return err
	}
	if err := change.Apply(chat.DefaultTopicSettings()).Check(); err != nil {
		return err
	}
	c.status = http.StatusNoContent
	return s.store.ChangeTopic(c.ctx(), c.names.topic, change)
}

func (s *Server) getTopic(c *call) error {
	t, err := s.store.Topic(c.ctx(), c.names.topic)
	if err != nil {
		return err
	}
	c.doc.Topic(&t)
	return nil
}

func (s *Server) deleteTopic(c *call) error {
	c.status = http.StatusNoContent
	return s.store.DeleteTopic(c.ctx(), c.names.topic)
}

func (s *Server) listTopics(c *call) error {
	page, err := c.page()
	if err != nil {
		return err
	}
	if !c.key.mayList(true, page.Prefix) {
		return chat.ErrAccessDenied
	}
	found, more, err := s.store.Topics(c.ctx(), page)
	if err != nil {
		return err
	}
	return list(c, "Topics", found, more, func(name chat.TopicName) error {
		if !c.withMeta() {
			c.listed("Topic", "/topics/"+string(name), nil)
			return nil
		}
		t, err := s.store.Topic(c.ctx(), name)
		if err != nil {
			return err
		}
		c.listed("Topic", "/topics/"+string(name), func() { c.doc.TopicFields(&t) })
		return nil
	})
}

func (s *Server) getAccount(c *call) error {
	if len(c.key.Grants) > 0 {
		return chat.ErrAccessDenied
	}
	bucket, err := s.store.LoggingBucket(c.ctx())
	if err != nil {
		return err
	}
	c.doc.Account(bucket)
	return nil
}

func (s *Server) setAccount(c *call) error {
	bucket, err := wire.DecodeAccount(c.body.Bytes())
	if err != nil {
		return err
	}
	c.status = http.StatusNoContent
	return s.store.SetLoggingBucket(c.ctx(), bucket)
}

// accountID and openService answer what older SDKs ask for first.

func (s *Server) accountID(c *call) error {
	c.doc.Start("Account")
	c.doc.Text("AccountId", s.cfg.Account)
	c.doc.End("Account")
	return nil
}

func (s *Server) openService(c *call) error {
	c.doc.Start("OpenService")
	c.doc.Text("OrderId", c.id)
	c.doc.End("OpenService")
	return nil
}
