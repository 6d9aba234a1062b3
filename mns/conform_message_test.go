package mns_test

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

func TestC14Send(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	for _, body := range []string{
		"a", "中文弹幕 😀", `<>&"'`, "line\r\nnext\rlast\n", "]]>", "&amp;", " space ", "1+1=2%20",
		base64.StdEncoding.EncodeToString([]byte("base64 stays base64")), strings.Repeat("x", 65536),
	} {
		sent := r.send("q", body, "")
		sum := fmt.Sprintf("%X", md5.Sum([]byte(body)))
		if sent.text("MessageBodyMD5") != sum || sent.text("MessageId") == "" || sent.text("ReceiptHandle") != "" {
			t.Errorf("sent %.20q: %s", body, sent.body)
		}
		got := r.receive("q")
		if got.text("MessageBody") != body || got.text("MessageBodyMD5") != sum || got.text("MessageId") != sent.text("MessageId") {
			t.Errorf("%.20q came back as %.400s", body, got.body)
		}
	}
	// Raw, as senders do that do not escape.
	r.wants(r.ask("POST", "/queues/q/messages", "<Message><MessageBody>a\r\nb</MessageBody></Message>"), 201, "")
	if got := r.receive("q"); got.text("MessageBody") != "a\r\nb" || !strings.Contains(got.body, "a&#13;\nb") {
		t.Errorf("raw line end: %s", got.body)
	}
	for name, body := range map[string]string{
		"too large": message(strings.Repeat("x", 65537), ""), "empty": "<Message><MessageBody/></Message>",
		"none": "<Message/>", "elements": "<Message><MessageBody><b>x</b></MessageBody></Message>",
	} {
		if got := r.ask("POST", "/queues/q/messages", body); got.status != 400 || got.text("Code") != "InvalidArgument" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	r.createQueue("small", "<MaximumMessageSize>1024</MaximumMessageSize>")
	r.send("small", strings.Repeat("é", 512), "")
	r.wants(r.ask("POST", "/queues/small/messages", message(strings.Repeat("é", 513), "")), 400, "InvalidArgument")
	properties := "<UserProperties><PropertyValue><Name>k</Name><Value>&lt;v&gt;</Value><Type>STRING</Type></PropertyValue></UserProperties>"
	r.send("small", "p", properties+"<MessageGroupId>g</MessageGroupId>")
	r.receive("small")
	if got := r.receive("small"); !strings.Contains(got.body, properties) || got.text("MessageGroupId") != "g" {
		t.Errorf("properties: %s", got.body)
	}
}

func TestC15Receive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "<VisibilityTimeout>1</VisibilityTimeout>")
	r.send("q", "m", "")
	before := time.Now().UnixMilli()
	first := r.receive("q")
	for _, name := range []string{
		"MessageId", "ReceiptHandle", "MessageBody", "MessageBodyMD5", "EnqueueTime", "NextVisibleTime", "FirstDequeueTime",
		"DequeueCount", "Priority",
	} {
		if first.text(name) == "" {
			t.Errorf("no %s: %s", name, first.body)
		}
	}
	visible := first.millis("NextVisibleTime")
	if visible < before+990 || visible > time.Now().UnixMilli()+1010 || first.text("DequeueCount") != "1" ||
		first.millis("EnqueueTime") > first.millis("FirstDequeueTime") {
		t.Errorf("at %d received %s", before, first.body)
	}
	if h := first.text("ReceiptHandle"); strings.Trim(h, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" {
		t.Errorf("handle %q", h)
	}
	r.empty("q")
	second := r.wants(r.askAt(1, "GET", "/queues/q/messages?waitseconds=3", ""), 200, "")
	if second.text("DequeueCount") != "2" || second.text("ReceiptHandle") == first.text("ReceiptHandle") ||
		second.text("FirstDequeueTime") != first.text("FirstDequeueTime") || second.text("EnqueueTime") != first.text("EnqueueTime") {
		t.Errorf("again: %s", second.body)
	}
	r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle="+first.text("ReceiptHandle"), ""), 404, "MessageNotExist")
	r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle=garbage", ""), 400, "ReceiptHandleError")
}

func TestC16Delete(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	r.send("q", "m", "")
	h := r.receive("q").text("ReceiptHandle")
	r.wants(r.askAt(1, "DELETE", "/queues/q/messages?receiptHandle="+h, ""), 204, "")
	r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle="+h, ""), 404, "MessageNotExist")
	r.wants(r.ask("DELETE", "/queues/q/messages", ""), 400, "MissingReceiptHandle")
	r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle=", ""), 400, "MissingReceiptHandle")
	r.counts("q", "0 0 0")
}

