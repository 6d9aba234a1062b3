package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Limits of what a backend may say about rooms and occupants. A room has its
// own, which are no lower.
const (
	maxSeats     = 1024
	maxKeepEmpty = 30 * 24 * time.Hour
	maxName      = protocol.MaxName
)

// Pages of rosters and of the list of rooms. A page of a roster has to fit a
// message between nodes.
const (
	rosterPage, maxRosterPage = 100, 500
	roomsPage, maxRoomsPage   = 100, 1000
)

// enterAnswer is that of PUT occupants.
type enterAnswer struct {
	placeAnswer
	EndPoint string `json:"end_point"`
}

func (a *API) enter(ctx context.Context, req *request) (any, error) {
	room, err := req.room()
	if err != nil {
		return nil, err
	}
	enter := EnterRequest{Room: room}
	if enter.User, err = req.user(1); err != nil {
		return nil, err
	}
	if enter.Key, err = givenKey(req); err != nil {
		return nil, err
	}
	f, err := req.fields()
	if err != nil {
		return nil, err
	}
	enter.Profile, enter.Quiet = f.profile(), f.boolean("quiet")
	if err := f.err(); err != nil {
		return nil, err
	}
	reply := a.cfg.Places.Enter(ctx, enter)
	if err := replyError(reply); err != nil {
		return nil, err
	}
	return enterAnswer{placeOf(room, reply), a.cfg.Cluster.EndPoint(room)}, nil
}

func placeOf(room protocol.RoomID, reply protocol.Reply) placeAnswer {
	return placeAnswer{RoomID: room, Epoch: reply.Epoch, Seq: reply.Seq, durability: durabilityOf(reply)}
}

// roleAudience is the role of an occupant of whom none is said.
const roleAudience = "audience"

// profile returns what a room shows of an occupant.
func (f *fields) profile() protocol.Profile {
	p := protocol.Profile{
		Nickname:       f.text("nickname", maxName),
		Sex:            int(f.integer("sex", 0, 0, protocol.MaxSex)),
		AvatarURL:      f.text("avatar_url", protocol.MaxAvatarURL),
		AvatarSmallURL: f.text("avatar_small_url", protocol.MaxAvatarURL),
		ChannelName:    f.text("channel_name", maxName),
		Role:           f.text("role", maxName),
	}
	switch p.Role {
	case "":
		p.Role = roleAudience
	case "host", roleAudience:
	default:
		f.wrong("role", "must be host or audience")
	}
	return p
}

func (a *API) exit(ctx context.Context, req *request) (any, error) {
	room, err := req.room()
	if err != nil {
		return nil, err
	}
	user, err := req.user(1)
	if err != nil {
		return nil, err
	}
	key, err := givenKey(req)
	if err != nil {
		return nil, err
	}
	return done(a.cfg.Places.Exit(ctx, ExitRequest{User: user, Room: room, Reason: "exited", Key: key}))
}

func (a *API) configure(ctx context.Context, req *request) (any, error) {
	room, err := req.room()
	if err != nil {
		return nil, err
	}
	key, err := operationKey(req)
	if err != nil {
		return nil, err
	}
	f, err := req.fields()
	if err != nil {
		return nil, err
	}
	settings := f.settings()
	if err := f.err(); err != nil {
		return nil, err
	}
	reply := a.cfg.Rooms.Do(ctx, protocol.Command{Verb: protocol.VerbConfigure, Room: room, Key: key, Settings: settings})
	if err := replyError(reply); err != nil {
		return nil, err
	}
	return placeOf(room, reply), nil
}

// settings returns a room's; what is not said stays as it is.
func (f *fields) settings() *protocol.Settings {
	var s protocol.Settings
	if f.value("seats") != nil {
		s.Seats = new(int(f.integer("seats", 0, 1, maxSeats)))
	}
	if f.value("channel_name") != nil {
		s.ChannelName = new(f.text("channel_name", maxName))
	}
	if f.value("keep_empty") != nil {
		s.KeepEmpty = new(f.duration("keep_empty", maxKeepEmpty))
	}
	return &s
}

func (a *API) closeRoom(ctx context.Context, req *request) (any, error) {
	room, err := req.room()
	if err != nil {
		return nil, err
	}
	key, err := operationKey(req)
	if err != nil {
		return nil, err
	}
	return done(a.cfg.Places.CloseRoom(ctx, room, key))
}

