package client

import (
	"errors"
	"net"
	"net/url"
	"time"
)

const (
	// A machine that is gone answers no keep-alive: the first is sent after
	// keepIdle, the next ones after keepInterval each.
	keepIdle     = 3 * time.Second
	keepInterval = time.Second
	keepCount    = 3
	// ackTimeout is how long what was sent may go without the machine's word that
	// it came. While it waits for that, no keep-alive is sent.
	ackTimeout = keepIdle + keepCount*keepInterval
)

// NewDialer returns what opens connections by default: a net.Dialer whose
// connections end within 6 s of the other machine's end, where the system lets
// that be said (on Linux, always; elsewhere while nothing was sent).
func NewDialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepIdle, Interval: keepInterval, Count: keepCount},
		Control:         limitUnacknowledged,
	}
}

// distrust has the next attempt go elsewhere after a connection whose machine
// went silent: end_point is told the address, and asked of another machine.
func (c *Client) distrust(endPoint string) {
	c.avoid.add(endPoint, time.Now())
	if hostOf(c.cfg.EndPoints[c.first]) == hostOf(endPoint) {
		c.first = (c.first + 1) % len(c.cfg.EndPoints)
	}
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // it was parsed before
	}
	return u.Hostname()
}

// hostPort returns where an address is dialled.
func hostPort(endPoint string) string {
	u, err := url.Parse(endPoint)
	if err != nil {
		return endPoint // it was parsed before
	}
	return address(u)
}

// silence reports whether a connection ended because nothing came back.
func silence(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, errSilent) || ok && timeout.Timeout()
}
