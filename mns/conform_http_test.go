package mns_test

import (
	"bufio"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/sign"
	"github.com/faac1247/rollcall/mns/wire"
)

// The tests TestC01 to TestC43 follow the conformance list in docs/mns.md, which
// any server of this interface can be held to.

func TestC01SignatureV2(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.wants(r.ask("GET", "/queues", ""), 200, "")
	r.wants(r.ask("GET", "/queues", "", signedBy(keyID, "wrong")), 403, "SignatureDoesNotMatch")
	r.wants(r.ask("GET", "/queues", "", signedBy("nobody", secret)), 403, "InvalidAccessKeyId")
	r.wants(r.ask("GET", "/queues", "", noHeader("Authorization")), 400, "MissingAuthorizationHeader")
	r.wants(r.ask("GET", "/queues", "", header("Authorization", "MNS x")), 400, "InvalidAuthorizationHeader")
	r.wants(r.ask("GET", "/queues", "", header("Authorization", "Basic x:y")), 400, "InvalidAuthorizationHeader")
	// A header that is signed cannot be changed.
	r.wants(r.ask("GET", "/queues", "", signedBy(keyID, secret), header("X-Mns-Prefix", "a")), 403, "SignatureDoesNotMatch")
	r.wants(r.ask("GET", "/queues", "", noHeader("X-Mns-Version")), 400, "MissingVersionHeader")
}

func TestC02Date(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, d := range []time.Duration{-14 * time.Minute, 0, 14 * time.Minute} {
		r.wants(r.ask("GET", "/queues", "", header("Date", at(d))), 200, "")
	}
	for _, d := range []time.Duration{-16 * time.Minute, 16 * time.Minute} {
		r.wants(r.ask("GET", "/queues", "", header("Date", at(d))), 408, "TimeExpired")
	}
	r.wants(r.ask("GET", "/queues", "", noHeader("Date"), header("x-mns-date", at(0))), 200, "")
	r.wants(r.ask("GET", "/queues", "", noHeader("Date")), 400, "MissingDateHeader")
	r.wants(r.ask("GET", "/queues", "", header("Date", "yesterday")), 400, "InvalidDateHeader")
}

func TestC03ContentMD5(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const body = "<Queue/>"
	sum := md5.Sum([]byte(body))
	of := func(b []byte) change { return header("Content-MD5", base64.StdEncoding.EncodeToString(b)) }
	r.wants(r.ask("PUT", "/queues/a", body, of([]byte(hex.EncodeToString(sum[:])))), 201, "")
	r.wants(r.ask("PUT", "/queues/b", body, of(sum[:])), 201, "")
	r.wants(r.ask("PUT", "/queues/c", body, of([]byte("wrong"))), 400, "InvalidDegist")
	r.wants(r.ask("PUT", "/queues/c", body, header("Content-MD5", "***")), 400, "InvalidDegist")
	none := md5.Sum(nil)
	r.wants(r.ask("GET", "/queues", "", of([]byte(hex.EncodeToString(none[:])))), 200, "")
}

func TestC04SignatureV4AndToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v4 := func(f sign.Flavor, secret, day string) change {
		return func(q *http.Request) {
			now, _ := http.ParseTime(q.Header.Get("Date"))
			scope := sign.Scope{Day: day, Region: "cn-hangzhou"}
			if day == "" {
				scope.Day = now.UTC().Format("20060102")
			}
			signed := sign.Request{Method: q.Method, Target: q.URL.RequestURI(), Header: q.Header}
			q.Header.Set("Authorization", sign.HeaderV4(f, keyID, scope, sign.V4(f, secret, scope, now, signed)))
		}
	}
	r.createQueue("q", "")
	for _, f := range []sign.Flavor{sign.Public, sign.Private} {
		r.wants(r.ask("GET", "/queues/q/messages?waitseconds=0&numOfMessages=2", "", v4(f, secret, "")), 404, "MessageNotExist")
	}
	r.wants(r.ask("GET", "/queues/q", "", v4(sign.Public, "wrong", "")), 403, "SignatureDoesNotMatch")
	r.wants(r.ask("GET", "/queues/q", "", v4(sign.Public, secret, "20200101")), 403, "SignatureDoesNotMatch")

	r.wants(r.ask("GET", "/queues", "", header("security-token", "token"), signedBy("sts", "ssk")), 200, "")
	r.wants(r.ask("GET", "/queues", "", signedBy("sts", "ssk")), 403, "InvalidAccessKeyId")
	r.wants(r.ask("GET", "/queues", "", header("security-token", "other"), signedBy("sts", "ssk")), 403, "InvalidAccessKeyId")
	r.wants(r.ask("GET", "/queues", "", header("security-token", "any")), 200, "")
}

func TestC05QuerySignedRaw(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	// Handles of the service end in '='; ours do not, so these are garbage, but
	// their signature is good.
	for _, q := range []string{"ReceiptHandle=1-x==", "ReceiptHandle=1-x%3D%3D", "receipthandle=a+b"} {
		r.wants(r.ask("DELETE", "/queues/q/messages?"+q, ""), 400, "ReceiptHandleError")
	}
	for _, name := range []string{"waitseconds", "WaitSeconds", "WAITSECONDS"} {
		r.wants(r.ask("GET", "/queues/q/messages?numOfMessages=1&"+name+"=0", ""), 404, "MessageNotExist")
	}
}

func TestC06Expect100(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const body = "<Queue/>"
	q := newRequest(t, "PUT", r.nodes[0].url+"/queues/q", body)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.nodes[0].url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /queues/q HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nExpect: 100-continue\r\n", len(body))
	if err := q.Header.Write(conn); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, _ = io.WriteString(conn, "\r\n")
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if took := time.Since(start); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") || took > 50*time.Millisecond {
		t.Fatalf("answered %q, %v after %v", line, err, took)
	}
	_, _ = io.WriteString(conn, body)
	_, _ = in.ReadString('\n')
	if line, err = in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 201 ") {
		t.Fatalf("answered %q, %v", line, err)
	}
}

