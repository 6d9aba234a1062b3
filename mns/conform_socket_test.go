package mns_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/mnsclient"
	"github.com/faac1247/rollcall/mns/sign"
)

// short makes the timeouts of websockets short. The real ones are seen in
// virtual time, see TestSocketTimeouts.
func short(c *mns.Config) {
	c.Push.FirstTimeout, c.Push.IdleTimeout = 400*time.Millisecond, time.Second
}

func TestC35NoControlMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t, short)
	s := r.dial(0)
	start := time.Now()
	s.closed(4001, 5*time.Second)
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("closed after %v", took)
	}
}

func TestC36Subscribe(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("room")
	s := r.dial(0)
	s.subscribe("room", "room")
	for _, body := range []string{`{"type":1,"data":{},"time":2}`, "弹幕 <>&", strings.Repeat("x", 126), strings.Repeat("y", 65536)} {
		r.publish(0, "room", body, "")
		s.expect(body)
	}
	s.silent(50 * time.Millisecond)
	// A binary message is ignored.
	s.write(2, []byte("x"))
	s.ping("still there")
}

func TestC37Refused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("room")
	r.createQueue("q", "")
	r.wants(r.ask("PUT", "/topics/room/subscriptions/queue", "<Subscription><Endpoint>acs:mns:r:1:queues/q</Endpoint></Subscription>"), 201, "")
	old := func(d time.Duration) controlMessage {
		m := controlFor("SUBSCRIBE", "room", "room")
		m.Date = time.Now().Add(d).UTC().Format(http.TimeFormat)
		m.Authorization = sign.Header(keyID, sign.Subscribe(secret, m.Date, "room", "room"))
		return m
	}
	with := func(change func(*controlMessage)) controlMessage {
		m := controlFor("SUBSCRIBE", "room", "room")
		change(&m)
		return m
	}
	limited := with(func(m *controlMessage) {
		m.AccessID = "limited"
		m.Authorization = sign.Header("limited", sign.Subscribe("lsk", m.Date, "room", "room"))
	})
	for name, c := range map[string]struct {
		message controlMessage
		code    uint16
		reason  string
	}{
		"signature":    {with(func(m *controlMessage) { m.Authorization = "MNS ak:wrong" }), 4403, "SignatureDoesNotMatch"},
		"key":          {with(func(m *controlMessage) { m.AccessID, m.Authorization = "", "MNS nobody:x" }), 4403, "InvalidAccessKeyId"},
		"rights":       {limited, 4403, "AccessDenied"},
		"other topic":  {with(func(m *controlMessage) { m.Topic = "other" }), 4403, "SignatureDoesNotMatch"},
		"old":          {old(-16 * time.Minute), 4408, "TimeExpired"},
		"future":       {old(16 * time.Minute), 4408, "TimeExpired"},
		"date":         {with(func(m *controlMessage) { m.Date = "today" }), 4400, "InvalidDateHeader"},
		"topic":        {controlFor("SUBSCRIBE", "none", "room"), 4404, "TopicNotExist"},
		"subscription": {controlFor("SUBSCRIBE", "room", "none"), 4404, "SubscriptionNotExist"},
		"endpoint":     {controlFor("SUBSCRIBE", "room", "queue"), 4409, "EndpointInvalid"},
		"type":         {with(func(m *controlMessage) { m.Type = "HELLO" }), 4400, "InvalidArgument: type"},
	} {
		s := r.dial(0)
		s.control(c.message)
		if reason := s.closed(c.code, 5*time.Second); reason != c.reason {
			t.Errorf("%s: closed for %q, want %q", name, reason, c.reason)
		}
	}
	s := r.dial(0)
	s.write(opText, []byte("{"))
	if reason := s.closed(4400, 5*time.Second); reason != "MalformedJSON" {
		t.Errorf("no JSON: closed for %q", reason)
	}
	bare := r.dial(0)
	bare.control(with(func(m *controlMessage) { m.Authorization = strings.TrimPrefix(m.Authorization, "MNS ak:") }))
	bare.ping("accepted?")
	r.publish(0, "room", "m", "")
	bare.expect("m")
}

