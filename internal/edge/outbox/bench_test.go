package outbox

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkFlood measures deliveries over loopback sockets that are read in
// the same process: one room, published to as fast as its subscribers are
// written to. An operation is one delivery.
func BenchmarkFlood(b *testing.B) {
	for _, size := range []int{128, 256, 512} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) { benchmarkRoom(b, 400, size, 200<<10) })
	}
}

// BenchmarkOneAtATime measures deliveries when each publication is written
// before the next: what a frame costs where nothing can be shared.
func BenchmarkOneAtATime(b *testing.B) { benchmarkRoom(b, 400, 256, 1) }

// BenchmarkConnRead measures reading what a client has sent, a frame at a time,
// as the library does it: the header first, then the rest.
func BenchmarkConnRead(b *testing.B) {
	f := New(Config{MaxBacklogBytes: 64 << 20, MaxBacklogFrames: 1 << 20})
	server, client := tcpPair(b)
	c := &Conn{}
	c.Init(f, server, nil)
	frame := make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, frame[:2]); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, frame[2:]); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkRoom publishes while less than ahead bytes wait.
func benchmarkRoom(b *testing.B, subscribers, size, ahead int) {
	f := New(Config{MaxBacklogBytes: 64 << 20, MaxBacklogFrames: 1 << 20})
	ctx, cancel := context.WithCancel(b.Context())
	var run sync.WaitGroup
	run.Go(func() { f.Run(ctx) })
	var mu sync.Mutex
	a := NewAudience(f, &mu)
	var read atomic.Int64
	conns := make([]*Conn, subscribers)
	for i := range conns {
		server, client := tcpPair(b)
		conns[i] = &Conn{}
		conns[i].Init(f, server, nil)
		mu.Lock()
		a.Add(&Subscriber{Conn: conns[i]})
		mu.Unlock()
		go func() {
			buf := make([]byte, 128<<10)
			for {
				n, err := client.Read(buf)
				if read.Add(int64(n)); err != nil {
					return
				}
			}
		}()
	}
	payload := make([]byte, size)
	frame := int64(len(AppendText(nil, payload)))
	wait := time.NewTicker(50 * time.Microsecond)
	defer wait.Stop()
	publications := b.N/subscribers + 1
	want := int64(publications) * int64(subscribers) * frame
	b.ResetTimer()
	for range publications {
		for {
			mu.Lock()
			if a.pending() < ahead {
				break
			}
			mu.Unlock()
			<-wait.C
		}
		a.Publish(Frame{Payload: payload})
		mu.Unlock()
	}
	for read.Load() < want {
		<-wait.C
	}
	b.StopTimer()
	b.ReportMetric(float64(publications*subscribers)/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64(publications)*float64(subscribers)/float64(f.Counters().Writes.Load()), "frames/write")
	for _, c := range conns {
		c.Abort()
	}
	cancel()
	run.Wait()
}

func tcpPair(tb testing.TB) (server, client net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			c = nil
		}
		accepted <- c
	}()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	if server = <-accepted; server == nil {
		tb.Fatal(io.ErrUnexpectedEOF)
	}
	tb.Cleanup(func() { client.Close(); server.Close() })
	return server, client
}
