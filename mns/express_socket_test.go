package mns_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestExpressConnection has one connection do what net/http, and what the
// server's own reader serves, in turn.
func TestExpressConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	l := r.line(0)
	if err := l.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(l.conn)
	say := func(text string) {
		if _, err := io.WriteString(l.conn, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(what string, status int, part string) string {
		t.Helper()
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if response.StatusCode == http.StatusContinue {
			response, err = http.ReadResponse(in, nil)
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != status || !strings.Contains(string(text), part) {
			t.Fatalf("%s: %d %q, %v, want %d %s", what, response.StatusCode, text, err, status, part)
		}
		if status != http.StatusBadRequest && (response.Header.Get("X-Mns-Request-Id") == "" || response.Header.Get("Date") == "") {
			t.Errorf("%s: header %v", what, response.Header)
		}
		return string(text)
	}
	send := string(l.request("POST", "/queues/q/messages", message("m", "")))
	get := string(l.request("GET", "/queues/q/messages?waitseconds=0", ""))
	long := string(l.request("GET", "/queues/q/messages?waitseconds=30", ""))
	say(send)
	hear("first", 201, "MessageId")
	say(send + get)
	hear("pipelined", 201, "MessageId")
	hear("pipelined", 200, "<MessageBody>m<")
	say(get[:40])
	say(get[40:])
	hear("in parts", 200, "<MessageBody>m<")
	say(get)
	hear("empty", 404, "MessageNotExist")
	say(strings.Replace(get, "MNS ak:", "MNS ak:x", 1))
	hear("wrong signature", 403, "SignatureDoesNotMatch")

	// A request that comes during a long poll is answered after it.
	say(long)
	r.waiting(0, "q", 1)
	say(get[:1])
	r.send("q", "woken", "")
	hear("long poll", 200, "woken")
	say(get[1:])
	hear("begun during a long poll", 404, "MessageNotExist")

	say(strings.Replace(send, "\r\nContent-Length", "\r\nExpect: 100-continue\r\nContent-Length", 1))
	hear("expect", 201, "MessageId")
	body := message("chunked", "")
	head, _, _ := strings.Cut(send, "Content-Length")
	say(head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body))
	hear("chunked", 201, "MessageId")
	say(get)
	hear("after net/http", 200, "<MessageBody>m<")
	say("GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n")
	hear("two hosts", 400, "")
}

// TestExpressWaiterLeaves has a client leave during a long poll on a connection
// that was taken over: nothing is lost with it.
func TestExpressWaiterLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	l := r.line(0)
	l.want(404, l.request("GET", "/queues/q/messages?waitseconds=0", ""))
	if _, err := l.conn.Write(l.request("GET", "/queues/q/messages?waitseconds=30", "")); err != nil {
		t.Fatal(err)
	}
	r.waiting(0, "q", 1)
	_ = l.conn.Close()
	r.waiting(0, "q", 0)
	r.send("q", "m", "")
	if got := r.receive("q"); got.text("DequeueCount") != "1" {
		t.Errorf("received %s", got.body)
	}
}
