package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/room"
)

const (
	// repairPause is how long a difference between record and roster must last
	// before the record gives way: a move that is under way looks the same.
	repairPause = 2 * time.Second
	// repairLooks is how often a repair looks for a record that is not there.
	repairLooks = 10
)

// places changes where users are: first the user's record, then the rosters of
// the rooms concerned. The record decides; what has been decided there and not
// told yet is an intent in the store, so that it outlives this node.
type places struct {
	// set by newPlaces
	life *life
	log  *slog.Logger

	mu        sync.Mutex
	telling   map[intentKey]struct{}
	recalling map[protocol.PartitionID]bool // false: being looked at
}

func newPlaces(l *life) *places {
	return &places{life: l, log: l.log, telling: make(map[intentKey]struct{}), recalling: make(map[protocol.PartitionID]bool)}
}

// entry is what an intent keeps of an enter.
type entry struct {
	Profile *protocol.Profile `json:"p,omitempty"`
	Quiet   bool              `json:"q,omitempty"`
}

// EnterRequest puts a user into a room.
type EnterRequest struct {
	User    protocol.UserID
	Room    protocol.RoomID
	Profile protocol.Profile
	Quiet   bool
	Key     string
}

// Enter puts a user into a room, and out of the one before. It returns when the
// owners of both know.
func (pl *places) Enter(ctx context.Context, req EnterRequest) protocol.Reply {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	body, err := json.Marshal(entry{Profile: &req.Profile, Quiet: req.Quiet})
	if err != nil {
		return unreachable(err)
	}
	moved, err := pl.move(ctx, protocol.Move{User: req.User, To: req.Room, Key: req.Key, Body: body, Reason: "entered"})
	if err != nil {
		return unreachable(fmt.Errorf("move user %d: %w", req.User, err))
	}
	if overtaken(moved) {
		return pl.count(ctx, req.Room)
	}
	reply := pl.tell(ctx, moved.Intent)
	if refused(reply) {
		pl.undo(ctx, moved.Intent)
	}
	return repeated(moved, reply)
}

// overtaken reports whether a repeated move was followed by others, which have
// the user elsewhere by now. Its room must not hear of it again.
func overtaken(m protocol.Moved) bool {
	return m.Repeated && place(m.Record, m.Intent.Enter) != m.Intent.Enter
}

// repeated makes the answer to a repeated move the first one's, for whom the
// room knows later things of.
func repeated(m protocol.Moved, reply protocol.Reply) protocol.Reply {
	if m.Repeated && (reply.Code == protocol.CodeNotInRoom || reply.Code == protocol.CodeStale) {
		reply.Code, reply.Message = "", ""
	}
	return reply
}

// count answers with where a room stands in its count, as far as it exists.
func (pl *places) count(ctx context.Context, id protocol.RoomID) protocol.Reply {
	reply := pl.life.router.Do(ctx, protocol.Command{Verb: protocol.VerbLook, Room: id, Limit: 1})
	if unknown(reply) {
		return protocol.Reply{}
	}
	reply.Body = nil
	return reply
}

// refused reports whether the room would not have the user.
func refused(reply protocol.Reply) bool {
	return reply.Code == protocol.CodeRoomFull || reply.Code == protocol.CodeUserBusy
}

// undo takes a user out of a place whose owner refused, as far as the record
// has not changed since.
func (pl *places) undo(ctx context.Context, i protocol.Intent) {
	back, err := pl.move(ctx, protocol.Move{
		User: i.User, Call: i.Enter.IsCall(), From: i.Enter, IfVersion: i.Version, Reason: "refused",
	})
	if err != nil {
		pl.log.Warn("refused entry not undone", "user", i.User, "err", err)
		return
	}
	if !back.Refused {
		pl.settle(ctx, back.Intent)
	}
}

// Exit takes a user out of a room. Nobody is owed a departure.
func (pl *places) Exit(ctx context.Context, user protocol.UserID, id protocol.RoomID, reason, key string) protocol.Reply {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	moved, err := pl.move(ctx, protocol.Move{User: user, Call: id.IsCall(), From: id, Key: key, Reason: reason})
	if err != nil {
		return unreachable(fmt.Errorf("move user %d: %w", user, err))
	}
	if moved.Refused {
		return pl.notIn(ctx, user, id, moved.Record, reason)
	}
	return repeated(moved, pl.tell(ctx, moved.Intent))
}

