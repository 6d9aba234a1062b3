package protocol

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, frame, want string }{
		{"empty", `{}`, `{"room_id":7,"epoch":3,"seq":9}`},
		{"plain", `{"action":"up","user_id":1}`, `{"action":"up","user_id":1,"room_id":7,"epoch":3,"seq":9}`},
		{"own fields go", `{"seq":1,"action":"up","room_id":"x","epoch":[1]}`, `{"action":"up","room_id":7,"epoch":3,"seq":9}`},
		{"only own fields", ` {"seq":1 , "epoch":2} `, `{"room_id":7,"epoch":3,"seq":9}`},
		{"escaped spelling goes too", `{"s\u0065q":1,"a":2}`, `{"a":2,"room_id":7,"epoch":3,"seq":9}`},
		{"nested ones stay", `{"gift":{"seq":1,"room_id":2}}`, `{"gift":{"seq":1,"room_id":2},"room_id":7,"epoch":3,"seq":9}`},
		{
			"bytes stay", `{"a" : [ 1e400,-0.0 , "\u623f\/房" ],"":null}`,
			`{"a" : [ 1e400,-0.0 , "\u623f\/房" ],"":null,"room_id":7,"epoch":3,"seq":9}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := Number([]byte("before"), []byte(c.frame), "7", 3, 9)
			if err != nil || string(got) != "before"+c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
}

func TestNumberRefuses(t *testing.T) {
	t.Parallel()
	for _, frame := range badObjects() {
		got, err := Number([]byte("before"), []byte(frame), "7", 3, 9)
		if CodeOf(err) != CodeBadRequest {
			t.Errorf("%.40q: error %v, want a bad request", frame, err)
		}
		if string(got) != "before" {
			t.Errorf("%.40q: dst became %.40q", frame, got)
		}
	}
}

func TestNumberKeepsValues(t *testing.T) {
	t.Parallel()
	frame := `{"b":{"y":1,"x":[true,false,null,"\ud83d\ude00"]},"a":18446744073709551616,"seq":0}`
	got, err := Number(nil, []byte(frame), "r", 1<<63, 1<<64-1)
	if err != nil {
		t.Fatal(err)
	}
	var before, after map[string]json.RawMessage
	if err := json.Unmarshal([]byte(frame), &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &after); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	for _, k := range []string{"a", "b"} {
		if !bytes.Equal(before[k], after[k]) {
			t.Errorf("%s: %s became %s", k, before[k], after[k])
		}
	}
	if string(after["epoch"]) != "9223372036854775808" || string(after["seq"]) != "18446744073709551615" {
		t.Errorf("place: %s", got)
	}
}

func TestAppendRoomID(t *testing.T) {
	t.Parallel()
	for id, want := range map[RoomID]string{
		"0": `0`, "12345": `12345`, "999999999999999999": `999999999999999999`,
		"007": `"007"`, "00": `"00"`, "9223372036854775808": `"9223372036854775808"`,
		"1e3": `"1e3"`, "-1": `"-1"`, "r1": `"r1"`, "": `""`, "call/7": `"call/7"`,
	} {
		if got := AppendRoomID(nil, id); string(got) != want {
			t.Errorf("%q: got %s, want %s", id, got, want)
		}
	}
}

// badObjects returns texts that are not one acceptable JSON object.
func badObjects() []string {
	many := strings.Builder{}
	for i := range MaxMembers + 1 {
		many.WriteString(`,"k` + strings.Repeat("x", i) + `":1`)
	}
	return []string{
		``, ` `, `null`, `1`, `"a"`, `[]`, `[{}]`, `{`, `}`, `{}}`, `{} {}`, `{}x`, "{}\x00", `{,}`, `{"a"}`, `{"a":}`,
		`{"a":1,}`, `{"a":1 "b":2}`, `{a:1}`, `{'a':1}`, `{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`,
		`{"a":1e+}`, `{"a":-}`, `{"a":0x10}`, `{"a":NaN}`, `{"a":tru}`, `{"a":nul`, `{"a":[1,]}`, `{"a":[1}`, `{"a":{"b":1]}`,
		`{"a":[}`, `{"a":"`, `{"a":"\`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}",
		"{\"a\x00\":1}", `{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800\ud800"}`, `{"a":"\ud800x"}`, `{"\udead":1}`,
		"{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\xc0\xaf\"}", "{\"a\":\"\xe6\x88\"}", "{\"\xff\":1}",
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"\u0061":1,"a":2}`, `{"/":1,"\/":2}`, `{"":1,"":2}`,
		"\ufeff{}", `{"a":1}//`, `{/**/}`,
		`{"a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
		strings.Repeat(`{"a":`, 10000) + `1` + strings.Repeat(`}`, 10000),
		`{"a":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}`,
		`{` + many.String()[1:] + `}`,
	}
}

// FuzzNumber checks that every field passes byte for byte but the three that
// Number sets, which come last.
func FuzzNumber(f *testing.F) {
	for _, s := range objectSeeds() {
		f.Add([]byte(s), "12", uint64(3), uint64(4))
	}
	f.Add([]byte(`{"seq":1,"a":2,"s\u0065q":3}`), "r1", uint64(1<<63), uint64(0))
	f.Fuzz(func(t *testing.T, frame []byte, room string, epoch, seq uint64) {
		got, err := Number([]byte("before"), frame, RoomID(room), Epoch(epoch), Seq(seq))
		if _, parseErr := ParseObject(frame); (err == nil) != (parseErr == nil) {
			t.Fatalf("%q: %v, but as an object %v", frame, err, parseErr)
		}
		if err != nil {
			return
		}
		got, ok := bytes.CutPrefix(got, []byte("before"))
		if !ok || !json.Valid(got) {
			t.Fatalf("%q became %q", frame, got)
		}
		var want [][]byte
		var m members
		for m.trust(frame); m.next(); {
			if !isPlace(m.plainName()) {
				want = append(want, m.whole())
			}
		}
		want = append(want, appendPlace(nil, RoomID(room), Epoch(epoch), Seq(seq)))
		if joined := "{" + string(bytes.Join(want, []byte(","))) + "}"; string(got) != joined {
			t.Fatalf("%q became %q, want %q", frame, got, joined)
		}
	})
}
