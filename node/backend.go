package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/api"
	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/internal/owner"
	"github.com/faac1247/rollcall/protocol"
)

// newBackendDoor builds the backend's door, and the operator's way to it: the
// same calls behind the admin door's own guard.
func newBackendDoor(l *life) (backend, operator http.Handler, err error) {
	keys := l.cfg.APIKeys
	inside := rand.Text()
	if len(keys) > 0 {
		keys = append(slices.Clone(keys), inside)
	}
	door, err := api.New(api.Config{
		Rooms: l.router, Places: backendPlaces{l.places}, Users: backendUsers{l}, Cluster: backendCluster{l}, Events: l.events, Chats: l.cfg.Chats,
		Keys: keys, Logger: l.log, Registerer: l.registry,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("api: %w", err)
	}
	return door, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+inside)
		door.ServeHTTP(w, r)
	}), nil
}

// backendPlaces implements api.Places.
type backendPlaces struct{ *places }

func (p backendPlaces) Enter(ctx context.Context, r api.EnterRequest) protocol.Reply {
	return p.places.Enter(ctx, EnterRequest{User: r.User, Room: r.Room, Profile: r.Profile, Quiet: r.Quiet, Key: r.Key})
}

func (p backendPlaces) Exit(ctx context.Context, r api.ExitRequest) protocol.Reply {
	return p.places.Exit(ctx, r.User, r.Room, r.Reason, r.Key)
}

func (p backendPlaces) StartCall(ctx context.Context, r api.CallRequest) protocol.Reply {
	return p.places.StartCall(ctx, CallRequest{CallNo: r.CallNo, Caller: r.Caller, Receiver: r.Receiver, Key: r.Key})
}

// mover implements edge.Mover.
type mover struct{ places *places }

func (m mover) Enter(ctx context.Context, user protocol.UserID, room protocol.RoomID, profile protocol.Profile) protocol.Reply {
	return m.places.Enter(ctx, EnterRequest{User: user, Room: room, Profile: profile})
}

func (m mover) Exit(ctx context.Context, user protocol.UserID, room protocol.RoomID) protocol.Reply {
	return m.places.Exit(ctx, user, room, "exited", "")
}

func (m mover) StartCall(ctx context.Context, call protocol.RoomID, caller, receiver protocol.UserID) protocol.Reply {
	return m.places.StartCall(ctx, CallRequest{CallNo: call.CallNo(), Caller: caller, Receiver: receiver})
}

// EndCall ends a call on behalf of one of its parties.
func (m mover) EndCall(ctx context.Context, call protocol.RoomID, user protocol.UserID) protocol.Reply {
	record, err := m.places.life.user(ctx, user)
	if err != nil {
		return unreachable(err)
	}
	if record.Call != call || !m.places.isIn(ctx, user, call) {
		return protocol.Reply{Code: protocol.CodeNotInRoom, Message: fmt.Sprintf("you are not in call %q", call.CallNo())}
	}
	return m.places.EndCall(ctx, call.CallNo(), "")
}

// backendUsers implements api.Users.
type backendUsers struct{ life *life }

func (u backendUsers) Users(ctx context.Context, ids []protocol.UserID) ([]protocol.UserRecord, error) {
	at := make([]protocol.UserAt, len(ids))
	for i, id := range ids {
		at[i] = protocol.UserAt{Partition: u.life.userPartition(id), User: id}
	}
	records, err := u.life.store.Users(ctx, at)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(records, func(r protocol.UserRecord) bool { return r.Version == 0 && r.Conn == 0 }), nil
}

// Notify sends a frame to wherever the user is connected.
func (u backendUsers) Notify(ctx context.Context, user protocol.UserID, frame []byte) protocol.Reply {
	return u.send(ctx, protocol.Notice{User: user, Frame: frame})
}

