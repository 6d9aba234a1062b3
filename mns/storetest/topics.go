package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
)

func (e *env) topic(name chat.TopicName) {
	e.Helper()
	_, created, err := e.CreateTopic(e.ctx(), name, chat.DefaultTopicSettings())
	e.must(err)
	if !created {
		e.Fatalf("topic %s was there already", name)
	}
}

func websocket(name chat.SubscriptionName) chat.Subscription {
	return chat.Subscription{Name: name, Endpoint: "websocket", Strategy: chat.Backoff}
}

func topicLife(e *env) {
	settings := chat.TopicSettings{MaxMessageSize: 2048, Logging: true}
	v, created, err := e.CreateTopic(e.ctx(), "t", settings)
	e.must(err)
	if !created || v.TopicSettings != settings || v.Name != "t" || v.Published != 0 || v.Created.IsZero() {
		e.Fatalf("created %v: %+v", created, v)
	}
	v, created, err = e.CreateTopic(e.ctx(), "t", chat.DefaultTopicSettings())
	e.must(err)
	if created || v.TopicSettings != settings {
		e.Fatalf("created %v again: %+v", created, v)
	}
	size := 4096
	e.must(e.ChangeTopic(e.ctx(), "t", chat.TopicChange{MaxMessageSize: &size}))
	v, err = e.Topic(e.ctx(), "t")
	e.must(err)
	if v.MaxMessageSize != size || !v.Logging {
		e.Fatalf("changed to %+v", v)
	}
	e.topic("u")
	names, more, err := e.Topics(e.ctx(), chat.Page{Limit: 1})
	e.must(err)
	if !slices.Equal(names, []chat.TopicName{"t"}) || !more {
		e.Fatalf("listed %v, more %v", names, more)
	}
	e.must(e.DeleteTopic(e.ctx(), "t"))
	e.must(e.DeleteTopic(e.ctx(), "t"))
	_, err = e.Topic(e.ctx(), "t")
	e.wants(err, chat.ErrTopicNotExist)
	e.wants(e.ChangeTopic(e.ctx(), "t", chat.TopicChange{}), chat.ErrTopicNotExist)
	_, err = e.Publish(e.ctx(), chat.Publish{Publication: publication("t", "x")})
	e.wants(err, chat.ErrTopicNotExist)
	_, _, err = e.Subscribe(e.ctx(), "t", websocket("s"))
	e.wants(err, chat.ErrTopicNotExist)
	_, err = e.Subscription(e.ctx(), "t", "s")
	e.wants(err, chat.ErrTopicNotExist)
	_, _, err = e.Subscriptions(e.ctx(), "t", chat.Page{Limit: 1})
	e.wants(err, chat.ErrTopicNotExist)
}

func subscriptions(e *env) {
	e.topic("t")
	want := chat.Subscription{Name: "s", Endpoint: "http://h/p?q=1", Tag: "tag", Strategy: chat.Decay, Format: chat.FormatJSON}
	got, created, err := e.Subscribe(e.ctx(), "t", want)
	e.must(err)
	if !created || !got.Same(want) || got.Created.IsZero() {
		e.Fatalf("created %v: %+v", created, got)
	}
	got, created, err = e.Subscribe(e.ctx(), "t", websocket("s"))
	e.must(err)
	if created || !got.Same(want) {
		e.Fatalf("created %v again: %+v", created, got)
	}
	strategy := chat.Backoff
	e.must(e.ChangeSubscription(e.ctx(), "t", "s", chat.SubscriptionChange{Strategy: &strategy}))
	want.Strategy = strategy
	if got, err = e.Subscription(e.ctx(), "t", "s"); err != nil || !got.Same(want) {
		e.Fatalf("changed to %+v, %v", got, err)
	}
	for i := range 5 {
		_, _, err := e.Subscribe(e.ctx(), "t", websocket(chat.SubscriptionName(fmt.Sprintf("w%d", i))))
		e.must(err)
	}
	names, more, err := e.Subscriptions(e.ctx(), "t", chat.Page{Prefix: "w", After: "w1", Limit: 2})
	e.must(err)
	if !slices.Equal(names, []chat.SubscriptionName{"w2", "w3"}) || !more {
		e.Fatalf("listed %v, more %v", names, more)
	}
	e.must(e.Unsubscribe(e.ctx(), "t", "s"))
	e.must(e.Unsubscribe(e.ctx(), "t", "s"))
	_, err = e.Subscription(e.ctx(), "t", "s")
	e.wants(err, chat.ErrSubscriptionNotExist)
	e.wants(e.ChangeSubscription(e.ctx(), "t", "s", chat.SubscriptionChange{}), chat.ErrSubscriptionNotExist)
	e.must(e.DeleteTopic(e.ctx(), "t"))
	e.topic("t")
	_, err = e.Subscription(e.ctx(), "t", "w1")
	e.wants(err, chat.ErrSubscriptionNotExist)
}

func publication(t chat.TopicName, body string) chat.Publication {
	return chat.Publication{
		Topic: t, ID: chat.MessageID("ID-" + body), Body: body, MD5: "MD5", Tag: "tag", Importance: 9,
		At: time.UnixMilli(1_700_000_000_123).UTC(),
	}
}

// follows has a node follow a topic, for a short time at most.
func (e *env) follows(node mns.Store, t chat.TopicName) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx(), 5*time.Second)
	defer cancel()
	e.must(node.Follow(ctx, t))
}

