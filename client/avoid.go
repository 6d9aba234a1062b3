package client

import (
	"errors"
	"net"
	"slices"
	"time"
)

const (
	// avoidFor is how long an address counts as failed, the pauses between
	// attempts not counted: by then the nodes know of a dead one, and another may
	// be there.
	avoidFor = 5 * time.Second
	// maxAvoided bounds the addresses that end_point is told; the oldest go.
	maxAvoided = 4
)

// avoided are the addresses that came to no connection lately, the latest last.
// end_point is told them, so that it names another: for a second or two it does
// not know that a node has crashed.
type avoided []failedAddress

type failedAddress struct {
	endPoint string
	at       time.Time
}

// add notes a failure, and reports whether the address counted as failed before.
// end_point knew no other then: a new round over all of them begins.
func (a *avoided) add(endPoint string, now time.Time) (known bool) {
	if known = slices.Contains(a.recent(now), endPoint); known {
		*a = nil
	}
	list := slices.DeleteFunc(*a, func(f failedAddress) bool { return f.endPoint == endPoint })
	list = append(list, failedAddress{endPoint, now})
	*a = list[max(0, len(list)-maxAvoided):]
	return known
}

// pause keeps what counts from ending while the client waits: it would be sent
// to the same full node again after every longer pause.
func (a avoided) pause(d time.Duration, now time.Time) {
	for i := range a {
		if now.Sub(a[i].at) < avoidFor {
			a[i].at = a[i].at.Add(d)
		}
	}
}

// recent returns the addresses that still count.
func (a avoided) recent(now time.Time) (endPoints []string) {
	for _, f := range a {
		if now.Sub(f.at) < avoidFor {
			endPoints = append(endPoints, f.endPoint)
		}
	}
	return endPoints
}

// nobodyListens reports whether an attempt failed because its address answers
// no dial: a machine that is too busy lets one wait instead.
func nobodyListens(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && !op.Timeout()
}
