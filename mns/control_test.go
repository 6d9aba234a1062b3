package mns

import (
	"strings"
	"testing"

	"github.com/faac1247/rollcall/mns/chat"
)

// FuzzControl: no text makes the reader of control messages panic, and what it
// lets through is within its bounds.
func FuzzControl(f *testing.F) {
	f.Add([]byte(`{"type":"SUBSCRIBE","accountId":"1","accessId":"ak","topic":"t","subscription":"s","date":"d","authorization":"MNS ak:x\u003d","tags":["a"]}`))
	f.Add([]byte(`{"type":"UNSUBSCRIBE","topic":"t","subscription":"s","tags":null}`))
	f.Add([]byte(`{"type":1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := decodeControl(text, 16)
		if err != nil {
			return
		}
		if m.Type != controlSubscribe && m.Type != controlUnsubscribe || chat.TopicName(m.Topic).Check() != nil || len(m.Tags) > maxTags {
			t.Errorf("%q was read as %+v", text, m)
		}
	})
}

// FuzzRoute: no target makes the router panic, and what it finds has names.
func FuzzRoute(f *testing.F) {
	f.Add("GET", "/queues/q/messages?peekonly=true&numOfMessages=3")
	f.Add("PUT", "//topics/t/subscriptions/s?metaoverride=true")
	f.Add("DELETE", "/queues/%71/messages?ReceiptHandle=%zz")
	f.Fuzz(func(t *testing.T, method, target string) {
		path, raw, _ := strings.Cut(target, "?")
		q, err := parseQuery(raw)
		if err != nil {
			return
		}
		op, n, err := route(method, path, q)
		if err != nil {
			return
		}
		if op.serve == nil || n.queue != "" && n.queue.Check() != nil || n.topic != "" && n.topic.Check() != nil {
			t.Errorf("%s %q leads to %s of %+v", method, target, op.name, n)
		}
	})
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	k, err := ParseKey("id:secret:send+receive@queues/room-;all@topics/")
	if err != nil || k.ID != "id" || k.Secret != "secret" || len(k.Grants) != 2 {
		t.Fatalf("%+v, %v", k, err)
	}
	for _, c := range []struct {
		right Right
		t     target
		want  bool
	}{
		{RightSend, target{name: "room-1"}, true}, {RightManage, target{name: "room-1"}, false}, {RightSend, target{name: "other"}, false},
		{RightManage, target{topics: true, name: "any"}, true}, {RightSend, target{}, false},
	} {
		if got := k.may(c.right, c.t); got != c.want {
			t.Errorf("%d on %+v: %v", c.right, c.t, got)
		}
	}
	if k.mayList(false, "") || !k.mayList(true, "") || k.mayList(false, "room-1") {
		t.Error("rights to list")
	}
	for _, text := range []string{"", "id", ":secret", "id:", "id:s:fly@queues/", "id:s:send", "id:s:send@rooms/x", "a b:s"} {
		if k, err := ParseKey(text); err == nil {
			t.Errorf("%q was read as %+v", text, k)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	err := Config{Keys: []Key{{ID: "a"}, {ID: "a", Secret: "s"}}, MaxTag: 3, MaxWaiting: -1}.Validate()
	if err == nil {
		t.Fatal("no fault was found")
	}
	for _, want := range []string{"no store", "secret is empty", "there twice", "tags of 3", "limit is negative"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}
