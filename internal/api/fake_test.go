package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// fakeCluster is a whole cluster in a few maps: rooms, calls, users, and the
// events of all that happens to them. It commits at once and forgets nothing.
type fakeCluster struct {
	mu sync.Mutex
	// away makes every answer unknown, volatile makes changes uncommitted.
	away, volatile bool
	rooms          map[protocol.RoomID]*fakeRoom
	users          map[protocol.UserID]protocol.UserRecord
	frames         map[protocol.UserID][]string
	answers        map[string]protocol.Reply
	keys           []string
	commands       []protocol.Command
	subscribers    []chan []byte
}

type fakeRoom struct {
	id       protocol.RoomID
	settings protocol.Settings
	seq      protocol.Seq
	roster   map[protocol.UserID]protocol.OccupantView
	seats    []protocol.SeatView
}

const (
	fakeEpoch = protocol.Epoch(1_700_000_000_000)
	fakeNode  = protocol.NodeID("n1")
)

var fakeTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newFakeCluster() *fakeCluster {
	return &fakeCluster{
		rooms:   make(map[protocol.RoomID]*fakeRoom),
		users:   make(map[protocol.UserID]protocol.UserRecord),
		frames:  make(map[protocol.UserID][]string),
		answers: make(map[string]protocol.Reply),
	}
}

// connect gives a user a connection.
func (c *fakeCluster) connect(users ...protocol.UserID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range users {
		r := c.users[u]
		r.User, r.Edge, r.Since = u, protocol.NewIncarnation(fakeNode, "b1"), fakeTime
		r.Conn++
		c.users[u] = r
	}
}

// write does a change, once for each key.
func (c *fakeCluster) write(key string, do func() protocol.Reply) protocol.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return protocol.Reply{Code: protocol.CodeUnavailable, Message: "nobody knows"}
	}
	c.keys = append(c.keys, key)
	if reply, ok := c.answers[key]; ok && key != "" {
		return reply
	}
	reply := do()
	if reply.Code == "" {
		reply.Volatile = c.volatile
		c.answers[key] = reply
	}
	return reply
}

func (c *fakeCluster) room(id protocol.RoomID) *fakeRoom {
	r, ok := c.rooms[id]
	if !ok {
		r = &fakeRoom{id: id, roster: make(map[protocol.UserID]protocol.OccupantView)}
		r.resize(8)
		c.rooms[id] = r
	}
	return r
}

func (r *fakeRoom) resize(seats int) {
	for n := len(r.seats) + 1; n <= seats; n++ {
		r.seats = append(r.seats, protocol.SeatView{ID: n, Status: 1, Microphone: true})
	}
	r.seats = r.seats[:seats]
}