func TestC07EveryReply(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	r.send("q", "body", "")
	for _, target := range []string{"/queues", "/queues/q", "/queues/q/messages?peekonly=true", "/queues/none"} {
		got := r.ask("GET", target, "", header("x-mns-with-meta", "true"))
		if strings.ContainsAny(got.body, "\n\r\t") || strings.Contains(got.body, "> <") || hollow(got.node) {
			t.Errorf("%s: %q holds white space or an empty element", target, got.body)
		}
	}
	e := r.wants(r.ask("GET", "/queues/none", ""), 404, "QueueNotExist")
	for _, name := range []string{"Code", "Message", "RequestId", "HostId"} {
		if e.text(name) == "" {
			t.Errorf("error without %s: %s", name, e.body)
		}
	}
	if e.text("RequestId") != e.header.Get("X-Mns-Request-Id") || e.node.Name != "Error" {
		t.Errorf("error %s", e.body)
	}
}

// hollow reports whether a document holds an element without anything in it.
func hollow(n *wire.Node) bool {
	if len(n.Children) == 0 {
		return n.Text == ""
	}
	for i := range n.Children {
		if hollow(&n.Children[i]) {
			return true
		}
	}
	return false
}

func TestC08Malformed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	for name, body := range map[string]string{
		"cut off":           "<Queue><DelaySeconds>1</DelaySeconds>",
		"not XML":           "{}",
		"two roots":         "<Queue/><Queue/>",
		"doctype":           `<!DOCTYPE q [<!ENTITY a "x">]><Queue/>`,
		"unknown entity":    "<Queue><DelaySeconds>&a;</DelaySeconds></Queue>",
		"illegal character": "<Queue><DelaySeconds>\x01</DelaySeconds></Queue>",
		"not UTF-8":         "<Queue><DelaySeconds>\xff</DelaySeconds></Queue>",
		"other encoding":    `<?xml version="1.0" encoding="GBK"?><Queue/>`,
		"too deep":          strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100),
	} {
		if got := r.ask("PUT", "/queues/new", body); got.status != 400 || got.text("Code") != "MalformedXML" {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
	r.wants(r.ask("POST", "/queues/q/messages", "<Message><MessageBody>\x00</MessageBody></Message>"), 400, "MalformedXML")
	r.wants(r.ask("PUT", "/queues/new", "<Topic/>"), 400, "InvalidArgument")
	for _, target := range []string{"/", "/nothing", "/queues/q/else", "/queues/q/messages/1/2", "/topics/t/x"} {
		r.wants(r.ask("GET", target, ""), 400, "InvalidRequestURL")
	}
	r.wants(r.ask("PATCH", "/queues/q", ""), 400, "InvalidRequestURL")
	r.wants(r.ask("GET", "/queues/q/messages?waitseconds=soon", ""), 400, "InvalidQueryString")
	if got := r.ask("PUT", "/queues/new", `<?xml version="1.0" encoding="utf-8" standalone="no"?><m:Queue xmlns:m="http://mns.aliyuncs.com/doc/v1/" a='b'><!-- c --><m:DelaySeconds><![CDATA[3]]></m:DelaySeconds><Unknown><X/></Unknown></m:Queue>`); got.status != 201 {
		t.Errorf("an unusual but good body: %d %s", got.status, got.body)
	}
	if got := r.wants(r.ask("GET", "/queues/new", ""), 200, "").text("DelaySeconds"); got != "3" {
		t.Errorf("its delay is %s", got)
	}
}

// TestKeyRights is about keys that may do only some things.
func TestKeyRights(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("room-1", "")
	r.createQueue("other", "")
	r.createTopic("room-1")
	by := signedBy("limited", "lsk")
	r.wants(r.ask("POST", "/queues/room-1/messages", message("m", ""), by), 201, "")
	r.wants(r.ask("GET", "/queues/room-1", "", by), 200, "")
	r.wants(r.ask("POST", "/topics/room-1/messages", message("m", ""), by), 201, "")
	for _, denied := range []struct{ method, target string }{
		{"POST", "/queues/other/messages"}, {"GET", "/queues/room-1/messages"}, {"DELETE", "/queues/room-1"},
		{"PUT", "/queues/room-2"}, {"GET", "/queues"}, {"GET", "/topics"}, {"PUT", "/topics/room-1/subscriptions/s"},
		{"GET", "/?accountmeta=true"}, {"DELETE", "/queues/room-1/messages?purge=true"}, {"POST", "/topics/else/messages"},
	} {
		r.wants(r.ask(denied.method, denied.target, "", by), 403, "AccessDenied")
	}
}

func TestAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	got := r.wants(r.ask("GET", "/?accountmeta=true", ""), 200, "")
	if got.node.Child("LoggingBucket") == nil {
		t.Errorf("account %s", got.body)
	}
	r.wants(r.ask("PUT", "/?accountmeta=true", "<Account><LoggingBucket>b</LoggingBucket></Account>"), 204, "")
	if got := r.wants(r.ask("GET", "/?accountmeta=true", ""), 200, ""); got.text("LoggingBucket") != "b" {
		t.Errorf("account %s", got.body)
	}
	if got := r.wants(r.ask("GET", "/?account", ""), 200, ""); got.text("AccountId") == "" {
		t.Errorf("account %s", got.body)
	}
	if got := r.wants(r.ask("POST", "/commonbuy/openservice", ""), 200, ""); got.text("OrderId") == "" {
		t.Errorf("order %s", got.body)
	}
}
