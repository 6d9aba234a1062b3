package danmaku

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/cloudflare/ahocorasick"
)

// words finds listed words in lines. It is safe for concurrent use.
type words struct {
	matcher *ahocorasick.Matcher // nil without any words
}

const (
	// maxNodes bounds what the words take: about 4 KiB a node, and as many nodes
	// as the words have beginnings that differ.
	maxNodes = 200_000
	// maxWordFile bounds a file of words.
	maxWordFile = 8 << 20
)

// newWords prepares to find any of a list of words.
func newWords(list []string) (*words, error) {
	seen, beginnings := map[string]bool{}, map[string]bool{}
	var folded []string
	for _, w := range list {
		f := fold(w)
		if f == "" || seen[f] {
			continue
		}
		seen[f] = true
		folded = append(folded, f)
		for i := 1; i <= len(f); i++ {
			beginnings[f[:i]] = true
		}
		if len(beginnings) > maxNodes {
			return nil, fmt.Errorf("danmaku: the words are too many: they have more than %d beginnings that differ", maxNodes)
		}
	}
	if len(folded) == 0 {
		return &words{}, nil
	}
	return &words{matcher: ahocorasick.NewStringMatcher(folded)}, nil
}

// in reports whether a text holds one of the words.
func (w *words) in(text string) bool {
	return w.matcher != nil && w.matcher.Contains([]byte(fold(text)))
}

// fold removes what hides a word from a comparison: case, full width, and
// everything that is neither a letter nor a digit.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e {
			r -= 0xfee0
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// ReadWords reads a list of words: one a line, '#' begins a comment.
func ReadWords(r io.Reader) ([]string, error) {
	limited := &io.LimitedReader{R: r, N: maxWordFile + 1}
	in := bufio.NewScanner(limited)
	var list []string
	for in.Scan() {
		word, _, _ := strings.Cut(in.Text(), "#")
		if word = strings.TrimSpace(strings.TrimPrefix(word, "\ufeff")); word != "" {
			list = append(list, word)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read words: %w", err)
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("read words: more than %d bytes", maxWordFile)
	}
	return list, nil
}