func TestC38Tags(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("room")
	all, onlyA, personal := r.dial(0), r.dial(0), r.dial(1)
	all.subscribe("room", "room")
	onlyA.subscribe("room", "room", "a")
	personal.subscribe("room", "room", "room", "room_7")
	r.publish(0, "room", "untagged", "")
	r.publish(0, "room", "for a", tagged("a"))
	r.publish(0, "room", "for 7", tagged("room_7"))
	r.publish(0, "room", "for 77", tagged("room_77"))
	r.publish(0, "room", "for the room", tagged("room"))
	for _, body := range []string{"untagged", "for a", "for 7", "for 77", "for the room"} {
		all.expect(body)
	}
	onlyA.expect("for a")
	personal.expect("for 7")
	personal.expect("for the room")
	// A new control message replaces the tags.
	onlyA.subscribe("room", "room", "b")
	r.publish(1, "room", "for a", tagged("a"))
	r.publish(1, "room", "for b", tagged("b"))
	onlyA.expect("for b")
	// A subscription's own filter applies too, and follows its changes.
	r.wants(r.ask("PUT", "/topics/room/subscriptions/filtered",
		"<Subscription><Endpoint>websocket</Endpoint><FilterTag>a</FilterTag></Subscription>"), 201, "")
	filtered := r.dial(1)
	filtered.subscribe("room", "filtered")
	r.publish(0, "room", "b", tagged("b"))
	r.publish(0, "room", "a", tagged("a"))
	filtered.expect("a")
	personal.ping("nothing else has come")
	r.wants(r.ask("PUT", "/topics/room/subscriptions/filtered?metaoverride=true", "<Subscription><FilterTag>b</FilterTag></Subscription>"), 204, "")
	r.eventually("the filter has changed", func() bool {
		r.publish(0, "room", "b", tagged("b"))
		_, body, err := filtered.read(50 * time.Millisecond)
		return err == nil && string(body) == "b"
	})
}

func TestC39SeveralTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("a")
	r.room("b")
	r.wants(r.ask("PUT", "/topics/a/subscriptions/second", "<Subscription><Endpoint>websocket</Endpoint></Subscription>"), 201, "")
	s := r.dial(0)
	s.subscribe("a", "a")
	s.subscribe("a", "second")
	s.subscribe("b", "b")
	r.publish(0, "a", "from a", "")
	s.expect("from a") // once, though subscribed twice
	r.publish(1, "b", "from b", "")
	s.expect("from b")
	for _, name := range []string{"a", "second"} {
		s.control(controlFor("UNSUBSCRIBE", "a", name))
	}
	s.ping("unsubscribed?")
	r.publish(0, "a", "no more", "")
	r.publish(0, "b", "still", "")
	s.expect("still")
}

func TestC40Keepalive(t *testing.T) {
	t.Parallel()
	r := newRig(t, short)
	r.room("room")
	for _, payload := range []string{"", "id-1", strings.Repeat("p", 125)} {
		s := r.dial(0)
		s.ping(payload)
	}
	silent := r.dial(0)
	silent.subscribe("room", "room")
	start := time.Now()
	silent.closed(4002, 5*time.Second)
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("closed after %v of silence", took)
	}
	pinging := r.dial(0)
	pinging.subscribe("room", "room")
	for range 6 {
		<-time.After(400 * time.Millisecond)
		pinging.ping("x")
	}
}

