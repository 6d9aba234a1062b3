package room

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestIndex compares the index with a slice that is sorted after every change.
func TestIndex(t *testing.T) {
	t.Parallel()
	keys := rapid.Custom(func(rt *rapid.T) key {
		return key{rapid.Uint64Range(0, 3).Draw(rt, "hi"), rapid.Uint64Range(1, 30).Draw(rt, "lo")}
	})
	rapid.Check(t, func(rt *rapid.T) {
		var x index[key]
		var sorted []key
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				k := keys.Draw(rt, "key")
				if slices.Contains(sorted, k) {
					rt.Skip("only new keys are put")
				}
				x.put(k, k)
				sorted = append(sorted, k)
				slices.SortFunc(sorted, compareKeys)
			},
			"remove": func(rt *rapid.T) {
				k := keys.Draw(rt, "key")
				x.remove(k)
				sorted = slices.DeleteFunc(sorted, func(s key) bool { return s == k })
			},
			"after": func(rt *rapid.T) {
				k := keys.Draw(rt, "key")
				var got []key
				for _, v := range x.after(k) {
					got = append(got, v)
				}
				from, found := slices.BinarySearchFunc(sorted, k, compareKeys)
				if found {
					from++
				}
				if !slices.Equal(got, sorted[from:]) {
					rt.Fatalf("after %v come %v, want %v", k, got, sorted[from:])
				}
			},
			"": func(rt *rapid.T) {
				if got := x.values(); !slices.Equal(got, sorted) || x.len() != len(sorted) {
					rt.Fatalf("index holds %v, want %v", got, sorted)
				}
				least, v, ok := x.min()
				if ok != (len(sorted) > 0) || ok && (least != sorted[0] || v != least) {
					rt.Fatalf("least is %v, want the first of %v", least, sorted)
				}
			},
		})
	})
}

func compareKeys(a, b key) int { return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)) }

// TestIndexIsFlat holds the depth of a large index, filled in order as rooms
// do, to a small multiple of the least that is possible.
func TestIndexIsFlat(t *testing.T) {
	t.Parallel()
	var x index[int]
	const n = 1 << 16
	for i := range n {
		x.put(key{lo: uint64(i + 1)}, i)
	}
	var depth func(*node[int]) int
	depth = func(n *node[int]) int {
		if n == nil {
			return 0
		}
		return 1 + max(depth(n.left), depth(n.right))
	}
	if d := depth(x.root); d > 16*4 {
		t.Errorf("%d keys are %d deep", n, d)
	}
}