// notIn answers for a user whom the record has somewhere else. The room may not
// have heard of that yet; it has when this is answered.
func (pl *places) notIn(ctx context.Context, user protocol.UserID, id protocol.RoomID, record protocol.UserRecord, reason string) protocol.Reply {
	if record.Version != 0 {
		reply := pl.insist(ctx, protocol.Command{
			Verb: protocol.VerbExit, Room: id, User: user, Version: record.Version, Conn: record.Conn, Reason: reason,
		})
		if !unknown(reply) && reply.Code != protocol.CodeStale {
			return reply
		}
	}
	return protocol.Reply{Code: protocol.CodeNotInRoom, Message: fmt.Sprintf("user %d is not in room %q", user, id)}
}

// CallRequest starts a call between two users.
type CallRequest struct {
	CallNo           string
	Caller, Receiver protocol.UserID
	Key              string
}

// StartCall puts both parties into a call. It refuses when one of them is in
// another call, or the call has other parties; then neither is in it.
func (pl *places) StartCall(ctx context.Context, req CallRequest) protocol.Reply {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	id := protocol.CallRoom(req.CallNo)
	if req.Key != "" {
		if reply, done := pl.started(ctx, req, id); done {
			return reply
		}
	}
	receiver, refusal := pl.enterCall(ctx, req.Receiver, id, "receiver", "")
	if refusal.Code != "" {
		return refusal
	}
	// The caller's record has the key of the request, and so comes last.
	caller, refusal := pl.enterCall(ctx, req.Caller, id, "caller", req.Key)
	if refusal.Code != "" {
		if refusal.Code == protocol.CodeUserBusy {
			pl.withdraw(ctx, receiver)
		} else {
			pl.Tell(receiver.intent) // the caller may be in; if not, the call ends as incomplete
		}
		return refusal
	}
	reply := pl.tell(ctx, caller.intent)
	if refused(reply) {
		pl.withdraw(ctx, caller)
		pl.withdraw(ctx, receiver)
	}
	if reply.Code != "" {
		return reply
	}
	reply = pl.tell(ctx, receiver.intent)
	if refused(reply) {
		pl.withdraw(ctx, receiver)
		if !caller.already {
			pl.Exit(ctx, req.Caller, id, "refused", "")
		}
	}
	return reply
}

// party is one of the two whom a call is started for.
type party struct {
	intent protocol.Intent
	// already: it was in the call before.
	already bool
}

// started answers a request whose key the caller's record has; done is false if
// it has not.
func (pl *places) started(ctx context.Context, req CallRequest, id protocol.RoomID) (reply protocol.Reply, done bool) {
	// Of all that a move checks the key comes first, and nobody is in a place
	// that no room can have.
	moved, err := pl.move(ctx, protocol.Move{User: req.Caller, Call: true, From: nowhere, Key: req.Key})
	switch {
	case err != nil:
		return unreachable(fmt.Errorf("move user %d: %w", req.Caller, err)), true
	case !moved.Repeated:
		return protocol.Reply{}, false
	case overtaken(moved):
		return pl.count(ctx, id), true
	}
	return repeated(moved, pl.tell(ctx, moved.Intent)), true
}

// nowhere is a place that no user is in.
const nowhere protocol.RoomID = "\x00"

// withdraw takes a party out of a call whose owner has not let it in.
func (pl *places) withdraw(ctx context.Context, p party) {
	if p.already {
		pl.Tell(p.intent)
		return
	}
	pl.undo(ctx, p.intent)
	pl.settle(ctx, p.intent)
}

// enterCall moves one party's record into a call unless it is in another.
func (pl *places) enterCall(ctx context.Context, user protocol.UserID, id protocol.RoomID, role, key string) (party, protocol.Reply) {
	body, err := json.Marshal(entry{Profile: &protocol.Profile{Role: role}, Quiet: true})
	if err != nil {
		return party{}, unreachable(err)
	}
	for {
		record, err := pl.life.user(ctx, user)
		if err != nil {
			return party{}, unreachable(fmt.Errorf("look at user %d: %w", user, err))
		}
		if record.Call != "" && record.Call != id && pl.isIn(ctx, user, record.Call) {
			return party{}, protocol.Reply{Code: protocol.CodeUserBusy,
				Message: fmt.Sprintf("user %d is in call %q; end that one first", user, record.Call.CallNo())}
		}
		m, err := pl.move(ctx, protocol.Move{User: user, Call: true, To: id, IfVersion: record.Version, Key: key, Body: body, Reason: "call"})
		if err != nil {
			return party{}, unreachable(fmt.Errorf("move user %d: %w", user, err))
		}
		if !m.Refused {
			return party{intent: m.Intent, already: record.Call == id}, protocol.Reply{}
		}
	}
}

