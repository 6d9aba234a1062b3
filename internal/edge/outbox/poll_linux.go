package outbox

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// pollBatch is how many sockets are asked for at once.
const pollBatch = 256

// poller watches the sockets of idle connections and wakes their readers. It
// is itself watched by the runtime's, so that it blocks no thread.
type poller struct {
	// set by newPoller
	file *os.File
	raw  syscall.RawConn
	done chan struct{} // closed when run has ended

	// guarded by mu
	mu    sync.Mutex
	conns []*Conn // by their file descriptor; bounded by the process' file limit
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), syscall.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	// A deadline is refused where a read would block its thread.
	if err = errors.Join(err, file.SetReadDeadline(time.Time{})); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), file.Close())
	}
	return &poller{file: file, raw: raw, done: make(chan struct{})}, nil
}

// close ends run and waits for it.
func (p *poller) close() {
	_ = p.file.Close() // there is nothing to be done about an error
	<-p.done
}

// run wakes readers until close. All of it is one read that never has enough:
// between two reads the runtime would forget that more has come.
func (p *poller) run() {
	defer close(p.done)
	events := make([]syscall.EpollEvent, pollBatch)
	ready := make([]*Conn, 0, pollBatch)
	// It ends by close alone.
	_ = p.raw.Read(func(fd uintptr) bool {
		for {
			n := pollOnce(int(fd), events)
			if n > 0 {
				p.wake(events[:n], ready)
			}
			if n < len(events) {
				return false
			}
		}
	})
}

// wake wakes the readers whose sockets have something. ready is memory to use.
func (p *poller) wake(events []syscall.EpollEvent, ready []*Conn) {
	p.mu.Lock()
	for _, e := range events {
		// A number may have gone to another connection since. That one looks
		// for nothing then and rests again.
		if int(e.Fd) < len(p.conns) && p.conns[e.Fd] != nil {
			ready = append(ready, p.conns[e.Fd])
		}
	}
	p.mu.Unlock()
	for _, c := range ready {
		c.wake()
	}
	clear(ready)
}

// pollOnce returns how many sockets have something, at most 0 for none.
func pollOnce(fd int, events []syscall.EpollEvent) int {
	for {
		n, err := syscall.EpollWait(fd, events, 0)
		if !errors.Is(err, syscall.EINTR) {
			return n
		}
	}
}

// arm has c woken once, as soon as its socket has something; first is set the
// first time.
//
// Hot: once for each time that a client has said something (BenchmarkAttend).
func (p *poller) arm(c *Conn, first bool) error {
	op := syscall.EPOLL_CTL_MOD
	if first {
		op = syscall.EPOLL_CTL_ADD
	}
	var err, gone error
	closed := c.direct.Control(func(fd uintptr) {
		if first {
			p.know(c, int(fd))
		}
		gone = p.raw.Control(func(poll uintptr) {
			err = syscall.EpollCtl(int(poll), op, int(fd), &syscall.EpollEvent{
				Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT, Fd: int32(fd),
			})
		})
	})
	return errors.Join(closed, gone, err)
}

// know notes whose a file descriptor is.
func (p *poller) know(c *Conn, fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if more := fd + 1 - len(p.conns); more > 0 {
		p.conns = append(p.conns, make([]*Conn, more)...)
	}
	p.conns[fd] = c
	c.fd = int32(fd) // file descriptors are small
}

// forget lets go of a connection whose reader has ended.
func (p *poller) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(c.fd) < len(p.conns) && p.conns[c.fd] == c {
		p.conns[c.fd] = nil
	}
}
