package mns_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/wire"
)

func TestC31Topics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.wants(r.ask("PUT", "/topics/t", "<Topic><MaximumMessageSize>2048</MaximumMessageSize></Topic>"), 201, "")
	if got, want := made.header.Get("Location"), r.nodes[0].url+"/topics/t"; got != want {
		t.Errorf("location %q, want %q", got, want)
	}
	r.wants(r.ask("PUT", "/topics/t", "<Topic><MaximumMessageSize>2048</MaximumMessageSize></Topic>"), 204, "")
	r.wants(r.ask("PUT", "/topics/t", "<Topic/>"), 409, "TopicAlreadyExist")
	for size, ok := range map[int]bool{1023: false, 1024: true, 65536: true, 65537: false} {
		got := r.ask("PUT", fmt.Sprintf("/topics/s%d", size), fmt.Sprintf("<Topic><MaximumMessageSize>%d</MaximumMessageSize></Topic>", size))
		if ok != (got.status == 201) {
			t.Errorf("size %d: %d %s", size, got.status, got.body)
		}
	}
	r.wants(r.ask("PUT", "/topics/-t", "<Topic/>"), 400, "TopicNameInvalid")
	r.wants(r.ask("PUT", "/topics/"+strings.Repeat("t", 257), "<Topic/>"), 400, "TopicNameLengthError")
	r.wants(r.ask("PUT", "/topics/t?metaoverride=true", "<Topic><LoggingEnabled>True</LoggingEnabled></Topic>"), 204, "")
	got := r.wants(r.askAt(1, "GET", "/topics/t", ""), 200, "")
	for name, want := range map[string]string{
		"TopicName": "t", "MaximumMessageSize": "2048", "MessageRetentionPeriod": "86400", "MessageCount": "0", "LoggingEnabled": "True",
	} {
		if got.text(name) != want {
			t.Errorf("%s is %q, want %q", name, got.text(name), want)
		}
	}
	if got.millis("CreateTime") == 0 || got.millis("LastModifyTime") == 0 || len(got.node.Children) != 7 {
		t.Errorf("attributes %s", got.body)
	}
	r.publish(0, "t", strings.Repeat("x", 2048), "")
	r.wants(r.ask("POST", "/topics/t/messages", message(strings.Repeat("x", 2049), "")), 400, "InvalidArgument")
	if got := r.ask("GET", "/topics/t", ""); got.text("MessageCount") != "1" {
		t.Errorf("%s messages", got.text("MessageCount"))
	}
	list := r.wants(r.ask("GET", "/topics", "", header("x-mns-prefix", "s"), header("x-mns-ret-number", "1"), header("x-mns-with-meta", "true")), 200, "")
	if topic := list.node.Child("Topic"); list.text("NextMarker") != "s1024" || topic.Child("TopicURL").Text != r.nodes[0].url+"/topics/s1024" || topic.Child("TopicName") == nil {
		t.Errorf("list %s", list.body)
	}
	r.wants(r.ask("DELETE", "/topics/t", ""), 204, "")
	r.wants(r.ask("DELETE", "/topics/t", ""), 204, "")
	r.wants(r.ask("GET", "/topics/t", ""), 404, "TopicNotExist")
	r.wants(r.ask("PUT", "/topics/t?metaoverride=true", "<Topic/>"), 404, "TopicNotExist")
	r.wants(r.ask("POST", "/topics/t/messages", message("m", "")), 404, "TopicNotExist")
}

