package gossip

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// maxFormer bounds the members that are listed although they left or failed.
// Of more, those that went first are forgotten.
const maxFormer = 256

// impostorAfter is how long a member's address has to answer as another life
// before its entry counts as failed. News of an honest restart spread faster.
const impostorAfter = 2 * time.Second

// roster collects what memberlist reports into views. Its methods take no
// other lock and call nobody, so that callbacks may use them.
type roster struct {
	// Readable at any time.
	view    atomic.Pointer[View]
	changed chan struct{} // told to the user of Gossip
	news    chan struct{} // told to the goroutine that logs

	// Guarded by mu.
	mu        sync.Mutex
	members   map[protocol.NodeID]Member
	impostors map[protocol.NodeID]impostor
	version   uint64
	closed    bool
}

// impostor is another life that a member's address answers as.
type impostor struct {
	boot  string
	since time.Time
}

func newRoster() *roster {
	r := &roster{
		changed:   make(chan struct{}, 1),
		news:      make(chan struct{}, 1),
		members:   make(map[protocol.NodeID]Member),
		impostors: make(map[protocol.NodeID]impostor),
	}
	r.view.Store(&View{})
	return r
}

// set records a member that is alive, in this life with this meta.
func (r *roster) set(node protocol.NodeID, addr string, meta Meta) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	m := Member{
		Node:        node,
		Incarnation: protocol.NewIncarnation(node, meta.Boot),
		Addr:        addr,
		Meta:        meta,
		State:       Alive,
		Since:       time.Now(),
	}
	former, known := r.members[node]
	if known && former.State == Alive && former.Incarnation == m.Incarnation {
		m.Since = former.Since
	}
	if other, ok := r.impostors[node]; ok && other.boot == meta.Boot {
		delete(r.impostors, node)
	}
	r.members[node] = m
	r.publishLocked()
}

// gone records that a member is not alive any more. Its last word tells a
// leave from a failure.
func (r *roster) gone(node protocol.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[node]
	if r.closed || !ok || m.State != Alive {
		return
	}
	state := Failed
	if m.Meta.State == Leaving {
		state = Left
	}
	r.endLocked(m, state)
}

// endLocked moves a live member to a state that is none.
func (r *roster) endLocked(m Member, state MemberState) {
	m.State, m.Since = state, time.Now()
	r.members[m.Node] = m
	delete(r.impostors, m.Node)
	r.boundLocked()
	r.publishLocked()
}

// farewell records that a life of a member has said that it leaves. It may come
// before or after memberlist reports it gone.
func (r *roster) farewell(life protocol.Incarnation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[life.Node()]
	if r.closed || !ok || m.Incarnation != life || m.State == Left {
		return
	}
	m.Meta.State = Leaving
	if m.State == Failed {
		m.State = Left
	}
	r.members[m.Node] = m
	r.publishLocked()
}

// answered compares the life that a member's address answers as with the one
// that is listed, and returns the address when the two differ: whoever answers
// there has not heard from us yet.
//
// A node that restarts faster than it is missed looks alive in all its old
// glory, and if it has no seeds and nobody speaks to it first, it stays alone
// while all others believe in its former life. The answer to a probe gives it
// away. If it does not become a member, because its shape is another, its
// former life is failed all the same.
func (r *roster) answered(node protocol.NodeID, boot string) (addr string, differs bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[node]
	if r.closed || !ok || m.State != Alive || boot == "" {
		return "", false
	}
	if boot == m.Meta.Boot {
		delete(r.impostors, node)
		return "", false
	}
	other := r.impostors[node]
	if other.boot != boot {
		other = impostor{boot: boot, since: time.Now()}
		r.impostors[node] = other
	}
	if time.Since(other.since) >= impostorAfter {
		r.endLocked(m, Failed)
	}
	return m.Addr, true
}

// forget drops the members that left or failed before a moment.
func (r *roster) forget(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := len(r.members)
	for node, m := range r.members {
		if m.State != Alive && m.Since.Before(before) {
			delete(r.members, node)
		}
	}
	if len(r.members) != size && !r.closed {
		r.publishLocked()
	}
}

// close freezes the view: what memberlist still reports counts no more.
func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// boundLocked forgets the members that went first when too many are listed.
func (r *roster) boundLocked() {
	var former []Member
	for _, m := range r.members {
		if m.State != Alive {
			former = append(former, m)
		}
	}
	if len(former) <= maxFormer {
		return
	}
	slices.SortFunc(former, func(a, b Member) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Node, b.Node))
	})
	for _, m := range former[:len(former)-maxFormer] {
		delete(r.members, m.Node)
	}
}

// publishLocked makes the roster the current view.
func (r *roster) publishLocked() {
	r.version++
	v := &View{Members: make([]Member, 0, len(r.members)), Version: r.version}
	for _, m := range r.members {
		v.Members = append(v.Members, m)
	}
	slices.SortFunc(v.Members, func(a, b Member) int { return cmp.Compare(a.Node, b.Node) })
	r.view.Store(v)
	signal(r.changed)
	signal(r.news)
}

// signal leaves word in a channel of one place: many events, one wake-up.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
