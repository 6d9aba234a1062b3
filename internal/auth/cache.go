package auth

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

// cacheShards is how many locks the cache has.
const cacheShards = 16

// cache remembers what sids were judged to be, each until a time. Over its
// bound it forgets the one that was not used for longest.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	max int

	// guarded by mu
	mu      sync.Mutex
	entries map[string]*entry
	ring    entry // the list's two ends: next is the latest used
}

// entry is one remembered sid. Identity.User is 0 for an unknown one.
type entry struct {
	sid        string
	id         Identity
	until      time.Time
	next, prev *entry
}

func newCache(size int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		s := &c.shards[i]
		s.max = max(1, size/cacheShards)
		s.entries = make(map[string]*entry)
		s.ring.next, s.ring.prev = &s.ring, &s.ring
	}
	return c
}

func (c *cache) shard(sid string) *cacheShard {
	return &c.shards[maphash.String(c.seed, sid)%cacheShards]
}

// lookup returns what is remembered of a sid.
func (c *cache) lookup(sid string, now time.Time) (Identity, bool) {
	s := c.shard(sid)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[sid]
	if e == nil {
		return Identity{}, false
	}
	e.unlink()
	if !now.Before(e.until) {
		delete(s.entries, e.sid)
		return Identity{}, false
	}
	s.ring.link(e)
	return e.id, true
}

// add remembers a sid.
func (c *cache) add(sid string, id Identity, until time.Time) {
	s := c.shard(sid)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.entries[sid]; old != nil {
		old.unlink()
		delete(s.entries, sid)
	}
	if len(s.entries) >= s.max {
		oldest := s.ring.prev
		oldest.unlink()
		delete(s.entries, oldest.sid)
	}
	// The sid is part of a request that would stay with it.
	e := &entry{sid: strings.Clone(sid), id: id, until: until}
	s.entries[e.sid] = e
	s.ring.link(e)
}

// link puts e after the list's beginning.
func (r *entry) link(e *entry) {
	e.next, e.prev = r.next, r
	r.next.prev, r.next = e, e
}

func (e *entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
	e.next, e.prev = nil, nil
}
