package mnsclient

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

// queueBody lays out the settings of a change.
func queueBody(s chat.QueueChange) []byte {
	var w wire.Writer
	w.Start("Queue")
	period := func(name string, d *time.Duration) {
		if d != nil {
			w.Int(name, int64(*d/time.Second))
		}
	}
	period("DelaySeconds", s.Delay)
	period("MessageRetentionPeriod", s.Retention)
	period("VisibilityTimeout", s.Visibility)
	period("PollingWaitSeconds", s.PollingWait)
	if s.MaxMessageSize != nil {
		w.Int("MaximumMessageSize", int64(*s.MaxMessageSize))
	}
	if s.Logging != nil {
		w.Bool("LoggingEnabled", *s.Logging)
	}
	if d := s.DeadLetter; d != nil {
		w.Open("DlqPolicy")
		w.Bool("Enabled", d.Queue != "")
		w.Text("DeadLetterTargetQueue", string(d.Queue))
		w.Int("MaxReceiveCount", int64(d.MaxReceives))
		w.End("DlqPolicy")
	}
	w.End("Queue")
	return w.Bytes()
}

// CreateQueue makes a queue; that there is one with the same settings is no
// error.
func (c *Client) CreateQueue(ctx context.Context, q chat.QueueName, s chat.QueueChange) error {
	_, err := c.do(ctx, request{method: http.MethodPut, target: "/queues/" + string(q), body: queueBody(s)})
	return err
}

// ChangeQueue changes settings.
func (c *Client) ChangeQueue(ctx context.Context, q chat.QueueName, s chat.QueueChange) error {
	_, err := c.do(ctx, request{method: http.MethodPut, target: "/queues/" + string(q) + "?metaoverride=true", body: queueBody(s)})
	return err
}

// DeleteQueue removes a queue and its messages.
func (c *Client) DeleteQueue(ctx context.Context, q chat.QueueName) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, target: "/queues/" + string(q)})
	return err
}

// Queue returns a queue with its counts.
func (c *Client) Queue(ctx context.Context, q chat.QueueName) (chat.Queue, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, target: "/queues/" + string(q)})
	if err != nil {
		return chat.Queue{}, err
	}
	n := a.node
	period := func(name string) time.Duration { return time.Duration(number(n, name)) * time.Second }
	v := chat.Queue{
		Name: chat.QueueName(text(n, "QueueName")), Created: time.Unix(number(n, "CreateTime"), 0),
		Modified: time.Unix(number(n, "LastModifyTime"), 0),
		QueueSettings: chat.QueueSettings{
			Delay: period("DelaySeconds"), MaxMessageSize: int(number(n, "MaximumMessageSize")),
			Retention: period("MessageRetentionPeriod"), Visibility: period("VisibilityTimeout"),
			PollingWait: period("PollingWaitSeconds"), Logging: text(n, "LoggingEnabled") == "True",
		},
		Counts: chat.Counts{
			Active: int(number(n, "ActiveMessages")), Inactive: int(number(n, "InactiveMessages")),
			Delayed: int(number(n, "DelayMessages")),
		},
	}
	if d := n.Child("DlqPolicy"); d != nil {
		v.DeadLetter = chat.DeadLetter{
			Queue: chat.QueueName(text(d, "DeadLetterTargetQueue")), MaxReceives: int(number(d, "MaxReceiveCount")),
		}
	}
	return v, nil
}

// Outgoing is a message to be sent. The zero Priority is the default.
type Outgoing struct {
	Body     string
	Priority chat.Priority
	Delay    *time.Duration
}

func (m *Outgoing) write(w *wire.Writer) {
	w.Text("MessageBody", m.Body)
	if m.Delay != nil {
		w.Int("DelaySeconds", int64(*m.Delay/time.Second))
	}
	if m.Priority != 0 {
		w.Int("Priority", int64(m.Priority))
	}
}

// Sent is what the server made of an Outgoing.
type Sent struct {
	ID     chat.MessageID
	MD5    string
	Handle string // of a delayed message
}

