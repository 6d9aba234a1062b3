package client

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the websocket handshake's
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkIdle reports what a client at rest takes of heap and stack. Its
// server keeps nothing of a connection but the socket.
func BenchmarkIdle(b *testing.B) {
	const clients = 2000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	let := make(chan net.Conn, clients)
	go serveBare(l, let)
	for b.Loop() {
		pacer := NewPacer()
		ctx, cancel := context.WithCancel(b.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = pacer.Run(ctx) })
		heap, stack := memory()
		sockets := make([]net.Conn, 0, clients)
		all := make([]*Client, clients)
		shared := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for i := range all {
			c, err := New(Config{
				EndPoints: []string{"http://" + l.Addr().String()}, SID: testSID, Pacer: pacer, HTTPClient: shared,
				OnFrame: func(Frame) {}, OnConnect: func(Connected) {},
			})
			if err != nil {
				b.Fatal(err)
			}
			all[i] = c
			running.Go(func() { _ = c.Run(ctx) })
			sockets = append(sockets, <-let)
		}
		for _, c := range all {
			for !c.Connected() {
				runtime.Gosched()
			}
		}
		heapNow, stackNow := memory()
		b.ReportMetric(float64(heapNow-heap)/clients, "heap-B/client")
		b.ReportMetric(float64(stackNow-stack)/clients, "stack-B/client")
		cancel()
		running.Wait()
		for _, s := range sockets {
			_ = s.Close()
		}
	}
}

// serveBare answers end_point, and lets everybody in.
func serveBare(l net.Listener, let chan<- net.Conn) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReaderSize(conn, 512))
		if err != nil {
			_ = conn.Close()
			continue
		}
		if strings.HasSuffix(req.URL.Path, "/end_point") {
			answer := fmt.Sprintf(`{"error_code":0,"end_point":"ws://%s"}`, l.Addr())
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(answer), answer)
			_ = conn.Close()
			continue
		}
		sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
		token := `{"action":"create_token","online_token":"0123456789abcdef0123456789abcdef"}`
		_, _ = conn.Write(append([]byte{0x81, byte(len(token))}, token...))
		let <- conn
	}
}

func memory() (heap, stack uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.StackInuse
}

func BenchmarkHear(b *testing.B) {
	c, err := New(Config{EndPoints: []string{"http://h"}, SID: testSID, Pacer: NewPacer(), OnFrame: func(Frame) {}})
	if err != nil {
		b.Fatal(err)
	}
	cn := &conn{client: c, opened: time.Now()}
	frame := []byte(`{"action":"send_topic_msg","user_id":7,"nickname":"小明","sex":1,"avatar_url":"https://img.example.com/a/1233.png","content":"大家好，欢迎来到房间","channel_name":"voice-12345","room_id":"r1","epoch":1,"seq":1}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		c.hear(cn, frame)
		c.tracks[0].at.seq = 0
	}
}
