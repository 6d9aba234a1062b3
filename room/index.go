package room

import "iter"

// key orders the values of an index: by hi, then lo. The zero key is no
// value's.
type key struct{ hi, lo uint64 }

func (k key) less(than key) bool {
	return k.hi < than.hi || k.hi == than.hi && k.lo < than.lo
}

// index is an ordered map: every operation takes O(log n). It is a treap whose
// priorities are a hash of the key, so its shape follows from its contents
// alone. Keys are numbers that the room gives out, which no client can choose.
//
// The zero index is empty. It must not be changed while it is iterated.
type index[V any] struct {
	root *node[V]
	size int
}

type node[V any] struct {
	key         key
	priority    uint64
	left, right *node[V]
	value       V
}

func (x *index[V]) len() int { return x.size }

// put adds a value under a key that is not in the index.
func (x *index[V]) put(k key, v V) {
	n := &node[V]{key: k, priority: k.priority(), value: v}
	at := &x.root
	for *at != nil && (*at).priority >= n.priority {
		at = (*at).child(k)
	}
	n.left, n.right = split(*at, k)
	*at = n
	x.size++
}

// remove takes a key out; it does nothing if the key is not in the index.
func (x *index[V]) remove(k key) {
	at := &x.root
	for *at != nil && (*at).key != k {
		at = (*at).child(k)
	}
	if *at != nil {
		*at = merge((*at).left, (*at).right)
		x.size--
	}
}

// min returns the value with the smallest key.
func (x *index[V]) min() (key, V, bool) {
	if x.root == nil {
		var none V
		return key{}, none, false
	}
	n := x.root
	for n.left != nil {
		n = n.left
	}
	return n.key, n.value, true
}

// all yields every value in the order of keys.
func (x *index[V]) all() iter.Seq2[key, V] { return x.after(key{}) }

// after yields the values whose key is greater than k, in order.
func (x *index[V]) after(k key) iter.Seq2[key, V] {
	return func(yield func(key, V) bool) { x.root.ascend(k, yield) }
}

// values returns all values in the order of keys, for a caller that changes
// the index meanwhile.
func (x *index[V]) values() []V {
	if x.size == 0 {
		return nil
	}
	vs := make([]V, 0, x.size)
	for _, v := range x.all() {
		vs = append(vs, v)
	}
	return vs
}

func (n *node[V]) ascend(after key, yield func(key, V) bool) bool {
	if n == nil {
		return true
	}
	if !after.less(n.key) {
		return n.right.ascend(after, yield)
	}
	return n.left.ascend(after, yield) && yield(n.key, n.value) && n.right.ascend(after, yield)
}

func (n *node[V]) child(k key) **node[V] {
	if k.less(n.key) {
		return &n.left
	}
	return &n.right
}

// split parts a tree into the keys before k and those after it.
func split[V any](n *node[V], k key) (before, after *node[V]) {
	switch {
	case n == nil:
		return nil, nil
	case n.key.less(k):
		n.right, after = split(n.right, k)
		return n, after
	default:
		before, n.left = split(n.left, k)
		return before, n
	}
}

// merge joins two trees, all keys of a before those of b.
func merge[V any](a, b *node[V]) *node[V] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority >= b.priority:
		a.right = merge(a.right, b)
		return a
	default:
		b.left = merge(a, b.left)
		return b
	}
}

func (k key) priority() uint64 {
	x := k.hi*0x9e3779b97f4a7c15 ^ k.lo
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	return x ^ x>>32
}
