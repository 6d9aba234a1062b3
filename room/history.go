package room

import (
	"slices"
	"strconv"

	"github.com/faac1247/rollcall/protocol"
)

// history holds the latest publications, oldest first, numbered without gap.
// The oldest go when there are too many of them, or too many bytes.
type history struct {
	// set by New
	maxFrames, maxBytes int

	frames []pastFrame
	bytes  int
}

// pastFrame is one publication as clients got it. The frame names the epoch
// that it was numbered in.
type pastFrame struct {
	seq   protocol.Seq
	frame []byte
}

func (h *history) add(seq protocol.Seq, frame []byte) {
	h.frames = append(h.frames, pastFrame{seq, frame})
	h.bytes += len(frame)
	for len(h.frames) > 0 && (len(h.frames) > h.maxFrames || h.bytes > h.maxBytes) {
		h.bytes -= len(h.frames[0].frame)
		h.frames[0] = pastFrame{}
		h.frames = h.frames[1:]
	}
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
