package danmaku

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Rate{
		"3/s": {3, time.Second}, "100/m": {100, time.Minute}, "5/10s": {5, 10 * time.Second}, "0/s": {0, time.Second},
	} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "3", "/s", "x/s", "-1/s", "3/", "3/x", "3/-1s"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestReadWords(t *testing.T) {
	t.Parallel()
	got, err := ReadWords(strings.NewReader("\ufeffone\n# comment\n\n two words # why\r\n三\n"))
	if err != nil || fmt.Sprintf("%q", got) != `["one" "two words" "三"]` {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ReadWords(strings.NewReader(strings.Repeat("word\n", maxWordFile/5+1))); err == nil {
		t.Error("a file that is too long was read")
	}
}

func TestTooManyWords(t *testing.T) {
	t.Parallel()
	var list []string
	for i := range maxNodes {
		list = append(list, fmt.Sprintf("%x", i*2654435761))
	}
	if _, err := newWords(list); err == nil {
		t.Error("words without bound were taken")
	}
}

// TestWordsModel compares the matcher with a search for each word.
func TestWordsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringOfN(rapid.RuneFrom([]rune("abＡ中文 -")), 1, 4, -1)
		list := rapid.SliceOfN(letters, 0, 5).Draw(t, "words")
		text := rapid.StringOfN(rapid.RuneFrom([]rune("abcＡ中文! ")), 0, 12, -1).Draw(t, "text")
		w, err := newWords(list)
		if err != nil {
			t.Fatal(err)
		}
		want := false
		for _, word := range list {
			want = want || fold(word) != "" && strings.Contains(fold(text), fold(word))
		}
		if got := w.in(text); got != want {
			t.Fatalf("%q in %q: %v, want %v", list, text, got, want)
		}
	})
}

func TestRates(t *testing.T) {
	t.Parallel()
	r := newRates(Rate{3, time.Second}, 2)
	now := time.Unix(0, 0)
	allowed := func(user string, want bool) {
		t.Helper()
		if r.allow(user, now) != want {
			t.Errorf("at %v: %q allowed: %v", now.Sub(time.Unix(0, 0)), user, !want)
		}
	}
	for _, want := range []bool{true, true, true, false} {
		allowed("a", want)
	}
	now = now.Add(334 * time.Millisecond)
	allowed("a", true)
	allowed("a", false)
	for range 10 {
		allowed("", true)
	}
	allowed("b", true)
	allowed("c", true) // and a is forgotten
	allowed("a", true)
	if len(r.users) != 2 || r.order.Len() != 2 {
		t.Errorf("%d users are kept", len(r.users))
	}
}

func TestCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want string }{
		{"hi", "hi ×3"}, {`{"a":1}`, `{"a":1,"count":3}`}, {`{}`, `{"count":3}`}, {` {"a":"<b>"} `, ` {"a":"<b>","count":3}`},
		{`{"count":1,"a":"<b>"}`, `{"a":"<b>","count":3}`}, {`{"a":`, `{"a": ×3`}, {`{"a":1}{"b":2}`, `{"a":1}{"b":2} ×3`},
	} {
		if got := counted(c.body, "count", 3); got != c.want {
			t.Errorf("%s became %s, want %s", c.body, got, c.want)
		}
		if got := counted(c.body, "count", 1); got != c.body {
			t.Errorf("%s alone became %s", c.body, got)
		}
	}
}

// FuzzCounted: a JSON object stays one, and has the count.
func FuzzCounted(f *testing.F) {
	f.Add(`{"type":1,"data":{"content":"x"},"time":2}`)
	f.Add(`{"count":{"count":1}}`)
	f.Add("{ }")
	f.Fuzz(func(t *testing.T, body string) {
		object := decodeObject(body)
		out := counted(body, "count", 7)
		if object == nil {
			return
		}
		var back map[string]any
		if err := json.Unmarshal([]byte(out), &back); err != nil || back["count"] != 7.0 {
			t.Errorf("%q became %q: %v", body, out, err)
		}
	})
}

func TestMergerIsBounded(t *testing.T) {
	t.Parallel()
	m := newMerger(time.Second)
	now := time.Unix(0, 0)
	full := 0
	for range 5000 {
		if g := m.add(line{text: "same"}, now); g != nil {
			full += len(g.lines)
		}
	}
	rest := 0
	for _, g := range m.take(now.Add(time.Second), false) {
		rest += len(g.lines)
	}
	if full+rest != 5000 || full != 4096 {
		t.Errorf("%d and %d lines", full, rest)
	}
}
