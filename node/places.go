package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/room"
)

const (
	// maxIntents bounds the intents that this node is telling at a time. One
	// over it stays in the store, where the sweep finds it.
	maxIntents = 100_000
	// tellPause is the mean pause before an owner that did not answer is told
	// again.
	tellPause = 200 * time.Millisecond
	// repairPause is how long a difference between record and roster must last
	// before the record gives way: a move that is under way looks the same.
	repairPause = 2 * time.Second
)

// places changes where users are: first the user's record, then the rosters of
// the rooms concerned. The record decides; what has been decided there and not
// told yet is an intent in the store, so that it outlives this node.
type places struct {
	// set by newPlaces
	life *life
	log  *slog.Logger

	mu      sync.Mutex
	telling map[intentKey]struct{}
}

type intentKey struct {
	user    protocol.UserID
	version protocol.Version
}

func newPlaces(l *life) *places {
	return &places{life: l, log: l.log, telling: make(map[intentKey]struct{})}
}

// entry is what an intent keeps of an enter.
type entry struct {
	Profile *protocol.Profile `json:"p,omitempty"`
	Quiet   bool              `json:"q,omitempty"`
	Key     string            `json:"k,omitempty"`
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
	body, err := json.Marshal(entry{Profile: &req.Profile, Quiet: req.Quiet, Key: req.Key})
	if err != nil {
		return unreachable(err)
	}
	moved, err := pl.move(ctx, protocol.Move{User: req.User, To: req.Room, Key: orRandom(req.Key), Body: body, Reason: "entered"})
	if err != nil {
		return unreachable(fmt.Errorf("move user %d: %w", req.User, err))
	}
	reply := pl.tell(ctx, moved.Intent)
	if refused(reply) {
		pl.undo(ctx, moved)
	}
	return reply
}

// refused reports whether the room would not have the user.
func refused(reply protocol.Reply) bool {
	return reply.Code == protocol.CodeRoomFull || reply.Code == protocol.CodeUserBusy
}