// isIn reports whether a room has a user, or can't be asked. A call that has
// just ended is still in its parties' records for a moment.
func (pl *places) isIn(ctx context.Context, user protocol.UserID, id protocol.RoomID) bool {
	reply := pl.life.router.Do(ctx, protocol.Command{Verb: protocol.VerbLook, Room: id, User: user})
	var view protocol.RoomView
	return !unknown(reply) && (reply.Code != "" || json.Unmarshal(reply.Body, &view) != nil || len(view.Occupants) > 0)
}

// EndCall ends a call; nobody is told.
func (pl *places) EndCall(ctx context.Context, callNo, key string) protocol.Reply {
	return pl.CloseRoom(ctx, protocol.CallRoom(callNo), key)
}

// CloseRoom ends a room or call.
func (pl *places) CloseRoom(ctx context.Context, id protocol.RoomID, key string) protocol.Reply {
	return pl.life.router.Do(ctx, protocol.Command{Verb: protocol.VerbClose, Room: id, Key: orRandom(key), Reason: "closed"})
}

// move changes a user's record. Where the answer is lost, the change may stand
// in the store with nobody to tell of it: what this node left there is told as
// soon as the store answers. It is never asked for twice, so that a move has no
// key but the caller's own: the store keeps the last sixteen of each user.
func (pl *places) move(ctx context.Context, m protocol.Move) (protocol.Moved, error) {
	m.Partition = pl.life.userPartition(m.User)
	m.By = pl.life.inc
	moved, err := pl.life.store.Move(ctx, m)
	if errors.Is(err, protocol.ErrStoreAway) {
		pl.recall(m.Partition)
	}
	return moved, err
}

// Evict takes a user out of a place in the user's record: the room has already
// let go. It never blocks.
func (pl *places) Evict(id protocol.RoomID, e room.Eviction) {
	pl.once(intentKey{e.User, e.Version, id}, func(ctx context.Context) {
		for !pl.evict(ctx, id, e) {
			if !pause(ctx, tellPause) {
				return
			}
		}
	})
}

// evict tries once, and reports whether the matter is settled. A record whose
// version has risen may mean that the user has come back into this very room
// since; the room knows.
func (pl *places) evict(ctx context.Context, id protocol.RoomID, e room.Eviction) bool {
	record, err := pl.life.user(ctx, e.User)
	if err != nil {
		return false
	}
	if place(record, id) != id {
		return true
	}
	if record.Version > e.Version {
		reply := pl.life.router.Do(ctx, protocol.Command{Verb: protocol.VerbLook, Room: id, User: e.User})
		if !acted(reply) {
			return false
		}
		var view protocol.RoomView
		if reply.Code == "" && json.Unmarshal(reply.Body, &view) == nil && len(view.Occupants) > 0 {
			return true
		}
	}
	m, err := pl.move(ctx, protocol.Move{
		User: e.User, Call: id.IsCall(), From: id, IfVersion: record.Version, Reason: e.Reason,
	})
	if err != nil || m.Refused {
		return false // refused: the record has changed since; look again
	}
	pl.settle(ctx, m.Intent)
	return true
}

// place is where a record says that its user is, of the kind of id.
func place(record protocol.UserRecord, id protocol.RoomID) protocol.RoomID {
	if id.IsCall() {
		return record.Call
	}
	return record.Room
}

// Repair finds out where users are on whom owner and edge differ. The record
// decides. It never blocks.
func (pl *places) Repair(subs []protocol.Subscription) {
	for _, s := range subs {
		pl.once(intentKey{s.User, s.Version, s.Room}, func(ctx context.Context) {
			if gone := pl.repair(ctx, s); gone {
				pl.life.edge.Forget(s) // if it is here; an owner's lists tell other edges
			}
		})
	}
}

