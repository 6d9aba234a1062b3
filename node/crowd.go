package node

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/internal/owner"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// crowdLook is how often an owner looks for rooms that have become large.
	crowdLook = 250 * time.Millisecond
	// crowdWord is how often the others are told again how to spread them, by
	// the loads as they are then.
	crowdWord = time.Second
	// crowdFor is how long such a word holds.
	crowdFor = 5 * time.Second
	// maxCrowds bounds the large rooms that one owner has spread; the smallest
	// of more are not. At the default threshold it is more than a node can hold.
	maxCrowds = 64
)

// crowd is how an owner has one of its large rooms spread.
type crowd struct {
	Room  protocol.RoomID `json:"room"`
	Edges []spreadEdge    `json:"edges"`
}

// crowds knows the cluster's large rooms: those of this node's owner, which it
// tells the others of, and those that the other owners have told of. It is soft
// state that only end_point reads: a word that is lost or late costs balance,
// never a client its room.
type crowds struct {
	// set by newCrowds
	life *life

	current atomic.Pointer[map[protocol.RoomID]spreadRoom]
	spread  atomic.Int64 // rooms owned here that are spread
	over    atomic.Int64 // those that maxCrowds leaves out

	// owned by run
	told  time.Time // when the others were last told
	had   time.Time // when there was anything to tell
	rooms []protocol.RoomID

	// guarded by mu
	mu    sync.Mutex
	words map[protocol.Incarnation]crowdList
}

// spreadRoom is what end_point needs of one large room.
type spreadRoom struct {
	owner protocol.Incarnation
	edges []spreadEdge
}

// crowdList is the latest word of one owner.
type crowdList struct {
	at     time.Time
	crowds []crowd
}

func newCrowds(l *life) *crowds {
	c := &crowds{life: l, words: make(map[protocol.Incarnation]crowdList)}
	c.current.Store(new(map[protocol.RoomID]spreadRoom))
	return c
}

// edge returns the incarnation that a client of a room shall connect to: the
// room's owner, or one of the edges that the owner has named for a large room.
// The word of anyone else than the ring's owner does not count.
func (c *crowds) edge(t *table, room protocol.RoomID, owner protocol.Incarnation) protocol.Incarnation {
	large := *c.current.Load()
	if len(large) == 0 {
		return owner
	}
	r, ok := large[room]
	if !ok || r.owner != owner {
		return owner
	}
	return cmp.Or(drawEdge(r.edges, t.takesClients), owner)
}

// run looks after the large rooms of this node's owner and tells the others of
// them, until ctx ends.
func (c *crowds) run(ctx context.Context) error {
	ticks := time.NewTicker(crowdLook)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
			c.look(ctx)
			c.expire()
		}
	}
}

// look makes the word on this node's own large rooms, and sends it when a room
// came or went, and at its time for as long as an earlier word may hold: that
// there are none is told too.
func (c *crowds) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, crowdWord)
	defer cancel()
	found, err := c.life.owner.Crowds(ctx)
	if err != nil {
		return // the loops are parked: what was told runs out
	}
	slices.SortFunc(found, func(a, b owner.Crowd) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Room, b.Room))
	})
	kept := found[:min(len(found), maxCrowds)]
	c.spread.Store(int64(len(kept)))
	c.over.Store(int64(len(found) - len(kept)))
	rooms := make([]protocol.RoomID, 0, len(kept))
	for _, f := range kept {
		rooms = append(rooms, f.Room)
	}
	slices.Sort(rooms)
	if len(rooms) > 0 {
		c.had = time.Now()
	}
	if slices.Equal(rooms, c.rooms) && (time.Since(c.told) < crowdWord || c.had.IsZero() || time.Since(c.had) > crowdFor) {
		return
	}
	c.rooms, c.told = rooms, time.Now()
	list := c.plan(kept)
	c.hear(c.life.inc, list)
	body, err := encode(list)
	if err != nil {
		c.life.log.Error("large rooms not encoded", "err", err)
		return
	}
	for _, other := range c.life.others() {
		// What is lost is told again.
		_ = c.life.inbox.Cast(other, kindCrowds, slices.Clone(body))
	}
}

// plan spreads rooms over the members by their loads.
func (c *crowds) plan(found []owner.Crowd) []crowd {
	t := c.life.members.table()
	list := make([]crowd, 0, len(found))
	for _, f := range found {
		var loads []spreadLoad
		for _, m := range t.members {
			if m.inc != c.life.inc && t.takesClients(m.inc) {
				loads = append(loads, spreadLoad{edge: m.inc, connections: int(m.meta.Connections), here: f.Edges[m.inc]})
			}
		}
		loads = append(loads, spreadLoad{edge: c.life.inc, connections: int(c.life.edge.Count()), here: f.Edges[c.life.inc]})
		list = append(list, crowd{Room: f.Room, Edges: spreadOver(f.Count, c.life.cfg.RoomSpread, c.life.inc, loads)})
	}
	return list
}

// word takes another owner's list. A sender that is no member is not listened
// to, so that the lists are as many as the members; one is cut at maxCrowds.
func (c *crowds) word(from protocol.Incarnation, body []byte) {
	if m, ok := c.life.members.table().members[from.Node()]; !ok || m.inc != from {
		return
	}
	var list []crowd
	if err := json.Unmarshal(body, &list); err != nil {
		c.life.log.Error("large rooms not understood", "from", from, "err", err)
		return
	}
	list = list[:min(len(list), maxCrowds)]
	for i := range list {
		list[i].Edges = list[i].Edges[:min(len(list[i].Edges), maxSpreadEdges)]
	}
	c.hear(from, list)
}

// hear keeps an owner's list.
func (c *crowds) hear(from protocol.Incarnation, list []crowd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(list) == 0 {
		delete(c.words, from)
	} else {
		c.words[from] = crowdList{at: time.Now(), crowds: list}
	}
	c.publish()
}

// expire drops the words that have run out.
func (c *crowds) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.words)
	for from, w := range c.words {
		if time.Since(w.at) >= crowdFor {
			delete(c.words, from)
		}
	}
	if len(c.words) != before {
		c.publish()
	}
}

// publish shows what is known to end_point. The caller holds mu.
func (c *crowds) publish() {
	next := make(map[protocol.RoomID]spreadRoom)
	for from, w := range c.words {
		for _, r := range w.crowds {
			// Two owners speak of one room while it moves; the ring's counts.
			if _, taken := next[r.Room]; taken {
				if o, _ := c.life.members.table().owner(c.life.partition(r.Room)); o != from {
					continue
				}
			}
			next[r.Room] = spreadRoom{owner: from, edges: r.Edges}
		}
	}
	c.current.Store(&next)
}
