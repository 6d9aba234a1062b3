package protocol

import (
	"bytes"
	"math"
)

// Object is a JSON object that was checked once and is read in place, field by
// field. It shares the memory of the text that it was parsed from, and is
// valid as long as that text stays as it is.
//
// The zero Object has no fields. Methods are safe for concurrent use.
type Object struct{ raw []byte }

// ParseObject checks that raw is exactly one JSON object: valid UTF-8,
// surrogates in pairs, at most MaxDepth deep, at most MaxMembers fields, none
// of them twice. Its errors are CodeBadRequest and say where.
func ParseObject(raw []byte) (Object, error) {
	var m members
	m.check(raw)
	for m.next() {
	}
	if err := m.err(); err != nil {
		return Object{}, err
	}
	return Object{raw}, nil
}

// Raw returns the text that the object was parsed from.
func (o Object) Raw() []byte { return o.raw }

// Field returns the value of a top-level field, nil if there is none. The
// cost is a pass over the object, without allocation.
func (o Object) Field(name string) Value {
	if o.raw == nil {
		return nil
	}
	var m members
	m.trust(o.raw)
	for m.next() {
		if string(m.plainName()) == name {
			return m.value()
		}
	}
	return nil
}

// Value is the checked text of one JSON value; nil is the value of a field
// that is not there, and none of its methods finds anything in it.
type Value []byte

// Int returns the value of an integer, or of a string of decimal digits, which
// is how some clients write their numbers. It reports false for all else: a
// fraction, an exponent, what does not fit.
func (v Value) Int() (int64, bool) {
	text := v.digits()
	if len(text) == 0 || text[0] != '-' {
		n, ok := parseDigits(text)
		if !ok || n > math.MaxInt64 {
			return 0, false
		}
		return int64(n), true
	}
	n, ok := parseDigits(text[1:])
	if !ok || n > -math.MinInt64 {
		return 0, false
	}
	return -int64(n), true
}

// Uint is like Int, for what is never negative and fills 64 bits.
func (v Value) Uint() (uint64, bool) { return parseDigits(v.digits()) }

// digits returns the contents of a string, or the text of any other value.
func (v Value) digits() []byte {
	if contents, ok := v.Bytes(); ok {
		return contents
	}
	return v
}

// parseDigits returns the number that text, of nothing but digits, spells.
func parseDigits(text []byte) (uint64, bool) {
	if len(text) == 0 {
		return 0, false
	}
	var n uint64
	for _, c := range text {
		if !isDigit(c) || n > math.MaxUint64/10 {
			return 0, false
		}
		d := uint64(c - '0')
		if n = n*10 + d; n < d {
			return 0, false
		}
	}
	return n, true
}

// Bytes returns the contents of a string: a part of the frame itself, or a
// copy where the string has escapes. It reports false for all but strings.
func (v Value) Bytes() ([]byte, bool) {
	if len(v) < 2 || v[0] != '"' {
		return nil, false
	}
	contents := v[1 : len(v)-1]
	if bytes.IndexByte(contents, '\\') < 0 {
		return contents, true
	}
	return appendUnescaped(make([]byte, 0, len(contents)), contents), true
}

// Text returns the contents of a string, and false for all but strings.
func (v Value) Text() (string, bool) {
	b, ok := v.Bytes()
	return string(b), ok
}

// Bool returns true or false, and false for all but those two.
func (v Value) Bool() (value, ok bool) {
	return string(v) == "true", string(v) == "true" || string(v) == "false"
}

// Object returns a nested object, and false for all but objects. Nested
// objects may have a field twice: Field then returns the first.
func (v Value) Object() (Object, bool) {
	if len(v) == 0 || v[0] != '{' {
		return Object{}, false
	}
	return Object{v}, true
}