// repair reports whether the user turned out not to be in the room.
func (pl *places) repair(ctx context.Context, s protocol.Subscription) (gone bool) {
	var offline protocol.Version // of the record that had the user here without a connection
	for attempt := 0; ; attempt++ {
		record, ok := pl.recorded(ctx, s.User)
		if !ok {
			return false
		}
		if place(record, s.Room) != s.Room {
			if record.Version < s.Version {
				pl.remind(ctx, s, record)
				if pause(ctx, repairPause) {
					continue
				}
				return false
			}
			pl.insist(ctx, departed(s, record))
			return true
		}
		if !record.Online() {
			if s.Conn == 0 || s.Conn != record.Conn {
				return false // entered without a connection; the room's own clock runs
			}
			if offline == record.Version {
				return pl.closed(ctx, s, record)
			}
			offline = record.Version
			if pause(ctx, repairPause) {
				continue
			}
			return false
		}
		reply := pl.insist(ctx, protocol.Command{
			Verb: protocol.VerbPresent, Room: s.Room, User: s.User, Version: record.Version, Conn: record.Conn, Edge: record.Edge,
		})
		if !unknown(reply) {
			return false
		}
		if attempt > 0 && pl.forget(ctx, s.Room, record) {
			return true
		}
		if !pause(ctx, repairPause) {
			return false
		}
	}
}

// closed takes a user out whose connection the record knows to be closed and the
// room does not: the store had lost the entry when the connection was closed, and
// the edge had nobody to tell. It reports whether the user is out.
func (pl *places) closed(ctx context.Context, s protocol.Subscription, record protocol.UserRecord) bool {
	// Without a version it counts for this very connection alone.
	reply := pl.insist(ctx, protocol.Command{Verb: protocol.VerbLoss, Room: s.Room, User: s.User, Conn: s.Conn, Reason: "closed"})
	if !acted(reply) || pl.isIn(ctx, s.User, s.Room) {
		return false
	}
	return pl.forget(ctx, s.Room, record)
}

// remind gives the store the version back in which a user came into a room, and
// which it has lost: the user's edge heard of it only when it had put its records
// back. The caller looks again, whatever comes of it.
func (pl *places) remind(ctx context.Context, s protocol.Subscription, record protocol.UserRecord) {
	if s.Room.IsCall() {
		record.Call = s.Room
	} else {
		record.Room = s.Room
	}
	record.Version = s.Version
	if err := pl.life.store.RestoreUsers(ctx, pl.life.userPartition(s.User), []protocol.UserRecord{record}); err != nil {
		pl.log.Debug("record not put back", "user", s.User, "err", err)
	}
}

// recorded reads a user's record for a repair. While the store is away it waits
// for that; one that is empty is given the time in which edges put their users
// back.
func (pl *places) recorded(ctx context.Context, user protocol.UserID) (record protocol.UserRecord, ok bool) {
	for empty := 0; empty < repairLooks; {
		record, err := pl.life.user(ctx, user)
		if err == nil && (record.Version != 0 || record.Conn != 0) {
			return record, true
		}
		if err == nil {
			empty++
		}
		if !pause(ctx, repairPause) {
			break
		}
	}
	return protocol.UserRecord{}, false
}

// forget clears a place in the record that its room knows nothing of. It reports
// false when the record has changed, perhaps in the other place alone, or the
// store did not answer: then all has to be looked at again.
func (pl *places) forget(ctx context.Context, id protocol.RoomID, record protocol.UserRecord) bool {
	m, err := pl.move(ctx, protocol.Move{
		User: record.User, Call: id.IsCall(), From: id, IfVersion: record.Version, Reason: "unknown_to_room",
	})
	if err != nil || m.Refused {
		return false
	}
	pl.settle(ctx, m.Intent)
	return true
}

// departed is what the room must hear of a user whose record says somewhere
// else: a loss if that was why, else an exit.
func departed(s protocol.Subscription, record protocol.UserRecord) protocol.Command {
	cmd := protocol.Command{Verb: protocol.VerbExit, Room: s.Room, User: s.User, Version: record.Version, Conn: s.Conn, Reason: "moved"}
	if r := record.Removal; r != nil && (r.Room == s.Room || r.Call == s.Room) && lossReasons[r.Reason] {
		cmd.Verb, cmd.Reason = protocol.VerbLoss, r.Reason
	}
	return cmd
}

// lossReasons are the reasons of a Removal that the room is owed a departure
// for.
var lossReasons = map[string]bool{
	"closed": true, "timeout": true, "node_lost": true, "slow": true, "abusive": true, "kicked": true,
}

func orRandom(key string) string {
	if key == "" {
		return rand.Text()
	}
	return key
}
