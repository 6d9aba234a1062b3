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

// conversation is a connection on which requests are sent as it pleases the test.
type conversation struct {
	*testing.T
	*rig
	line            *line
	in              *bufio.Reader
	send, get, long string // requests
}

func converse(t *testing.T) *conversation {
	t.Helper()
	r := newRig(t)
	r.createQueue("q", "")
	l := r.line(0)
	if err := l.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &conversation{T: t, rig: r, line: l, in: bufio.NewReader(l.conn)}
	c.send = string(l.request("POST", "/queues/q/messages", message("m", "")))
	c.get = string(l.request("GET", "/queues/q/messages?waitseconds=0", ""))
	c.long = string(l.request("GET", "/queues/q/messages?waitseconds=30", ""))
	return c
}

func (c *conversation) say(text string) {
	c.T.Helper()
	if _, err := io.WriteString(c.line.conn, text); err != nil {
		c.T.Fatal(err)
	}
}

func (c *conversation) hear(what string, status int, part string) {
	c.T.Helper()
	response, err := http.ReadResponse(c.in, nil)
	if err == nil && response.StatusCode == http.StatusContinue {
		response, err = http.ReadResponse(c.in, nil)
	}
	if err != nil {
		c.T.Fatalf("%s: %v", what, err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status || !strings.Contains(string(text), part) {
		c.T.Fatalf("%s: %d %q, %v, want %d %s", what, response.StatusCode, text, err, status, part)
	}
	if status != http.StatusBadRequest && (response.Header.Get("X-Mns-Request-Id") == "" || response.Header.Get("Date") == "") {
		c.T.Errorf("%s: header %v", what, response.Header)
	}
}

// TestExpressAhead has a client ask before it is answered: all is answered in
// order, and nothing waits for what waits.
func TestExpressAhead(t *testing.T) {
	t.Parallel()
	c := converse(t)
	say, hear, send, get, long := c.say, c.hear, c.send, c.get, c.long
	say(send)
	hear("first", 201, "MessageId")
	say(send + get)
	hear("pipelined", 201, "MessageId")
	hear("pipelined", 200, "<MessageBody>m<")
	say(send + send + get + get + send + long + get)
	for _, status := range []int{201, 201, 200, 200, 201, 200, 200} {
		hear("ahead", status, "")
	}
	say(get + get + long + send[:30])
	hear("before one that waits", 404, "")
	hear("before one that waits", 404, "")
	c.waiting(0, "q", 1)
	c.rig.send("q", "late", "")
	hear("long poll between others", 200, "late")
	say(send[30:] + send + get + get + "GET / HTTP/1.1\r\nHost: h\r\n")
	for _, status := range []int{201, 201, 200, 200} {
		hear("before a part of one", status, "")
	}
	say("Host: i\r\n\r\n")
	hear("two hosts", 400, "")
}

// TestExpressConnection has one connection do what net/http, and what the
// server's own reader serves, in turn.
func TestExpressConnection(t *testing.T) {
	t.Parallel()
	c := converse(t)
	r, say, hear, send, get, long := c.rig, c.say, c.hear, c.send, c.get, c.long
	say(send)
	hear("first", 201, "MessageId")
	say(send)
	hear("second", 201, "MessageId")
	say(get)
	hear("third", 200, "<MessageBody>m<")
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