func TestC41SlowReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *mns.Config) { c.Push.MaxFrames, c.Push.MaxBytes = 64, 1<<20 })
	r.room("room")
	slow, quick := r.dial(0), r.dial(0)
	_ = slow.conn.(*net.TCPConn).SetReadBuffer(256 << 10)
	slow.subscribe("room", "room")
	quick.subscribe("room", "room")
	read := make(chan struct{})
	const total = 1200
	go func() {
		defer close(read)
		for range total {
			if _, _, err := quick.read(10 * time.Second); err != nil {
				t.Errorf("the quick reader: %v", err)
				return
			}
		}
	}()
	filler := strings.Repeat("x", 8<<10)
	var slowest time.Duration
	for i := range total {
		level := 5 + i%12
		if i%100 == 0 {
			level = 1 // kept
		}
		got := r.publish(0, "room", fmt.Sprintf("%d/%d/%s", level, i, filler), important(level))
		slowest = max(slowest, got.took)
	}
	<-read
	if slowest > 2*time.Second {
		t.Errorf("a publish took %v", slowest)
	}
	// What the slow one missed is of little importance, and nothing is out of
	// order within one importance.
	last, got := map[int]int{}, map[int]int{}
	for {
		op, payload, err := slow.read(time.Second)
		if err != nil {
			break
		}
		if op != opText {
			t.Fatalf("the slow reader got frame %d %q", op, payload)
		}
		var level, i int
		_, _ = fmt.Sscanf(string(payload), "%d/%d/", &level, &i)
		if previous, ok := last[level]; ok && i <= previous {
			t.Errorf("importance %d: %d came after %d", level, i, previous)
		}
		last[level] = i
		got[level]++
	}
	if got[1] != total/100 {
		t.Errorf("of %d kept ones it got %d", total/100, got[1])
	}
	if got[16] >= got[5] {
		t.Errorf("of the least important it got %d, of the more important %d", got[16], got[5])
	}
}

// TestTooSlow has a client not read what must be kept.
func TestTooSlow(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *mns.Config) { c.Push.MaxFrames, c.Push.StallTimeout = 64, 2*time.Second })
	r.room("room")
	s := r.dial(0)
	_ = s.conn.(*net.TCPConn).SetReadBuffer(256 << 10)
	s.subscribe("room", "room")
	filler := strings.Repeat("x", 32<<10)
	for range 400 {
		r.publish(0, "room", filler, important(4))
	}
	var err error
	code := 0
	for {
		var op byte
		var payload []byte
		if op, payload, err = s.read(5 * time.Second); err != nil {
			break
		}
		if op == opClose {
			code = int(payload[0])<<8 | int(payload[1])
		}
	}
	if code != 4008 || err != io.EOF {
		t.Errorf("closed with %d, %v", code, err)
	}
}

func TestC42Nodes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("room")
	here, there := r.dial(0), r.dial(1)
	here.subscribe("room", "room")
	there.subscribe("room", "room")
	for node := range 2 {
		body := fmt.Sprintf("from %d", node)
		r.publish(node, "room", body, "")
		here.expect(body)
		there.expect(body)
	}
	r.nodes[1].stop()
	there.closed(1001, 5*time.Second)
	again := r.dial(0)
	again.subscribe("room", "room")
	r.publish(0, "room", "back", "")
	here.expect("back")
	again.expect("back")
}

func TestC43EndToEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const room, viewers, lines = "10086", 20, 48
	backend, worker := r.nodes[0].client, r.nodes[1].client
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(backend.CreateQueue(ctx, room, chat.QueueChange{}))
	check(backend.CreateTopic(ctx, room))
	check(backend.Subscribe(ctx, room, chat.Subscription{Name: room, Endpoint: "websocket"}))
	var sockets []*socket
	for i := range viewers {
		s := r.dial(i % 2)
		s.subscribe(room, room)
		sockets = append(sockets, s)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for done := 0; done < lines; {
			messages, err := worker.Receive(ctx, room, 16, 30*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			var handles []string
			for _, m := range messages {
				if _, err := worker.Publish(ctx, room, mnsclient.Publication{Body: m.Body, Importance: chat.Importance(m.Priority)}); err != nil {
					t.Error(err)
				}
				handles = append(handles, m.Handle)
			}
			if failed, err := worker.Delete(ctx, room, handles); err != nil || len(failed) > 0 {
				t.Error(failed, err)
			}
			done += len(messages)
		}
	})
	for i := range lines {
		_, err := backend.Send(ctx, room, mnsclient.Outgoing{Body: fmt.Sprintf("line %d", i), Priority: chat.Priority(i%16 + 1)})
		check(err)
	}
	running.Wait()
	for _, s := range sockets {
		seen := map[string]bool{}
		for range lines {
			op, body, err := s.read(5 * time.Second)
			if err != nil || op != opText || seen[string(body)] {
				t.Fatalf("a viewer got %d %q, %v", op, body, err)
			}
			seen[string(body)] = true
		}
		_ = s.conn.Close()
	}
	check(backend.DeleteQueue(ctx, room))
	check(backend.DeleteTopic(ctx, room))
	r.eventually("the viewers are gone", func() bool {
		return r.nodes[0].server.Websockets()+r.nodes[1].server.Websockets() == 0
	})
	if left := r.keys(); len(left) > 0 {
		t.Errorf("left in the store: %v", left)
	}
}

