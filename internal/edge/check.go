package edge

import (
	"errors"
	"fmt"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// overdue is how long after its limit a silent connection may still be here:
// a tick, the grace for unread bytes, and what a busy process takes.
const overdue = time.Second

// Check returns every invariant of this edge that is broken now. What changes
// while it looks may be found in between; a fault that stays is one.
func (e *Edge) Check() []error {
	var faults []error
	now, bounds := e.now(), e.fanout.Config()
	for s := range e.registry.all {
		bytes, frames := s.Backlog()
		if bytes > bounds.MaxBacklogBytes || frames > bounds.MaxBacklogFrames {
			faults = append(faults, fmt.Errorf("user %d: backlog of %d bytes and %d frames is over its bound", s.user, bytes, frames))
		}
		seen := time.Duration(s.lastSeen.Load())
		if silent := now - seen - e.wheel.paused(seen); s.current() == fateNone && silent > e.cfg.HeartbeatTimeout+overdue {
			faults = append(faults, fmt.Errorf("user %d: silent for %v and not judged", s.user, silent))
		}
	}
	for i := range e.partitions {
		if err := e.partitions[i].check(e, protocol.PartitionID(i)); err != nil {
			faults = append(faults, err)
		}
	}
	if n := e.Count(); e.cfg.MaxConns > 0 && n > e.cfg.MaxConns {
		faults = append(faults, fmt.Errorf("%d connections are over the bound of %d", n, e.cfg.MaxConns))
	}
	return faults
}

// check compares a partition's hash and its rooms with the subscriptions.
func (p *partition) check(e *Edge, id protocol.PartitionID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var faults []error
	var hash uint64
	for name, r := range p.rooms {
		if r.audience.Len() == 0 {
			faults = append(faults, fmt.Errorf("room %q: kept without subscribers", name))
		}
		if e.cfg.RoomPartition(name) != id {
			faults = append(faults, fmt.Errorf("room %q: in partition %d", name, id))
		}
		for s := range r.audience.Subscribers {
			own := s.Of.(*subscription)
			hash += own.fingerprint()
			if own.in != r || own.out {
				faults = append(faults, fmt.Errorf("room %q: user %d is subscribed and says otherwise", name, s.User))
			}
		}
	}
	if hash != p.hash {
		faults = append(faults, fmt.Errorf("partition %d: hash %x of subscriptions that sum to %x", id, p.hash, hash))
	}
	return errors.Join(faults...)
}
