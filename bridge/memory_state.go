package bridge

import (
	"crypto/rand"
	"maps"
	"slices"

	"github.com/faac1247/rollcall/protocol"
)

// memoryState is everything that a Memory keeps. Times are milliseconds. Byte
// slices in it are never changed, so that clones share them.
type memoryState struct {
	name       string
	shape      *protocol.ClusterShape
	leases     map[protocol.Incarnation]int64
	tombstones map[protocol.Incarnation]int64
	partitions map[protocol.PartitionID]*memoryPartition
}

// memoryPartition is one partition: its journal, its outbox and its users.
type memoryPartition struct {
	used     bool // has a header: the three fields that follow
	epoch    protocol.Epoch
	position uint64
	owner    protocol.Incarnation // empty after a release
	entries  map[string][]byte

	outbox        [][]byte
	added, posted int64

	users   map[protocol.UserID]*memoryUser
	intents map[protocol.Settle]protocol.Intent // by what settles them
	moves   map[protocol.UserID][]memoryMove
}

// memoryUser is a record and what repeated calls are recognized by.
type memoryUser struct {
	protocol.UserRecord
	token        string
	formerEdge   protocol.Incarnation
	formerConn   protocol.ConnNumber
	closedBy     protocol.Incarnation
	closeVersion protocol.Version
}

// memoryMove is an idempotency key and the intent that it stands for.
type memoryMove struct {
	key    string
	intent protocol.Intent
}

func newMemoryState() *memoryState {
	return &memoryState{
		name:       rand.Text(),
		leases:     make(map[protocol.Incarnation]int64),
		tombstones: make(map[protocol.Incarnation]int64),
		partitions: make(map[protocol.PartitionID]*memoryPartition),
	}
}

func (s *memoryState) partition(id protocol.PartitionID) *memoryPartition {
	p, ok := s.partitions[id]
	if !ok {
		p = &memoryPartition{
			entries: make(map[string][]byte),
			users:   make(map[protocol.UserID]*memoryUser),
			intents: make(map[protocol.Settle]protocol.Intent),
			moves:   make(map[protocol.UserID][]memoryMove),
		}
		s.partitions[id] = p
	}
	return p
}

func (s *memoryState) clone() *memoryState {
	c := *s
	c.leases, c.tombstones = maps.Clone(s.leases), maps.Clone(s.tombstones)
	c.partitions = make(map[protocol.PartitionID]*memoryPartition, len(s.partitions))
	for id, p := range s.partitions {
		c.partitions[id] = p.clone()
	}
	return &c
}

func (p *memoryPartition) clone() *memoryPartition {
	c := *p
	c.entries, c.intents = maps.Clone(p.entries), maps.Clone(p.intents)
	c.outbox = slices.Clone(p.outbox)
	c.users = make(map[protocol.UserID]*memoryUser, len(p.users))
	for id, u := range p.users {
		user := *u
		c.users[id] = &user
	}
	c.moves = make(map[protocol.UserID][]memoryMove, len(p.moves))
	for id, moves := range p.moves {
		c.moves[id] = slices.Clone(moves)
	}
	return &c
}

// post appends to the outbox.
func (p *memoryPartition) post(events ...[]byte) {
	for _, e := range events {
		p.outbox = append(p.outbox, slices.Clone(e))
	}
	p.added += int64(len(events))
	if over := len(p.outbox) - outboxLimit; over > 0 {
		p.outbox = slices.Delete(p.outbox, 0, over)
	}
}

// following is the next number of a series that rises with the clock.
func following[N ~uint64](last N, now int64) N { return max(last+1, N(now)) }
