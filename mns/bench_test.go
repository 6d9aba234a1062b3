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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/sign"
)

// The benchmarks run client, server and redis-server on one machine; the client
// is lean, so that most of what is measured is the server's. BenchmarkBare says
// what it, the sockets and net/http cost.

// line is a lean client: one connection, one request at a time.
type line struct {
	testing.TB
	conn net.Conn
	in   []byte
	date string
	buf  []byte
	sign *sign.Signer
	sent http.Header       // what is signed
	head map[string]string // of targets that were signed before, by method and target
}

func (r *rig) line(node int) *line {
	r.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.nodes[node].url, "http://"))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() })
	date := time.Now().UTC().Format(http.TimeFormat)
	return &line{
		sent: http.Header{"Date": {date}, "X-Mns-Version": {"2015-06-06"}, "Content-Type": {"text/xml"}},
		TB:   r.TB, conn: conn, in: make([]byte, 0, 8<<10), date: date,
		sign: sign.NewSigner(secret), head: map[string]string{},
	}
}

// request lays out a signed request. The signature does not cover the body, so
// a target without a receipt handle is signed once for a date.
func (l *line) request(method, target, body string) []byte {
	l.buf = append(append(l.buf[:0], method...), target...)
	head, known := l.head[string(l.buf)]
	if !known {
		head = method + " " + target + " HTTP/1.1\r\nHost: h\r\nDate: " + l.date + "\r\nX-Mns-Version: 2015-06-06\r\nContent-Type: text/xml\r\n" +
			"Authorization: " + sign.Header(keyID, l.sign.V2(sign.Request{Method: method, Target: target, Header: l.sent})) + "\r\nContent-Length: "
		if method != "DELETE" {
			l.head[method+target] = head
		}
	}
	l.buf = strconv.AppendInt(append(l.buf[:0], head...), int64(len(body)), 10)
	l.buf = append(append(l.buf, "\r\n\r\n"...), body...)
	return l.buf
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
		end := bytes.Index(l.in, []byte("\r\n\r\n"))
		if end < 0 {
			continue
		}
		head, body := l.in[:end+2], l.in[end+4:]
		length := 0
		if _, text, ok := bytes.Cut(head, lengthField); ok {
			for _, c := range text[:bytes.IndexByte(text, '\r')] {
				length = 10*length + int(c-'0')
			}
		}
		if len(body) < length {
			continue
		}
		return int(head[9]-'0')*100 + int(head[10]-'0')*10 + int(head[11]-'0'), body
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

// drive runs work on so many clients until b.N operations are done.
func drive(b *testing.B, r *rig, unit string, per int, work func(l *line, client int)) {
	b.Helper()
	var done atomic.Int64
	var running sync.WaitGroup
	lines := make([]*line, benchClients)
	for i := range lines {
		lines[i] = r.line(0)
	}
	b.ResetTimer()
	own, redis := cpuTime(b)
	for i, l := range lines {
		running.Go(func() {
			for done.Add(int64(per)) <= int64(b.N+per-1) {
				work(l, i)
			}
		})
	}
	running.Wait()
	b.StopTimer()
	ownAfter, redisAfter := cpuTime(b)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), unit)
	b.ReportMetric(float64((ownAfter-own).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64((redisAfter-redis).Microseconds())/float64(b.N), "redis-cpu-us/op")
}

// cpuTime returns what this process and the redis-server have used: on a machine
// with other work, what an operation costs says more than how many there were.
func cpuTime(b *testing.B) (own, redis time.Duration) {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
	drive(b, r, "requests/s", 1, func(l *line, i int) {
		l.want(201, l.request("POST", fmt.Sprintf("/queues/q%d/messages", i%benchQueues), message(body200, "")))
	})
}

// BenchmarkSendOne sends to one queue.
func BenchmarkSendOne(b *testing.B) {
	r := newRig(b)
	r.createQueue("q", "")
	drive(b, r, "sends/s", 1, func(l *line, _ int) {
		l.want(201, l.request("POST", "/queues/q/messages", message(body200, "")))
	})
}

// BenchmarkSend sends messages of 200 bytes to 64 queues.
func BenchmarkSend(b *testing.B) {
	r := newRig(b)
	for i := range benchQueues {
		r.createQueue(fmt.Sprintf("q%d", i), "")
	}
	drive(b, r, "sends/s", 1, func(l *line, i int) {
		l.want(201, l.request("POST", fmt.Sprintf("/queues/q%d/messages", i%benchQueues), message(body200, "")))
	})
}

// BenchmarkCycle sends, receives and deletes messages one by one, on one queue.
func BenchmarkCycle(b *testing.B) {
	r := newRig(b)
	r.createQueue("q", "")
	drive(b, r, "cycles/s", 1, func(l *line, _ int) {
		l.want(201, l.request("POST", "/queues/q/messages", message(body200, "")))
		h := handles(l.want(200, l.request("GET", "/queues/q/messages?waitseconds=10", "")))
		l.want(204, l.request("DELETE", "/queues/q/messages?ReceiptHandle="+h[0], ""))
	})
}

// BenchmarkCycleMany does it on 64 queues.
func BenchmarkCycleMany(b *testing.B) {
	r := newRig(b)
	for i := range benchQueues {
		r.createQueue(fmt.Sprintf("q%d", i), "")
	}
	drive(b, r, "cycles/s", 1, func(l *line, i int) {
		target := fmt.Sprintf("/queues/q%d/messages", i%benchQueues)
		l.want(201, l.request("POST", target, message(body200, "")))
		h := handles(l.want(200, l.request("GET", target+"?waitseconds=10", "")))
		l.want(204, l.request("DELETE", target+"?ReceiptHandle="+h[0], ""))
	})
}

// BenchmarkBatchCycle does it in batches of 16.
func BenchmarkBatchCycle(b *testing.B) {
	r := newRig(b)
	r.createQueue("q", "")
	batch := "<Messages>" + strings.Repeat(message(body200, ""), 16) + "</Messages>"
	drive(b, r, "cycles/s", 16, func(l *line, _ int) {
		l.want(201, l.request("POST", "/queues/q/messages", batch))
		for left := 16; left > 0; {
			hs := handles(l.want(200, l.request("GET", "/queues/q/messages?waitseconds=10&numOfMessages="+strconv.Itoa(left), "")))
			text := "<ReceiptHandles>"
			for _, h := range hs {
				text += "<ReceiptHandle>" + h + "</ReceiptHandle>"
			}
			l.want(204, l.request("DELETE", "/queues/q/messages", text+"</ReceiptHandles>"))
			left -= len(hs)
		}
	})
}

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
