package owner

import (
	"fmt"

	"github.com/faac1247/rollcall/protocol"
)

// maxFaults bounds how far a check looks: faults are reported, not listed
// without end.
const maxFaults = 32

// check is a message: which invariants are broken now?
type check struct{ answer chan<- []error }

func (m check) apply(l *loop) {
	var faults []error
	fault := func(format string, args ...any) {
		if len(faults) < maxFaults {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for id, p := range l.partitions {
		if p.id != id || int(id)%len(l.owner.loops) != l.index {
			fault("partition %d is in loop %d", id, l.index)
		}
		switch p.state {
		case owned:
			l.checkOwned(p, fault)
		case quarantined:
			fault("partition %d is quarantined", id)
		}
		if len(p.waiting) > maxWaiting {
			fault("partition %d: %d commands wait, bound is %d", id, len(p.waiting), maxWaiting)
		}
	}
	m.answer <- faults
}

func (l *loop) checkOwned(p *partition, fault func(string, ...any)) {
	if p.epoch == 0 {
		fault("partition %d is owned without an epoch", p.id)
	}
	for id, s := range p.rooms {
		if s.room.ID() != id || l.owner.cfg.Partition(id) != p.id {
			fault("room %q is in partition %d", id, p.id)
		}
		if s.room.Epoch() != p.epoch {
			fault("room %q counts in epoch %d, its partition has %d", id, s.room.Epoch(), p.epoch)
		}
		seen := make(map[protocol.UserID]bool)
		for _, o := range s.room.Occupants() {
			if seen[o.User] {
				fault("room %q lists user %d twice", id, o.User)
			}
			seen[o.User] = true
		}
		if s.room.Disposable() {
			fault("room %q is over and still there", id)
		}
	}
}
