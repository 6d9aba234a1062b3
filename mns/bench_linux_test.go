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
)

// The benchmarks run client, server and redis-server on one machine; the client
// is a process of its own, so that it is known what each of them costs.
// BenchmarkBare says what client, sockets and net/http cost.

// benchClients are so many connections, to so many queues where there
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

// BenchmarkSendAhead does it with eight requests of a connection on their way.
func BenchmarkSendAhead(b *testing.B) {
	drive(b, newRig(b).createQueues(benchQueues), "sends/s", kindSendAhead, benchQueues)
}

// BenchmarkCycle sends, receives and deletes messages one by one, on one queue.
func BenchmarkCycle(b *testing.B) { drive(b, newRig(b).createQueues(1), "cycles/s", kindCycle, 1) }

// BenchmarkCycleMany does it on 64 queues.
func BenchmarkCycleMany(b *testing.B) {
	drive(b, newRig(b).createQueues(benchQueues), "cycles/s", kindCycle, benchQueues)
}

// BenchmarkCycleAhead does it on one queue, and on 64, with a delete, the next
// send and the next receive of a connection on their way together.
func BenchmarkCycleAhead(b *testing.B) {
	for _, queues := range []int{1, benchQueues} {
		b.Run(fmt.Sprint(queues, "-queues"), func(b *testing.B) {
			drive(b, newRig(b).createQueues(queues), "cycles/s", kindCycleAhead, queues)
		})
	}
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
