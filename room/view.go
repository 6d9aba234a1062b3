package room

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/faac1247/rollcall/protocol"
)

// look answers with a page of the room, or, with a user, with that one's line.
func (s *step) look(cmd *protocol.Command) error {
	if !s.exists() {
		return s.notFound()
	}
	var view protocol.RoomView
	if cmd.User == 0 {
		if _, err := strconv.ParseUint(cmd.After, 10, 64); err != nil && cmd.After != "" {
			return protocol.Errorf(protocol.CodeBadRequest, "after: send the next of the page before")
		}
		view = s.View(cmd.After, cmd.Limit)
	} else {
		view = s.outline()
		if o := s.occupants[cmd.User]; o != nil {
			view.Occupants = append(view.Occupants, o.view())
		}
	}
	s.res.Reply.Body = encodeView(view)
	return nil
}

// View returns the room with up to limit occupants in the order of entry, from
// the one that after, a former page's Next, points to; all else as if it were
// empty. Of a call, RoomID is the number. A limit of 0 is 100, and 1,000 is the
// most.
func (r *Room) View(after string, limit int) protocol.RoomView {
	if limit <= 0 {
		limit = pageDefault
	}
	limit = min(limit, pageMax)
	from, err := strconv.ParseUint(after, 10, 64)
	if err != nil {
		from = 0
	}
	v := r.outline()
	var last uint64
	for k, o := range r.roster.after(key{lo: from}) {
		if len(v.Occupants) == limit {
			v.Next = strconv.FormatUint(last, 10)
			break
		}
		v.Occupants = append(v.Occupants, o.view())
		last = k.lo
	}
	return v
}

// outline is a view without occupants.
func (r *Room) outline() protocol.RoomView {
	id := string(r.id)
	if r.id.IsCall() {
		id = r.id.CallNo()
	}
	return protocol.RoomView{
		RoomID: id, Node: r.cfg.Node, Epoch: r.epoch, Seq: r.seq, Rev: r.rev,
		Count: len(r.occupants), ChannelName: r.settings.channel,
		Occupants: []protocol.OccupantView{}, Seats: r.seatViews(),
	}
}

func (o *occupant) view() protocol.OccupantView {
	return protocol.OccupantView{
		UserID: o.user, Profile: o.profile, Seat: o.seat, Since: o.since, Online: o.online(),
	}
}

// encodeView writes a view without escaping what HTML minds, so that texts
// stay as they were given.
func encodeView(v protocol.RoomView) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("room: view can't be encoded: " + err.Error()) // plain strings and numbers
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
