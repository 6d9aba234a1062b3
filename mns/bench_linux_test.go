package mns_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/sign"
)

// The benchmarks run client, server and redis-server on one machine; the client
// is a process of its own, so that it is known what each of them costs.
// BenchmarkBare says what client, sockets and net/http cost.

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

// benchClients send one request at a time each, to so many queues where there
// are many.
const benchClients, benchQueues = 256, 64

// cpuTime returns what this process and the redis-server have used: on a machine
// with other work, what an operation costs says more than how many there were.
func cpuTime(b *testing.B) (own, redis time.Duration) {
	b.Helper()
	own = ownTime()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", redisServer.process.Process.Pid))
	if err != nil {
		return own, 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')'):]))
	user, _ := strconv.ParseInt(fields[12], 10, 64)
	system, _ := strconv.ParseInt(fields[13], 10, 64)
	return own, time.Duration(user+system) * 10 * time.Millisecond
}

var body200 = strings.Repeat("弹", 66) + ".." // 200 bytes

// ownTime returns what this process has used.
func ownTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBare sends the same requests to a handler of net/http that reads them
// and answers as much: what client, sockets and net/http cost without the rest.
func BenchmarkBare(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	text := []byte(strings.Repeat("x", 220))
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		h["X-Mns-Request-Id"], h["X-Mns-Version"], h["Content-Type"] = []string{"0"}, []string{"2015-06-06"}, []string{"text/xml"}
		h["Content-Length"] = []string{"220"}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(text)
	})}
	go func() { _ = web.Serve(l) }()
	defer func() { _ = web.Close() }()
	r := newRig(b)
	r.nodes[0].url = "http://" + l.Addr().String()
	drive(b, r, "requests/s", kindSend, benchQueues)
}

// createQueues makes what a swarm uses.
func (r *rig) createQueues(n int) *rig {
	r.Helper()
	for i := range n {
		r.createQueue(fmt.Sprintf("q%d", i), "")
	}
	return r
}

// BenchmarkSendOne sends to one queue.
func BenchmarkSendOne(b *testing.B) { drive(b, newRig(b).createQueues(1), "sends/s", kindSend, 1) }

// BenchmarkSend sends messages of 200 bytes to 64 queues.
func BenchmarkSend(b *testing.B) {
	drive(b, newRig(b).createQueues(benchQueues), "sends/s", kindSend, benchQueues)
}

// BenchmarkCycle sends, receives and deletes messages one by one, on one queue.
func BenchmarkCycle(b *testing.B) { drive(b, newRig(b).createQueues(1), "cycles/s", kindCycle, 1) }

// BenchmarkCycleMany does it on 64 queues.
func BenchmarkCycleMany(b *testing.B) {
	drive(b, newRig(b).createQueues(benchQueues), "cycles/s", kindCycle, benchQueues)
}

// BenchmarkBatchCycle does it in batches of 16.
func BenchmarkBatchCycle(b *testing.B) { drive(b, newRig(b).createQueues(1), "cycles/s", kindBatch, 1) }

// BenchmarkWake measures from the send at one node to the answer of a long poll
// at the other.
func BenchmarkWake(b *testing.B) {
	r := newRig(b)
	r.createQueue("q", "<VisibilityTimeout>43200</VisibilityTimeout>")
	receiver, sender := r.line(1), r.line(0)
	var took []time.Duration
	for b.Loop() {
		at := make(chan time.Time, 1)
		go func() {
			receiver.want(200, receiver.request("GET", "/queues/q/messages?waitseconds=30", ""))
			at <- time.Now()
		}()
		r.waiting(1, "q", 1)
		start := time.Now()
		sender.want(201, sender.request("POST", "/queues/q/messages", message(body200, "")))
		took = append(took, (<-at).Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
