package protocol

import (
	"encoding/binary"
	"math/bits"
)

const (
	// MaxDepth is how deep objects and arrays may nest in a frame, the frame
	// itself included.
	MaxDepth = 64
	// MaxMembers is how many fields a frame may have at its top level.
	MaxMembers = 64
)

// scanner moves through JSON text and checks it. It is stricter than
// encoding/json: the text must be UTF-8, surrogates must come in pairs, and
// nesting is bounded. All that it accepts, encoding/json accepts.
//
// A method that returns false has set why, and at to the place.
type scanner struct {
	data    []byte
	at      int
	escaped bool // the last string that text passed has escapes
	why     string
}

func (s *scanner) fail(why string) bool {
	s.why = why
	return false
}

// err returns what failed as a CodeBadRequest, nil if nothing has.
func (s *scanner) err() error {
	if s.why == "" {
		return nil
	}
	return Errorf(CodeBadRequest, "malformed JSON: %s at byte %d", s.why, s.at)
}

// peek returns the next byte, 0 at the end. A zero byte in the text is no
// JSON either, so the two need not be told apart.
func (s *scanner) peek() byte {
	if s.at >= len(s.data) {
		return 0
	}
	return s.data[s.at]
}

// space moves to the next byte that is not white space and returns it.
func (s *scanner) space() byte {
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// value moves past one value that may nest to depth. Its open objects and
// arrays are bits in a word and not calls, so that no frame makes the stack of
// a connection's reader grow.
func (s *scanner) value(depth int) bool {
	var objects uint64 // bit i is set if level i is an object
	level := 0
	for {
		switch c := s.space(); c {
		case '{', '[':
			if level == depth {
				return s.fail("nested too deep")
			}
			s.at++
			if s.space() == c+2 { // '}' and ']' are two after their partners
				s.at++
				break
			}
			level++
			objects <<= 1
			if c == '{' {
				objects |= 1
				if !s.key() {
					return false
				}
			}
			continue
		default:
			if !s.scalar(c) {
				return false
			}
		}
		// A value has ended: close what it was the last of.
		for ; ; level-- {
			if level == 0 {
				return true
			}
			c := s.space()
			if c == ',' {
				s.at++
				if objects&1 == 1 && !s.key() {
					return false
				}
				break
			}
			if closer := byte(']' + (objects&1)*('}'-']')); c != closer {
				return s.fail("expected a comma or the end of an object or array")
			}
			s.at++
			objects >>= 1
		}
	}
}

// key moves past white space, a string and a colon.
func (s *scanner) key() bool {
	if s.space() != '"' {
		return s.fail("expected a field name")
	}
	if !s.text() {
		return false
	}
	if s.space() != ':' {
		return s.fail("expected a colon")
	}
	s.at++
	return true
}

// scalar moves past the string, number or literal that begins with c.
func (s *scanner) scalar(c byte) bool {
	switch c {
	case '"':
		return s.text()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

func (s *scanner) literal(word string) bool {
	if len(s.data)-s.at < len(word) || string(s.data[s.at:s.at+len(word)]) != word {
		return s.fail("expected a value")
	}
	s.at += len(word)
	return true
}

// number moves past a number of any size, which stays text.
func (s *scanner) number() bool {
	if s.peek() == '-' {
		s.at++
	}
	switch c := s.peek(); {
	case c == '0':
		s.at++
	case !s.digits():
		return s.fail("expected a value")
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return s.fail("expected a digit")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return s.fail("expected a digit")
		}
	}
	return true
}

// digits moves past at least one digit.
func (s *scanner) digits() bool {
	from := s.at
	for isDigit(s.peek()) {
		s.at++
	}
	return s.at > from
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// allDigits reports whether text is one digit or more and nothing else.
func allDigits[T ~string | ~[]byte](text T) bool {
	for i := range len(text) {
		if !isDigit(text[i]) {
			return false
		}
	}
	return len(text) > 0
}

// text moves past a string, from its opening quote, and sets escaped to whether
// it has escapes.
func (s *scanner) text() bool {
	s.escaped = false
	d, i := s.data, s.at+1
	for {
		i = skipPlain(d, i)
		if i == len(d) {
			s.at = i
			return s.fail("string without an end")
		}
		switch d[i] {
		case '"':
			s.at = i + 1
			return true
		case '\\':
			size := escapeSize(d[i:])
			if size == 0 {
				s.at = i
				return s.fail("bad escape in a string")
			}
			s.escaped = true
			i += size
		default:
			s.at = i
			return s.fail("control character in a string")
		}
	}
}

// skipPlain returns the offset of the first byte of d, from i on, that is a
// quote, a backslash or a control character; len(d) if none is. It looks at
// eight bytes at a time.
func skipPlain(d []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	for ; i+8 <= len(d); i += 8 {
		w := binary.LittleEndian.Uint64(d[i:])
		quote, backslash := w^'"'*ones, w^'\\'*ones
		// A byte's high bit is set where it is below what was subtracted and was
		// not set before. A borrow can set bits above the first hit, never below.
		hit := ((quote-ones)&^quote | (backslash-ones)&^backslash | (w-' '*ones)&^w) & highs
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(d); i++ {
		if c := d[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return i
}
