//go:build linux

package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

const (
	// dialers is how many handshakes are under way at a time.
	dialers = 16
	// readSize is what one read takes at most.
	readSize = 256 << 10
	// longest is the longest latency that is told apart, in microseconds.
	longest = 60e6
)

// place is one room as its audience sees it. Publications are known by their
// number, since every member gets them in the same order.
type place struct {
	// set by newPlace
	name  string
	sent  []atomic.Int64 // when each left, or should have left, in nanoseconds since the crowd began
	short []int32        // how many have not got it, owned by the reader
	size  int

	next atomic.Int64
}

// newPlace returns a room for at most n publications.
func newPlace(name string, n int) *place {
	return &place{name: name, sent: make([]atomic.Int64, n), short: make([]int32, n)}
}

// crowd is the audience of all rooms, read by one goroutine.
type crowd struct {
	// set by newCrowd
	poll  int
	began time.Time
	done  chan struct{} // closed when the reader has ended

	// set before what is read matters
	hear      func(*socket, []byte)
	completed chan struct{} // gets a token for each publication that everybody has
	timed     atomic.Bool

	delivered, bytes, gone atomic.Int64

	// guarded by mu
	mu      sync.Mutex
	sockets []*socket
	byFD    []*socket
	all     *hdrhistogram.Histogram // microseconds
	first   *hdrhistogram.Histogram
}

func newCrowd() (*crowd, error) {
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	c := &crowd{poll: poll, began: time.Now(), done: make(chan struct{}), completed: make(chan struct{}, 1<<20)}
	c.forget()
	go c.read()
	return c, nil
}

// forget begins new histograms.
func (c *crowd) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all, c.first = hdrhistogram.New(1, longest, 3), hdrhistogram.New(1, longest, 3)
}

func (c *crowd) now() int64 { return int64(time.Since(c.began)) }

// member is a connection to be made.
type member struct {
	address, path string
	user          int
	place         *place
}

// connect dials everybody.
func (c *crowd) connect(members []member) error {
	var g errgroup.Group
	g.SetLimit(dialers)
	for _, m := range members {
		g.Go(func() error {
			s, err := dial(m.address, m.path)
			if err != nil {
				return err
			}
			s.user, s.place = m.user, m.place
			return c.add(s)
		})
	}
	return g.Wait()
}

func (c *crowd) add(s *socket) error {
	c.mu.Lock()
	c.sockets = append(c.sockets, s)
	for len(c.byFD) <= s.fd {
		c.byFD = append(c.byFD, nil)
	}
	c.byFD[s.fd] = s
	if s.place != nil {
		s.place.size++
	}
	c.mu.Unlock()
	return syscall.EpollCtl(c.poll, syscall.EPOLL_CTL_ADD, s.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(s.fd)})
}

// settle says that what is read from now on are publications.
func (c *crowd) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		s.frames = 0
		if s.place != nil {
			for i := range s.place.short {
				s.place.short[i] = int32(s.place.size)
			}
		}
	}
}

// read is the reader.
func (c *crowd) read() {
	defer close(c.done)
	events := make([]syscall.EpollEvent, 1024)
	buf := make([]byte, readSize)
	for {
		n, err := syscall.EpollWait(c.poll, events, -1)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		c.mu.Lock()
		for _, e := range events[:n] {
			if e.Fd < 0 || int(e.Fd) >= len(c.byFD) || c.byFD[e.Fd] == nil {
				continue
			}
			c.readOne(c.byFD[e.Fd], buf)
		}
		stop := c.byFD == nil
		c.mu.Unlock()
		if stop {
			return
		}
	}
}

// readOne reads what one socket has. The caller holds mu.
func (c *crowd) readOne(s *socket, buf []byte) {
	n, err := syscall.Read(s.fd, buf)
	if errors.Is(err, syscall.EAGAIN) {
		return
	}
	if err != nil || n == 0 {
		c.gone.Add(1)
		c.drop(s)
		return
	}
	c.bytes.Add(int64(n))
	frames := s.take(buf[:n], c.hear)
	if frames == 0 {
		return
	}
	c.delivered.Add(int64(frames))
	if s.place == nil {
		return
	}
	now := c.now()
	for k := s.frames; k < min(s.frames+frames, len(s.place.short)); k++ {
		c.arrived(s.place, k, now)
	}
	s.frames += frames
}

// arrived notes that one member has publication k.
func (c *crowd) arrived(p *place, k int, now int64) {
	short := &p.short[k]
	if c.timed.Load() {
		took := max(1, (now-p.sent[k].Load())/1000)
		_ = c.all.RecordValue(min(took, longest)) // within the bounds
		if int(*short) == p.size {
			_ = c.first.RecordValue(min(took, longest))
		}
	}
	if *short--; *short == 0 {
		select {
		case c.completed <- struct{}{}:
		default: // nobody waits
		}
	}
}

// drop forgets and closes a socket. The caller holds mu.
func (c *crowd) drop(s *socket) {
	if c.byFD[s.fd] == s {
		c.byFD[s.fd] = nil
		_ = syscall.Close(s.fd)
	}
}

// cut closes all sockets, or those that are chosen.
func (c *crowd) cut(chosen func(*socket) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.sockets[:0]
	for _, s := range c.sockets {
		if chosen == nil || chosen(s) {
			c.drop(s)
			continue
		}
		kept = append(kept, s)
	}
	c.sockets = kept
}

// close ends the crowd and its reader.
func (c *crowd) close() {
	c.cut(nil)
	c.mu.Lock()
	c.byFD = nil
	c.mu.Unlock()
	// The reader sleeps on; a pipe that can be read wakes it.
	var wake [2]int
	if err := syscall.Pipe(wake[:]); err != nil {
		return
	}
	_ = syscall.EpollCtl(c.poll, syscall.EPOLL_CTL_ADD, wake[0], &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(wake[0])})
	_, _ = syscall.Write(wake[1], []byte{0})
	<-c.done
	for _, fd := range []int{wake[0], wake[1], c.poll} {
		_ = syscall.Close(fd)
	}
}

// quantile returns a latency of all deliveries, in milliseconds.
func (c *crowd) quantile(q float64) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(c.all.ValueAtQuantile(q)) / 1000
}

// firstQuantile is that of the first member of each publication.
func (c *crowd) firstQuantile(q float64) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(c.first.ValueAtQuantile(q)) / 1000
}
