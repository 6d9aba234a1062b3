package mns

import (
	"net/http"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

func (s *Server) createQueue(c *call) error {
	change, err := wire.DecodeQueue(c.body.Bytes())
	if err != nil {
		return err
	}
	settings := change.Apply(chat.DefaultQueueSettings())
	if err := settings.Check(); err != nil {
		return err
	}
	if err := s.mayBury(c, settings.DeadLetter); err != nil {
		return err
	}
	q, made, err := s.store.CreateQueue(c.ctx(), c.names.queue, settings)
	if err != nil {
		return err
	}
	if !made && q.QueueSettings != settings {
		return chat.ErrQueueExists
	}
	c.created(made)
	return nil
}

// mayBury refuses a dead-letter queue that the key could not send to itself.
func (s *Server) mayBury(c *call, d chat.DeadLetter) error {
	if d.Queue == "" {
		return nil
	}
	if d.Queue == c.names.queue {
		return chat.Malformed("DeadLetterTargetQueue")
	}
	if !c.key.may(RightSend|RightManage, target{name: string(d.Queue)}) {
		return chat.ErrAccessDenied
	}
	return nil
}

func (s *Server) setQueue(c *call) error {
	change, err := wire.DecodeQueue(c.body.Bytes())
	if err != nil {
		return err
	}
	settings := change.Apply(chat.DefaultQueueSettings())
	if err := settings.Check(); err != nil {
		return err
	}
	if err := s.mayBury(c, settings.DeadLetter); err != nil {
		return err
	}
	c.status = http.StatusNoContent
	return s.store.ChangeQueue(c.ctx(), c.names.queue, change)
}

func (s *Server) getQueue(c *call) error {
	q, err := s.store.Queue(c.ctx(), c.names.queue)
	if err != nil {
		return err
	}
	c.doc.Queue(&q)
	return nil
}

func (s *Server) deleteQueue(c *call) error {
	c.status = http.StatusNoContent
	return s.store.DeleteQueue(c.ctx(), c.names.queue)
}

func (s *Server) purgeQueue(c *call) error {
	c.status = http.StatusNoContent
	return s.store.Purge(c.ctx(), c.names.queue)
}

func (s *Server) listQueues(c *call) error {
	page, err := c.page()
	if err != nil {
		return err
	}
	if !c.key.mayList(false, page.Prefix) {
		return chat.ErrAccessDenied
	}
	found, more, err := s.store.Queues(c.ctx(), page)
	if err != nil {
		return err
	}
	return list(c, "Queues", found, more, func(name chat.QueueName) error {
		if !c.withMeta() {
			c.listed("Queue", "/queues/"+string(name), nil)
			return nil
		}
		q, err := s.store.Queue(c.ctx(), name)
		if err != nil {
			return err
		}
		c.listed("Queue", "/queues/"+string(name), func() { c.doc.QueueFields(&q) })
		return nil
	})
}

// list writes a list of what has those names. What is gone by the time that it
// is looked at is left out.
func list[T ~string](c *call, element string, found []T, more bool, write func(T) error) error {
	c.doc.Start(element)
	for _, name := range found {
		if err := write(name); err != nil && chat.AsError(err).Status != http.StatusNotFound {
			return err
		}
	}
	if more {
		c.doc.Text("NextMarker", string(found[len(found)-1]))
	}
	c.doc.End(element)
	return nil
}

// listed writes one element of a list: its address and, if wanted, more.
func (c *call) listed(element, path string, more func()) {
	c.doc.Open(element)
	c.doc.Text(element+"URL", c.url(path))
	if more != nil {
		more()
	}
	c.doc.End(element)
}
