package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// legalRune reports whether XML 1.0 has the character at all.
func legalRune(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xd800:
		return true
	default:
		return r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= utf8.MaxRune
	}
}

// legal reports whether XML has all characters of s, which is UTF-8.
func legal(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x20 && c != 0xef, c == '\t', c == '\n', c == '\r':
		case c == 0xef && i+2 < len(s) && !(s[i+1] == 0xbf && s[i+2] >= 0xbe): // U+FFFE and U+FFFF
		default:
			return false
		}
	}
	return true
}

// legalText is legal for text between elements.
func legalText(s string) bool { return legal(s) && !strings.Contains(s, "]]>") }

// unescape appends s with its references resolved, and reports whether they and
// all characters are legal. Line ends stay as they are: a message's body is the
// sender's, and some senders do not escape a carriage return.
func unescape(b *strings.Builder, s string) bool {
	for {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			b.WriteString(s)
			return legalText(s)
		}
		if !legal(s[:i]) {
			return false
		}
		b.WriteString(s[:i])
		end := strings.IndexByte(s[i:], ';')
		if end < 0 || end > 12 {
			return false
		}
		r, ok := reference(s[i+1 : i+end])
		if !ok {
			return false
		}
		b.WriteRune(r)
		s = s[i+end+1:]
	}
}

func reference(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, false
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !legalRune(rune(n)) {
		return 0, false
	}
	return rune(n), true
}

// AppendText appends s escaped. A carriage return is written as a reference,
// since readers take a bare one for the end of a line.
func AppendText(dst []byte, s string) []byte {
	start := 0
	for i := range len(s) {
		var ref string
		switch s[i] {
		case '&':
			ref = "&amp;"
		case '<':
			ref = "&lt;"
		case '>':
			ref = "&gt;"
		case '"':
			ref = "&quot;"
		case '\'':
			ref = "&apos;"
		case '\r':
			ref = "&#13;"
		default:
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = append(dst, ref...)
		start = i + 1
	}
	return append(dst, s[start:]...)
}
