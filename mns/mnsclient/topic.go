package mnsclient

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

// CreateTopic makes a topic; that there is one with the same settings is no
// error.
func (c *Client) CreateTopic(ctx context.Context, t chat.TopicName) error {
	var w wire.Writer
	w.Start("Topic")
	w.End("Topic")
	_, err := c.do(ctx, request{method: http.MethodPut, target: "/topics/" + string(t), body: w.Bytes()})
	return err
}

// DeleteTopic removes a topic and its subscriptions.
func (c *Client) DeleteTopic(ctx context.Context, t chat.TopicName) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, target: "/topics/" + string(t)})
	return err
}

func subscriptionTarget(t chat.TopicName, s chat.SubscriptionName) string {
	return "/topics/" + string(t) + "/subscriptions/" + string(s)
}

// Subscribe makes a subscription. Fields of s that are empty are left out.
func (c *Client) Subscribe(ctx context.Context, t chat.TopicName, s chat.Subscription) error {
	var w wire.Writer
	w.Start("Subscription")
	w.Text("Endpoint", s.Endpoint)
	w.Text("FilterTag", string(s.Tag))
	w.Text("NotifyStrategy", string(s.Strategy))
	w.Text("NotifyContentFormat", string(s.Format))
	w.End("Subscription")
	_, err := c.do(ctx, request{method: http.MethodPut, target: subscriptionTarget(t, s.Name), body: w.Bytes()})
	return err
}

// Unsubscribe removes a subscription.
func (c *Client) Unsubscribe(ctx context.Context, t chat.TopicName, s chat.SubscriptionName) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, target: subscriptionTarget(t, s)})
	return err
}

// Publication is a message to be published. The zero Importance is the default.
type Publication struct {
	Body       string
	Tag        chat.Tag
	Importance chat.Importance
	// Once names what is published, with up to chat.MaxOnce names of letters,
	// digits, '-' and '_'. Nothing is published, and Publish returns a
	// *BeforeError, when one of the names was published before within the
	// server's memory. It is an extension of the service.
	Once []string
}

// BeforeError refuses a publication of which a part was published before.
type BeforeError struct{ Names []string }

func (e *BeforeError) Error() string { return "published before: " + strings.Join(e.Names, ",") }

// Publish publishes a message to a topic.
func (c *Client) Publish(ctx context.Context, t chat.TopicName, p Publication) (chat.MessageID, error) {
	var w wire.Writer
	w.Start("Message")
	w.Text("MessageBody", p.Body)
	w.Text("MessageTag", string(p.Tag))
	if p.Importance != 0 {
		w.Open("MessageAttributes")
		w.Open("WebSocket")
		w.Int("ImportanceLevel", int64(p.Importance))
		w.End("WebSocket")
		w.End("MessageAttributes")
	}
	w.Text("Once", strings.Join(p.Once, ","))
	w.End("Message")
	a, err := c.do(ctx, request{method: http.MethodPost, target: "/topics/" + string(t) + "/messages", body: w.Bytes()})
	if errors.Is(err, chat.ErrPublishedBefore) {
		return "", &BeforeError{strings.Split(a.text("Before"), ",")}
	}
	if err != nil {
		return "", err
	}
	return chat.MessageID(a.text("MessageId")), nil
}
