package edge

import (
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	registryShards = 64
	// maxFlaps bounds, per shard, the users whose supersedings are counted. A
	// full shard forgets those that are old, and then counts no new ones.
	maxFlaps = 1024
	// supersedings within flapWindow are let through; from the next on the
	// newcomer is refused.
	supersedings = 4
	flapWindow   = 10 * time.Second
)

// registry finds the session of a user.
type registry [registryShards]shard

type shard struct {
	// guarded by mu
	mu       sync.Mutex
	sessions map[protocol.UserID]*session
	// arriving holds users whose connection is being made: a superseding that
	// is heard of meanwhile must not be lost.
	arriving map[protocol.UserID]*arrival
	flaps    map[protocol.UserID]*flaps
}

// arrival is what was heard of a user whose connection is being made.
type arrival struct {
	pending    int
	superseder protocol.ConnNumber
	// subs are what owners said of it, in order: its number may be known to
	// them before its session can be found here.
	subs []protocol.Subscription
}

// maxArrivingSubs bounds what is kept for an arrival. More is refused, as for a
// connection that is not here, and repaired by the owner's next list.
const maxArrivingSubs = 16

// flaps are the last times at which a user's connection was superseded.
type flaps struct {
	at [supersedings]time.Duration
	n  int
}

func (f *flaps) add(now time.Duration) {
	copy(f.at[:], f.at[1:])
	f.at[supersedings-1] = now
	f.n = min(f.n+1, supersedings)
}

// tooMany reports whether one more within the window is one too many.
func (f *flaps) tooMany(now time.Duration) bool {
	return f.n == supersedings && now-f.at[0] < flapWindow
}

func (f *flaps) old(now time.Duration) bool { return now-f.at[supersedings-1] >= flapWindow }

func newRegistry() *registry {
	r := &registry{}
	for i := range r {
		r[i].sessions = make(map[protocol.UserID]*session)
		r[i].arriving = make(map[protocol.UserID]*arrival)
		r[i].flaps = make(map[protocol.UserID]*flaps)
	}
	return r
}

func (r *registry) shard(user protocol.UserID) *shard { return &r[uint64(user)%registryShards] }

// session returns the user's session, nil if there is none.
func (r *registry) session(user protocol.UserID) *session {
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.sessions[user]
}

// find returns the session that a subscription names. While a connection of the
// user's is being made and no session fits, the subscription waits for it.
func (r *registry) find(sub protocol.Subscription) (s *session, waits bool) {
	sh := r.shard(sub.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s := sh.sessions[sub.User]; s != nil && (sub.Conn == 0 || s.conn == sub.Conn) {
		return s, false
	}
	a := sh.arriving[sub.User]
	if a == nil || len(a.subs) >= maxArrivingSubs {
		return nil, false
	}
	a.subs = append(a.subs, sub)
	return nil, true
}

// holds reports whether a connection is the user's session, or one is being
// made that may turn out to be it.
func (r *registry) holds(user protocol.UserID, conn protocol.ConnNumber) (here, arriving bool) {
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.sessions[user]
	return s != nil && s.conn == conn && s.current() == fateNone, sh.arriving[user] != nil
}

// arrive notes that a connection of user is being made. It reports false, and
// notes nothing, when the user's connections supersede each other too often.
func (r *registry) arrive(user protocol.UserID, now time.Duration) bool {
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if f := sh.flaps[user]; f != nil && f.tooMany(now) {
		return false
	}
	a := sh.arriving[user]
	if a == nil {
		a = &arrival{}
		sh.arriving[user] = a
	}
	a.pending++
	return true
}

// abandon ends an arrival that came to nothing.
func (r *registry) abandon(user protocol.UserID) {
	sh := r.shard(user)
	sh.mu.Lock()
	sh.depart(user)
	sh.mu.Unlock()
}

func (sh *shard) depart(user protocol.UserID) {
	a := sh.arriving[user]
	if a.pending--; a.pending == 0 {
		delete(sh.arriving, user)
	}
}

// add ends an arrival by making s the user's session; a superseding, here or
// elsewhere, is counted. It returns the session here that s supersedes, and the
// subscriptions that have waited. It reports false when s is superseded itself
// by now.
func (r *registry) add(s *session, superseding bool, now time.Duration) (former *session, subs []protocol.Subscription, ok bool) {
	sh := r.shard(s.user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a := sh.arriving[s.user]
	subs, a.subs = a.subs, nil
	sh.depart(s.user)
	former = sh.sessions[s.user]
	if a.superseder > s.conn || former != nil && former.conn > s.conn {
		return nil, subs, false
	}
	sh.sessions[s.user] = s
	if superseding {
		sh.flap(s.user, now)
	}
	return former, subs, true
}

// superseded notes that the user has connection conn elsewhere, and returns
// the older one that is here.
func (r *registry) superseded(user protocol.UserID, conn protocol.ConnNumber, now time.Duration) *session {
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if a := sh.arriving[user]; a != nil {
		a.superseder = max(a.superseder, conn)
	}
	if s := sh.sessions[user]; s != nil && s.conn < conn {
		sh.flap(user, now)
		return s
	}
	return nil
}

// flap counts a superseding of the user. The caller holds mu.
func (sh *shard) flap(user protocol.UserID, now time.Duration) {
	f := sh.flaps[user]
	if f == nil {
		if len(sh.flaps) >= maxFlaps {
			sh.sweep(now)
		}
		if len(sh.flaps) >= maxFlaps {
			return
		}
		f = &flaps{}
		sh.flaps[user] = f
	}
	f.add(now)
}

func (sh *shard) sweep(now time.Duration) {
	for user, f := range sh.flaps {
		if f.old(now) {
			delete(sh.flaps, user)
		}
	}
}

// settled reports whether no connection of the user's is being made here.
func (r *registry) settled(user protocol.UserID) bool {
	sh := r.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.arriving[user] == nil
}

// remove takes s out, if it is the user's session still.
func (r *registry) remove(s *session) {
	sh := r.shard(s.user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sessions[s.user] == s {
		delete(sh.sessions, s.user)
	}
}

// calm forgets how often the user's connections superseded each other: the
// last one has ended by itself.
func (r *registry) calm(user protocol.UserID) {
	sh := r.shard(user)
	sh.mu.Lock()
	delete(sh.flaps, user)
	sh.mu.Unlock()
}

// all calls yield for every session. No lock is held meanwhile.
func (r *registry) all(yield func(*session) bool) {
	var some []*session
	for i := range r {
		some = some[:0]
		r[i].mu.Lock()
		for _, s := range r[i].sessions {
			some = append(some, s)
		}
		r[i].mu.Unlock()
		for _, s := range some {
			if !yield(s) {
				return
			}
		}
	}
}
