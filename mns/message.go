package mns

import (
	"net/http"
	"strings"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

// sendMessage sends one message or a batch, as the body says.
func (s *Server) sendMessage(c *call) error {
	drafts, batch, err := wire.DecodeSend(c.body.Bytes())
	if err != nil {
		return err
	}
	size := 0
	for i := range drafts {
		d := &drafts[i]
		size += len(d.Body)
		d.ID, d.MD5 = s.ids.messageID(), chat.Digest(d.Body)
	}
	if batch && size > chat.MaxBatchSize {
		return chat.OutOfRange("Messages", 1, chat.MaxBatchSize, "bytes")
	}
	sent, err := s.store.Send(c.ctx(), c.names.queue, drafts)
	if err != nil {
		return err
	}
	c.status = http.StatusCreated
	refused := 0
	for _, r := range sent {
		if r.Err != nil {
			refused++
		}
	}
	s.metrics.sent.Add(float64(len(sent) - refused))
	switch {
	case batch:
		if refused > 0 {
			c.status = http.StatusInternalServerError
		}
		c.doc.SentBatch(drafts, sent)
	case refused > 0:
		return sent[0].Err
	default:
		c.doc.Sent(drafts[0].ID, drafts[0].MD5, sent[0].Handle)
	}
	return nil
}

// batchSize reads how many messages are wanted, 0 when it is not a batch.
func (c *call) batchSize() (int, error) {
	return c.query.int("numOfMessages", 1, chat.MaxBatch, 0)
}

func (s *Server) receiveMessage(c *call) error {
	n, err := c.batchSize()
	if err != nil {
		return err
	}
	wait, err := c.query.seconds("waitseconds", 0, chat.MaxPollingWait)
	if err != nil {
		return err
	}
	messages, err := s.poller.Receive(c.ctx(), c.names.queue, max(n, 1), wait)
	if err != nil {
		return err
	}
	if len(messages) == 0 {
		return chat.ErrMessageNotExist
	}
	c.undelivered = func() { s.poller.GiveBack(c.ctx(), c.names.queue, messages) }
	s.metrics.received.Add(float64(len(messages)))
	c.messages(messages, n > 0)
	return nil
}

// messages writes one message, or a batch.
func (c *call) messages(messages []chat.Message, batch bool) {
	if batch {
		c.doc.Messages(messages)
		return
	}
	c.doc.Message(&messages[0])
}

func (s *Server) peekMessage(c *call) error {
	n, err := c.batchSize()
	if err != nil {
		return err
	}
	messages, err := s.store.Peek(c.ctx(), c.names.queue, max(n, 1))
	if err != nil {
		return err
	}
	if len(messages) == 0 {
		return chat.ErrMessageNotExist
	}
	c.messages(messages, n > 0)
	return nil
}

// deleteMessage deletes one message or a batch: without a body it is one.
func (s *Server) deleteMessage(c *call) error {
	if text, ok := c.query.get("ReceiptHandle"); ok {
		return s.deleteOne(c, text)
	}
	if len(strings.TrimSpace(c.body.String())) == 0 {
		return chat.ErrMissingHandle
	}
	texts, err := wire.DecodeHandles(c.body.Bytes())
	if err != nil {
		return err
	}
	return s.deleteBatch(c, texts)
}

func (s *Server) deleteOne(c *call, text string) error {
	if text == "" {
		return chat.ErrMissingHandle
	}
	h, err := chat.ParseHandle(text)
	if err != nil {
		return err
	}
	verdicts, err := s.store.Delete(c.ctx(), c.names.queue, []chat.Handle{h})
	if err != nil {
		return err
	}
	if verdicts[0] != nil {
		return verdicts[0]
	}
	s.metrics.deleted.Inc()
	c.status = http.StatusNoContent
	return nil
}

// deleteBatch deletes what it can. Handles that are none do not hold up the
// others.
func (s *Server) deleteBatch(c *call, texts []string) error {
	faults := make([]*chat.Error, len(texts))
	var handles []chat.Handle
	var at []int
	for i, text := range texts {
		if text == "" {
			return chat.Malformed("ReceiptHandle")
		}
		h, err := chat.ParseHandle(text)
		if err != nil {
			faults[i] = chat.ErrHandle
			continue
		}
		handles, at = append(handles, h), append(at, i)
	}
	if len(handles) > 0 {
		verdicts, err := s.store.Delete(c.ctx(), c.names.queue, handles)
		if err != nil {
			return err
		}
		for i, v := range verdicts {
			faults[at[i]] = v
		}
	} else if _, err := s.store.Queue(c.ctx(), c.names.queue); err != nil {
		return err
	}
	var failed []wire.HandleError
	for i, f := range faults {
		if f != nil {
			failed = append(failed, wire.HandleError{Handle: texts[i], Err: f})
		}
	}
	s.metrics.deleted.Add(float64(len(texts) - len(failed)))
	if len(failed) == 0 {
		c.status = http.StatusNoContent
		return nil
	}
	c.status = http.StatusNotFound
	c.doc.HandleErrors(failed)
	return nil
}

func (s *Server) changeVisibility(c *call) error {
	text, _ := c.query.get("ReceiptHandle")
	if text == "" {
		return chat.ErrMissingHandle
	}
	if !c.query.has("visibilitytimeout") {
		return chat.ErrMissingVisibility
	}
	d, err := c.query.seconds("VisibilityTimeout", chat.MinVisibility, chat.MaxVisibility)
	if err != nil {
		return err
	}
	h, err := chat.ParseHandle(text)
	if err != nil {
		return err
	}
	if h, err = s.store.ChangeVisibility(c.ctx(), c.names.queue, h, *d); err != nil {
		return err
	}
	c.doc.ChangedVisibility(h)
	return nil
}