func TestC32Subscriptions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createTopic("t")
	put := func(name, inner string) *reply {
		return r.ask("PUT", "/topics/t/subscriptions/"+name, "<Subscription>"+inner+"</Subscription>")
	}
	endpoint := func(e string) string { return "<Endpoint>" + e + "</Endpoint>" }
	for i, e := range []string{
		"websocket", "WebSocket", "acs:mns:cn-hangzhou:123:queues/q", "acs:mns:0:127:queues/q", "http://h/p?a=1&amp;b", "https://h:8443",
	} {
		name := fmt.Sprintf("s%d", i)
		got := r.wants(put(name, endpoint(e)), 201, "")
		if want := r.nodes[0].url + "/topics/t/subscriptions/" + name; got.header.Get("Location") != want {
			t.Errorf("location %q, want %q", got.header.Get("Location"), want)
		}
		r.wants(put(name, endpoint(e)), 204, "")
		r.wants(put(name, endpoint(e)+"<FilterTag>x</FilterTag>"), 409, "SubscriptionAlreadyExist")
	}
	for _, e := range []string{"ftp://h", "acs:mns:r:a:topics/q", "acs:mns:r:queues/q", "mail:directmail:a", "sms:directsms:a", "http://", "q", "http://u:p@h/"} {
		r.wants(put("bad", endpoint(e)), 400, "EndpointInvalid")
	}
	r.wants(put("bad", ""), 400, "InvalidArgument")
	r.wants(put("bad", endpoint("websocket")+"<NotifyStrategy>NEVER</NotifyStrategy>"), 400, "InvalidArgument")
	r.wants(put("bad", endpoint("websocket")+"<NotifyContentFormat>YAML</NotifyContentFormat>"), 400, "InvalidArgument")
	r.wants(put("-bad", endpoint("websocket")), 400, "SubscriptionNameInvalid")
	r.wants(put(strings.Repeat("b", 257), endpoint("websocket")), 400, "SubscriptionNameLengthError")
	r.wants(r.ask("PUT", "/topics/none/subscriptions/s", "<Subscription>"+endpoint("websocket")+"</Subscription>"), 404, "TopicNotExist")

	got := r.wants(r.ask("GET", "/topics/t/subscriptions/s4", ""), 200, "")
	if childNames(got.node) != "TopicOwner TopicName SubscriptionName Endpoint NotifyStrategy NotifyContentFormat CreateTime LastModifyTime" ||
		got.text("Endpoint") != "http://h/p?a=1&b" || got.text("NotifyStrategy") != "BACKOFF_RETRY" || got.text("NotifyContentFormat") != "XML" {
		t.Errorf("subscription %s", got.body)
	}
	if got := r.ask("GET", "/topics/t/subscriptions/s0", ""); got.text("NotifyContentFormat") != "SIMPLIFIED" {
		t.Errorf("websocket subscription %s", got.body)
	}
	r.wants(r.ask("PUT", "/topics/t/subscriptions/s4?metaoverride=true", "<Subscription/>"), 204, "")
	r.wants(r.ask("PUT", "/topics/t/subscriptions/s4?metaoverride=true",
		"<Subscription><NotifyStrategy>EXPONENTIAL_DECAY_RETRY</NotifyStrategy></Subscription>"), 204, "")
	if got := r.ask("GET", "/topics/t/subscriptions/s4", ""); got.text("NotifyStrategy") != "EXPONENTIAL_DECAY_RETRY" {
		t.Errorf("changed subscription %s", got.body)
	}
	list := r.wants(r.ask("GET", "/topics/t/subscriptions", "", header("x-mns-ret-number", "5")), 200, "")
	if list.text("NextMarker") != "s4" || len(list.node.Children) != 6 || !strings.HasSuffix(list.node.Children[0].Child("SubscriptionURL").Text, "/topics/t/subscriptions/s0") {
		t.Errorf("list %s", list.body)
	}
	r.wants(r.ask("DELETE", "/topics/t/subscriptions/s4", ""), 204, "")
	r.wants(r.ask("DELETE", "/topics/t/subscriptions/s4", ""), 204, "")
	r.wants(r.ask("GET", "/topics/t/subscriptions/s4", ""), 404, "SubscriptionNotExist")
	r.wants(r.ask("PUT", "/topics/t/subscriptions/s4?metaoverride=true", "<Subscription/>"), 404, "SubscriptionNotExist")
}

