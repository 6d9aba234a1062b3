package api

import "github.com/faac1247/rollcall/protocol"

// splitArray returns the texts of a JSON array's elements, at most most of
// them. They share raw's memory.
//
// It looks at no more than it takes to find where an element ends; an element
// may be anything. If each of them turns out to be an object, raw is a JSON
// array: whoever reads the elements checks them anyway, and a batch is not to
// be gone through twice.
func splitArray(raw []byte, most int) ([][]byte, error) {
	bad := func(at int, why string) ([][]byte, error) {
		return nil, protocol.Errorf(protocol.CodeBadRequest, "body: %s at byte %d", why, at)
	}
	at := skipSpace(raw, 0)
	if at == len(raw) || raw[at] != '[' {
		return bad(at, "expected an array")
	}
	at = skipSpace(raw, at+1)
	var elements [][]byte
	if at < len(raw) && raw[at] == ']' {
		return elements, trailing(raw, at+1)
	}
	for {
		end := elementEnd(raw, at)
		if end == at || end == len(raw) {
			return bad(end, "an element without an end")
		}
		if len(elements) == most {
			return nil, protocol.Errorf(protocol.CodeTooLarge, "body: more than %d elements", most)
		}
		elements = append(elements, raw[at:end:end])
		at = skipSpace(raw, end)
		switch {
		case at < len(raw) && raw[at] == ']':
			return elements, trailing(raw, at+1)
		case at == len(raw) || raw[at] != ',':
			return bad(at, "expected a comma or the end of the array")
		}
		at = skipSpace(raw, at+1)
	}
}

// trailing refuses all but white space behind the array.
func trailing(raw []byte, at int) error {
	if at = skipSpace(raw, at); at < len(raw) {
		return protocol.Errorf(protocol.CodeBadRequest, "body: something after the array at byte %d", at)
	}
	return nil
}

// elementEnd returns where the element that begins at at ends: behind the
// bracket that closes it, or before the white space, comma or bracket that
// follows a plain value. It is len(raw) for what has no end.
func elementEnd(raw []byte, at int) int {
	depth := 0
	for ; at < len(raw); at++ {
		switch raw[at] {
		case '"':
			if at = stringEnd(raw, at); at == len(raw) {
				return at
			}
			if depth == 0 {
				return at + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return at
			}
		}
	}
	return at
}

// stringEnd returns where the closing quote of the string is that begins at
// at.
func stringEnd(raw []byte, at int) int {
	for at++; at < len(raw); at++ {
		switch raw[at] {
		case '"':
			return at
		case '\\':
			at++
		}
	}
	return len(raw)
}

func skipSpace(raw []byte, at int) int {
	for at < len(raw) && (raw[at] == ' ' || raw[at] == '\n' || raw[at] == '\t' || raw[at] == '\r') {
		at++
	}
	return at
}