// undo takes a user out of a place whose owner refused, as far as the record
// has not changed since.
func (pl *places) undo(ctx context.Context, m protocol.Moved) {
	to := m.Intent.Enter
	back, err := pl.move(ctx, protocol.Move{
		User: m.Intent.User, Call: to.IsCall(), From: to, IfVersion: m.Intent.Version, Key: rand.Text(), Reason: "refused",
	})
	if err != nil {
		pl.log.Warn("refused entry not undone", "user", m.Intent.User, "err", err)
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
	moved, err := pl.move(ctx, protocol.Move{User: user, Call: id.IsCall(), From: id, Key: orRandom(key), Reason: reason})
	if err != nil {
		return unreachable(fmt.Errorf("move user %d: %w", user, err))
	}
	if moved.Refused {
		return protocol.Reply{Code: protocol.CodeNotInRoom, Message: fmt.Sprintf("user %d is not in room %q", user, id)}
	}
	return pl.tell(ctx, moved.Intent)
}

// CallRequest starts a call between two users.
type CallRequest struct {
	CallNo           string
	Caller, Receiver protocol.UserID
	Key              string
}

// StartCall puts both parties into a call. It refuses when one of them is in
// another call.
func (pl *places) StartCall(ctx context.Context, req CallRequest) protocol.Reply {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var reply protocol.Reply
	parties := [...]struct {
		user protocol.UserID
		role string
	}{{req.Caller, "caller"}, {req.Receiver, "receiver"}}
	id := protocol.CallRoom(req.CallNo)
	var in []protocol.Moved
	for _, p := range parties {
		m, refusal := pl.enterCall(ctx, p.user, id, entry{Profile: &protocol.Profile{Role: p.role}, Quiet: true, Key: partyKey(req.Key, p.role)})
		if refusal.Code != "" {
			for _, m := range in {
				pl.Exit(ctx, m.Intent.User, id, "refused", "")
			}
			return refusal
		}
		in = append(in, m)
	}
	for _, m := range in {
		if reply = pl.tell(ctx, m.Intent); reply.Code != "" {
			return reply
		}
	}
	return reply
}

// partyKey names one party's part of a request for two.
func partyKey(key, role string) string {
	if key == "" {
		return ""
	}
	return key + "/" + role
}

// enterCall moves one party's record into a call unless it is in another.
func (pl *places) enterCall(ctx context.Context, user protocol.UserID, id protocol.RoomID, e entry) (protocol.Moved, protocol.Reply) {
	body, err := json.Marshal(e)
	if err != nil {
		return protocol.Moved{}, unreachable(err)
	}
	for {
		record, err := pl.life.user(ctx, user)
		if err != nil {
			return protocol.Moved{}, unreachable(fmt.Errorf("look at user %d: %w", user, err))
		}
		if record.Call != "" && record.Call != id && pl.isIn(ctx, user, record.Call) {
			return protocol.Moved{}, protocol.Reply{Code: protocol.CodeUserBusy,
				Message: fmt.Sprintf("user %d is in call %q; end that one first", user, record.Call.CallNo())}
		}
		m, err := pl.move(ctx, protocol.Move{User: user, Call: true, To: id, IfVersion: record.Version, Key: rand.Text(), Body: body, Reason: "call"})
		if err != nil {
			return protocol.Moved{}, unreachable(fmt.Errorf("move user %d: %w", user, err))
		}
		if !m.Refused {
			return m, protocol.Reply{}
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

// move changes a user's record.
func (pl *places) move(ctx context.Context, m protocol.Move) (protocol.Moved, error) {
	m.Partition = pl.life.userPartition(m.User)
	m.By = pl.life.inc
	return pl.life.store.Move(ctx, m)
}

// Tell starts to tell the owners of what a Close decided. It never blocks.
func (pl *places) Tell(i protocol.Intent) {
	pl.start(i, func(ctx context.Context) { pl.tell(ctx, i) })
}

// start runs f for an intent unless it is being told already.
func (pl *places) start(i protocol.Intent, f func(context.Context)) {
	if len(i.Leave) == 0 && i.Enter == "" {
		return
	}
	key := intentKey{i.User, i.Version}
	pl.mu.Lock()
	_, running := pl.telling[key]
	if running || len(pl.telling) >= maxIntents {
		pl.mu.Unlock()
		return
	}
	pl.telling[key] = struct{}{}
	pl.mu.Unlock()
	pl.life.crew.do(func(ctx context.Context) {
		f(ctx)
		pl.mu.Lock()
		delete(pl.telling, key)
		pl.mu.Unlock()
	})
}

// tell tells every owner concerned by an intent, in parallel, and settles it
// once all have acted. It returns the answer of the room entered, else that of
// the first room left. When ctx ends first the rest goes on behind the caller's
// back.
func (pl *places) tell(ctx context.Context, i protocol.Intent) protocol.Reply {
	cmds := commands(i)
	replies := make([]protocol.Reply, len(cmds))
	var wg sync.WaitGroup
	for n, cmd := range cmds {
		wg.Go(func() { replies[n] = pl.insist(ctx, cmd) })
	}
	wg.Wait()
	for _, reply := range replies {
		if !acted(reply) {
			pl.start(i, func(ctx context.Context) { pl.tell(ctx, i) })
			return reply
		}
	}
	pl.settle(ctx, i)
	if len(replies) == 0 {
		return protocol.Reply{}
	}
	return replies[0]
}

// commands spells an intent out; the room entered comes first.
func commands(i protocol.Intent) []protocol.Command {
	var cmds []protocol.Command
	if i.Enter != "" {
		cmd := protocol.Command{Verb: protocol.VerbEnter, Room: i.Enter, User: i.User, Version: i.Version, Conn: i.Conn, Edge: i.Edge, Reason: i.Reason}
		var e entry
		if json.Unmarshal(i.Body, &e) == nil {
			cmd.Profile, cmd.Quiet, cmd.Key = e.Profile, e.Quiet, e.Key
		}
		cmds = append(cmds, cmd)
	}
	verb := protocol.VerbExit
	if i.Lost {
		verb = protocol.VerbLoss
	}
	for _, id := range i.Leave {
		cmds = append(cmds, protocol.Command{Verb: verb, Room: id, User: i.User, Version: i.Version, Conn: i.Conn, Edge: i.Edge, Reason: i.Reason})
	}
	return cmds
}

// acted reports whether an owner's answer means that it knows: it did what was
// asked, or what was asked is moot.
func acted(reply protocol.Reply) bool {
	switch reply.Code {
	case protocol.CodeUnavailable, protocol.CodeBusy, protocol.CodeMoved, protocol.CodeInternal:
		return false
	}
	return !reply.Volatile
}

// insist repeats a command until its owner has acted or ctx ends.
func (pl *places) insist(ctx context.Context, cmd protocol.Command) protocol.Reply {
	for {
		reply := pl.life.router.Do(ctx, cmd)
		if acted(reply) || reply.Volatile || !pause(ctx, tellPause) {
			return reply
		}
	}
}

func (pl *places) settle(ctx context.Context, i protocol.Intent) {
	err := pl.life.store.Settle(ctx, protocol.Settle{
		Partition: pl.life.userPartition(i.User), By: pl.life.inc, User: i.User, Version: i.Version,
	})
	if err != nil {
		pl.log.Debug("intent not settled", "user", i.User, "err", err) // told again after this life, which changes nothing
	}
}

// Evict takes a user out of a place in the user's record: the room has already
// let go. It never blocks.
func (pl *places) Evict(id protocol.RoomID, e room.Eviction) {
	i := protocol.Intent{User: e.User, Version: e.Version, Leave: []protocol.RoomID{id}}
	pl.start(i, func(ctx context.Context) {
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
		User: e.User, Call: id.IsCall(), From: id, IfVersion: record.Version, Key: rand.Text(), Reason: e.Reason,
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
// decides.
func (pl *places) Repair(subs []protocol.Subscription) {
	for _, s := range subs {
		i := protocol.Intent{User: s.User, Version: s.Version, Leave: []protocol.RoomID{s.Room}}
		pl.start(i, func(ctx context.Context) { pl.repair(ctx, s) })
	}
}

func (pl *places) repair(ctx context.Context, s protocol.Subscription) {
	for attempt := range 2 {
		record, err := pl.life.user(ctx, s.User)
		if err != nil || record.Version == 0 && record.Conn == 0 {
			return // the store is away or empty: edges put their users back first
		}
		if place(record, s.Room) != s.Room {
			pl.insist(ctx, departed(s, record))
			return
		}
		if !record.Online() {
			return // entered without a connection; the room's own clock runs
		}
		reply := pl.insist(ctx, protocol.Command{
			Verb: protocol.VerbPresent, Room: s.Room, User: s.User, Version: record.Version, Conn: record.Conn, Edge: record.Edge,
		})
		if !unknown(reply) {
			return
		}
		if attempt == 0 && !pause(ctx, repairPause) {
			return
		}
		if attempt == 1 {
			pl.forget(ctx, s.Room, record)
		}
	}
}

// forget clears a place in the record that its room knows nothing of.
func (pl *places) forget(ctx context.Context, id protocol.RoomID, record protocol.UserRecord) {
	m, err := pl.move(ctx, protocol.Move{
		User: record.User, Call: id.IsCall(), From: id, IfVersion: record.Version, Key: rand.Text(), Reason: "unknown_to_room",
	})
	if err == nil && !m.Refused {
		pl.settle(ctx, m.Intent)
	}
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
