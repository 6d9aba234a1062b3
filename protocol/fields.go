package protocol

import "iter"

// Fields walks the top-level fields in their order, each name with its escapes
// resolved. Names and values are parts of the object's text, or copies where a
// name has escapes.
func (o Object) Fields() iter.Seq2[[]byte, Value] {
	return func(yield func(name []byte, v Value) bool) {
		if o.raw == nil {
			return
		}
		var m members
		m.trust(o.raw)
		for m.next() {
			if !yield(m.plainName(), m.value()) {
				return
			}
		}
	}
}
