package room

import (
	"iter"
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

// add remembers one key more, as the latest.
func (k *keyRing) add(m remembered) remembered {
	m.number = k.latest + 1
	k.put(m)
	return m
}

// put remembers a key with the number that it has.
func (k *keyRing) put(m remembered) {
	if k.slots == nil {
		k.slots = make([]remembered, k.size)
	}
	k.slots[m.number%uint64(k.size)] = m
	k.latest = max(k.latest, m.number)
}

// all returns what is remembered, in no order.
func (k *keyRing) all() []remembered {
	var all []remembered
	for _, m := range k.slots {
		if m.number != 0 {
			all = append(all, m)
		}
	}
	return all
}

// Replies yields the keys that the room remembers with the first reply to each,
// those of publications too.
func (r *Room) Replies() iter.Seq2[string, protocol.Reply] {
	return func(yield func(string, protocol.Reply) bool) {
		for _, ring := range [...]*keyRing{&r.keys, &r.unstored} {
			for _, m := range ring.all() {
				if !yield(m.key, m.reply) {
					return
				}
			}
		}
	}
}

func (k *keyRing) clear() { k.slots = nil }

// remember keeps the key of a command that has done something: in the journal
// with what it changed, or in memory with what it published or brought to an
// end.
func (s *step) remember(cmd *protocol.Command) {
	m := remembered{key: cmd.Key, reply: s.res.Reply}
	m.reply.Body = nil
	switch {
	case cmd.Verb == protocol.VerbPublish, len(s.res.Changes) > 0 && s.over():
		s.unstored.add(m)
	case len(s.res.Changes) > 0:
		m = s.keys.add(m)
		s.store(s.entryKey(kindKey, m.slot()), s.keyEntry(m))
	}
}
