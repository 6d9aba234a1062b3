package client

import (
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxTracks is how many rooms a client follows; a user is in one, and late
	// frames of the one before may still come. The longest unheard goes first.
	maxTracks = 4
	// maxHeldFrames and maxHeldBytes bound the frames that wait for those before
	// them. Over it the room goes on without the missing ones.
	maxHeldFrames = 256
	maxHeldBytes  = 256 << 10
	// maxTries is how often missing frames are asked for, stateTries how often
	// the state, which live frames wait for.
	maxTries   = 4
	stateTries = 2
	// goneTries is how often a node says that the user is not in a room before
	// that is believed: it may not have heard yet that it is.
	goneTries = 2
	// askAgain is how long an answer may take at first; it doubles.
	askAgain = 2 * time.Second
)

// place is a position among a room's publications.
type place struct {
	epoch protocol.Epoch
	seq   protocol.Seq
}

// before reports whether p comes before q.
func (p place) before(q place) bool {
	return p.epoch < q.epoch || p.epoch == q.epoch && p.seq < q.seq
}

// verdict is what a frame's place says about it.
type verdict uint8

const (
	// next: it follows on the one before.
	next verdict = iota
	// repeated: it was here already, or comes from an owner that was outranked.
	repeated
	// missed: others come before it.
	missed
)

// track is how far a client has come in one room. Its fields are guarded by
// the client's mu.
type track struct {
	room protocol.RoomID
	// at is the last place, zero before the first frame.
	at    place
	held  []held
	bytes int

	// asking is set while missing frames or the state are asked for, from a
	// place and for the tries-th time. state is set if the answer will be the
	// state: frames that come after the question wait for it, because it may
	// have their effect already.
	asking, state bool
	from          place
	tries         int
	// gaveUp: nobody answered, and what is held goes out as it is.
	gaveUp bool
	// alarm asks, and asks again.
	alarm alarm
}

// held is a frame that waits for those before it.
type held struct {
	at    place
	frame []byte
}

// take judges a frame by its place and, if it is the next, moves on to it.
//
// A new owner either goes on counting, after a handover, or counts from 1,
// after a crash. Which one it is shows in the number: one that goes on never
// comes to a number that was seen.
func (t *track) take(p place) verdict {
	switch {
	case t.at == place{}:
		t.at = p
		return next
	case p.epoch < t.at.epoch, p.epoch == t.at.epoch && p.seq <= t.at.seq:
		return repeated
	case t.restarted(p):
		t.at = place{epoch: p.epoch}
	}
	if p.seq != t.at.seq+1 {
		return missed
	}
	t.at = p
	return next
}

// restarted reports whether a frame at p shows that the room counts anew.
func (t *track) restarted(p place) bool {
	return t.at != place{} && p.epoch > t.at.epoch && p.seq <= t.at.seq
}

// waits reports whether frames are held back until the state is there.
func (t *track) waits() bool { return t.asking && t.state && t.tries > 0 }

// hold keeps a copy of a frame, in order. It reports false when there are too
// many.
func (t *track) hold(p place, frame []byte) bool {
	if len(t.held) >= maxHeldFrames || t.bytes+len(frame) > maxHeldBytes {
		return false
	}
	i := len(t.held)
	for i > 0 && p.before(t.held[i-1].at) {
		i--
	}
	if i > 0 && t.held[i-1].at == p {
		return true
	}
	t.held = append(t.held, held{})
	copy(t.held[i+1:], t.held[i:])
	t.held[i] = held{at: p, frame: append([]byte(nil), frame...)}
	t.bytes += len(frame)
	return true
}

// release takes the first held frame out if its turn has come: it is the next,
// or those before it were given up. Frames that are of no use any more go.
func (t *track) release() (h held, ok bool) {
	for len(t.held) > 0 && !t.waits() {
		h = t.held[0]
		if t.gaveUp && t.at.before(h.at) {
			t.at = place{h.at.epoch, h.at.seq - 1}
		}
		v := t.take(h.at)
		if v == missed {
			return held{}, false
		}
		t.held[0] = held{}
		t.held = t.held[1:]
		t.bytes -= len(h.frame)
		if v == next {
			return h, true
		}
	}
	if len(t.held) == 0 {
		t.held, t.bytes, t.gaveUp = nil, 0, false
	}
	return held{}, false
}

// limit is how often to ask.
func (t *track) limit() int {
	if t.state {
		return stateTries
	}
	return maxTries
}

// settle notes that what was asked for has been answered.
func (t *track) settle() { t.asking, t.state, t.tries = false, false, 0 }

// giveUp lets what is held go out, whatever comes before it.
func (t *track) giveUp() {
	t.settle()
	t.gaveUp = len(t.held) > 0
}
