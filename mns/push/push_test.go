package push

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/mns/chat"
)

// TestQueueModel compares the queue with a sorted list.
func TestQueueModel(t *testing.T) {
	t.Parallel()
	type item struct {
		level chat.Importance
		n     int
	}
	frame := func(i item) []byte { return []byte(fmt.Sprintf("%02d:%06d", i.level, i.n)) }
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var model []item // in the order of arrival
		n := 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0: // take what fits
				size := rapid.IntRange(1, 60).Draw(t, "size")
				slices.SortStableFunc(model, func(a, b item) int { return int(a.level) - int(b.level) })
				var want []byte
				for len(model) > 0 && (len(want) == 0 || len(want)+9 <= size) {
					want = append(want, frame(model[0])...)
					model = model[1:]
				}
				if got := q.take(make([]byte, 0, size)); string(got) != string(want) {
					t.Fatalf("took %q, want %q", got, want)
				}
			case 1: // drop
				slices.SortStableFunc(model, func(a, b item) int { return int(a.level) - int(b.level) })
				level, ok := q.drop()
				worst := -1
				for i := range model {
					if model[i].level > chat.KeptImportance && (worst < 0 || model[i].level > model[worst].level) {
						worst = i
					}
				}
				if ok != (worst >= 0) || ok && level != model[worst].level {
					t.Fatalf("dropped %d, %v of %v", level, ok, model)
				}
				if ok {
					model = slices.Delete(model, worst, worst+1)
				}
			default:
				n++
				i := item{chat.Importance(rapid.IntRange(0, 16).Draw(t, "level")), n}
				q.push(i.level, frame(i))
				model = append(model, i)
			}
			if q.frames != len(model) || q.bytes != 9*len(model) {
				t.Fatalf("%d frames of %d bytes, want %d", q.frames, q.bytes, len(model))
			}
		}
	})
}

func TestFrames(t *testing.T) {
	t.Parallel()
	for n, head := range map[int]int{0: 2, 125: 2, 126: 4, 65535: 4, 65536: 10} {
		f := textFrame(make([]byte, n))
		if len(f) != head+n || f[0] != 0x81 {
			t.Errorf("%d bytes: a frame of %d", n, len(f))
		}
	}
	long := closeFrame(4008, string(make([]byte, 200)))
	if len(long) != 2+2+maxReason || binary.BigEndian.Uint16(long[2:]) != 4008 {
		t.Errorf("close frame % x", long[:4])
	}
}

// TestAudienceModel compares who is given a publication with a look at every
// subscription.
func TestAudienceModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tags := []chat.Tag{"a", "b", "c"}
		names := []chat.SubscriptionName{"s", "t"}
		a := newAudience("topic")
		conns := make([]*Conn, 4)
		model := map[*Conn]map[chat.SubscriptionName]Subscription{}
		for i := range conns {
			conns[i] = &Conn{closing: true} // takes nothing, only counts
			model[conns[i]] = map[chat.SubscriptionName]Subscription{}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			c := rapid.SampledFrom(conns).Draw(t, "conn")
			name := rapid.SampledFrom(names).Draw(t, "name")
			switch rapid.IntRange(0, 4).Draw(t, "op") {
			case 0:
				_, known := model[c][name]
				if n, _ := a.remove(c, name); (n == 1) != known {
					t.Fatalf("removed %d", n)
				}
				delete(model[c], name)
			case 1:
				a.drop(name)
				for _, subs := range model {
					delete(subs, name)
				}
			case 2:
				filter := rapid.SampledFrom(append(tags, "")).Draw(t, "filter")
				a.refilter(name, filter)
				for _, subs := range model {
					if s, ok := subs[name]; ok {
						s.Filter = filter
						subs[name] = s
					}
				}
			default:
				s := Subscription{
					Name: name, Filter: rapid.SampledFrom(append(tags, "", "")).Draw(t, "filter"),
					Tags: rapid.SliceOfN(rapid.SampledFrom(tags), 0, 2).Draw(t, "tags"),
				}
				_, known := model[c][name]
				if added, ok := a.put(c, s); added == known || !ok {
					t.Fatalf("added %v, %v", added, ok)
				}
				model[c][name] = s
			}
			tag := rapid.SampledFrom(append(tags, "")).Draw(t, "tag")
			want := 0
			for _, subs := range model {
				for _, s := range subs {
					if s.wants(tag) {
						want++
						break
					}
				}
			}
			if got := a.publish(&chat.Publication{Tag: tag, Importance: 8}, func(*Subscription) []byte { return nil }); got != want {
				t.Fatalf("%d are given a publication tagged %q, want %d", got, tag, want)
			}
		}
		if left := len(a.tagged); left > len(tags) {
			t.Fatalf("%d tags are kept", left)
		}
	})
}

// BenchmarkPublish gives a publication to 10,000 connections.
func BenchmarkPublish(b *testing.B) {
	a := newAudience("topic")
	for range 10_000 {
		a.put(&Conn{closing: true}, Subscription{Name: "s"})
	}
	p := &chat.Publication{Importance: 8}
	frame := textFrame(make([]byte, 128))
	for b.Loop() {
		a.publish(p, func(*Subscription) []byte { return frame })
	}
}
