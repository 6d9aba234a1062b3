//go:build linux

package push

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/mns/chat"
)

// BenchmarkLine brings one line at a time to 5,000 websockets of a topic, and of
// a room by the rooms' writer; the next line leaves when all have the former.
// The readers are one thread, whose CPU is told apart.
func BenchmarkLine(b *testing.B) {
	b.Run("topic", func(b *testing.B) { benchmarkLine(b, topicWriter) })
	b.Run("room", func(b *testing.B) { benchmarkLine(b, roomWriter) })
}

// BenchmarkFlood brings lines as fast as the viewers take them: up to 32 are on
// their way.
func BenchmarkFlood(b *testing.B) {
	b.Run("topic", func(b *testing.B) { benchmarkFlood(b, topicWriter) })
	b.Run("room", func(b *testing.B) { benchmarkFlood(b, roomWriter) })
}

const viewers, lineSize = 5000, 256

// writer sends a body to all sockets.
type writer func(ctx context.Context, running *sync.WaitGroup, raws []net.Conn) (send func(body string))

type deaf struct{}

func (deaf) Follow(context.Context, chat.TopicName) error { return nil }
func (deaf) Unfollow(chat.TopicName)                      {}

func topicWriter(ctx context.Context, running *sync.WaitGroup, raws []net.Conn) func(string) {
	h := New(Config{Bus: deaf{}, MaxBytes: 64 << 20, MaxFrames: 1 << 20})
	running.Go(func() { _ = h.Run(ctx) })
	a := h.enter("t")
	for _, raw := range raws {
		c := &Conn{hub: h}
		c.use(raw)
		a.put(c, Subscription{Topic: "t", Name: "viewers", Format: chat.FormatSimplified})
	}
	return func(body string) {
		h.Heard(chat.News{Topic: "t", Publication: &chat.Publication{Topic: "t", Body: body, Importance: chat.DefaultImportance}})
	}
}

func roomWriter(ctx context.Context, running *sync.WaitGroup, raws []net.Conn) func(string) {
	f := outbox.New(outbox.Config{MaxBacklogBytes: 64 << 20, MaxBacklogFrames: 1 << 20, MaxPending: 64 << 20})
	running.Go(func() { f.Run(ctx) })
	var mu sync.Mutex
	a := outbox.NewAudience(f, &mu)
	for _, raw := range raws {
		c := &outbox.Conn{}
		c.Init(f, raw, nil)
		mu.Lock()
		a.Add(&outbox.Subscriber{Conn: c})
		mu.Unlock()
	}
	return func(body string) {
		mu.Lock()
		defer mu.Unlock()
		a.Publish(outbox.Frame{Payload: []byte(body)})
	}
}

func benchmarkLine(b *testing.B, open writer) {
	body := string(make([]byte, lineSize))
	run(b, open, func(send func(string), got *reader) {
		took := make([]time.Duration, b.N)
		for i := range b.N {
			start := time.Now()
			send(body)
			took[i] = got.wait(int64(i+1) * viewers * frameSize).Sub(start)
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[b.N/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
	})
}

func benchmarkFlood(b *testing.B, open writer) {
	body := string(make([]byte, lineSize))
	run(b, open, func(send func(string), got *reader) {
		for i := range b.N {
			send(body)
			got.wait(int64(i-32) * viewers * frameSize)
		}
		got.wait(int64(b.N) * viewers * frameSize)
		b.ReportMetric(float64(b.N)*viewers/b.Elapsed().Seconds(), "deliveries/s")
	})
}

// frameSize is what a line is on the wire.
const frameSize = lineSize + 4

func run(b *testing.B, open writer, work func(send func(string), got *reader)) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	raws, got := sockets(b)
	send := open(ctx, &running, raws)
	running.Go(func() { got.run(ctx) })
	send(string(make([]byte, lineSize))) // so that everything is warm
	got.wait(viewers * frameSize)
	got.read.Store(0)
	b.ResetTimer()
	all, readers := cpu(syscall.RUSAGE_SELF), got.cpu.Load()
	work(send, got)
	b.StopTimer()
	spent, read := cpu(syscall.RUSAGE_SELF)-all, time.Duration(got.cpu.Load()-readers)
	b.ReportMetric(float64((spent-read).Nanoseconds())/float64(b.N)/viewers/1000, "cpu-us/delivery")
	b.ReportMetric(float64(read.Nanoseconds())/float64(b.N)/viewers/1000, "reader-us/delivery")
	for _, raw := range raws {
		_ = raw.Close()
	}
	cancel()
	running.Wait()
}

// reader counts what arrives at the clients' ends.
type reader struct {
	epoll int
	fds   []int
	read  atomic.Int64
	cpu   atomic.Int64 // of its thread, nanoseconds
	woken chan struct{}
}

// wait returns when so many bytes have arrived.
func (r *reader) wait(bytes int64) time.Time {
	for r.read.Load() < bytes {
		<-r.woken
	}
	return time.Now()
}

// run reads until ctx ends.
func (r *reader) run(ctx context.Context) {
	runtime.LockOSThread()
	buf := make([]byte, 256<<10)
	events := make([]syscall.EpollEvent, 512)
	for ctx.Err() == nil {
		n, err := syscall.EpollWait(r.epoll, events, 20)
		if err != nil {
			continue
		}
		total := 0
		for i := range n {
			got, _ := syscall.Read(int(events[i].Fd), buf)
			if got > 0 {
				total += got
			}
		}
		if total == 0 {
			continue
		}
		r.cpu.Store(int64(cpu(rusageThread)))
		r.read.Add(int64(total))
		select {
		case r.woken <- struct{}{}:
		default:
		}
	}
	for _, fd := range append(r.fds, r.epoll) {
		_ = syscall.Close(fd)
	}
}

const rusageThread = 1

func cpu(who int) time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sockets connects the viewers and returns the server's ends.
func sockets(b *testing.B) ([]net.Conn, *reader) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := &reader{woken: make(chan struct{}, 1)}
	if r.epoll, err = syscall.EpollCreate1(0); err != nil {
		b.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	var raws []net.Conn
	for range viewers {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err == nil {
			err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		}
		if err == nil {
			err = syscall.SetNonblock(fd, true)
		}
		if err == nil {
			err = syscall.EpollCtl(r.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
		}
		if err != nil {
			b.Fatal(fmt.Errorf("connect: %w", err))
		}
		r.fds = append(r.fds, fd)
		raw, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		raws = append(raws, raw)
	}
	return raws, r
}