func TestC17ChangeVisibility(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	r.send("q", "m", "")
	old := r.receive("q").text("ReceiptHandle")
	target := func(h, seconds string) string {
		return "/queues/q/messages?ReceiptHandle=" + h + "&VisibilityTimeout=" + seconds
	}
	before := time.Now().UnixMilli()
	got := r.wants(r.ask("PUT", target(old, "60"), ""), 200, "")
	fresh := got.text("ReceiptHandle")
	if v := got.millis("NextVisibleTime"); v < before+59990 || v > time.Now().UnixMilli()+60010 || fresh == old || got.node.Name != "ChangeVisibility" {
		t.Errorf("at %d: %s", before, got.body)
	}
	r.wants(r.ask("PUT", target(old, "60"), ""), 404, "MessageNotExist")
	r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle="+old, ""), 404, "MessageNotExist")
	for _, bad := range []string{"0", "43201", "-1"} {
		r.wants(r.ask("PUT", target(fresh, bad), ""), 400, "InvalidArgument")
	}
	r.wants(r.ask("PUT", "/queues/q/messages?ReceiptHandle="+fresh, ""), 400, "MissingVisibilityTimeout")
	r.wants(r.ask("PUT", "/queues/q/messages?VisibilityTimeout=5", ""), 400, "MissingReceiptHandle")
	r.wants(r.ask("PUT", target("x", "5"), ""), 400, "ReceiptHandleError")
	r.wants(r.ask("PUT", target(fresh, "43200"), ""), 200, "")
}

func TestC18Peek(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "<PollingWaitSeconds>20</PollingWaitSeconds>")
	if got := r.wants(r.ask("GET", "/queues/q/messages?peekonly=true", ""), 404, "MessageNotExist"); got.took > 2*time.Second {
		t.Errorf("looking waited for %v", got.took)
	}
	r.send("q", "a", "")
	r.send("q", "b", "")
	for range 2 {
		got := r.wants(r.ask("GET", "/queues/q/messages?peekonly=true", ""), 200, "")
		if got.text("MessageBody") != "a" || got.node.Child("ReceiptHandle") != nil || got.node.Child("NextVisibleTime") != nil ||
			got.text("FirstDequeueTime") != got.text("EnqueueTime") || got.text("DequeueCount") != "0" {
			t.Errorf("looked at %s", got.body)
		}
	}
	all := r.wants(r.ask("GET", "/queues/q/messages?peekonly=true&numOfMessages=16", ""), 200, "")
	if len(all.node.Children) != 2 || all.node.Name != "Messages" {
		t.Errorf("looked at %s", all.body)
	}
	r.counts("q", "2 0 0")
}

func TestC19Priorities(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "<VisibilityTimeout>1</VisibilityTimeout>")
	for p := 16; p >= 1; p-- {
		for i := range 2 {
			r.send("q", fmt.Sprintf("%d.%d", p, i), fmt.Sprintf("<Priority>%d</Priority>", p))
		}
	}
	first := r.receive("q")
	if first.text("MessageBody") != "1.0" || first.text("Priority") != "1" {
		t.Fatalf("first %s", first.body)
	}
	r.eventually("it comes back", func() bool { return r.ask("GET", "/queues/q", "").text("ActiveMessages") == "32" })
	var got []string
	for range 2 {
		batch := r.wants(r.ask("GET", "/queues/q/messages?numOfMessages=16", ""), 200, "")
		for i := range batch.node.Children {
			got = append(got, batch.node.Children[i].Child("MessageBody").Text)
		}
	}
	for i, body := range got {
		if want := fmt.Sprintf("%d.%d", i/2+1, i%2); body != want {
			t.Fatalf("received in the order %v", got)
		}
	}
	r.createQueue("default", "")
	r.send("default", "m", "")
	if p := r.receive("default").text("Priority"); p != "8" {
		t.Errorf("without a priority it is %s", p)
	}
	for _, bad := range []string{"0", "17", "x"} {
		r.wants(r.ask("POST", "/queues/q/messages", message("m", "<Priority>"+bad+"</Priority>")), 400, "InvalidArgument")
	}
}

func TestC20Delay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "<DelaySeconds>1</DelaySeconds>")
	start := time.Now()
	later := r.send("q", "later", "")
	r.send("q", "now", "<DelaySeconds>0</DelaySeconds>")
	gone := r.send("q", "gone", "<DelaySeconds>3600</DelaySeconds>")
	r.counts("q", "1 0 2")
	if got := r.receive("q"); got.text("MessageBody") != "now" {
		t.Fatalf("received %s", got.body)
	}
	r.empty("q")
	r.counts("q", "0 1 2")
	r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle="+gone.text("ReceiptHandle"), ""), 204, "")
	r.counts("q", "0 1 1")
	got := r.wants(r.ask("GET", "/queues/q/messages?waitseconds=5", ""), 200, "")
	// 100 ms late at most is what is wanted, and what package poll's tests see in
	// virtual time; the machine that runs these is busy.
	if took := time.Since(start); got.text("MessageBody") != "later" || took < 990*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("after %v: %s", took, got.body)
	}
	r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle="+later.text("ReceiptHandle"), ""), 404, "MessageNotExist")
	for _, bad := range []string{"-1", "604801"} {
		r.wants(r.ask("POST", "/queues/q/messages", message("m", "<DelaySeconds>"+bad+"</DelaySeconds>")), 400, "InvalidArgument")
	}
}

