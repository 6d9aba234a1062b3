package wire

import (
	"encoding/json"

	"github.com/faac1247/rollcall/mns/chat"
)

// Notification is a publication on its way to one subscription.
type Notification struct {
	Owner        string // of the topic
	Subscriber   string
	Subscription chat.SubscriptionName
	Publication  *chat.Publication
}

// notificationJSON fixes names and order of the JSON form.
type notificationJSON struct {
	TopicOwner, TopicName, Subscriber, SubscriptionName string
	MessageID                                           string `json:"MessageId"`
	Message, MessageMD5                                 string
	MessageTag                                          string `json:",omitempty"`
	PublishTime                                         int64
}

// Encode returns the notification in a format; FormatSimplified is the body.
func (n *Notification) Encode(format chat.Format) []byte {
	p := n.Publication
	switch format {
	case chat.FormatSimplified:
		return []byte(p.Body)
	case chat.FormatJSON:
		text, err := json.Marshal(notificationJSON{
			TopicOwner: n.Owner, TopicName: string(p.Topic), Subscriber: n.Subscriber,
			SubscriptionName: string(n.Subscription), MessageID: string(p.ID), Message: p.Body,
			MessageMD5: p.MD5, MessageTag: string(p.Tag), PublishTime: p.At.UnixMilli(),
		})
		if err != nil {
			panic("wire: strings and a number do not encode: " + err.Error())
		}
		return text
	}
	var w Writer
	w.Start("Notification")
	w.Text("TopicOwner", n.Owner)
	w.Text("TopicName", string(p.Topic))
	w.Text("Subscriber", n.Subscriber)
	w.Text("SubscriptionName", string(n.Subscription))
	w.sentNotification(p)
	w.End("Notification")
	return w.Bytes()
}

func (w *Writer) sentNotification(p *chat.Publication) {
	w.Text("MessageId", string(p.ID))
	w.Text("Message", p.Body)
	w.Text("MessageMD5", p.MD5)
	w.Text("MessageTag", string(p.Tag))
	w.Int("PublishTime", p.At.UnixMilli())
}
