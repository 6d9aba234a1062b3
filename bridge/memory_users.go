package bridge

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// user returns a user's record, a new one that is not stored yet if there is
// none, and whether there was one.
func (p *memoryPartition) user(id protocol.UserID, now int64) (*memoryUser, bool) {
	if u, ok := p.users[id]; ok {
		return u, true
	}
	return &memoryUser{UserRecord: protocol.UserRecord{User: id, Since: fromMillis(now)}}, false
}

// view returns the record as callers get it.
func (u *memoryUser) view(known bool) protocol.UserRecord {
	if !known {
		return protocol.UserRecord{User: u.User}
	}
	r := u.UserRecord
	if r.Removal != nil {
		removal := *r.Removal
		r.Removal = &removal
	}
	return r
}

func (u *memoryUser) place(call bool) *protocol.RoomID {
	if call {
		return &u.Call
	}
	return &u.Room
}

// Connect is like Redis.Connect.
func (c *MemoryClient) Connect(ctx context.Context, op protocol.Connect) (protocol.Connected, error) {
	if err := checkConnect(op); err != nil {
		return protocol.Connected{}, err
	}
	return ask(ctx, c, func(s *memoryState, now int64) (protocol.Connected, error) {
		return s.partition(op.Partition).connect(op, now), nil
	})
}

func (p *memoryPartition) connect(op protocol.Connect, now int64) protocol.Connected {
	u, _ := p.user(op.User, now)
	if u.token != op.Token {
		u.formerEdge, u.formerConn = u.Edge, 0
		if u.Online() {
			u.formerConn = u.Conn
		} else {
			u.Since = fromMillis(now)
		}
		u.Conn, u.Edge, u.token = following(u.Conn, now), op.Edge, op.Token
		p.users[op.User] = u
		if op.Event != nil {
			p.post(op.Event)
		}
	}
	return protocol.Connected{Record: u.view(true), FormerEdge: u.formerEdge, FormerConn: u.formerConn}
}

// Close is like Redis.Close.
func (c *MemoryClient) Close(ctx context.Context, op protocol.Close) (protocol.Closed, error) {
	if err := checkClose(op); err != nil {
		return protocol.Closed{}, err
	}
	return ask(ctx, c, func(s *memoryState, now int64) (protocol.Closed, error) {
		return s.partition(op.Partition).close(op, now), nil
	})
}

func (p *memoryPartition) close(op protocol.Close, now int64) protocol.Closed {
	u, known := p.user(op.User, now)
	if !known || u.Conn != op.Conn {
		return protocol.Closed{Record: u.view(known)}
	}
	if !u.Online() {
		return p.closeAgain(op, u)
	}
	edge := u.Edge
	u.Edge, u.Since, u.closedBy, u.closeVersion = "", fromMillis(now), op.By, 0
	var intent protocol.Intent
	if u.Room != "" || u.Call != "" {
		u.Version = following(u.Version, now)
		u.closeVersion = u.Version
		intent = protocol.Intent{
			User: op.User, Version: u.Version, Conn: u.Conn, Edge: edge,
			Lost: true, Reason: op.Reason, At: fromMillis(now),
		}
		for _, place := range []protocol.RoomID{u.Room, u.Call} {
			if place != "" {
				intent.Leave = append(intent.Leave, place)
			}
		}
		p.owe(op.Partition, op.By, intent)
		u.Removal = &protocol.Removal{Room: u.Room, Call: u.Call, Reason: op.Reason, By: op.By.Node(), At: fromMillis(now)}
		u.Room, u.Call = "", ""
	}
	if op.Event != nil {
		p.post(op.Event)
	}
	return protocol.Closed{Won: true, Intent: intent, Record: u.view(true)}
}

// closeAgain answers the winner as before, until the intent is settled.
func (p *memoryPartition) closeAgain(op protocol.Close, u *memoryUser) protocol.Closed {
	lost := protocol.Closed{Record: u.view(true)}
	if u.closedBy != op.By {
		return lost
	}
	if u.closeVersion == 0 {
		return protocol.Closed{Won: true, Record: u.view(true)}
	}
	intent, owed := p.intents[protocol.Settle{Partition: op.Partition, By: op.By, User: op.User, Version: u.closeVersion}]
	if !owed {
		return lost
	}
	return protocol.Closed{Won: true, Intent: copyIntent(intent), Record: u.view(true)}
}

// owe keeps an intent until it is settled.
func (p *memoryPartition) owe(id protocol.PartitionID, by protocol.Incarnation, intent protocol.Intent) {
	key := protocol.Settle{Partition: id, By: by, User: intent.User, Version: intent.Version}
	p.intents[key] = copyIntent(intent)
}

func copyIntent(i protocol.Intent) protocol.Intent {
	i.Leave, i.Body = slices.Clone(i.Leave), slices.Clone(i.Body)
	return i
}

// Move is like Redis.Move.
func (c *MemoryClient) Move(ctx context.Context, op protocol.Move) (protocol.Moved, error) {
	if err := checkMove(op); err != nil {
		return protocol.Moved{}, err
	}
	return ask(ctx, c, func(s *memoryState, now int64) (protocol.Moved, error) {
		return s.partition(op.Partition).move(op, now), nil
	})
}

