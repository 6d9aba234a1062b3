package api

import (
	"context"

	"github.com/faac1247/rollcall/protocol"
)

func (a *API) changeSeat(ctx context.Context, req *request) (any, error) {
	cmd, err := seatCommand(req)
	if err != nil {
		return nil, err
	}
	f, err := req.fields()
	if err != nil {
		return nil, err
	}
	cmd.SeatChange = f.seatChange()
	if err := f.err(); err != nil {
		return nil, err
	}
	cmd.Subject = cmd.SeatChange.Up
	reply := a.cfg.Rooms.Do(ctx, cmd)
	if err := replyError(reply); err != nil {
		return nil, err
	}
	return placeOf(cmd.Room, reply), nil
}

func (a *API) emptySeat(ctx context.Context, req *request) (any, error) {
	cmd, err := seatCommand(req)
	if err != nil {
		return nil, err
	}
	cmd.SeatChange = &protocol.SeatChange{Down: true}
	return done(a.cfg.Rooms.Do(ctx, cmd))
}

// seatCommand returns the command to change the seat that the path names, but
// for the change.
func seatCommand(req *request) (protocol.Command, error) {
	room, err := req.room()
	if err != nil {
		return protocol.Command{}, err
	}
	seat, err := req.seat()
	if err != nil {
		return protocol.Command{}, err
	}
	key, err := operationKey(req)
	return protocol.Command{Verb: protocol.VerbSeat, Room: room, Key: key, Seat: seat}, err
}

// seatChange returns the one change that the body names: a user for the seat,
// its status, or its microphone.
func (f *fields) seatChange() *protocol.SeatChange {
	var c protocol.SeatChange
	named := 0
	if f.value("user_id") != nil {
		named++
		c.Up = f.user("user_id")
	}
	if f.value("status") != nil {
		named++
		c.Status = new(int(f.integer("status", 0, 0, 1)))
	}
	if f.value("microphone") != nil {
		named++
		c.Microphone = new(f.boolean("microphone"))
	}
	if named != 1 {
		f.wrong("body", "send exactly one of user_id, status and microphone")
	}
	return &c
}