// Kick closes the user's connection.
func (u backendUsers) Kick(ctx context.Context, user protocol.UserID, reason string) protocol.Reply {
	reply := u.send(ctx, protocol.Notice{User: user, Kick: true})
	if reply.Code == "" && reply.Delivered == 0 {
		return protocol.Reply{Code: protocol.CodeUserNotFound, Message: fmt.Sprintf("user %d has no connection", user)}
	}
	return reply
}

func (u backendUsers) send(ctx context.Context, n protocol.Notice) protocol.Reply {
	record, err := u.life.user(ctx, n.User)
	if err != nil {
		return unreachable(fmt.Errorf("look at user %d: %w", n.User, err))
	}
	if !record.Online() {
		return protocol.Reply{}
	}
	type result struct {
		outcome protocol.NoticeOutcome
		err     error
	}
	answer := make(chan result, 1)
	peers(u).Notify(record.Edge, n, func(o protocol.NoticeOutcome, err error) { answer <- result{o, err} })
	select {
	case r := <-answer:
		if r.err != nil {
			return unreachable(fmt.Errorf("reach user %d at %s: %w", n.User, record.Edge.Node(), r.err))
		}
		if r.outcome == protocol.NoticeDelivered {
			return protocol.Reply{Delivered: 1}
		}
		return protocol.Reply{}
	case <-ctx.Done():
		return unreachable(fmt.Errorf("reach user %d at %s: %w", n.User, record.Edge.Node(), ctx.Err()))
	}
}

// Timeline tells why a user is where it is: the committed reason of the last
// removal, and what the edge remembers that held the latest connection.
func (u backendUsers) Timeline(ctx context.Context, user protocol.UserID) (api.Timeline, error) {
	record, err := u.life.user(ctx, user)
	if err != nil {
		return api.Timeline{}, err
	}
	if record.Version == 0 && record.Conn == 0 {
		return api.Timeline{}, protocol.Errorf(protocol.CodeUserNotFound, "nothing is known of user %d", user)
	}
	t := api.Timeline{Removal: record.Removal}
	for inc, events := range u.remembered(ctx, user) {
		if len(events) == 0 {
			continue
		}
		if t.Node == "" || inc == record.Edge || len(t.Events) > 0 && events[len(events)-1].At.After(t.Events[len(t.Events)-1].At) {
			t.Node = inc.Node()
			t.Events = t.Events[:0]
			for _, e := range events {
				t.Events = append(t.Events, api.TimelineEvent{At: e.At, Event: e.Event, Conn: e.Conn, Room: e.Room, Reason: e.Reason})
			}
		}
	}
	return t, nil
}