// roomAnswer is that of GET room.
type roomAnswer struct {
	RoomID      string          `json:"room_id"`
	Node        protocol.NodeID `json:"node"`
	Epoch       protocol.Epoch  `json:"epoch"`
	Seq         protocol.Seq    `json:"seq"`
	Rev         uint64          `json:"rev"`
	Count       int             `json:"count"`
	ChannelName string          `json:"channel_name"`
	Occupants   []occupantLine  `json:"occupants"`
	Seats       []seatLine      `json:"seats"`
	Next        string          `json:"next"`
	durability
}

// occupantLine is a protocol.OccupantView of which no field is left out.
type occupantLine struct {
	UserID         protocol.UserID `json:"user_id"`
	Nickname       string          `json:"nickname"`
	Sex            int             `json:"sex"`
	AvatarURL      string          `json:"avatar_url"`
	AvatarSmallURL string          `json:"avatar_small_url"`
	ChannelName    string          `json:"channel_name"`
	Role           string          `json:"role"`
	Seat           int             `json:"seat"`
	Since          time.Time       `json:"since"`
	Online         bool            `json:"online"`
}

type seatLine = protocol.SeatView

func (a *API) room(ctx context.Context, req *request) (any, error) {
	room, err := req.room()
	if err != nil {
		return nil, err
	}
	after, limit, err := req.page(rosterPage, maxRosterPage)
	if err != nil {
		return nil, err
	}
	view, reply, err := a.look(ctx, protocol.Command{Room: room, After: after, Limit: limit})
	if err != nil {
		return nil, err
	}
	answer := roomAnswer{
		RoomID: view.RoomID, Node: view.Node, Epoch: view.Epoch, Seq: view.Seq, Rev: view.Rev, Count: view.Count,
		ChannelName: view.ChannelName, Occupants: make([]occupantLine, len(view.Occupants)), Seats: view.Seats, Next: view.Next,
		durability: durabilityOf(reply),
	}
	if answer.Seats == nil {
		answer.Seats = []seatLine{}
	}
	for i, o := range view.Occupants {
		answer.Occupants[i] = occupantLine{
			UserID: o.UserID, Nickname: o.Nickname, Sex: o.Sex, AvatarURL: o.AvatarURL, AvatarSmallURL: o.AvatarSmallURL,
			ChannelName: o.ChannelName, Role: o.Role, Seat: o.Seat, Since: o.Since, Online: o.Online,
		}
	}
	return answer, nil
}

// look asks a room's owner for its roster, or for one user's line of it.
func (a *API) look(ctx context.Context, cmd protocol.Command) (protocol.RoomView, protocol.Reply, error) {
	cmd.Verb = protocol.VerbLook
	reply := a.cfg.Rooms.Do(ctx, cmd)
	var view protocol.RoomView
	if err := replyError(reply); err != nil {
		return view, reply, err
	}
	if err := json.Unmarshal(reply.Body, &view); err != nil {
		return view, reply, fmt.Errorf("read view of room %q: %w", cmd.Room, err)
	}
	return view, reply, nil
}

// roomsAnswer is that of GET rooms.
type roomsAnswer struct {
	Rooms []roomLine      `json:"rooms"`
	Next  protocol.RoomID `json:"next"`
}

type roomLine struct {
	RoomID protocol.RoomID `json:"room_id"`
	Node   protocol.NodeID `json:"node"`
	Epoch  protocol.Epoch  `json:"epoch"`
	Count  int             `json:"count"`
}

func (a *API) rooms(ctx context.Context, req *request) (any, error) {
	after, limit, err := req.page(roomsPage, maxRoomsPage)
	if err != nil {
		return nil, err
	}
	lines, next, err := a.cfg.Cluster.Rooms(ctx, protocol.RoomID(after), limit)
	if err != nil {
		return nil, fmt.Errorf("list rooms: %w", err)
	}
	answer := roomsAnswer{Rooms: make([]roomLine, len(lines)), Next: next}
	for i, l := range lines {
		answer.Rooms[i] = roomLine{RoomID: l.Room, Node: l.Node, Epoch: l.Epoch, Count: l.Count}
	}
	return answer, nil
}
