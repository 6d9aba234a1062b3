package integ

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// ownAddress is a loopback address that, where the system has more than one,
// nobody else is likely to use: there, a port that was free a moment ago stays
// so while a node restarts.
func ownAddress() string {
	own := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	l, err := net.Listen("tcp", net.JoinHostPort(own, "0"))
	if err != nil {
		return "127.0.0.1"
	}
	_ = l.Close()
	return own
}

// ports hands out ports that are free for TCP and UDP, each once.
type ports struct {
	host string

	// guarded by mu
	mu   sync.Mutex
	used map[int]bool
}

func newPorts(host string) *ports { return &ports{host: host, used: map[int]bool{}} }

func (p *ports) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		l, err := net.Listen("tcp", net.JoinHostPort(p.host, "0"))
		if err != nil {
			panic(fmt.Sprintf("no free port at %s: %v", p.host, err))
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", l.Addr().String())
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = u.Close()
		if !p.used[port] {
			p.used[port] = true
			return port
		}
	}
}

func dials(address string) error {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}
