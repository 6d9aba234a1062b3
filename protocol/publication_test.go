package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func someBatch() []Publication {
	return []Publication{
		{Room: "r1", Epoch: 1 << 50, Seq: 7, Importance: 1, Except: 42, Frame: []byte(`{"a":1}`)},
		{Room: "r1", Epoch: 1 << 50, Seq: 8, Importance: 16, Only: 1<<63 - 1, Frame: []byte(`{"b":"房间"}`)},
		{Room: "r1", Epoch: 1<<64 - 1, V2: true, Frame: []byte(`{}`)},
		{Room: "call/7", Seq: 1<<64 - 1, Frame: []byte{}},
		{Room: "r1", Importance: 255, Except: 1, Only: 2, V2: true, Frame: bytes.Repeat([]byte("x"), 300)},
		{Room: "", Frame: []byte{}},
		{Room: "", Frame: []byte("y")},
	}
}

func TestPublications(t *testing.T) {
	t.Parallel()
	want := someBatch()
	b := AppendPublications([]byte("before"), want)
	if !bytes.HasPrefix(b, []byte("before")) || bytes.Count(b, []byte("r1")) != 2 {
		t.Errorf("encoded as %q", b)
	}
	got, err := ParsePublications(make([]Publication, 1), b[len("before"):])
	if err != nil || !reflect.DeepEqual(got[1:], want) {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = ParsePublications(nil, AppendPublications(nil, nil))
	if err != nil || len(got) != 0 {
		t.Errorf("an empty batch: %v, %v", got, err)
	}
}

func TestPublicationFramesAreParts(t *testing.T) {
	t.Parallel()
	b := AppendPublications(nil, someBatch())
	before := bytes.Clone(b)
	got, err := ParsePublications(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(b, got[0].Frame); &b[i] != &got[0].Frame[0] {
		t.Error("the frame was copied")
	}
	for _, p := range got {
		_ = append(p.Frame, "over what follows"...)
	}
	if !bytes.Equal(b, before) {
		t.Error("appending to a frame wrote over the next publication")
	}
}

func TestParsePublicationsRefuses(t *testing.T) {
	t.Parallel()
	whole := AppendPublications(nil, someBatch())
	ends := map[int]bool{1: true}
	for n := range someBatch() {
		ends[len(AppendPublications(nil, someBatch()[:n+1]))] = true
	}
	for cut := range len(whole) {
		_, err := ParsePublications(nil, whole[:cut])
		if (err == nil) != ends[cut] {
			t.Errorf("cut at %d of %d: %v", cut, len(whole), err)
		}
	}
	for name, b := range map[string]string{
		"empty":           "",
		"format 0":        "\x00",
		"format 2":        "\x02",
		"no room":         "\x01\x00\x00\x00\x00",
		"unknown flag":    "\x01\x21\x00\x00\x00\x00",
		"varint too long": "\x01\x01\x00" + strings.Repeat("\xff", 11),
		"length too long": "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"negative user":   "\x01\x05\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00",
	} {
		dst := make([]Publication, 1)
		if got, err := ParsePublications(dst, []byte(b)); !errors.Is(err, ErrPublications) || len(got) != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// FuzzParsePublications checks that whatever parses means the same when it is
// encoded again.
func FuzzParsePublications(f *testing.F) {
	whole := AppendPublications(nil, someBatch())
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParsePublications(nil, b)
		if err != nil {
			if got != nil || !errors.Is(err, ErrPublications) {
				t.Fatalf("%v with %v", err, got)
			}
			return
		}
		again, err := ParsePublications(nil, AppendPublications(nil, got))
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}