func fail(code protocol.Code, format string, args ...any) protocol.Reply {
	return protocol.Reply{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (r *fakeRoom) ok() protocol.Reply { return protocol.Reply{Epoch: fakeEpoch, Seq: r.seq} }

// Do implements Rooms.
func (c *fakeCluster) Do(ctx context.Context, cmd protocol.Command) protocol.Reply {
	if cmd.Verb == protocol.VerbLook {
		return c.look(cmd)
	}
	return c.write(cmd.Key, func() protocol.Reply {
		c.commands = append(c.commands, cmd)
		switch cmd.Verb {
		case protocol.VerbConfigure:
			return c.configure(cmd)
		case protocol.VerbSeat:
			return c.seat(cmd)
		case protocol.VerbPublish:
			return c.publish(cmd)
		default:
			return fail(protocol.CodeInternal, "verb %s is secret", cmd.Verb)
		}
	})
}

func (c *fakeCluster) look(cmd protocol.Command) protocol.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.rooms[cmd.Room]
	switch {
	case c.away:
		return fail(protocol.CodeUnavailable, "nobody knows")
	case !ok || len(r.roster) == 0 && r.settings == (protocol.Settings{}):
		return fail(protocol.CodeRoomNotFound, "nobody is in room %q", cmd.Room)
	}
	view := protocol.RoomView{
		RoomID: string(r.id), Node: fakeNode, Epoch: fakeEpoch, Seq: r.seq, Rev: 7, Count: len(r.roster), Seats: r.seats,
	}
	for _, user := range slices.Sorted(maps.Keys(r.roster)) {
		switch {
		case cmd.User != 0 && user != cmd.User, user.String() <= cmd.After && len(user.String()) <= len(cmd.After):
		case len(view.Occupants) == cmd.Limit:
			view.Next = view.Occupants[cmd.Limit-1].UserID.String()
		default:
			view.Occupants = append(view.Occupants, r.roster[user])
		}
	}
	body, err := json.Marshal(view)
	if err != nil {
		panic(err)
	}
	reply := r.ok()
	reply.Body, reply.Volatile = body, c.volatile
	return reply
}

func (c *fakeCluster) configure(cmd protocol.Command) protocol.Reply {
	r := c.room(cmd.Room)
	r.settings = *cmd.Settings
	if n := cmd.Settings.Seats; n != nil {
		r.resize(*n)
	}
	return r.ok()
}

func (c *fakeCluster) seat(cmd protocol.Command) protocol.Reply {
	r, ok := c.rooms[cmd.Room]
	if !ok {
		return fail(protocol.CodeRoomNotFound, "nobody is in room %q", cmd.Room)
	}
	if cmd.Seat > len(r.seats) {
		return fail(protocol.CodeSeatNotFound, "no seat %d", cmd.Seat)
	}
	s := &r.seats[cmd.Seat-1]
	switch change := cmd.SeatChange; {
	case change.Up != 0:
		o, ok := r.roster[change.Up]
		switch {
		case !ok:
			return fail(protocol.CodeNotInRoom, "user %d is not there", change.Up)
		case s.Status == 0:
			return fail(protocol.CodeSeatClosed, "seat %d is closed", s.ID)
		case s.UserID != 0:
			return fail(protocol.CodeSeatTaken, "seat %d is taken", s.ID)
		}
		s.UserID, o.Seat = change.Up, s.ID
		r.roster[change.Up] = o
	case change.Down:
		s.UserID = 0
	case change.Status != nil:
		s.Status = *change.Status
	case change.Microphone != nil:
		s.Microphone = *change.Microphone
	}
	r.seq++
	return r.ok()
}

func (c *fakeCluster) publish(cmd protocol.Command) protocol.Reply {
	r, ok := c.rooms[cmd.Room]
	if !ok {
		return fail(protocol.CodeRoomNotFound, "nobody is in room %q", cmd.Room)
	}
	if cmd.Subject != 0 {
		if _, ok := r.roster[cmd.Subject]; !ok {
			return fail(protocol.CodeNotInRoom, "user %d is not there", cmd.Subject)
		}
		c.frames[cmd.Subject] = append(c.frames[cmd.Subject], string(cmd.Frame))
		return protocol.Reply{Epoch: fakeEpoch, Delivered: 1}
	}
	r.seq++
	for user := range r.roster {
		c.frames[user] = append(c.frames[user], string(cmd.Frame))
	}
	reply := r.ok()
	reply.Delivered = len(r.roster)
	return reply
}

// Enter implements Places.
func (c *fakeCluster) Enter(ctx context.Context, req EnterRequest) protocol.Reply {
	return c.write(req.Key, func() protocol.Reply {
		c.leave(req.User, c.users[req.User].Room)
		r := c.put(req.User, req.Room, req.Profile)
		c.tell("entered", req.User, req.Room)
		return r.ok()
	})
}

// put adds a user to a room's roster and to its own record.
func (c *fakeCluster) put(user protocol.UserID, id protocol.RoomID, p protocol.Profile) *fakeRoom {
	r := c.room(id)
	r.roster[user] = protocol.OccupantView{UserID: user, Profile: p, Since: fakeTime, Online: true}
	record := c.users[user]
	record.User = user
	record.Version++
	if id.IsCall() {
		record.Call = id
	} else {
		record.Room = id
	}
	c.users[user] = record
	return r
}

func (c *fakeCluster) leave(user protocol.UserID, id protocol.RoomID) bool {
	r, ok := c.rooms[id]
	if !ok {
		return false
	}
	_, ok = r.roster[user]
	delete(r.roster, user)
	record := c.users[user]
	record.Removal = &protocol.Removal{Reason: "exited", By: fakeNode, At: fakeTime}
	if id.IsCall() {
		record.Call, record.Removal.Call = "", id
	} else {
		record.Room, record.Removal.Room = "", id
	}
	c.users[user] = record
	return ok
}

// Exit implements Places.
func (c *fakeCluster) Exit(ctx context.Context, req ExitRequest) protocol.Reply {
	return c.write(req.Key, func() protocol.Reply {
		if !c.leave(req.User, req.Room) {
			return fail(protocol.CodeNotInRoom, "user %d is not there", req.User)
		}
		c.tell("exited", req.User, req.Room)
		return protocol.Reply{Epoch: fakeEpoch}
	})
}

// StartCall implements Places.
func (c *fakeCluster) StartCall(ctx context.Context, req CallRequest) protocol.Reply {
	return c.write(req.Key, func() protocol.Reply {
		id := protocol.CallRoom(req.CallNo)
		for _, u := range []protocol.UserID{req.Caller, req.Receiver} {
			if call := c.users[u].Call; call != "" && call != id {
				return fail(protocol.CodeUserBusy, "user %d is in another call", u)
			}
		}
		c.put(req.Caller, id, protocol.Profile{Role: RoleCaller})
		return c.put(req.Receiver, id, protocol.Profile{Role: RoleReceiver}).ok()
	})
}

// EndCall implements Places.
func (c *fakeCluster) EndCall(ctx context.Context, callNo, key string) protocol.Reply {
	return c.CloseRoom(ctx, protocol.CallRoom(callNo), key)
}

// CloseRoom implements Places.
func (c *fakeCluster) CloseRoom(ctx context.Context, id protocol.RoomID, key string) protocol.Reply {
	return c.write(key, func() protocol.Reply {
		r, ok := c.rooms[id]
		if !ok {
			return fail(protocol.CodeRoomNotFound, "nobody is in room %q", id)
		}
		for user := range r.roster {
			c.leave(user, id)
		}
		delete(c.rooms, id)
		return r.ok()
	})
}

// Users implements Users. The order is not that of the question, and who is
// not known has an empty record.
func (c *fakeCluster) Users(ctx context.Context, users []protocol.UserID) ([]protocol.UserRecord, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil, fmt.Errorf("dial 10.1.2.3:6379: %w", protocol.ErrStoreAway)
	}
	var records []protocol.UserRecord
	for _, u := range slices.Backward(users) {
		r := c.users[u]
		r.User = u
		records = append(records, r)
	}
	return records, nil
}