func TestC33PublishToQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createTopic("t")
	for _, format := range []string{"XML", "JSON", "SIMPLIFIED", "none"} {
		r.createQueue(format, "")
		inner := "<Endpoint>acs:mns:r:1:queues/" + format + "</Endpoint>"
		if format != "none" {
			inner += "<NotifyContentFormat>" + format + "</NotifyContentFormat>"
		}
		r.wants(r.ask("PUT", "/topics/t/subscriptions/"+format, "<Subscription>"+inner+"</Subscription>"), 201, "")
	}
	r.createQueue("filtered", "")
	r.wants(r.ask("PUT", "/topics/t/subscriptions/filtered",
		"<Subscription><Endpoint>acs:mns:r:1:queues/filtered</Endpoint><FilterTag>gift</FilterTag></Subscription>"), 201, "")
	const body = `<b>"1" & 2</b>`
	sent := r.publish(1, "t", body, tagged("gift"))
	if sent.text("MessageId") == "" || sent.text("MessageBodyMD5") == "" {
		t.Errorf("published %s", sent.body)
	}
	if got := r.receive("SIMPLIFIED").text("MessageBody"); got != body {
		t.Errorf("simplified %q", got)
	}
	var note struct {
		TopicOwner, TopicName, Subscriber, SubscriptionName, MessageId, Message, MessageMD5, MessageTag string
		PublishTime                                                                                     int64
	}
	if err := json.Unmarshal([]byte(r.receive("JSON").text("MessageBody")), &note); err != nil {
		t.Fatal(err)
	}
	if note.TopicName != "t" || note.SubscriptionName != "JSON" || note.MessageId != sent.text("MessageId") || note.Message != body ||
		note.MessageMD5 != sent.text("MessageBodyMD5") || note.MessageTag != "gift" || note.TopicOwner == "" || note.Subscriber == "" ||
		time.Since(time.UnixMilli(note.PublishTime)).Abs() > time.Minute {
		t.Errorf("JSON %+v", note)
	}
	for _, q := range []string{"XML", "none", "filtered"} {
		n, err := wire.Parse([]byte(r.receive(q).text("MessageBody")))
		if err != nil {
			t.Fatal(err)
		}
		if n.Name != "Notification" || n.Child("Message").Text != body || n.Child("SubscriptionName").Text != q ||
			n.Child("MessageTag").Text != "gift" || n.Child("PublishTime") == nil {
			t.Errorf("XML %+v", n)
		}
	}
	r.publish(0, "t", "untagged", "")
	r.publish(0, "t", "other", tagged("other"))
	r.empty("filtered")
	r.counts("SIMPLIFIED", "2 1 0")
}

func TestC34Importance(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createTopic("t")
	attributes := func(inner string) string { return "<MessageAttributes>" + inner + "</MessageAttributes>" }
	for _, ok := range []string{
		"", important(1), important(16), attributes(`<WebSocket>{"ImportanceLevel":12}</WebSocket>`),
		attributes(`<WebSocket>{"ImportanceLevel":"3"}</WebSocket>`), attributes("<WebSocket>{}</WebSocket>"), attributes("<WebSocket/>"),
		attributes(`<DirectMail>{"Subject":"s"}</DirectMail>`),
	} {
		r.publish(0, "t", "m", ok)
	}
	for _, bad := range []string{
		important(0), important(17), attributes(`<WebSocket>{"ImportanceLevel":0}</WebSocket>`), attributes("<WebSocket>high</WebSocket>"),
		attributes(`<WebSocket>{"ImportanceLevel":17}</WebSocket>`), attributes("<WebSocket><ImportanceLevel>x</ImportanceLevel></WebSocket>"),
	} {
		r.wants(r.ask("POST", "/topics/t/messages", message("m", bad)), 400, "InvalidArgument")
	}
	r.wants(r.ask("POST", "/topics/t/messages", message("m", tagged(strings.Repeat("t", 129)))), 400, "InvalidArgument")
}