// TestTopicGone deletes under live subscriptions.
func TestTopicGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("a")
	r.room("b")
	both, one := r.dial(0), r.dial(1)
	both.subscribe("a", "a")
	both.subscribe("b", "b")
	one.subscribe("a", "a")
	r.wants(r.ask("DELETE", "/topics/a", ""), 204, "")
	one.closed(4003, 5*time.Second)
	r.publish(0, "b", "still", "")
	both.expect("still")
	r.wants(r.ask("DELETE", "/topics/b/subscriptions/b", ""), 204, "")
	both.closed(4003, 5*time.Second)
}

// TestAcks is about clients that want to be told.
func TestAcks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("room")
	s := r.dial(0, "Sec-WebSocket-Protocol: chat, mns.ack.v1")
	told := func(parts ...string) {
		t.Helper()
		op, text, err := s.read(5 * time.Second)
		if err != nil || op != opText || !strings.HasPrefix(string(text), `{"mns":{`) {
			t.Fatalf("told %d %q, %v", op, text, err)
		}
		for _, p := range parts {
			if !strings.Contains(string(text), p) {
				t.Errorf("told %s, without %s", text, p)
			}
		}
	}
	s.control(controlFor("SUBSCRIBE", "room", "room"))
	told(`"event":"SUBSCRIBED"`, `"topic":"room"`)
	s.control(controlFor("SUBSCRIBE", "none", "none"))
	told(`"event":"ERROR"`, `"code":"TopicNotExist"`, `"status":404`)
	r.publish(0, "room", "m", "")
	s.expect("m")
	s.control(controlFor("UNSUBSCRIBE", "room", "room"))
	told(`"event":"UNSUBSCRIBED"`)
	s.control(controlFor("SUBSCRIBE", "none", "none"))
	told(`"event":"ERROR"`)
	s.closed(4404, 5*time.Second)
}

// TestEnvelopes is about websocket subscriptions that ask for one.
func TestEnvelopes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createTopic("t")
	for _, format := range []string{"JSON", "XML"} {
		r.wants(r.ask("PUT", "/topics/t/subscriptions/"+format,
			"<Subscription><Endpoint>websocket</Endpoint><NotifyContentFormat>"+format+"</NotifyContentFormat></Subscription>"), 201, "")
		s := r.dial(0)
		s.subscribe("t", format)
		r.publish(1, "t", "m", "")
		_, text, err := s.read(5 * time.Second)
		if err != nil || !strings.Contains(string(text), "SubscriptionName") || !strings.Contains(string(text), format) {
			t.Errorf("%s: %q, %v", format, text, err)
		}
	}
}

// TestHostileFrame sends the 14 bytes that panic the library's reader.
func TestHostileFrame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("room")
	s, other := r.dial(0), r.dial(0)
	other.subscribe("room", "room")
	_, _ = s.conn.Write([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})
	_ = s.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadAll(s.in); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection is still there: %v", err)
	}
	large := r.dial(0)
	large.write(opText, []byte(strings.Repeat("x", 20<<10)))
	large.closed(1009, 5*time.Second)
	r.publish(0, "room", "m", "")
	other.expect("m")
}

// TestSocketOnly is about requests to the websocket's path that are none.
func TestSocketOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *mns.Config) { c.Push.MaxConns = 1 })
	r.wants(r.ask("GET", "/mns", ""), 400, "InvalidRequestURL")
	r.dial(0)
	r.wants(r.ask("GET", "/mns", "", header("Upgrade", "websocket"), header("Connection", "Upgrade"), header("Sec-WebSocket-Version", "13")), 503, "")
}
