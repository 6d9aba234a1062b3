package wire

import (
	"cmp"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// Error writes the document that a client gets for a fault. before lists what
// was published before, for publications that ask.
func (w *Writer) Error(e *chat.Error, requestID, host string, before []string) {
	w.Start("Error")
	w.Text("Code", e.Code)
	w.Text("Message", cmp.Or(e.Message, e.Code))
	w.Text("RequestId", requestID)
	w.Text("HostId", host)
	w.Text("Before", strings.Join(before, ","))
	w.End("Error")
}

// Queue writes all attributes of a queue.
func (w *Writer) Queue(q *chat.Queue) {
	w.Start("Queue")
	w.QueueFields(q)
	w.End("Queue")
}

// QueueFields writes the attributes alone, as lists hold them.
func (w *Writer) QueueFields(q *chat.Queue) {
	w.Text("QueueName", string(q.Name))
	w.Int("CreateTime", q.Created.Unix())
	w.Int("LastModifyTime", q.Modified.Unix())
	w.seconds("DelaySeconds", q.Delay)
	w.Int("MaximumMessageSize", int64(q.MaxMessageSize))
	w.seconds("MessageRetentionPeriod", q.Retention)
	w.seconds("PollingWaitSeconds", q.PollingWait)
	w.seconds("VisibilityTimeout", q.Visibility)
	w.Int("ActiveMessages", int64(q.Active))
	w.Int("InactiveMessages", int64(q.Inactive))
	w.Int("DelayMessages", int64(q.Delayed))
	w.Bool("LoggingEnabled", q.Logging)
	if d := q.DeadLetter; d.Queue != "" {
		w.Open("DlqPolicy")
		w.Bool("Enabled", true)
		w.Text("DeadLetterTargetQueue", string(d.Queue))
		w.Int("MaxReceiveCount", int64(d.MaxReceives))
		w.End("DlqPolicy")
	}
}

func (w *Writer) seconds(name string, d time.Duration) { w.Int(name, int64(d/time.Second)) }

// Sent writes what became of a message that was sent or published.
func (w *Writer) Sent(id chat.MessageID, md5 string, h chat.Handle) {
	w.Start("Message")
	w.sentFields(id, md5)
	if !h.IsZero() {
		w.Text("ReceiptHandle", h.String())
	}
	w.End("Message")
}

func (w *Writer) sentFields(id chat.MessageID, md5 string) {
	w.Text("MessageId", string(id))
	w.Text("MessageBodyMD5", md5)
}

// SentBatch writes what became of the messages of a batch: of each either its
// id and digest, or its fault.
func (w *Writer) SentBatch(drafts []chat.Draft, sent []chat.Sent) {
	w.Start("Messages")
	for i := range drafts {
		w.Open("Message")
		if e := sent[i].Err; e != nil {
			w.Text("ErrorCode", e.Code)
			w.Text("ErrorMessage", e.Message)
		} else {
			w.sentFields(drafts[i].ID, drafts[i].MD5)
		}
		w.End("Message")
	}
	w.End("Messages")
}

// Message writes a received message, or one that was only looked at.
func (w *Writer) Message(m *chat.Message) {
	w.Start("Message")
	w.messageFields(m)
	w.End("Message")
}

// Messages writes those of a batch.
func (w *Writer) Messages(messages []chat.Message) {
	w.Start("Messages")
	for i := range messages {
		w.Open("Message")
		w.messageFields(&messages[i])
		w.End("Message")
	}
	w.End("Messages")
}

func (w *Writer) messageFields(m *chat.Message) {
	w.Text("MessageId", string(m.ID))
	if !m.Handle.IsZero() {
		w.Text("ReceiptHandle", m.Handle.String())
	}
	w.Text("MessageBody", m.Body)
	w.Text("MessageBodyMD5", m.MD5)
	w.Int("EnqueueTime", m.Enqueued.UnixMilli())
	if !m.NextVisible.IsZero() {
		w.Int("NextVisibleTime", m.NextVisible.UnixMilli())
	}
	w.Int("FirstDequeueTime", m.FirstDequeue.UnixMilli())
	w.Int("DequeueCount", int64(m.DequeueCount))
	w.Int("Priority", int64(m.Priority))
	w.Raw(m.Extra)
}

// HandleError is a handle of a batch that could not be deleted.
type HandleError struct {
	Handle string
	Err    *chat.Error
}

// HandleErrors writes the handles that could not be deleted.
func (w *Writer) HandleErrors(faults []HandleError) {
	w.Start("Errors")
	for _, e := range faults {
		w.Open("Error")
		w.Text("ErrorCode", e.Err.Code)
		w.Text("ErrorMessage", e.Err.Message)
		w.Text("ReceiptHandle", e.Handle)
		w.End("Error")
	}
	w.End("Errors")
}

// ChangedVisibility writes the handle that replaces the one in the request.
func (w *Writer) ChangedVisibility(h chat.Handle) {
	w.Start("ChangeVisibility")
	w.Text("ReceiptHandle", h.String())
	w.Int("NextVisibleTime", h.Ends().UnixMilli())
	w.End("ChangeVisibility")
}

// Topic writes all attributes of a topic.
func (w *Writer) Topic(t *chat.Topic) {
	w.Start("Topic")
	w.TopicFields(t)
	w.End("Topic")
}

// TopicFields writes the attributes alone, as lists hold them.
func (w *Writer) TopicFields(t *chat.Topic) {
	w.Text("TopicName", string(t.Name))
	w.Int("CreateTime", t.Created.Unix())
	w.Int("LastModifyTime", t.Modified.Unix())
	w.Int("MaximumMessageSize", int64(t.MaxMessageSize))
	w.seconds("MessageRetentionPeriod", chat.TopicRetention)
	w.Int("MessageCount", t.Published)
	w.Bool("LoggingEnabled", t.Logging)
}

// Subscription writes all attributes of a subscription. One SDK's reader falls
// through the elements in just this order.
func (w *Writer) Subscription(owner string, topic chat.TopicName, s *chat.Subscription) {
	w.Start("Subscription")
	w.Text("TopicOwner", owner)
	w.Text("TopicName", string(topic))
	w.Text("SubscriptionName", string(s.Name))
	w.Text("Endpoint", s.Endpoint)
	w.Text("NotifyStrategy", string(s.Strategy))
	w.Text("NotifyContentFormat", string(s.ShownFormat()))
	w.Text("FilterTag", string(s.Tag))
	w.Int("CreateTime", s.Created.Unix())
	w.Int("LastModifyTime", s.Modified.Unix())
	w.End("Subscription")
}

// Account writes where logs go. The element is there even without a value.
func (w *Writer) Account(bucket string) {
	w.Start("Account")
	w.Open("LoggingBucket")
	w.buf = AppendText(w.buf, bucket)
	w.End("LoggingBucket")
	w.End("Account")
}
