package protocol

import (
	"bytes"
	"unicode/utf8"
)

// escapeSize returns the length of the escape sequence that b begins with: 2,
// 6, or 12 for a pair of surrogates. It returns 0 if there is none.
func escapeSize(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		unit := hexUnit(b)
		switch {
		case unit < 0, isLowSurrogate(unit):
			return 0
		case !isHighSurrogate(unit):
			return 6
		case isLowSurrogate(hexUnit(b[6:])):
			return 12
		}
	}
	return 0
}

func isHighSurrogate(unit rune) bool { return 0xD800 <= unit && unit < 0xDC00 }
func isLowSurrogate(unit rune) bool  { return 0xDC00 <= unit && unit < 0xE000 }

// hexUnit returns the value of the \uXXXX that b begins with, or -1.
func hexUnit(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var unit rune
	for _, c := range b[2:6] {
		switch {
		case isDigit(c):
			unit = unit<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			unit = unit<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return unit
}

// firstRune returns the first character of checked string contents, escapes
// resolved, and the bytes that spell it.
func firstRune(b []byte) (rune, int) {
	if b[0] != '\\' {
		return utf8.DecodeRune(b)
	}
	switch b[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		unit := hexUnit(b)
		if !isHighSurrogate(unit) {
			return unit, 6
		}
		return 0x10000 + (unit-0xD800)<<10 + (hexUnit(b[6:]) - 0xDC00), 12
	default:
		return rune(b[1]), 2
	}
}

// appendUnescaped appends what checked string contents spell.
func appendUnescaped(dst, contents []byte) []byte {
	for len(contents) > 0 {
		plain := bytes.IndexByte(contents, '\\')
		if plain < 0 {
			return append(dst, contents...)
		}
		dst = append(dst, contents[:plain]...)
		contents = contents[plain:]
		r, size := firstRune(contents)
		dst = utf8.AppendRune(dst, r)
		contents = contents[size:]
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendEscape appends the escape of a quote, a backslash, a slash or a control
// character.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\', '/':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}
