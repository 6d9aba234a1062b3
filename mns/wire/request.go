package wire

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// DecodeQueue reads the settings that a request names. An empty body names
// none.
func DecodeQueue(body []byte) (chat.QueueChange, error) {
	f := openOptional(body, "Queue")
	c := chat.QueueChange{
		Delay:          f.seconds("DelaySeconds"),
		Retention:      f.seconds("MessageRetentionPeriod"),
		Visibility:     f.seconds("VisibilityTimeout"),
		PollingWait:    f.seconds("PollingWaitSeconds"),
		MaxMessageSize: f.int("MaximumMessageSize"),
		Logging:        f.bool("LoggingEnabled"),
	}
	c.DeadLetter = f.deadLetter()
	return c, f.err
}

// deadLetter reads a DlqPolicy; one that is not enabled removes the policy.
func (f *fields) deadLetter() *chat.DeadLetter {
	n := f.node.Child("DlqPolicy")
	if n == nil {
		return nil
	}
	p := &fields{node: n}
	d := &chat.DeadLetter{}
	if enabled := p.bool("Enabled"); enabled == nil || *enabled {
		target, ok := p.word("DeadLetterTargetQueue")
		if !ok {
			p.fail(chat.Malformed("DeadLetterTargetQueue"))
		}
		d.Queue, d.MaxReceives = chat.QueueName(target), 3
		if max := p.int("MaxReceiveCount"); max != nil {
			d.MaxReceives = *max
		}
	}
	if p.err != nil {
		f.fail(p.err)
	}
	return d
}

// DecodeTopic reads the settings that a request names.
func DecodeTopic(body []byte) (chat.TopicChange, error) {
	f := openOptional(body, "Topic")
	c := chat.TopicChange{MaxMessageSize: f.int("MaximumMessageSize"), Logging: f.bool("LoggingEnabled")}
	return c, f.err
}

// DecodeSend reads the one message, or the batch of messages, that a request
// sends.
func DecodeSend(body []byte) (drafts []chat.Draft, batch bool, err error) {
	n, err := Parse(body)
	if err != nil {
		return nil, false, err
	}
	f := &fields{node: n}
	switch n.Name {
	case "Message":
		drafts = []chat.Draft{f.draft()}
	case "Messages":
		batch = true
		drafts = f.drafts()
	default:
		f.fail(chat.Malformed(n.Name))
	}
	return drafts, batch, f.err
}

func (f *fields) drafts() []chat.Draft {
	var drafts []chat.Draft
	for i := range f.node.Children {
		m := &fields{node: &f.node.Children[i]}
		if m.node.Name != "Message" {
			m.fail(chat.Malformed(m.node.Name))
		}
		drafts = append(drafts, m.draft())
		if m.err != nil {
			f.fail(m.err)
		}
	}
	if n := len(drafts); n < 1 || n > chat.MaxBatch {
		f.fail(chat.OutOfRange("Messages", 1, chat.MaxBatch, ""))
	}
	return drafts
}

// maxExtra bounds what a sender attaches to a message.
const maxExtra = 64 << 10

func (f *fields) draft() chat.Draft {
	d := chat.Draft{Priority: chat.DefaultPriority}
	d.Body = f.body()
	if d.Delay = f.seconds("DelaySeconds"); d.Delay != nil && (*d.Delay < 0 || *d.Delay > chat.MaxDelay) {
		f.fail(chat.OutOfRange("DelaySeconds", 0, int(chat.MaxDelay/time.Second), "seconds"))
	}
	if p := f.int("Priority"); p != nil {
		if *p < 1 || *p > int(chat.MaxPriority) {
			f.fail(chat.OutOfRange("Priority", 1, int(chat.MaxPriority), ""))
		}
		d.Priority = chat.Priority(*p)
	}
	var extra []byte
	for _, name := range []string{"UserProperties", "SystemProperties", "MessageGroupId"} {
		if c := f.node.Child(name); c != nil && (len(c.Children) > 0 || c.Text != "") {
			extra = AppendNode(extra, c)
		}
	}
	if len(extra) > maxExtra {
		f.fail(chat.OutOfRange("UserProperties", 0, maxExtra, "bytes"))
	}
	d.Extra = string(extra)
	return d
}

// body returns a message's body, which has to be there and to hold something.
func (f *fields) body() string {
	body, ok := f.text("MessageBody")
	if !ok {
		f.fail(chat.Malformed("MessageBody"))
	}
	return body
}

// DecodeHandles reads the receipt handles of a batch.
func DecodeHandles(body []byte) ([]string, error) {
	f := open(body, "ReceiptHandles")
	var handles []string
	for _, c := range f.node.Children {
		if c.Name != "ReceiptHandle" || len(c.Children) > 0 {
			f.fail(chat.Malformed(c.Name))
		}
		handles = append(handles, strings.TrimSpace(c.Text))
	}
	if n := len(handles); f.err == nil && (n < 1 || n > chat.MaxBatch) {
		f.fail(chat.OutOfRange("ReceiptHandles", 1, chat.MaxBatch, ""))
	}
	return handles, f.err
}