// remembered asks every living node what it remembers of a user. A node that
// does not answer is left out.
func (u backendUsers) remembered(ctx context.Context, user protocol.UserID) map[protocol.Incarnation][]edge.Event {
	all := map[protocol.Incarnation][]edge.Event{u.life.inc: u.life.edge.Timeline(user)}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, inc := range u.life.others() {
		wg.Add(1)
		ask(u.life, inc, kindTimeline, user, func(events []edge.Event, err error) {
			defer wg.Done()
			if err == nil {
				mu.Lock()
				all[inc] = events
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	u.life.goDo(func() { wg.Wait(); close(done) })
	select {
	case <-done:
	case <-ctx.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	return all
}

// others returns the living incarnations but this one.
func (l *life) others() []protocol.Incarnation {
	var list []protocol.Incarnation
	for _, m := range l.members.table().members {
		if m.alive && m.inc != l.inc {
			list = append(list, m.inc)
		}
	}
	return list
}

// backendCluster implements api.Cluster.
type backendCluster struct{ life *life }

func (c backendCluster) Node() protocol.NodeID { return c.life.cfg.NodeID }

// EndPoint returns the websocket address that a room's clients shall connect
// to, "" while its owner is not known.
func (c backendCluster) EndPoint(id protocol.RoomID) string {
	t := c.life.members.table()
	inc, ok := t.owner(c.life.partition(id))
	if !ok {
		return ""
	}
	return c.life.clientAddress(t, c.life.edgeFor(t, id, inc))
}

// edgeFor is where the clients of a room shall connect: at its owner, or at any
// of the edges that a large room is spread over. While the store is away an
// edge can't reach the owner, so that only the owner's own will do.
func (l *life) edgeFor(t *table, id protocol.RoomID, owner protocol.Incarnation) protocol.Incarnation {
	if l.members.storeAway() {
		return owner
	}
	return l.crowds.edge(t, id, owner)
}

// clientAddress is where clients reach an incarnation.
func (l *life) clientAddress(t *table, inc protocol.Incarnation) string {
	if inc == l.inc {
		return l.cfg.advertised()
	}
	return t.members[inc.Node()].meta.Client
}

// Members returns the cluster as this node sees it.
func (c backendCluster) Members() api.ClusterView {
	t := c.life.members.table()
	view := api.ClusterView{Digest: fmt.Sprintf("%016x", t.ring.Digest()), Partitions: c.life.cfg.Partitions}
	for node, m := range t.members {
		view.Members = append(view.Members, api.Member{
			Node: node, Incarnation: m.inc, State: stateWord(m),
			Digest: fmt.Sprintf("%016x", m.meta.Digest), EndPoint: m.meta.Client,
			Partitions: len(t.ring.Owned(node)), Connections: int(m.meta.Connections), Since: m.since,
		})
	}
	slices.SortFunc(view.Members, func(a, b api.Member) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return view
}

// stateWord is a member's state for people.
func stateWord(m member) string {
	switch {
	case m.left:
		return "left"
	case !m.alive:
		return "failed"
	case m.meta.State == gossip.Draining:
		return "draining"
	case m.meta.StoreAway:
		return "without_redis"
	}
	return "serving"
}

type roomsRequest struct {
	After protocol.RoomID `json:"after"`
	Limit int             `json:"limit"`
}

// localRooms answers another node's question for the rooms owned here.
func (l *life) localRooms(ctx context.Context, q roomsRequest) []owner.RoomCount {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	rooms, err := l.owner.Rooms(ctx, q.After, q.Limit)
	if err != nil {
		l.log.Warn("rooms not listed", "err", err)
	}
	return rooms
}

// Rooms gathers one page of the rooms of all owners.
func (c backendCluster) Rooms(ctx context.Context, after protocol.RoomID, limit int) ([]api.RoomLine, protocol.RoomID, error) {
	type part struct {
		inc   protocol.Incarnation
		rooms []owner.RoomCount
		err   error
	}
	q := roomsRequest{After: after, Limit: limit + 1}
	others := c.life.others()
	parts := make(chan part, len(others)+1)
	for _, inc := range others {
		ask(c.life, inc, kindRooms, q, func(rooms []owner.RoomCount, err error) { parts <- part{inc, rooms, err} })
	}
	mine, err := c.life.owner.Rooms(ctx, q.After, q.Limit)
	parts <- part{c.life.inc, mine, err}
	var lines []api.RoomLine
	for range len(others) + 1 {
		select {
		case p := <-parts:
			if p.err != nil {
				return nil, "", protocol.Errorf(protocol.CodeUnavailable, "%s does not answer for its rooms: %v", p.inc.Node(), p.err)
			}
			for _, r := range p.rooms {
				lines = append(lines, api.RoomLine{Room: r.Room, Node: p.inc.Node(), Epoch: r.Epoch, Count: r.Count})
			}
		case <-ctx.Done():
			return nil, "", protocol.Errorf(protocol.CodeUnavailable, "not every owner answered in time")
		}
	}
	slices.SortFunc(lines, func(a, b api.RoomLine) int { return strings.Compare(string(a.Room), string(b.Room)) })
	lines = slices.CompactFunc(lines, func(a, b api.RoomLine) bool { return a.Room == b.Room })
	if len(lines) <= limit {
		return lines, "", nil
	}
	return lines[:limit], lines[limit-1].Room, nil
}
