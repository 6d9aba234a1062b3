package mns_test

import (
	"bytes"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/sign"
)

// requests lays out signed requests. The signature does not cover the body, so
// a target without a receipt handle is signed once for a date.
type requests struct {
	date string
	buf  []byte
	sign *sign.Signer
	sent http.Header       // what is signed
	head map[string]string // of targets that were signed before, by method and target
}

func newRequests() *requests {
	date := time.Now().UTC().Format(http.TimeFormat)
	return &requests{
		date: date, sign: sign.NewSigner(secret), head: map[string]string{},
		sent: http.Header{"Date": {date}, "X-Mns-Version": {"2015-06-06"}, "Content-Type": {"text/xml"}},
	}
}

// request lays out a signed request, which is good until the next.
func (r *requests) request(method, target, body string) []byte {
	r.buf = append(append(r.buf[:0], method...), target...)
	head, known := r.head[string(r.buf)]
	if !known {
		head = method + " " + target + " HTTP/1.1\r\nHost: h\r\nDate: " + r.date + "\r\nX-Mns-Version: 2015-06-06\r\nContent-Type: text/xml\r\n" +
			"Authorization: " + sign.Header(keyID, r.sign.V2(sign.Request{Method: method, Target: target, Header: r.sent})) + "\r\nContent-Length: "
		if !strings.Contains(target, "ReceiptHandle=") {
			r.head[method+target] = head
		}
	}
	r.buf = strconv.AppendInt(append(r.buf[:0], head...), int64(len(body)), 10)
	r.buf = append(append(r.buf, "\r\n\r\n"...), body...)
	return r.buf
}

// line is one connection with one request at a time.
type line struct {
	testing.TB
	*requests
	conn net.Conn
	in   []byte
}

func (r *rig) line(node int) *line {
	r.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.nodes[node].url, "http://"))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() })
	return &line{TB: r.TB, requests: newRequests(), conn: conn, in: make([]byte, 0, 8<<10)}
}

var lengthField = []byte("\r\nContent-Length: ")

// do sends a request and returns status and body.
func (l *line) do(request []byte) (int, []byte) {
	if _, err := l.conn.Write(request); err != nil {
		l.Fatal(err)
	}
	return l.answer()
}

// answer reads an answer and returns its status and body.
func (l *line) answer() (int, []byte) {
	l.in = l.in[:0]
	for {
		if len(l.in) == cap(l.in) {
			l.in = slices.Grow(l.in, cap(l.in))
		}
		n, err := l.conn.Read(l.in[len(l.in):cap(l.in)])
		if err != nil {
			l.Fatal(err)
		}
		l.in = l.in[:len(l.in)+n]
		if status, body := parseAnswer(l.in); status != 0 {
			return status, body
		}
	}
}

// want makes a request that has to succeed.
func (l *line) want(status int, request []byte) []byte {
	got, body := l.do(request)
	if got != status {
		l.Fatalf("answered %d %s", got, body)
	}
	return body
}

// handles cuts the receipt handles out of an answer.
func handles(body []byte) []string {
	var out []string
	for {
		_, rest, ok := bytes.Cut(body, []byte("<ReceiptHandle>"))
		if !ok {
			return out
		}
		h, after, _ := bytes.Cut(rest, []byte("<"))
		out = append(out, string(h))
		body = after
	}
}

// parseAnswer reads an answer; its status is 0 if it is not there whole.
func parseAnswer(in []byte) (status int, body []byte) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	head, body := in[:end+2], in[end+4:]
	length := 0
	if _, text, ok := bytes.Cut(head, lengthField); ok {
		for _, c := range text[:bytes.IndexByte(text, '\r')] {
			length = 10*length + int(c-'0')
		}
	}
	if len(body) < length {
		return 0, nil
	}
	return int(head[9]-'0')*100 + int(head[10]-'0')*10 + int(head[11]-'0'), body[:length]
}
