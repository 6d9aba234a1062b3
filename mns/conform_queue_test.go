package mns_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

func TestC09CreateQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const body = "<Queue><VisibilityTimeout>20</VisibilityTimeout></Queue>"
	made := r.wants(r.ask("PUT", "/queues/q", body), 201, "")
	if got, want := made.header.Get("Location"), r.nodes[0].url+"/queues/q"; got != want {
		t.Errorf("location %q, want %q", got, want)
	}
	again := r.wants(r.askAt(1, "PUT", "/queues/q", body), 204, "")
	if got, want := again.header.Get("Location"), r.nodes[1].url+"/queues/q"; got != want {
		t.Errorf("location %q, want %q", got, want)
	}
	r.wants(r.ask("PUT", "/queues/q", "<Queue/>"), 409, "QueueAlreadyExist")
	r.wants(r.ask("PUT", "/queues/p", ""), 201, "")
	r.wants(r.ask("PUT", "/queues/p", "<Queue><DelaySeconds>0</DelaySeconds><LoggingEnabled>false</LoggingEnabled></Queue>"), 204, "")
}

func TestC10Ranges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := 0
	for _, c := range []struct {
		name      string
		low, high int
	}{
		{"DelaySeconds", 0, 604800}, {"MaximumMessageSize", 1024, 65536}, {"MessageRetentionPeriod", 60, 1296000},
		{"VisibilityTimeout", 1, 43200}, {"PollingWaitSeconds", 0, 30},
	} {
		for value, ok := range map[int]bool{c.low - 1: false, c.low: true, c.high: true, c.high + 1: false} {
			n++
			got := r.ask("PUT", fmt.Sprintf("/queues/q%d", n), fmt.Sprintf("<Queue><%s>%d</%s></Queue>", c.name, value, c.name))
			if ok != (got.status == 201) || !ok && got.text("Code") != "InvalidArgument" {
				t.Errorf("%s %d: answered %d %s", c.name, value, got.status, got.body)
			}
		}
	}
	for _, body := range []string{
		"<Queue><DelaySeconds>many</DelaySeconds></Queue>", "<Queue><LoggingEnabled>maybe</LoggingEnabled></Queue>",
		"<Queue><DelaySeconds>99999999999999999999</DelaySeconds></Queue>", "<Queue><DelaySeconds><X/></DelaySeconds></Queue>",
		"<Queue><DlqPolicy><MaxReceiveCount>1</MaxReceiveCount></DlqPolicy></Queue>",
		"<Queue><DlqPolicy><DeadLetterTargetQueue>d</DeadLetterTargetQueue><MaxReceiveCount>0</MaxReceiveCount></DlqPolicy></Queue>",
	} {
		r.wants(r.ask("PUT", "/queues/bad", body), 400, "InvalidArgument")
	}
	for name, code := range map[string]string{
		"1234": "", "a-b-": "", "5f2c": "", strings.Repeat("q", 256): "",
		"-a": "InvalidQueueName", "a_b": "InvalidQueueName", "a.b": "InvalidQueueName", "%E4%B8%AD": "InvalidQueueName",
		strings.Repeat("q", 257): "QueueNameLengthError", "_deliveries": "InvalidQueueName",
	} {
		if got := r.ask("PUT", "/queues/"+name, "<Queue/>"); (code == "") != (got.status == 201) || got.text("Code") != code {
			t.Errorf("name %q: answered %d %s", name, got.status, got.body)
		}
	}
}

func TestC11QueueAttributes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	start := time.Now().Unix()
	r.createQueue("q", "<DelaySeconds>1</DelaySeconds><LoggingEnabled>TRUE</LoggingEnabled>")
	got := r.wants(r.ask("GET", "/queues/q", ""), 200, "")
	for name, want := range map[string]string{
		"QueueName": "q", "DelaySeconds": "1", "MaximumMessageSize": "65536", "MessageRetentionPeriod": "345600",
		"PollingWaitSeconds": "0", "VisibilityTimeout": "30", "ActiveMessages": "0", "InactiveMessages": "0",
		"DelayMessages": "0", "LoggingEnabled": "True",
	} {
		if got.text(name) != want {
			t.Errorf("%s is %q, want %q", name, got.text(name), want)
		}
	}
	if len(got.node.Children) != 12 {
		t.Errorf("%d attributes", len(got.node.Children))
	}
	made := got.millis("CreateTime")
	if made < start-1 || made > time.Now().Unix()+1 || got.millis("LastModifyTime") != made {
		t.Errorf("created %d, modified %d, now %d", made, got.millis("LastModifyTime"), start)
	}
	r.eventually("modified a second later", func() bool {
		r.wants(r.ask("PUT", "/queues/q?metaoverride=true", "<Queue><VisibilityTimeout>77</VisibilityTimeout></Queue>"), 204, "")
		got = r.wants(r.ask("GET", "/queues/q", ""), 200, "")
		return got.millis("LastModifyTime") > made
	})
	if got.text("VisibilityTimeout") != "77" || got.text("DelaySeconds") != "1" || got.text("LoggingEnabled") != "True" {
		t.Errorf("after a change: %s", got.body)
	}
	r.wants(r.ask("PUT", "/queues/none?metaoverride=true", "<Queue/>"), 404, "QueueNotExist")
	r.wants(r.ask("GET", "/queues/none", ""), 404, "QueueNotExist")
}