// SubscribeRequest is the body of a Subscribe.
type SubscribeRequest struct {
	Endpoint string
	Tag      chat.Tag
	Strategy chat.Strategy
	Format   chat.Format
}

// DecodeSubscribe reads the body of a Subscribe.
func DecodeSubscribe(body []byte) (SubscribeRequest, error) {
	f := open(body, "Subscription")
	r := SubscribeRequest{Strategy: chat.Backoff}
	endpoint, ok := f.word("Endpoint")
	if !ok {
		f.fail(chat.Malformed("Endpoint"))
	}
	r.Endpoint = endpoint
	if s := f.strategy(); s != nil {
		r.Strategy = *s
	}
	if t := f.tag(); t != nil {
		r.Tag = *t
	}
	if format, ok := f.word("NotifyContentFormat"); ok {
		r.Format = chat.Format(format)
		if r.Format == "STREAM" { // what an older SDK calls it
			r.Format = chat.FormatSimplified
		}
		if r.Format != chat.FormatXML && r.Format != chat.FormatJSON && r.Format != chat.FormatSimplified {
			f.fail(chat.Malformed("NotifyContentFormat"))
		}
	}
	return r, f.err
}

// DecodeSubscription reads the settings of a subscription that a request names.
func DecodeSubscription(body []byte) (chat.SubscriptionChange, error) {
	f := openOptional(body, "Subscription")
	c := chat.SubscriptionChange{Strategy: f.strategy(), Tag: f.tag()}
	return c, f.err
}

func (f *fields) strategy() *chat.Strategy {
	s, ok := f.word("NotifyStrategy")
	if !ok {
		return nil
	}
	v := chat.Strategy(s)
	if v != chat.Backoff && v != chat.Decay {
		f.fail(chat.Malformed("NotifyStrategy"))
	}
	return &v
}

func (f *fields) tag() *chat.Tag {
	s, ok := f.word("FilterTag")
	if !ok {
		return nil
	}
	v := chat.Tag(s)
	return &v
}

// DecodePublish reads a message to be published: body, tag, importance, and the
// names that it must not have been published under.
func DecodePublish(body []byte) (p chat.Publication, once []string, err error) {
	f := open(body, "Message")
	p = chat.Publication{Body: f.body(), Importance: chat.DefaultImportance}
	if tag, ok := f.word("MessageTag"); ok {
		p.Tag = chat.Tag(tag)
	}
	once = f.once()
	attributes := f.node.Child("MessageAttributes")
	if attributes == nil {
		return p, once, f.err
	}
	if ws := attributes.Child("WebSocket"); ws != nil {
		level, err := importance(ws)
		if err != nil {
			f.fail(err)
		}
		p.Importance = level
	}
	return p, once, f.err
}

// once reads names with commas between.
func (f *fields) once() []string {
	text, ok := f.word("Once")
	if !ok {
		return nil
	}
	names := strings.Split(text, ",")
	if len(names) > chat.MaxOnce {
		f.fail(chat.OutOfRange("Once", 1, chat.MaxOnce, "names"))
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if name := names[i]; name == "" || len(name) > maxOnceName || strings.Trim(name, onceAlphabet) != "" {
			f.fail(chat.Malformed("Once"))
		}
	}
	return names
}

const (
	maxOnceName  = 128
	onceAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
)

// importance reads both forms that clients send: an element of its own, and
// JSON as the element's text.
func importance(ws *Node) (chat.Importance, error) {
	level := (*int)(nil)
	if text := strings.TrimSpace(ws.Text); text != "" {
		var attributes struct {
			ImportanceLevel *json.Number
		}
		if json.Unmarshal([]byte(text), &attributes) != nil {
			return 0, chat.Malformed("WebSocket")
		}
		if attributes.ImportanceLevel != nil {
			ws = &Node{Children: []Node{{Name: "ImportanceLevel", Text: attributes.ImportanceLevel.String()}}}
		}
	}
	f := &fields{node: ws}
	if level = f.int("ImportanceLevel"); f.err != nil {
		return 0, f.err
	}
	if level == nil {
		return chat.DefaultImportance, nil
	}
	if *level < 1 || *level > int(chat.MaxImportance) {
		return 0, chat.OutOfRange("ImportanceLevel", 1, int(chat.MaxImportance), "")
	}
	return chat.Importance(*level), nil
}

// DecodeAccount reads where logs are to go.
func DecodeAccount(body []byte) (bucket string, err error) {
	f := open(body, "Account")
	bucket, _ = f.word("LoggingBucket")
	return bucket, f.err
}