func publish(e *env) {
	e.topic("t")
	e.topic("u")
	a, la := e.listen("n2")
	b, lb := e.listen("n3")
	e.follows(a, "t")
	e.follows(b, "t")
	e.follows(b, "t")
	p := publication("t", "<b>\n\x01 中文")
	out, err := e.Publish(e.ctx(), chat.Publish{Publication: p})
	e.must(err)
	if !out.Done {
		e.Fatalf("published: %+v", out)
	}
	for _, l := range []*ear{la, lb} {
		if got := hears(e, l.news); got.Publication == nil || *got.Publication != p || got.Topic != "t" {
			e.Fatalf("heard %+v", got)
		}
	}
	_, err = e.Publish(e.ctx(), chat.Publish{Publication: publication("u", "other")})
	e.must(err)
	a.Unfollow("t")
	e.eventually("no longer follows", func() error {
		la.drain()
		_, err := e.Publish(e.ctx(), chat.Publish{Publication: p})
		e.must(err)
		select {
		case <-la.news:
			return errors.New("it does")
		case <-time.After(30 * time.Millisecond):
			return nil
		}
	})
	e.follows(a, "t")
	_, err = e.Publish(e.ctx(), chat.Publish{Publication: p})
	e.must(err)
	hears(e, la.news)
	large := publication("t", strings.Repeat("x", chat.MaxMessageSize+1))
	_, err = e.Publish(e.ctx(), chat.Publish{Publication: large})
	e.wants(err, chat.ErrInvalidArgument)
	if v, err := e.Topic(e.ctx(), "t"); err != nil || v.Published < 3 {
		e.Fatalf("%d published, %v", v.Published, err)
	}
}

// followAgain follows and unfollows faster than the server is told.
func followAgain(e *env) {
	e.topic("t")
	node, l := e.listen("n2")
	for i := range 100 {
		e.follows(node, "t")
		node.Unfollow("t")
		if i%3 == 0 {
			<-time.After(time.Duration(i%7) * 100 * time.Microsecond)
		}
		e.follows(node, "t")
		_, err := e.Publish(e.ctx(), chat.Publish{Publication: publication("t", fmt.Sprint(i))})
		e.must(err)
		if n := hears(e, l.news); n.Publication.Body != fmt.Sprint(i) {
			e.Fatalf("heard %q, want %d", n.Publication.Body, i)
		}
		node.Unfollow("t")
	}
}

func publishOnce(e *env) {
	e.topic("t")
	node, l := e.listen("n2")
	e.follows(node, "t")
	pub := func(memory time.Duration, names ...string) chat.Published {
		e.Helper()
		out, err := e.Publish(e.ctx(), chat.Publish{Publication: publication("t", "x"), Once: names, Memory: memory})
		e.must(err)
		return out
	}
	if out := pub(time.Hour, "a", "b"); !out.Done || len(out.Before) != 0 {
		e.Fatalf("published: %+v", out)
	}
	hears(e, l.news)
	if out := pub(time.Hour, "b", "c"); out.Done || !slices.Equal(out.Before, []string{"b"}) {
		e.Fatalf("published again: %+v", out)
	}
	silent(e, l.news)
	if out := pub(30*time.Millisecond, "c"); !out.Done {
		e.Fatalf("a name that was refused is taken for published: %+v", out)
	}
	e.eventually("forgotten", func() error {
		if out := pub(time.Hour, "c"); !out.Done {
			return errors.New("not yet")
		}
		return nil
	})
}

func publishToDurable(e *env) {
	e.topic("t")
	_, _, err := e.Subscribe(e.ctx(), "t", websocket("w"))
	e.must(err)
	queue := chat.Subscription{Name: "q", Endpoint: "acs:mns:r:a:queues/q", Strategy: chat.Backoff}
	_, _, err = e.Subscribe(e.ctx(), "t", queue)
	e.must(err)
	node, l := e.listen("n2")
	e.follows(node, "t")
	p := chat.Publish{Publication: publication("t", "x"), Once: []string{"a"}, Memory: time.Hour}
	out, err := e.Publish(e.ctx(), p)
	e.must(err)
	if out.Done || len(out.Durable) != 1 || !out.Durable[0].Same(queue) || out.Durable[0].Name != "q" {
		e.Fatalf("published: %+v", out)
	}
	silent(e, l.news)
	p.Delivered = true
	out, err = e.Publish(e.ctx(), p)
	e.must(err)
	if !out.Done {
		e.Fatalf("published: %+v", out)
	}
	hears(e, l.news)
	e.must(e.Unsubscribe(e.ctx(), "t", "q"))
	out, err = e.Publish(e.ctx(), chat.Publish{Publication: publication("t", "y")})
	e.must(err)
	if !out.Done {
		e.Fatalf("published without anything durable: %+v", out)
	}
}

func newsOfChanges(e *env) {
	e.topic("t")
	_, _, err := e.Subscribe(e.ctx(), "t", websocket("s"))
	e.must(err)
	node, l := e.listen("n2")
	e.follows(node, "t")
	tag := chat.Tag("x")
	e.must(e.ChangeSubscription(e.ctx(), "t", "s", chat.SubscriptionChange{Tag: &tag}))
	if n := hears(e, l.news); n.Changed != "s" || n.Topic != "t" {
		e.Fatalf("heard %+v", n)
	}
	e.must(e.Unsubscribe(e.ctx(), "t", "s"))
	if n := hears(e, l.news); n.Changed != "s" {
		e.Fatalf("heard %+v", n)
	}
	e.must(e.DeleteTopic(e.ctx(), "t"))
	if n := hears(e, l.news); !n.Gone {
		e.Fatalf("heard %+v", n)
	}
}

func account(e *env) {
	for _, want := range []string{"", "bucket", ""} {
		if want != "" {
			e.must(e.SetLoggingBucket(e.ctx(), want))
		}
		got, err := e.LoggingBucket(e.ctx())
		e.must(err)
		if want != "" && got != want {
			e.Fatalf("bucket is %q, want %q", got, want)
		}
	}
}
