package room

import (
	"slices"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// history holds the latest publications, oldest first, numbered without gap.
// The oldest go when there are too many of them or too many bytes, and all of
// them when they are too old.
type history struct {
	// set by New
	maxFrames, maxBytes int
	maxAge              time.Duration

	frames []pastFrame
	bytes  int
	alarm  alarm
}

// pastFrame is one publication as clients got it. The frame names the epoch
// that it was numbered in.
type pastFrame struct {
	seq   protocol.Seq
	at    time.Time // zero for what a former owner handed over
	frame []byte
}

func (h *history) add(p pastFrame) {
	h.frames = append(h.frames, p)
	h.bytes += len(p.frame)
	for len(h.frames) > 0 && (len(h.frames) > h.maxFrames || h.bytes > h.maxBytes) {
		h.dropOldest()
	}
}

func (h *history) dropOldest() {
	h.bytes -= len(h.frames[0].frame)
	h.frames[0] = pastFrame{}
	h.frames = h.frames[1:]
	if len(h.frames) == 0 {
		h.frames = nil
	}
}

// record keeps a publication under the next number.
func (s *step) record(frame []byte) {
	s.seq++
	s.history.add(pastFrame{seq: s.seq, at: s.now, frame: frame})
	s.setHistoryAlarm()
}

// startAging lets what a former owner handed over age from now on.
func (s *step) startAging() {
	for i := range s.history.frames {
		s.history.frames[i].at = s.now
	}
	s.setHistoryAlarm()
}

func (s *step) setHistoryAlarm() {
	h := &s.history
	if h.alarm == (alarm{}) && len(h.frames) > 0 {
		s.set(&h.alarm, h.frames[0].at.Add(h.maxAge), 0, timer{kind: timerHistory})
	}
}

// forget drops what is too old. Publications come and go faster than the alarm,
// which is why it may find that its oldest has long been replaced.
func (s *step) forget() {
	h := &s.history
	s.unset(&h.alarm)
	for len(h.frames) > 0 && !h.frames[0].at.Add(h.maxAge).After(s.now) {
		h.dropOldest()
	}
	s.setHistoryAlarm()
}

// after returns what came after seq, false if some of it is gone. latest is
// the number of the latest publication.
func (h *history) after(seq, latest protocol.Seq) ([]pastFrame, bool) {
	if seq == latest {
		return nil, true
	}
	if len(h.frames) == 0 || h.frames[0].seq > seq+1 {
		return nil, false
	}
	i, _ := slices.BinarySearchFunc(h.frames, seq+1, func(p pastFrame, seq protocol.Seq) int {
		return int(int64(p.seq) - int64(seq))
	})
	return h.frames[i:], true
}

// position is where a room's counting stood at the end of an epoch that handed
// over to the next.
type position struct {
	Epoch protocol.Epoch `json:"e"`
	Seq   protocol.Seq   `json:"s"`
}

// lineageKept bounds the former epochs whose positions are understood.
const lineageKept = 8

// knows reports whether a position is one that this room has been at: in its
// own epoch, or in one that handed over to it, directly or not.
func (r *Room) knows(p position) bool {
	if p.Epoch == r.epoch {
		return p.Seq <= r.seq
	}
	return slices.ContainsFunc(r.lineage, func(end position) bool {
		return end.Epoch == p.Epoch && p.Seq <= end.Seq
	})
}

// sync answers with what was published after the command's position, or with
// the state to start over from where that can't be told. A user must be in the
// room; an edge asks without one, for all its clients.
func (s *step) sync(cmd *protocol.Command) error {
	switch {
	case !s.exists():
		return s.notFound()
	case cmd.User != 0 && s.occupants[cmd.User] == nil:
		return protocol.Errorf(protocol.CodeNotInRoom, "user %d is not in room %q", cmd.User, s.id)
	}
	body := []byte(`{"epoch":`)
	body = strconv.AppendUint(body, uint64(s.epoch), 10)
	body = append(body, `,"seq":`...)
	body = strconv.AppendUint(body, uint64(s.seq), 10)
	missed, ok := s.history.after(cmd.Seq, s.seq)
	if ok && s.knows(position{cmd.Epoch, cmd.Seq}) {
		body = append(body, `,"frames":[`...)
		for i, p := range missed {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, p.frame...)
		}
		body = append(body, ']')
	} else {
		body = append(body, `,"resync":`...)
		body = append(body, encodeView(s.View("", pageDefault))...)
	}
	s.res.Reply.Body = append(body, '}')
	return nil
}
