package edge

import "github.com/faac1247/rollcall/protocol"

// track is how far a room's publications have come at this edge.
type track struct {
	epoch protocol.Epoch
	seq   protocol.Seq
}

// verdict is what a publication's place says about it.
type verdict uint8

const (
	// inOrder: the next one.
	inOrder verdict = iota
	// repeated: seen before, or of an owner that was outranked.
	repeated
	// missed: others come before it that are not here.
	missed
)

// take judges a publication and, if it is in order, moves on to it.
//
// A new owner either goes on counting, after a handover, or counts from 1,
// after a crash. Which one it is shows in the number: one that goes on never
// comes to a number that was seen.
func (t *track) take(epoch protocol.Epoch, seq protocol.Seq) verdict {
	switch {
	case epoch < t.epoch, epoch == t.epoch && seq <= t.seq:
		return repeated
	case epoch > t.epoch && seq <= t.seq:
		*t = track{epoch: epoch}
	}
	if seq != t.seq+1 {
		return missed
	}
	*t = track{epoch: epoch, seq: seq}
	return inOrder
}

// reached compares with how far the owner says that it is, and reports whether
// publications are missing.
func (t *track) reached(epoch protocol.Epoch, seq protocol.Seq) bool {
	if epoch < t.epoch {
		return false
	}
	if epoch > t.epoch && seq < t.seq {
		*t = track{epoch: epoch}
	}
	if epoch > t.epoch && seq == t.seq {
		t.epoch = epoch
	}
	return seq > t.seq
}