// TestHTTPEndpoint has an endpoint refuse twice and then take a delivery.
func TestHTTPEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createTopic("t")
	var tries atomic.Int32
	taken := make(chan string, 1)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		if tries.Add(1) <= 2 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		taken <- q.Method + " " + q.URL.Path + " " + q.Header.Get("X-Mns-Message-Tag") + " " + q.Header.Get("X-Mns-Message-Id") + " " + string(body)
	}))
	defer endpoint.Close()
	r.wants(r.ask("PUT", "/topics/t/subscriptions/s", "<Subscription><Endpoint>"+endpoint.URL+"/hook</Endpoint>"+
		"<NotifyStrategy>EXPONENTIAL_DECAY_RETRY</NotifyStrategy><NotifyContentFormat>SIMPLIFIED</NotifyContentFormat></Subscription>"), 201, "")
	sent := r.publish(0, "t", "body", tagged("tag"))
	select {
	case got := <-taken:
		if want := "POST /hook tag " + sent.text("MessageId") + " body"; got != want {
			t.Errorf("the endpoint got %q, want %q", got, want)
		}
	case <-time.After(15 * time.Second):
		t.Errorf("nothing delivered after %d tries", tries.Load())
	}
}

// TestHTTPEndpointNotAllowed has the operator forbid where endpoints may be.
func TestHTTPEndpointNotAllowed(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *mns.Config) { c.Notify.Allow = func(a netip.Addr) bool { return !a.IsLoopback() } })
	r.createTopic("t")
	var reached atomic.Int32
	endpoint := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer endpoint.Close()
	r.wants(r.ask("PUT", "/topics/t/subscriptions/s", "<Subscription><Endpoint>"+endpoint.URL+"</Endpoint></Subscription>"), 201, "")
	r.publish(0, "t", "body", "")
	r.eventually("a try failed", func() bool {
		return r.nodes[0].server.FailedDeliveries()+r.nodes[1].server.FailedDeliveries() > 0
	})
	if reached.Load() != 0 {
		t.Error("the endpoint was reached")
	}
}

// TestQueueEndpointLater has a subscription's queue come into being late.
func TestQueueEndpointLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createTopic("t")
	r.wants(r.ask("PUT", "/topics/t/subscriptions/s", "<Subscription><Endpoint>acs:mns:r:1:queues/late</Endpoint>"+
		"<NotifyStrategy>EXPONENTIAL_DECAY_RETRY</NotifyStrategy><NotifyContentFormat>SIMPLIFIED</NotifyContentFormat></Subscription>"), 201, "")
	r.publish(0, "t", "body", "")
	r.createQueue("late", "")
	if got := r.wants(r.ask("GET", "/queues/late/messages?waitseconds=10", ""), 200, ""); got.text("MessageBody") != "body" {
		t.Errorf("delivered %s", got.body)
	}
}

// TestPublishOnce is about the extension for publishers that repeat themselves.
func TestPublishOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createTopic("t")
	pub := func(node int, names string) *reply {
		return r.askAt(node, "POST", "/topics/t/messages", message("m", "<Once>"+names+"</Once>"))
	}
	r.wants(pub(0, "a,b"), 201, "")
	if got := r.wants(pub(1, "c, b"), 409, "PublishedBefore"); got.text("Before") != "b" {
		t.Errorf("before: %s", got.body)
	}
	r.wants(pub(1, "c"), 201, "")
	r.wants(pub(0, "a b"), 400, "InvalidArgument")
	r.wants(pub(0, strings.Repeat("a,", 1024)+"a"), 400, "InvalidArgument")
	if got := r.ask("GET", "/topics/t", ""); got.text("MessageCount") != "2" {
		t.Errorf("%s messages", got.text("MessageCount"))
	}
}