func (p *memoryPartition) move(op protocol.Move, now int64) protocol.Moved {
	u, known := p.user(op.User, now)
	for _, m := range p.moves[op.User] {
		if op.Key != "" && m.key == op.Key {
			intent := copyIntent(m.intent)
			intent.Body = slices.Clone(op.Body)
			return protocol.Moved{Repeated: true, Intent: intent, Record: u.view(known)}
		}
	}
	place := u.place(op.Call)
	former := *place
	if op.From != "" && former != op.From || op.IfVersion != 0 && u.Version != op.IfVersion {
		return protocol.Moved{Refused: true, Record: u.view(known)}
	}
	if op.To == "" && former == "" {
		return protocol.Moved{Record: u.view(known)}
	}
	u.Version, *place = following(u.Version, now), op.To
	intent := protocol.Intent{
		User: op.User, Version: u.Version, Conn: u.Conn, Edge: u.Edge,
		Enter: op.To, Reason: op.Reason, At: fromMillis(now),
	}
	if former != "" && former != op.To {
		intent.Leave = []protocol.RoomID{former}
		if op.Reason != "" {
			u.Removal = &protocol.Removal{Reason: op.Reason, By: op.By.Node(), At: fromMillis(now)}
			if op.Call {
				u.Removal.Call = former
			} else {
				u.Removal.Room = former
			}
		}
	}
	p.users[op.User] = u
	if op.Key != "" {
		moves := append(p.moves[op.User], memoryMove{op.Key, intent})
		p.moves[op.User] = moves[max(0, len(moves)-keyMemory):]
	}
	intent.Body = slices.Clone(op.Body)
	p.owe(op.Partition, op.By, intent)
	return protocol.Moved{Intent: intent, Record: u.view(true)}
}

// Settle is like Redis.Settle.
func (c *MemoryClient) Settle(ctx context.Context, op protocol.Settle) error {
	if err := checkSettle(op); err != nil {
		return err
	}
	_, err := ask(ctx, c, func(s *memoryState, _ int64) (struct{}, error) {
		delete(s.partition(op.Partition).intents, op)
		return struct{}{}, nil
	})
	return err
}

// Users is like Redis.Users.
func (c *MemoryClient) Users(ctx context.Context, at []protocol.UserAt) ([]protocol.UserRecord, error) {
	return ask(ctx, c, func(s *memoryState, now int64) ([]protocol.UserRecord, error) {
		records := make([]protocol.UserRecord, len(at))
		for i, a := range at {
			records[i] = protocol.UserRecord{User: a.User}
			if u, ok := s.partition(a.Partition).users[a.User]; ok {
				records[i] = u.view(true)
			}
		}
		return records, nil
	})
}

// Remains is like Redis.Remains.
func (c *MemoryClient) Remains(ctx context.Context, partitions []protocol.PartitionID, isDead func(protocol.Incarnation) bool) ([]protocol.Remains, error) {
	return ask(ctx, c, func(s *memoryState, _ int64) ([]protocol.Remains, error) {
		var all []protocol.Remains
		for _, id := range partitions {
			all = append(all, s.partition(id).remains(id, isDead)...)
		}
		return all, nil
	})
}

func (p *memoryPartition) remains(id protocol.PartitionID, isDead func(protocol.Incarnation) bool) []protocol.Remains {
	found := make(map[protocol.Incarnation]*protocol.Remains)
	of := func(inc protocol.Incarnation) *protocol.Remains {
		if found[inc] == nil {
			found[inc] = &protocol.Remains{Partition: id, Incarnation: inc}
		}
		return found[inc]
	}
	for _, u := range p.users {
		if u.Online() {
			r := of(u.Edge)
			r.Connections = append(r.Connections, protocol.UserConn{User: u.User, Conn: u.Conn})
		}
	}
	for key, intent := range p.intents {
		r := of(key.By)
		r.Intents = append(r.Intents, copyIntent(intent))
	}
	var all []protocol.Remains
	for inc, r := range found {
		if isDead(inc) {
			all = append(all, *r)
		}
	}
	slices.SortFunc(all, func(a, b protocol.Remains) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
	return all
}

// RestoreUsers is like Redis.RestoreUsers.
func (c *MemoryClient) RestoreUsers(ctx context.Context, id protocol.PartitionID, records []protocol.UserRecord) error {
	for _, r := range records {
		if err := checkRestored(r); err != nil {
			return err
		}
	}
	_, err := ask(ctx, c, func(s *memoryState, _ int64) (struct{}, error) {
		p := s.partition(id)
		for _, back := range records {
			u, _ := p.user(back.User, back.Since.UnixMilli())
			if back.Conn > u.Conn {
				*u = memoryUser{UserRecord: u.UserRecord}
				u.Conn, u.Edge, u.Since = back.Conn, back.Edge, fromMillis(back.Since.UnixMilli())
			}
			if back.Version > u.Version {
				u.Version, u.Room, u.Call, u.Removal = back.Version, back.Room, back.Call, back.Removal
				u.Removal = u.view(true).Removal
			}
			p.users[back.User] = u
		}
		return struct{}{}, nil
	})
	return err
}

// Prune is like Redis.Prune.
func (c *MemoryClient) Prune(ctx context.Context, id protocol.PartitionID, age time.Duration) (int, error) {
	if err := checkPrune(age); err != nil {
		return 0, err
	}
	return ask(ctx, c, func(s *memoryState, now int64) (int, error) {
		p, gone := s.partition(id), 0
		for user, u := range p.users {
			still := max(u.Since.UnixMilli(), int64(u.Version))
			if !u.Online() && u.Room == "" && u.Call == "" && still < now-age.Milliseconds() {
				delete(p.users, user)
				delete(p.moves, user)
				gone++
			}
		}
		return gone, nil
	})
}
