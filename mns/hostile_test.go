package mns_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/memory"
)

// TestSubscriptionLimit provokes the one code that no other test does.
func TestSubscriptionLimit(t *testing.T) {
	bubble(t, func(t *testing.T, s *mns.Server, _ *memory.Node) {
		serve(t, s, "PUT", "/topics/t", "<Topic/>")
		subscribe := func(i int) *reply {
			return serve(t, s, "PUT", fmt.Sprintf("/topics/t/subscriptions/s%d", i), "<Subscription><Endpoint>websocket</Endpoint></Subscription>")
		}
		for i := range chat.MaxSubscriptions {
			if got := subscribe(i); got.status != 201 {
				t.Fatalf("subscription %d: %d %s", i, got.status, got.body)
			}
		}
		if got := subscribe(chat.MaxSubscriptions); got.status != 400 || got.text("Code") != "QpsLimitExceeded" {
			t.Errorf("one too many: %d %s", got.status, got.body)
		}
		if got := subscribe(0); got.status != 204 {
			t.Errorf("one that is there: %d %s", got.status, got.body)
		}
	})
}

// TestForeignHandles uses handles where they were not given out: at another
// queue, and at one of the same name made since.
func TestForeignHandles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("a", "")
	r.createQueue("b", "")
	r.send("a", "m", "")
	r.send("b", "m", "")
	ofA, ofB := r.receive("a").text("ReceiptHandle"), r.receive("b").text("ReceiptHandle")
	refused := func(q, handle string) {
		t.Helper()
		for _, request := range [][2]string{
			{"DELETE", "/queues/" + q + "/messages?ReceiptHandle=" + handle},
			{"PUT", "/queues/" + q + "/messages?VisibilityTimeout=60&ReceiptHandle=" + handle},
		} {
			r.wants(r.askAt(1, request[0], request[1], ""), 404, "MessageNotExist")
		}
	}
	refused("b", ofA)
	refused("a", ofB)
	r.counts("a", "0 1 0")
	r.counts("b", "0 1 0")

	r.wants(r.ask("DELETE", "/queues/a", ""), 204, "")
	r.createQueue("a", "")
	r.send("a", "m", "")
	r.receive("a")
	refused("a", ofA)
	r.counts("a", "0 1 0")
}

// TestWrongControls sends what no client of the document would as the first
// message: the connection is closed with a word for it.
func TestWrongControls(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.room("room")
	good, err := json.Marshal(controlFor("SUBSCRIBE", "room", "room"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "null", "[]", "7", `"SUBSCRIBE"`, "{}", `{"type":1}`, `{"type":"subscribe"}`, `{"type":"SUBSCRIBE","topic":["room"]}`,
		`{"type":"SUBSCRIBE","topic":"../room","subscription":"room"}`, `{"type":"SUBSCRIBE","topic":"room","subscription":"room","tags":"a"}`,
		string(good) + "{}", string(good[:len(good)-1]),
	} {
		s := r.dial(0)
		s.write(opText, []byte(text))
		op, got, err := s.read(5 * time.Second)
		if err != nil || op != opClose || len(got) <= 2 || int(got[0])<<8|int(got[1]) != 4400 {
			t.Errorf("%q: read frame %d %q, %v, want close 4400", text, op, got, err)
		}
	}
}

// TestNeverAuthenticate opens 1,000 websockets that say nothing, or only ping:
// all are closed 10 s later, and a viewer among them is served throughout.
func TestNeverAuthenticate(t *testing.T) {
	bubble(t, func(t *testing.T, s *mns.Server, _ *memory.Node) {
		serve(t, s, "PUT", "/topics/t", "<Topic/>")
		serve(t, s, "PUT", "/topics/t/subscriptions/s", "<Subscription><Endpoint>websocket</Endpoint></Subscription>")
		start := time.Now()
		idle := make([]*socket, 1000)
		for i := range idle {
			idle[i] = dialBubble(t, s)
		}
		viewer := dialBubble(t, s)
		viewer.subscribe("t", "s")
		time.Sleep(9 * time.Second)
		for i := 0; i < len(idle); i += 2 {
			idle[i].ping("still here")
		}
		for i, silent := range idle {
			if op, got, err := silent.read(time.Minute); err != nil || op != opClose || int(got[0])<<8|int(got[1]) != 4001 {
				t.Fatalf("socket %d: read frame %d %q, %v, want close 4001", i, op, got, err)
			}
		}
		if took := time.Since(start); took < 10*time.Second || took > 10*time.Second+500*time.Millisecond {
			t.Errorf("the last was closed after %v", took)
		}
		serve(t, s, "POST", "/topics/t/messages", message("m", ""))
		viewer.expect("m")
	})
}