func TestC21Retention(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.storeQueue("q", func(s *chat.QueueSettings) { s.Retention = 300 * time.Millisecond })
	for i := range 3 {
		r.send("q", fmt.Sprint(i), "")
	}
	r.send("q", "delayed", "<DelaySeconds>600</DelaySeconds>")
	h := r.receive("q").text("ReceiptHandle")
	r.counts("q", "2 1 1")
	r.eventually("all gone", func() bool {
		g := r.ask("GET", "/queues/q", "")
		return g.text("ActiveMessages")+g.text("InactiveMessages")+g.text("DelayMessages") == "000"
	})
	r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle="+h, ""), 404, "MessageNotExist")
	r.empty("q")
}

func TestC22Batches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "<MaximumMessageSize>32768</MaximumMessageSize>")
	batch := func(n, size int) string {
		var b strings.Builder
		b.WriteString("<Messages>")
		for i := range n {
			b.WriteString(message(fmt.Sprintf("%0*d", size, i), ""))
		}
		return b.String() + "</Messages>"
	}
	got := r.wants(r.ask("POST", "/queues/q/messages", batch(16, 4096)), 201, "")
	if len(got.node.Children) != 16 || len(got.node.Children[0].Children) != 2 {
		t.Errorf("sent %s", got.body)
	}
	r.wants(r.ask("POST", "/queues/q/messages", batch(16, 4097)), 400, "InvalidArgument")
	r.wants(r.ask("POST", "/queues/q/messages", batch(17, 1)), 400, "InvalidArgument")
	r.wants(r.ask("POST", "/queues/q/messages", batch(0, 1)), 400, "InvalidArgument")
	part := r.ask("POST", "/queues/q/messages", "<Messages>"+message(strings.Repeat("x", 32769), "")+message("ok", "")+"</Messages>")
	if part.status != 500 || childNames(&part.node.Children[0]) != "ErrorCode ErrorMessage" ||
		childNames(&part.node.Children[1]) != "MessageId MessageBodyMD5" {
		t.Errorf("one too large: %d %s", part.status, part.body)
	}
	for _, bad := range []string{"0", "17"} {
		r.wants(r.ask("GET", "/queues/q/messages?numOfMessages="+bad, ""), 400, "InvalidArgument")
	}
	all := r.wants(r.ask("GET", "/queues/q/messages?numOfMessages=16", ""), 200, "")
	if all.node.Name != "Messages" || len(all.node.Children) != 16 {
		t.Fatalf("received %.200s", all.body)
	}
	var handles []string
	for i := range all.node.Children {
		handles = append(handles, all.node.Children[i].Child("ReceiptHandle").Text)
	}
	bad := handles[0] + "0"
	body := "<ReceiptHandles><ReceiptHandle>" + bad + "</ReceiptHandle><ReceiptHandle>garbage</ReceiptHandle>"
	for _, h := range handles[1:] {
		body += "<ReceiptHandle>" + h + "</ReceiptHandle>"
	}
	r.wants(r.ask("DELETE", "/queues/q/messages", body+"</ReceiptHandles>"), 400, "InvalidArgument") // 17 of them
	body = strings.Replace(body, "<ReceiptHandle>"+handles[15]+"</ReceiptHandle>", "", 1)
	failed := r.ask("DELETE", "/queues/q/messages", body+"</ReceiptHandles>")
	if failed.status != 404 || failed.node.Name != "Errors" || len(failed.node.Children) != 2 ||
		childNames(&failed.node.Children[0]) != "ErrorCode ErrorMessage ReceiptHandle" ||
		failed.node.Children[0].Child("ReceiptHandle").Text != bad || failed.node.Children[1].Child("ErrorCode").Text != "ReceiptHandleError" {
		t.Errorf("deleted: %d %s", failed.status, failed.body)
	}
	r.counts("q", "1 2 0")
	rest := "<ReceiptHandles><ReceiptHandle>" + handles[0] + "</ReceiptHandle><ReceiptHandle>" + handles[15] + "</ReceiptHandle></ReceiptHandles>"
	r.wants(r.ask("DELETE", "/queues/q/messages", rest), 204, "")
	r.counts("q", "1 0 0")
}

func childNames(n *wire.Node) string {
	var names []string
	for i := range n.Children {
		names = append(names, n.Children[i].Name)
	}
	return strings.Join(names, " ")
}
