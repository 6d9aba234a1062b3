package protocol

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"
	"strings"
	"testing"
)

const signVector = `{"action":"ping","online_token":"7f0123456789abcdef0123456789abcdef","sid":"42stest","timestamp":1517644790}`

func TestSignVectors(t *testing.T) {
	t.Parallel()
	var v Verifier
	for _, c := range []struct{ frame, key, want string }{
		{signVector, "", "7a5e5df2f36b0bb937d0d14c4c4d77f6"},
		{strings.Replace(signVector, "1517644790", `"1517644790"`, 1), "", "d134ee1a19b1852bc2fea089c9c1a14c"},
		{strings.Replace(signVector, `"ping"`, `"exit_room_report","user_id":1233`, 1), "", "171efda05b58ba32b3aca585bd20a805"},
		{`{"action":"ping","note":"房间/a","sid":"42stest"}`, "", "37acf902a420739d686b73d8422e79d4"},
		{signVector, "k", "fda31b3b724985de25c15345756945e900957cf97f117d056e5189f0025b094f"},
		// The same in other spellings.
		{` { "timestamp" : 1517644790, "sid":"42s\u0074est" ,"online_token":"7f0123456789abcdef0123456789abcdef", "\u0061ction":"ping"}`, "k", "fda31b3b724985de25c15345756945e900957cf97f117d056e5189f0025b094f"},
		{`{"sign":"old","note":"\u623f\u95f4\/a","sid":"42stest","action":"ping"}`, "", "37acf902a420739d686b73d8422e79d4"},
	} {
		signed, err := AppendSigned(nil, []byte(c.frame), c.key)
		if err != nil || !bytes.HasSuffix(signed, []byte(`"sign":"`+c.want+`"}`)) {
			t.Errorf("%s: signed as %s, %v; want %s", c.frame, signed, err, c.want)
			continue
		}
		f, err := ParseClientFrame(signed)
		if err != nil {
			t.Errorf("%s: %v", signed, err)
			continue
		}
		if hmacOK, md5OK := v.HMAC(&f, c.key), v.MD5(&f); hmacOK != (c.key != "") || md5OK != (c.key == "") {
			t.Errorf("%s: hmac %v, md5 %v", signed, hmacOK, md5OK)
		}
	}
}

func TestVerifierRefuses(t *testing.T) {
	t.Parallel()
	var v Verifier
	const good = "fda31b3b724985de25c15345756945e900957cf97f117d056e5189f0025b094f"
	parse := func(sign string) *ClientFrame {
		f, err := ParseClientFrame([]byte(signVector[:len(signVector)-1] + sign + "}"))
		if err != nil {
			t.Fatal(err)
		}
		return &f
	}
	if !v.HMAC(parse(`,"sign":"`+good+`"`), "k") {
		t.Fatal("the right signature is refused")
	}
	for _, sign := range []string{
		``, `,"sign":""`, `,"sign":null`, `,"sign":"` + strings.ToUpper(good) + `"`, `,"sign":"` + good[:63] + `"`,
		`,"sign":"` + good + `0"`, `,"sign":"` + good[:63] + `e"`, `,"x":1,"sign":"` + good + `"`,
	} {
		if v.HMAC(parse(sign), "k") || v.MD5(parse(sign)) {
			t.Errorf("accepted %s", sign)
		}
	}
	f := parse(`,"sign":"` + good + `"`)
	for _, key := range []string{"", "K", "kk", " k"} {
		if v.HMAC(f, key) {
			t.Errorf("accepted under key %q", key)
		}
	}
	var work signWork
	if f := parse(`,"sign":"` + string(work.hmac(f.Object, "")) + `"`); v.HMAC(f, "") {
		t.Error("a connection without a key takes what anyone can sign")
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, frame, want string }{
		{"empty", ` { } `, `{}`},
		{"only sign", `{"sign":{"a":[1]}}`, `{}`},
		{"sorted at the top, not below", `{"b":{"z":1,"a":2},"a":[{"y":1,"x":2}],"sign":"s"}`, `{"a":[{"y":1,"x":2}],"b":{"z":1,"a":2}}`},
		{"nested sign stays", `{"a":{"sign":1}}`, `{"a":{"sign":1}}`},
		{"bytewise", `{"a":1,"B":2,"a_":3,"aa":4,"房":5,"":6}`, `{"":6,"B":2,"a":1,"a_":3,"aa":4,"房":5}`},
		{"bytewise, whatever the spelling", `{"\u0062":1,"a":2,"c":3}`, `{"a":2,"b":1,"c":3}`},
		{"numbers", `{"a":1.50,"b":-0,"c":1E+2,"d":18446744073709551616}`, `{"a":1.50,"b":-0,"c":1E+2,"d":18446744073709551616}`},
		{"literals", `{"a":[ true , false,null ],"b":{ }}`, `{"a":[true,false,null],"b":{}}`},
		{"slashes", `{"a/b":"/","c":"\/","d":"\u002f"}`, `{"a\/b":"\/","c":"\/","d":"\/"}`},
		{"unicode", `{"a":"\u623f房\ud83d\ude00\u00e9\u2028\u007f"}`, "{\"a\":\"房房😀é\u2028\x7f\"}"},
		{"escapes", `{"a":"\"\\\b\f\n\r\t\u0000\u001F\u0008\u000a\u0022\u005c"}`, `{"a":"\"\\\b\f\n\r\t\u0000\u001f\b\n\"\\"}`},
		{"space inside strings", `{"a b":" c  d "}`, `{"a b":" c  d "}`},
		{"quotes and structure inside strings", `{"a":"\\\"{ , }: [ ]\\"}`, `{"a":"\\\"{ , }: [ ]\\"}`},
	} {
		got, err := AppendCanonical([]byte("before"), []byte(c.frame))
		if err != nil || string(got) != "before"+c.want {
			t.Errorf("%s: got %s, %v; want %s", c.name, got, err, c.want)
		}
	}
	for _, frame := range badObjects() {
		if got, err := AppendCanonical([]byte("before"), []byte(frame)); err == nil || string(got) != "before" {
			t.Errorf("%.40q: got %.40q, %v", frame, got, err)
		}
		if got, err := AppendSigned([]byte("before"), []byte(frame), "k"); err == nil || string(got) != "before" {
			t.Errorf("%.40q: signed as %.40q, %v", frame, got, err)
		}
	}
}

