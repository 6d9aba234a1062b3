package protocol

import (
	"slices"
	"unicode/utf8"
)

// AppendCanonical appends the text of a frame that its signature is made over:
// the frame without its top-level sign, its other top-level fields sorted by
// the bytes of their names, without white space, and with strings spelled as
// PHP's json_encode spells them when told to leave Unicode alone. Slashes are
// escaped, all beyond ASCII is raw, and control characters have their short
// escape or \u00xx. Numbers and the order inside nested objects stay as given.
//
// It checks frame as ParseObject does, and on error returns dst as it was.
func AppendCanonical(dst, frame []byte) ([]byte, error) {
	o, err := ParseObject(frame)
	if err != nil {
		return dst, err
	}
	return appendCanonical(dst, o, new(canonicalSpace)), nil
}

// canonicalField is one field of a frame by its offsets there.
type canonicalField struct {
	nameStart, nameEnd, valueStart, valueEnd int32
}

// canonicalSpace is what making a canonical text takes beside the text. It is
// not kept on the stack, which would grow that of every connection's reader.
type canonicalSpace struct {
	walk   members
	fields [MaxMembers]canonicalField
}

func appendCanonical(dst []byte, o Object, space *canonicalSpace) []byte {
	fields := space.fields[:0]
	m := &space.walk
	for m.trust(o.raw); m.next(); {
		if string(m.plainName()) != "sign" {
			fields = append(fields, canonicalField{int32(m.nameStart), int32(m.nameEnd), int32(m.valueStart), int32(m.valueEnd)})
		}
	}
	m.trust(nil) // the space outlives the frame
	slices.SortFunc(fields, func(a, b canonicalField) int {
		return compareNames(o.raw[a.nameStart:a.nameEnd], o.raw[b.nameStart:b.nameEnd])
	})
	dst = append(dst, '{')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendPHP(dst, o.raw[f.nameStart-1:f.nameEnd+1])
		dst = append(dst, ':')
		dst = appendPHP(dst, o.raw[f.valueStart:f.valueEnd])
	}
	return append(dst, '}')
}

// appendPHP appends a checked JSON value, compact and with its strings spelled
// the PHP way.
func appendPHP(dst, value []byte) []byte {
	start, quoted := 0, false
	for i := 0; i < len(value); {
		c := value[i]
		switch {
		case c == '"':
			quoted = !quoted
			i++
		case !quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			dst = append(dst, value[start:i]...)
			i++
			start = i
		case c == '/' || c == '\\': // outside strings there is neither
			dst = append(dst, value[start:i]...)
			r, size := firstRune(value[i:])
			dst = appendPHPRune(dst, r)
			i += size
			start = i
		default:
			i++
		}
	}
	return append(dst, value[start:]...)
}

func appendPHPRune(dst []byte, r rune) []byte {
	if r < ' ' || r == '"' || r == '\\' || r == '/' {
		return appendEscape(dst, byte(r))
	}
	return utf8.AppendRune(dst, r)
}