func TestC12ListQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const total = 2500
	var workers sync.WaitGroup
	for w := range 16 {
		workers.Go(func() {
			for i := w; i < total; i += 16 {
				if err := r.nodes[i%2].client.CreateQueue(t.Context(), chat.QueueName(fmt.Sprintf("room-%04d", i)), chat.QueueChange{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	r.createQueue("another", "")
	var names []string
	marker, pages := "", 0
	for {
		got := r.wants(r.ask("GET", "/queues", "", header("x-mns-prefix", "room-"), header("x-mns-marker", marker)), 200, "")
		pages++
		for _, q := range got.node.Children {
			if q.Name == "Queue" {
				url := q.Child("QueueURL").Text
				names = append(names, url[strings.LastIndexByte(url, '/')+1:])
			}
		}
		if marker = got.text("NextMarker"); marker == "" {
			break
		}
	}
	if len(names) != total || pages != 3 || !slices.IsSorted(names) || len(slices.Compact(names)) != total {
		t.Errorf("listed %d names on %d pages", len(names), pages)
	}
	some := r.wants(r.ask("GET", "/queues", "", header("x-mns-ret-number", "2"), header("x-mns-with-meta", "True")), 200, "")
	if len(some.node.Children) != 3 || some.text("NextMarker") == "" {
		t.Errorf("a page of 2: %s", some.body)
	}
	if q := some.node.Child("Queue"); q.Child("VisibilityTimeout") == nil || q.Child("QueueURL") == nil {
		t.Errorf("with attributes: %s", some.body)
	}
	none := r.wants(r.ask("GET", "/queues", "", header("x-mns-prefix", "zz")), 200, "")
	if len(none.node.Children) != 0 {
		t.Errorf("nothing: %s", none.body)
	}
	for _, bad := range []string{"0", "1001", "x"} {
		r.wants(r.ask("GET", "/queues", "", header("x-mns-ret-number", bad)), 400, "InvalidArgument")
	}
}

func TestC13DeleteQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.wants(r.ask("DELETE", "/queues/q", ""), 204, "")
	r.createQueue("q", "")
	r.send("q", "m", "")
	r.wants(r.ask("DELETE", "/queues/q", ""), 204, "")
	r.wants(r.ask("DELETE", "/queues/q", ""), 204, "")
	for _, c := range []struct{ method, target, body string }{
		{"GET", "/queues/q", ""}, {"POST", "/queues/q/messages", message("m", "")}, {"GET", "/queues/q/messages", ""},
		{"GET", "/queues/q/messages?peekonly=true", ""}, {"GET", "/queues/q/messages?waitseconds=5", ""},
		{"DELETE", "/queues/q/messages?ReceiptHandle=1-a-1-1-1", ""},
		{"PUT", "/queues/q/messages?ReceiptHandle=1-a-1-1-1&VisibilityTimeout=5", ""},
		{"DELETE", "/queues/q/messages", "<ReceiptHandles><ReceiptHandle>x</ReceiptHandle></ReceiptHandles>"},
	} {
		r.wants(r.ask(c.method, c.target, c.body), 404, "QueueNotExist")
	}
	r.createQueue("q", "")
	r.empty("q")
	r.counts("q", "0 0 0")
}

// TestDeadLetters is about an attribute that newer clients send.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("dead", "")
	r.createQueue("q", "<VisibilityTimeout>1</VisibilityTimeout><DlqPolicy><Enabled>true</Enabled>"+
		"<DeadLetterTargetQueue>dead</DeadLetterTargetQueue><MaxReceiveCount>1</MaxReceiveCount></DlqPolicy>")
	id := r.send("q", "m", "").text("MessageId")
	r.receive("q")
	r.wants(r.askAt(1, "GET", "/queues/q/messages?waitseconds=2", ""), 404, "MessageNotExist")
	got := r.wants(r.ask("GET", "/queues/dead/messages?waitseconds=5", ""), 200, "")
	if got.text("MessageBody") != "m" || got.text("DequeueCount") != "1" || got.text("MessageId") != id {
		t.Errorf("dead letter %s", got.body)
	}
	r.eventually("buried", func() bool {
		q, err := r.nodes[0].store.Queue(t.Context(), "q")
		return err == nil && q.Dead == 0
	})
	r.wants(r.ask("PUT", "/queues/x", "<Queue><DlqPolicy><DeadLetterTargetQueue>x</DeadLetterTargetQueue></DlqPolicy></Queue>"), 400, "InvalidArgument")
	if got := r.wants(r.ask("GET", "/queues/q", ""), 200, ""); !strings.Contains(got.body, "<DlqPolicy><Enabled>True</Enabled>") {
		t.Errorf("policy: %s", got.body)
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	for i := range 3 {
		r.send("q", strconv.Itoa(i), "")
	}
	r.receive("q")
	r.wants(r.ask("DELETE", "/queues/q/messages?purge=true", ""), 204, "")
	r.counts("q", "0 0 0")
}