// Send sends one message.
func (c *Client) Send(ctx context.Context, q chat.QueueName, m Outgoing) (Sent, error) {
	var w wire.Writer
	w.Start("Message")
	m.write(&w)
	w.End("Message")
	a, err := c.do(ctx, request{method: http.MethodPost, target: "/queues/" + string(q) + "/messages", body: w.Bytes()})
	if err != nil {
		return Sent{}, err
	}
	return Sent{chat.MessageID(a.text("MessageId")), a.text("MessageBodyMD5"), a.text("ReceiptHandle")}, nil
}

// SendBatch sends up to chat.MaxBatch messages. An error may mean that only some
// were refused.
func (c *Client) SendBatch(ctx context.Context, q chat.QueueName, messages []Outgoing) error {
	var w wire.Writer
	w.Start("Messages")
	for i := range messages {
		w.Open("Message")
		messages[i].write(&w)
		w.End("Message")
	}
	w.End("Messages")
	_, err := c.do(ctx, request{method: http.MethodPost, target: "/queues/" + string(q) + "/messages", body: w.Bytes()})
	return err
}

// Message is a message that was received or looked at.
type Message struct {
	ID                                  chat.MessageID
	Handle                              string
	Body, MD5                           string
	Enqueued, FirstDequeue, NextVisible time.Time
	DequeueCount                        int
	Priority                            chat.Priority
}

func readMessage(n *wire.Node) Message {
	moment := func(name string) time.Time { return time.UnixMilli(number(n, name)) }
	return Message{
		ID: chat.MessageID(text(n, "MessageId")), Handle: text(n, "ReceiptHandle"), Body: text(n, "MessageBody"),
		MD5: text(n, "MessageBodyMD5"), Enqueued: moment("EnqueueTime"), FirstDequeue: moment("FirstDequeueTime"),
		NextVisible: moment("NextVisibleTime"), DequeueCount: int(number(n, "DequeueCount")),
		Priority: chat.Priority(number(n, "Priority")),
	}
}

// Receive returns up to n messages, as soon as there is one, and none when there
// is none within wait.
func (c *Client) Receive(ctx context.Context, q chat.QueueName, n int, wait time.Duration) ([]Message, error) {
	target := "/queues/" + string(q) + "/messages?numOfMessages=" + strconv.Itoa(n) +
		"&waitseconds=" + strconv.Itoa(int(wait/time.Second))
	return c.messages(ctx, target, wait)
}

// Peek looks at up to n messages.
func (c *Client) Peek(ctx context.Context, q chat.QueueName, n int) ([]Message, error) {
	return c.messages(ctx, "/queues/"+string(q)+"/messages?peekonly=true&numOfMessages="+strconv.Itoa(n), 0)
}

func (c *Client) messages(ctx context.Context, target string, wait time.Duration) ([]Message, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, target: target, wait: wait})
	if errors.Is(err, chat.ErrMessageNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]Message, 0, len(a.node.Children))
	for i := range a.node.Children {
		out = append(out, readMessage(&a.node.Children[i]))
	}
	return out, nil
}

// Delete deletes received messages. Those whose handle is no good any more are
// returned with what was wrong; the others are gone.
func (c *Client) Delete(ctx context.Context, q chat.QueueName, handles []string) (map[string]*chat.Error, error) {
	var w wire.Writer
	w.Start("ReceiptHandles")
	for _, h := range handles {
		w.Text("ReceiptHandle", h)
	}
	w.End("ReceiptHandles")
	a, err := c.do(ctx, request{method: http.MethodDelete, target: "/queues/" + string(q) + "/messages", body: w.Bytes()})
	if a == nil || a.node == nil || a.node.Name != "Errors" {
		return nil, err
	}
	failed := map[string]*chat.Error{}
	for i := range a.node.Children {
		n := &a.node.Children[i]
		failed[text(n, "ReceiptHandle")] = &chat.Error{Status: a.status, Code: text(n, "ErrorCode"), Message: text(n, "ErrorMessage")}
	}
	return failed, nil
}

// ChangeVisibility lets a message be visible after d and returns its new handle.
func (c *Client) ChangeVisibility(ctx context.Context, q chat.QueueName, handle string, d time.Duration) (string, error) {
	a, err := c.do(ctx, request{method: http.MethodPut, target: "/queues/" + string(q) + "/messages?ReceiptHandle=" + handle +
		"&VisibilityTimeout=" + strconv.Itoa(int(d/time.Second))})
	if err != nil {
		return "", err
	}
	return a.text("ReceiptHandle"), nil
}