// Notify implements Users.
func (c *fakeCluster) Notify(ctx context.Context, user protocol.UserID, frame []byte) protocol.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.users[user].Online() {
		return protocol.Reply{}
	}
	c.frames[user] = append(c.frames[user], string(frame))
	return protocol.Reply{Delivered: 1}
}

// Kick implements Users.
func (c *fakeCluster) Kick(ctx context.Context, user protocol.UserID, reason string) protocol.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.users[user]
	if !ok || !r.Online() {
		return fail(protocol.CodeUserNotFound, "user %d has no connection", user)
	}
	r.Edge = ""
	c.users[user] = r
	c.frames[user] = append(c.frames[user], "closed: "+reason)
	return protocol.Reply{}
}

// Timeline implements Users.
func (c *fakeCluster) Timeline(ctx context.Context, user protocol.UserID) (Timeline, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return Timeline{}, protocol.ErrStoreAway
	}
	return Timeline{
		Removal: c.users[user].Removal, Node: fakeNode,
		Events: []TimelineEvent{
			{At: fakeTime, Event: "connected", Conn: 1},
			{At: fakeTime, Event: "entered", Conn: 1, Room: "r1"},
			{At: fakeTime, Event: "called", Conn: 1, Room: protocol.CallRoom("c1"), Reason: "why"},
		},
	}, nil
}

// Node implements Cluster.
func (c *fakeCluster) Node() protocol.NodeID { return fakeNode }

// EndPoint implements Cluster.
func (c *fakeCluster) EndPoint(protocol.RoomID) string { return "ws://n1.example:8001" }

// Members implements Cluster.
func (c *fakeCluster) Members() ClusterView {
	return ClusterView{Digest: "d1", Partitions: 4093, Members: []Member{
		{Node: fakeNode, Incarnation: "n1@b1", State: "serving", Digest: "d1", EndPoint: "ws://n1.example:8001", Partitions: 4093, Connections: 3, Since: fakeTime},
		{Node: "n2", Incarnation: "n2@b1", State: "draining", Digest: "d0", EndPoint: "ws://n2.example:8001", Since: fakeTime},
	}}
}

// Rooms implements Cluster.
func (c *fakeCluster) Rooms(ctx context.Context, after protocol.RoomID, limit int) ([]RoomLine, protocol.RoomID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil, "", protocol.ErrStoreAway
	}
	var lines []RoomLine
	for _, id := range slices.Sorted(maps.Keys(c.rooms)) {
		switch {
		case id <= after || id.IsCall():
		case len(lines) == limit:
			return lines, lines[limit-1].Room, nil
		default:
			lines = append(lines, RoomLine{Room: id, Node: fakeNode, Epoch: fakeEpoch, Count: len(c.rooms[id].roster)})
		}
	}
	return lines, "", nil
}

// subscriberEvents is how many events a subscriber of the fake may lag.
const subscriberEvents = 4

// Subscribe implements Events.
func (c *fakeCluster) Subscribe(ctx context.Context) (<-chan []byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil, protocol.ErrStoreAway
	}
	s := make(chan []byte, subscriberEvents)
	c.subscribers = append(c.subscribers, s)
	return s, nil
}

// tell gives an event to all subscribers, and cuts off those that lag.
func (c *fakeCluster) tell(name string, user protocol.UserID, id protocol.RoomID) {
	b, err := json.Marshal(protocol.Event{
		ID: fmt.Sprintf("e%d", len(c.keys)), Event: name, At: fakeTime, Node: fakeNode,
		UserID: user, RoomID: string(id), Epoch: fakeEpoch,
	})
	if err != nil {
		panic(err)
	}
	c.tellRaw(b)
}

func (c *fakeCluster) tellRaw(b []byte) {
	c.subscribers = slices.DeleteFunc(c.subscribers, func(s chan []byte) bool {
		select {
		case s <- b:
			return false
		default:
			close(s)
			return true
		}
	})
}
