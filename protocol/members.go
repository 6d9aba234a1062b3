package protocol

import (
	"bytes"
	"unicode/utf8"
)

// members walks the top-level fields of an object:
//
//	var m members
//	m.check(raw)
//	for m.next() { … m.name(), m.value() … }
//	return m.err()
//
// What next has shown is to be trusted only once err has returned nil.
type members struct {
	scan scanner
	// Offsets of the current field: of the name between its quotes, and of
	// the value.
	nameStart, nameEnd, valueStart, valueEnd int
	// nameEscaped is set if the current field's name has escapes, anyEscaped if
	// one so far had.
	nameEscaped, anyEscaped bool
	// seen holds nameStart of the count fields so far, where unique is set.
	seen   [MaxMembers]uint32
	count  int
	unique bool
	ended  bool
}

// check begins a walk that checks the whole of raw.
func (m *members) check(raw []byte) {
	m.scan.data = raw
	m.unique = true
	if !utf8.Valid(raw) {
		m.scan.fail("not UTF-8")
	}
}

// trust begins a walk through an object that was checked before, as itself or
// as a part of another one. m may have been used before.
func (m *members) trust(raw []byte) {
	m.scan = scanner{data: raw}
	m.unique, m.ended, m.count = false, false, 0
}

// next moves to the next field. It returns false after the last one and on the
// first error.
func (m *members) next() bool {
	if m.ended || m.scan.why != "" {
		return false
	}
	switch c := m.scan.space(); {
	case m.count == 0 && c == '{':
		m.scan.at++
		if m.scan.space() == '}' {
			return m.end()
		}
	case m.count == 0:
		return m.scan.fail("expected an object")
	case c == ',':
		m.scan.at++
	case c == '}':
		return m.end()
	default:
		return m.scan.fail("expected a comma or the end of the object")
	}
	return m.field()
}

// field moves past one name and value.
func (m *members) field() bool {
	if m.scan.space() != '"' {
		return m.scan.fail("expected a field name")
	}
	m.nameStart = m.scan.at + 1
	if !m.scan.text() {
		return false
	}
	m.nameEnd = m.scan.at - 1
	m.nameEscaped = m.scan.escaped
	if m.unique && !m.admit() {
		return false
	}
	m.count++
	if m.scan.space() != ':' {
		return m.scan.fail("expected a colon")
	}
	m.scan.at++
	m.scan.space()
	m.valueStart = m.scan.at
	if !m.scan.value(MaxDepth - 1) {
		return false
	}
	m.valueEnd = m.scan.at
	return true
}

// end moves past the closing brace, after which only white space may come.
func (m *members) end() bool {
	m.ended = true
	m.scan.at++
	if m.scan.space(); m.scan.at < len(m.scan.data) {
		return m.scan.fail("something after the object")
	}
	if m.unique && m.anyEscaped {
		m.compareSpellings()
	}
	return false
}

// admit refuses a name that is spelled as one before, and one field too many.
func (m *members) admit() bool {
	if m.count == MaxMembers {
		return m.scan.fail("too many fields")
	}
	m.anyEscaped = m.anyEscaped || m.nameEscaped
	name := m.name()
	for _, start := range m.seen[:m.count] {
		// This name lies further on, so as many bytes follow the earlier start.
		if before := m.scan.data[start:]; before[len(name)] == '"' && string(before[:len(name)]) == string(name) {
			return m.scan.fail("field given twice")
		}
	}
	m.seen[m.count] = uint32(m.nameStart)
	return true
}

// compareSpellings refuses names that are the same only once their escapes are
// resolved. No client of ours has escapes in a name, so it may be slow, but a
// hostile one is not to find it slower than the frame is long.
func (m *members) compareSpellings() {
	var again members
	again.trust(m.scan.data)
	names := make(map[string]bool, m.count)
	for again.next() {
		name := string(again.plainName())
		if names[name] {
			m.scan.fail("field given twice")
			return
		}
		names[name] = true
	}
}

func (m *members) err() error { return m.scan.err() }

// name returns the current field's name as it is spelled.
func (m *members) name() []byte { return m.scan.data[m.nameStart:m.nameEnd] }

// value returns the text of the current field's value.
func (m *members) value() Value { return m.scan.data[m.valueStart:m.valueEnd:m.valueEnd] }

// whole returns the field from its name's quote to the end of its value.
func (m *members) whole() []byte { return m.scan.data[m.nameStart-1 : m.valueEnd] }

// plainName returns the current field's name with its escapes resolved.
func (m *members) plainName() []byte {
	if !m.nameEscaped {
		return m.name()
	}
	return appendUnescaped(make([]byte, 0, m.nameEnd-m.nameStart), m.name())
}

// compareNames orders two names by the bytes that they spell.
func compareNames(a, b []byte) int {
	if bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return bytes.Compare(a, b)
	}
	for len(a) > 0 && len(b) > 0 {
		// The order of UTF-8 bytes is that of the characters.
		ra, na := firstRune(a)
		rb, nb := firstRune(b)
		if ra != rb {
			return int(ra - rb)
		}
		a, b = a[na:], b[nb:]
	}
	return len(a) - len(b)
}
