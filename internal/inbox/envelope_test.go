package inbox

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
)

func compose(h header, items ...item) []byte {
	b := appendHeader(nil, h)
	for _, it := range items {
		b = appendItem(b, it)
	}
	return b
}

func parse(b []byte) (header, []item, error) {
	h, rest, err := parseHeader(b)
	if err != nil {
		return header{}, nil, err
	}
	items, err := parseItems(nil, rest)
	return h, items, err
}

var someHeader = header{repeat: true, from: "n1@a", to: "n2@b", serial: 9, callsTaken: 300, answersTaken: 7}

var someItems = []item{
	{tag: tagCall, code: 7, number: 301, gap: 2, body: []byte("enter")},
	{tag: tagAnswer, code: statusAnswered, number: 8, gap: 1, call: 300, body: []byte("done")},
	{tag: tagCast, code: 255, body: []byte{}},
	{tag: tagAnswer, code: statusNoAnswer, number: 9, gap: 1, call: 299, body: []byte{}},
}

func drawItem(t *rapid.T) item {
	it := item{
		tag:  rapid.SampledFrom([]byte{tagCall, tagAnswer, tagCast}).Draw(t, "tag"),
		code: rapid.Byte().Draw(t, "code"),
		body: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "body"),
	}
	if it.tag != tagCast {
		it.number = rapid.Uint64Range(1, maxNumber).Draw(t, "number")
		it.gap = rapid.Uint64Range(1, it.number).Draw(t, "gap")
	}
	if it.tag == tagAnswer {
		it.code = rapid.SampledFrom([]byte{statusAnswered, statusNoAnswer}).Draw(t, "status")
		it.call = rapid.Uint64Range(1, maxNumber).Draw(t, "call")
	}
	return it
}

func TestPayloadRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 60, maxName)
		h := header{
			repeat:       rapid.Bool().Draw(t, "repeat"),
			from:         protocol.Incarnation(name.Draw(t, "from")),
			to:           protocol.Incarnation(name.Draw(t, "to")),
			serial:       rapid.Uint64Max(maxNumber).Draw(t, "serial"),
			callsTaken:   rapid.Uint64Max(maxNumber).Draw(t, "calls"),
			answersTaken: rapid.Uint64Max(maxNumber).Draw(t, "answers"),
		}
		items := rapid.SliceOfN(rapid.Custom(drawItem), 0, 6).Draw(t, "items")
		gotHeader, got, err := parse(compose(h, items...))
		if err != nil || gotHeader != h || len(got) != len(items) {
			t.Fatalf("got %+v %d items, %v; want %+v %d items", gotHeader, len(got), err, h, len(items))
		}
		for i := range items {
			if !bytes.Equal(got[i].body, items[i].body) {
				t.Fatalf("item %d: body %q, want %q", i, got[i].body, items[i].body)
			}
			got[i].body, items[i].body = nil, nil
			if !reflect.DeepEqual(got[i], items[i]) {
				t.Fatalf("item %d: %+v, want %+v", i, got[i], items[i])
			}
		}
	})
}

func TestItemOverheadBoundsEveryItem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		it := drawItem(t)
		if n := len(appendItem(nil, it)); n > itemOverhead+len(it.body) {
			t.Fatalf("%+v takes %d bytes", it, n)
		}
	})
}

func TestPayloadCutShort(t *testing.T) {
	t.Parallel()
	whole := compose(someHeader, someItems...)
	borders := map[int]bool{}
	for i := range len(someItems) + 1 {
		borders[len(compose(someHeader, someItems[:i]...))] = true
	}
	for n := range len(whole) {
		if _, _, err := parse(whole[:n]); (err == nil) != borders[n] {
			t.Errorf("first %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestPayloadRefused(t *testing.T) {
	t.Parallel()
	good := compose(someHeader)
	other := bytes.Clone(good)
	other[0] = format + 1
	flags := bytes.Clone(good)
	flags[1] = 2
	for name, c := range map[string]struct {
		payload []byte
		want    error
	}{
		"empty":          {nil, errMalformed},
		"other format":   {other, errFormat},
		"unknown flag":   {flags, errMalformed},
		"nobody":         {compose(header{to: "n"}), errMalformed},
		"to nobody":      {compose(header{from: "n"}), errMalformed},
		"long name":      {compose(header{from: protocol.Incarnation(bytes.Repeat([]byte("x"), maxName+1)), to: "n"}), errMalformed},
		"huge number":    {compose(header{from: "a", to: "b", callsTaken: maxNumber + 1}), errMalformed},
		"unknown tag":    {compose(someHeader, item{tag: 4}), errMalformed},
		"number 0":       {compose(someHeader, item{tag: tagCall}), errMalformed},
		"gap 0":          {compose(someHeader, item{tag: tagCall, number: 1}), errMalformed},
		"gap too wide":   {compose(someHeader, item{tag: tagCall, number: 1, gap: 2}), errMalformed},
		"unknown status": {compose(someHeader, item{tag: tagAnswer, code: 3, number: 1, gap: 1}), errMalformed},
		"huge length":    {append(compose(someHeader), tagCast, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), errMalformed},
	} {
		if _, _, err := parse(c.payload); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte{})
	f.Add(compose(someHeader))
	f.Add(compose(someHeader, someItems...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, items, err := parse(b)
		if err != nil {
			return
		}
		size := 0
		for _, it := range items {
			size += len(it.body)
		}
		if size > len(b) {
			t.Fatalf("%d bytes of bodies out of %d", size, len(b))
		}
		again, same, err := parse(compose(h, items...))
		if err != nil || again != h || !reflect.DeepEqual(same, items) {
			t.Fatalf("composed again: %+v %+v, %v; was %+v %+v", again, same, err, h, items)
		}
		// Nothing that can be read upsets a link.
		l := newLink(h.to, h.from, Config{}.withDefaults().terms())
		l.nextCall = maxNumber / 2
		_, _, _ = l.take(dawn(), h, items, nil)
	})
}
