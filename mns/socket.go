package mns

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/push"
	"github.com/faac1247/rollcall/mns/sign"
	"github.com/faac1247/rollcall/mns/wire"
)

// socketPath is where websockets connect.
const socketPath = "/mns"

// errNotWebsocket refuses a subscription with another endpoint.
var errNotWebsocket = &chat.Error{Status: 409, Code: "EndpointInvalid", Message: "The subscription's endpoint is not a websocket."}

// isSocket reports whether a request wants a websocket.
func isSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == socketPath &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// serveSocket hands a connection over to the hub; an error is for the client.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) error {
	if err := s.hub.Serve(w, r); err != nil {
		return chat.ErrUnavailable.With("%s", err.Error())
	}
	return nil
}

// control is what clients send. Its names are those of the apps in use.
type control struct {
	Type          string     `json:"type"`
	AccountID     string     `json:"accountId"`
	AccessID      string     `json:"accessId"`
	Topic         string     `json:"topic"`
	Subscription  string     `json:"subscription"`
	Date          string     `json:"date"`
	Authorization string     `json:"authorization"`
	Tags          []chat.Tag `json:"tags"`
}

const (
	controlSubscribe   = "SUBSCRIBE"
	controlUnsubscribe = "UNSUBSCRIBE"
	// maxTags bounds the tags of one control message.
	maxTags = 64
)

// decodeControl reads a control message and checks all but its signature.
func decodeControl(text []byte, maxTag int) (control, error) {
	var m control
	if err := json.Unmarshal(text, &m); err != nil {
		return m, chat.ErrInvalidArgument.With("MalformedJSON")
	}
	if m.Type != controlSubscribe && m.Type != controlUnsubscribe {
		return m, chat.ErrInvalidArgument.With("InvalidArgument: type")
	}
	if err := chat.TopicName(m.Topic).Check(); err != nil {
		return m, err
	}
	if err := chat.SubscriptionName(m.Subscription).Check(); err != nil {
		return m, err
	}
	if len(m.Tags) > maxTags {
		return m, chat.ErrInvalidArgument.With("InvalidArgument: tags")
	}
	for _, t := range m.Tags {
		if t == "" || len(t) > maxTag {
			return m, chat.ErrInvalidArgument.With("InvalidArgument: tags")
		}
	}
	return m, nil
}

// verify checks who a control message is from and whether it may.
func (s *Server) verify(m *control) error {
	id, signature := m.AccessID, strings.TrimSpace(m.Authorization)
	if strings.HasPrefix(signature, "MNS ") {
		a, err := sign.ParseAuthorization(signature)
		if err != nil || id != "" && id != a.KeyID {
			return chat.ErrInvalidAuthorization
		}
		id, signature = a.KeyID, a.Signature
	}
	if id == "" || signature == "" {
		return chat.ErrMissingAuthorization
	}
	key, err := s.key(id)
	if err != nil {
		return err
	}
	at, err := parseDate(m.Date)
	if err != nil {
		return err
	}
	if err := s.fresh(at); err != nil {
		return err
	}
	if !same(signature, sign.Subscribe(key.Secret, m.Date, m.Topic, m.Subscription)) {
		return chat.ErrSignature
	}
	if !key.may(RightReceive, target{topics: true, name: m.Topic}) {
		return chat.ErrAccessDenied
	}
	return nil
}

// sockets is the Server as its hub sees it.
type sockets struct{ *Server }

// Control does what a client asks for. Success is silent unless the client
// wants to be told, as every other text is a publication to it.
func (s sockets) Control(ctx context.Context, c *push.Conn, text []byte) {
	m, err := decodeControl(text, s.cfg.MaxTag)
	if err == nil {
		err = s.verify(&m)
	}
	if err == nil {
		err = s.obey(ctx, c, &m)
	}
	if err != nil {
		s.refuse(c, &m, err)
		return
	}
	s.metrics.control(m.Type, "OK")
	if c.Ack() {
		s.say(c, notice{Event: m.Type + "D", Topic: m.Topic, Subscription: m.Subscription})
	}
}

func (s sockets) obey(ctx context.Context, c *push.Conn, m *control) error {
	topic, name := chat.TopicName(m.Topic), chat.SubscriptionName(m.Subscription)
	if m.Type == controlUnsubscribe {
		s.hub.Unsubscribe(c, topic, name)
		return nil
	}
	return s.hub.Subscribe(ctx, c, topic, name, m.Tags)
}

// notice is what a client that wants acknowledgements is told.
type notice struct {
	Event        string `json:"event"`
	Topic        string `json:"topic,omitempty"`
	Subscription string `json:"subscription,omitempty"`
	Code         string `json:"code,omitempty"`
	Status       int    `json:"status,omitempty"`
	Message      string `json:"message,omitempty"`
	RequestID    string `json:"requestId"`
}

// say sends a notice under the one key that no publication is taken for.
func (s sockets) say(c *push.Conn, n notice) {
	n.RequestID = s.ids.newRequest()
	text, err := json.Marshal(map[string]notice{"mns": n})
	if err != nil {
		panic("mns: strings and a number do not encode: " + err.Error())
	}
	c.Say(text)
}

// refuse tells a client what was wrong: one that wants to be told goes on if it
// has another subscription, all others are closed.
func (s sockets) refuse(c *push.Conn, m *control, err error) {
	e := socketFault(err)
	s.metrics.control(m.Type, e.Code)
	if c.Ack() {
		s.say(c, notice{
			Event: "ERROR", Topic: m.Topic, Subscription: m.Subscription, Code: e.Code, Status: e.Status, Message: e.Message,
		})
		if c.Subscriptions() > 0 {
			return
		}
	}
	reason := e.Code
	if e.Code == chat.ErrInvalidArgument.Code {
		reason = e.Message
	}
	c.CloseWith(push.Code(4000+e.Status), reason)
}

// socketFault turns what went wrong into what the client is told.
func socketFault(err error) *chat.Error {
	switch e, ok := errors.AsType[*chat.Error](err); {
	case ok:
		return e
	case errors.Is(err, push.ErrNotWebsocket):
		return errNotWebsocket
	case errors.Is(err, push.ErrTooMany):
		return chat.ErrInvalidArgument.With("InvalidArgument: too many subscriptions")
	default:
		return chat.ErrUnavailable
	}
}

// Render lays out a publication for a websocket whose subscription asks for the
// documented forms.
func (s sockets) Render(sub *push.Subscription, p *chat.Publication) []byte {
	n := wire.Notification{Owner: s.cfg.Account, Subscriber: s.cfg.Account, Subscription: sub.Name, Publication: p}
	return n.Encode(sub.Format)
}
