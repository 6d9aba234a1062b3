package push

import "github.com/faac1247/rollcall/mns/chat"

// urgent is the bucket of what is no publication: it goes first and is kept.
const urgent chat.Importance = 0

// queue is what waits to be written to one connection.
type queue struct {
	buckets [chat.MaxImportance + 1]bucket
	frames  int
	bytes   int
}

// bucket holds frames of one importance, the oldest first.
type bucket struct {
	frames [][]byte
	head   int
}

func (b *bucket) len() int { return len(b.frames) - b.head }

func (b *bucket) push(f []byte) { b.frames = append(b.frames, f) }

func (b *bucket) pop() []byte {
	f := b.frames[b.head]
	b.frames[b.head] = nil
	if b.head++; b.head == len(b.frames) {
		b.frames, b.head = b.frames[:0], 0
	} else if b.head >= 64 && b.head > len(b.frames)/2 {
		n := copy(b.frames, b.frames[b.head:])
		clear(b.frames[n:])
		b.frames, b.head = b.frames[:n], 0
	}
	return f
}

// push adds a frame.
func (q *queue) push(i chat.Importance, f []byte) {
	q.buckets[i].push(f)
	q.frames++
	q.bytes += len(f)
}

// drop removes the oldest of the least important frames and returns how
// important it was. ok is false when all that is left must be kept.
func (q *queue) drop() (i chat.Importance, ok bool) {
	for i := chat.MaxImportance; i > chat.KeptImportance; i-- {
		if q.buckets[i].len() > 0 {
			q.taken(q.buckets[i].pop())
			return i, true
		}
	}
	return 0, false
}

func (q *queue) taken(f []byte) {
	q.frames--
	q.bytes -= len(f)
}

// next returns the bucket with the most important frame, nil when there is none.
func (q *queue) next() *bucket {
	if q.frames == 0 {
		return nil
	}
	for i := range q.buckets {
		if q.buckets[i].len() > 0 {
			return &q.buckets[i]
		}
	}
	return nil
}

// take moves frames, the most important first, to the end of buf, as many as
// fit into its capacity, but one at least.
func (q *queue) take(buf []byte) []byte {
	for {
		b := q.next()
		if b == nil {
			return buf
		}
		f := b.frames[b.head]
		if len(buf) > 0 && len(buf)+len(f) > cap(buf) {
			return buf
		}
		q.taken(b.pop())
		if len(f) > cap(buf) {
			return f
		}
		buf = append(buf, f...)
	}
}
