package room

import (
	"strconv"

	"github.com/faac1247/rollcall/protocol"
)

// keyRing remembers the latest commands' keys with their replies. Number n is
// in slot n modulo the number of slots, in place of a former one.
type keyRing struct {
	slots  []remembered
	latest uint64
	size   int // set by New
}

// remembered is one key; number 0 is an empty slot's.
type remembered struct {
	number uint64
	key    string
	reply  protocol.Reply
}

func (m remembered) slot() string { return strconv.FormatUint(m.number%keysKept, 10) }

// reply returns the first reply to a key. The ring is short enough to look at
// each.
func (k *keyRing) reply(key string) (protocol.Reply, bool) {
	for i := range k.slots {
		if k.slots[i].key == key {
			return k.slots[i].reply, true
		}
	}
	return protocol.Reply{}, false
}

func (k *keyRing) add(m remembered) {
	if k.slots == nil {
		k.slots = make([]remembered, k.size)
	}
	k.slots[m.number%uint64(k.size)] = m
	k.latest = max(k.latest, m.number)
}

// all returns what is remembered.
func (k *keyRing) all() []remembered {
	var all []remembered
	for _, m := range k.slots {
		if m.number != 0 {
			all = append(all, m)
		}
	}
	return all
}

func (k *keyRing) clear() { k.slots = nil }

// remember keeps the key of a command that has done something: in the journal
// with what it changed, or in memory with what it published. A room that is
// over with the command forgets its keys.
func (s *step) remember(ring *keyRing, key string) {
	m := remembered{number: ring.latest + 1, key: key, reply: s.res.Reply}
	m.reply.Body = nil
	switch {
	case ring == &s.published:
		ring.add(m)
	case len(s.res.Changes) > 0 && !s.over():
		ring.add(m)
		s.store(s.entryKey(kindKey, m.slot()), s.keyEntry(m))
	}
}
