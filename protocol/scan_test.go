package protocol

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestSkipPlain puts every byte at every place of a text that is longer than
// what is looked at in one go.
func TestSkipPlain(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 20 {
			text := bytes.Repeat([]byte{0x80}, 20)
			text[at] = byte(c)
			want := at
			if c != '"' && c != '\\' && c >= ' ' {
				want = len(text)
			}
			for from := range at + 1 {
				if got := skipPlain(text, from); got != want {
					t.Fatalf("byte %#x at %d: from %d found %d", c, at, from, got)
				}
			}
			text[at] = ' '
			if at+1 < len(text) {
				// What comes after a hit must not move it.
				text[at], text[at+1] = '"', byte(c)
				if got := skipPlain(text, 0); got != at {
					t.Fatalf("a quote at %d before byte %#x: found %d", at, c, got)
				}
			}
		}
	}
}

// TestControlCharacters puts each where encoding/json refuses it.
func TestControlCharacters(t *testing.T) {
	t.Parallel()
	for c := range byte(' ') {
		for at := range 20 {
			text := bytes.Repeat([]byte{'x'}, 20)
			text[at] = c
			raw := append(append([]byte(`{"action":"`), text...), `"}`...)
			if _, err := ParseObject(raw); err == nil || json.Valid(raw) {
				t.Errorf("%q: %v", raw, err)
			}
		}
	}
}

func TestValueNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value  string
		n      int64
		isInt  bool
		u      uint64
		isUint bool
	}{
		{`0`, 0, true, 0, true},
		{`-0`, 0, true, 0, false},
		{`"007"`, 7, true, 7, true},
		{`9223372036854775807`, 1<<63 - 1, true, 1<<63 - 1, true},
		{`9223372036854775808`, 0, false, 1 << 63, true},
		{`-9223372036854775808`, -1 << 63, true, 0, false},
		{`-9223372036854775809`, 0, false, 0, false},
		{`"18446744073709551615"`, 0, false, 1<<64 - 1, true},
		{`18446744073709551616`, 0, false, 0, false},
		{`28446744073709551615`, 0, false, 0, false},
		{`184467440737095516150`, 0, false, 0, false},
		{`"000000000000000000000000000001"`, 1, true, 1, true},
		{`"-"`, 0, false, 0, false},
		{`""`, 0, false, 0, false},
		{`"--1"`, 0, false, 0, false},
		{`1.0`, 0, false, 0, false},
		{`1e2`, 0, false, 0, false},
		{`null`, 0, false, 0, false},
		{`[1]`, 0, false, 0, false},
		{``, 0, false, 0, false},
	} {
		if n, ok := Value(c.value).Int(); n != c.n || ok != c.isInt {
			t.Errorf("%s as an integer: %d, %v", c.value, n, ok)
		}
		if u, ok := Value(c.value).Uint(); u != c.u || ok != c.isUint {
			t.Errorf("%s as a positive one: %d, %v", c.value, u, ok)
		}
	}
}
