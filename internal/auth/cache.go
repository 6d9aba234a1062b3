package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cacheShards is how many locks the cache has.
const cacheShards = 16

// cache remembers what sids were judged to be, each until a time. Over its
// bound it forgets the one that was not used for longest. Of a sid, which may
// be long and is a secret, only a digest is kept.
type cache struct{ shards [cacheShards]cacheShard }

// digest stands for a sid.
type digest [16]byte

func digestOf(sid string) (d digest) {
	sum := sha256.Sum256([]byte(sid))
	copy(d[:], sum[:])
	return d
}

type cacheShard struct {
	max int

	// guarded by mu
	mu      sync.Mutex
	entries map[digest]*entry
	ring    entry // the list's two ends: next is the latest used
}

// entry is one remembered sid. Identity.User is 0 for an unknown one.
type entry struct {
	sid        digest
	id         Identity
	until      time.Time
	next, prev *entry
}

func newCache(size int) *cache {
	c := &cache{}
	for i := range c.shards {
		s := &c.shards[i]
		s.max = max(1, size/cacheShards)
		s.entries = make(map[digest]*entry)
		s.ring.next, s.ring.prev = &s.ring, &s.ring
	}
	return c
}

func (c *cache) shard(sid digest) *cacheShard { return &c.shards[sid[0]%cacheShards] }

// lookup returns what is remembered of a sid.
func (c *cache) lookup(text string, now time.Time) (Identity, bool) {
	sid := digestOf(text)
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
func (c *cache) add(text string, id Identity, until time.Time) {
	sid := digestOf(text)
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
	e := &entry{sid: sid, id: id, until: until}
	s.entries[sid] = e
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