func TestAppendSignedOfNothing(t *testing.T) {
	t.Parallel()
	got, err := AppendSigned(nil, []byte(`{}`), "")
	if want := `{"sign":"99914b932bd37a50b983c5e7c90ae93b"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

// FuzzCanonical holds the canonical text to a slow one made with encoding/json,
// and the signatures to the standard library's.
func FuzzCanonical(f *testing.F) {
	for _, s := range objectSeeds() {
		f.Add([]byte(s), "k")
	}
	f.Add([]byte(signVector), strings.Repeat("long key ", 20))
	f.Fuzz(func(t *testing.T, raw []byte, key string) {
		got, err := AppendCanonical(nil, raw)
		if err != nil {
			return
		}
		want := slowCanonical(t, raw)
		if string(got) != want {
			t.Fatalf("%q:\ngot  %q\nwant %q", raw, got, want)
		}
		if again, err := AppendCanonical(nil, got); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q became %q, %v", got, again, err)
		}
		o, err := ParseObject(raw)
		if err != nil {
			t.Fatal(err)
		}
		var work signWork
		sum := md5.Sum(got)
		if sign := work.md5(o); string(sign) != hex.EncodeToString(sum[:]) {
			t.Fatalf("%q: md5 %s", raw, sign)
		}
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(got)
		if sign := work.hmac(o, key); string(sign) != hex.EncodeToString(mac.Sum(nil)) {
			t.Fatalf("%q under %q: hmac %s", raw, key, sign)
		}
	})
}

// slowCanonical makes the canonical text the long way round.
func slowCanonical(t *testing.T, raw []byte) string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "sign")
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	parts := make([]string, 0, len(fields))
	for _, name := range names {
		var value bytes.Buffer
		if err := json.Compact(&value, fields[name]); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, slowPHPString(t, name)+":"+slowPHPStrings(t, value.String()))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// slowPHPStrings spells every string of a compact JSON text the PHP way.
func slowPHPStrings(t *testing.T, text string) string {
	var out strings.Builder
	for text != "" {
		if text[0] != '"' {
			out.WriteByte(text[0])
			text = text[1:]
			continue
		}
		var s string
		d := json.NewDecoder(strings.NewReader(text))
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		out.WriteString(slowPHPString(t, s))
		text = text[d.InputOffset():]
	}
	return out.String()
}

func slowPHPString(t *testing.T, s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	out := strings.TrimSuffix(b.String(), "\n")
	// encoding/json escapes two more than PHP does when told to leave Unicode
	// alone. An even number of backslashes before is none of that escape.
	for escape, raw := range map[string]string{`\u2028`: "\u2028", `\u2029`: "\u2029"} {
		out = replaceEscape(out, escape, raw)
	}
	return strings.ReplaceAll(out, "/", `\/`)
}

func replaceEscape(s, escape, raw string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], escape):
			out.WriteString(raw)
			i += len(escape)
		case s[i] == '\\':
			out.WriteString(s[i : i+2])
			i += 2
		default:
			out.WriteByte(s[i])
			i++
		}
	}
	return out.String()
}
