package protocol

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const pingFrame = `{"action":"ping","online_token":"7f0123456789abcdef0123456789abcdef","sid":"42stest","timestamp":1517644790,"sign":"7a5e5df2f36b0bb937d0d14c4c4d77f6"}`

func TestParseClientFrame(t *testing.T) {
	t.Parallel()
	f, err := ParseClientFrame([]byte(` {"action":"sync","online_token":"tok","sid":"42s\/x","timestamp":"1517644790","sign":"s",
		"user_id":"1233","room_id":12345,"departure_id":"1-2-3","epoch":18446744073709551615,"seq":"9","status":2,
		"currenr_room_seat_id":"4","content":"房\u0000间","muted":true,"gift":{"id":7,"num":-3}} `))
	if err != nil {
		t.Fatal(err)
	}
	if f.Action != ActionSync || string(f.Token) != "tok" || string(f.SID) != "42s/x" || string(f.Sign) != "s" ||
		f.Timestamp != 1517644790 || f.User != 1233 || string(f.Room) != "12345" || string(f.Departure) != "1-2-3" ||
		f.Epoch != 1<<64-1 || f.Seq != 9 || f.Status != 2 {
		t.Errorf("got %+v", f)
	}
	if n, ok := f.Field("currenr_room_seat_id").Int(); !ok || n != 4 {
		t.Errorf("seat: %d, %v", n, ok)
	}
	if s, ok := f.Field("content").Text(); !ok || s != "房\x00间" {
		t.Errorf("content: %q, %v", s, ok)
	}
	if b, ok := f.Field("muted").Bool(); !ok || !b {
		t.Errorf("muted: %v, %v", b, ok)
	}
	gift, ok := f.Field("gift").Object()
	if n, isInt := gift.Field("num").Int(); !ok || !isInt || n != -3 {
		t.Errorf("gift: %d, %v, %v", n, ok, isInt)
	}
	if gift.Field("absent") != nil || f.Field("absent") != nil {
		t.Error("an absent field has a value")
	}
}

func TestParseClientFrameActions(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Action{
		"ping": ActionPing, "up_deport": ActionUpReport, "up_report": ActionUpReport, "p\\u0069ng": ActionPing,
		"Ping": ActionUnknown, "": ActionUnknown, "create_token": ActionUnknown, "pk": ActionUnknown,
	} {
		f, err := ParseClientFrame([]byte(`{"action":"` + name + `"}`))
		if err != nil || f.Action != want {
			t.Errorf("%q: got %q, %v; want %q", name, f.Action, err, want)
		}
	}
	for name, want := range map[Action]Action{ActionUpDeport: ActionUpReport} {
		if got := clientAction([]byte(name)); got != want {
			t.Errorf("%q is read as %q, want %q", name, got, want)
		}
	}
}

// TestParseClientFrameFields has one odd value a row. The frame is accepted: a
// field that no client of today sends so is no reason to lose its heartbeat.
func TestParseClientFrameFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field, value string
		get          func(ClientFrame) any
		want         any
	}{
		{"user_id", `9223372036854775807`, getUser, UserID(1<<63 - 1)},
		{"user_id", `9223372036854775808`, getUser, UserID(0)},
		{"user_id", `"18446744073709551617"`, getUser, UserID(0)},
		{"user_id", `"0012"`, getUser, UserID(12)},
		{"user_id", `"\u0031\u0032"`, getUser, UserID(12)},
		{"user_id", `-5`, getUser, UserID(0)},
		{"user_id", `"+5"`, getUser, UserID(0)},
		{"user_id", `5.0`, getUser, UserID(0)},
		{"user_id", `5e0`, getUser, UserID(0)},
		{"user_id", `""`, getUser, UserID(0)},
		{"user_id", `" 5"`, getUser, UserID(0)},
		{"user_id", `null`, getUser, UserID(0)},
		{"user_id", `[5]`, getUser, UserID(0)},
		{"timestamp", `1517644790.75`, getTimestamp, int64(1517644790)},
		{"timestamp", `"1517644790.75"`, getTimestamp, int64(1517644790)},
		{"timestamp", `"1517644790."`, getTimestamp, int64(0)},
		{"timestamp", `".5"`, getTimestamp, int64(0)},
		{"timestamp", `1.5e9`, getTimestamp, int64(0)},
		{"timestamp", `-1`, getTimestamp, int64(0)},
		{"timestamp", `9223372036854775807`, getTimestamp, int64(1<<63 - 1)},
		{"timestamp", `9223372036854775808`, getTimestamp, int64(0)},
		{"timestamp", `true`, getTimestamp, int64(0)},
		{"room_id", `"r-1_x.y"`, getRoom, "r-1_x.y"},
		{"room_id", `"12"`, getRoom, "12"},
		{"room_id", `0`, getRoom, "0"},
		{"room_id", `"call\/7"`, getRoom, ""},
		{"room_id", `"call/7"`, getRoom, ""},
		{"room_id", `-5`, getRoom, ""},
		{"room_id", `1.5`, getRoom, ""},
		{"room_id", `1e5`, getRoom, ""},
		{"room_id", `true`, getRoom, ""},
		{"room_id", `null`, getRoom, ""},
		{"room_id", `""`, getRoom, ""},
		{"room_id", `"房"`, getRoom, ""},
		{"room_id", `"` + strings.Repeat("a", 64) + `"`, getRoom, strings.Repeat("a", 64)},
		{"room_id", `"` + strings.Repeat("a", 65) + `"`, getRoom, ""},
		{"seq", `-1`, getSeq, Seq(0)},
		{"seq", `18446744073709551616`, getSeq, Seq(0)},
		{"seq", `99999999999999999999`, getSeq, Seq(0)},
		{"status", `"1"`, getStatus, 1},
		{"status", `4294967297`, getStatus, 0},
		{"sid", `42`, func(f ClientFrame) any { return string(f.SID) }, ""},
		{"departure_id", `"\ud83d\ude00"`, func(f ClientFrame) any { return string(f.Departure) }, "😀"},
	} {
		f, err := ParseClientFrame([]byte(`{"action":"ping","` + c.field + `":` + c.value + `}`))
		if err != nil {
			t.Errorf("%s %s: %v", c.field, c.value, err)
		} else if got := c.get(f); got != c.want {
			t.Errorf("%s %s: got %v, want %v", c.field, c.value, got, c.want)
		}
	}
}

func getUser(f ClientFrame) any      { return f.User }
func getTimestamp(f ClientFrame) any { return f.Timestamp }
func getRoom(f ClientFrame) any      { return string(f.Room) }
func getSeq(f ClientFrame) any       { return f.Seq }
func getStatus(f ClientFrame) any    { return f.Status }

func TestParseClientFrameRefuses(t *testing.T) {
	t.Parallel()
	bad := append(badObjects(), `{}`, `{"Action":"ping"}`, `{"action":1}`, `{"action":null}`, `{"action":{"a":1}}`,
		`{"action":"ping","action":"ping"}`, `{"action":"ping","sid":"a","s\u0069d":"b"}`)
	for _, raw := range bad {
		want := CodeBadRequest
		if len(raw) > MaxClientFrame {
			want = CodeTooLarge
		}
		if f, err := ParseClientFrame([]byte(raw)); CodeOf(err) != want {
			t.Errorf("%.60q: got %+v, %v; want %s", raw, f, err, want)
		}
	}
}

func TestParseClientFrameSize(t *testing.T) {
	t.Parallel()
	const frame = `{"action":"ping","note":""}`
	fill := func(size int) []byte {
		return []byte(strings.Replace(frame, `""`, `"`+strings.Repeat("x", size-len(frame))+`"`, 1))
	}
	if _, err := ParseClientFrame(fill(MaxClientFrame)); err != nil {
		t.Errorf("%d bytes: %v", MaxClientFrame, err)
	}
	if _, err := ParseClientFrame(fill(MaxClientFrame + 1)); CodeOf(err) != CodeTooLarge {
		t.Errorf("%d bytes: %v", MaxClientFrame+1, err)
	}
}

func TestNestingIsAcceptedUpToItsLimit(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		strings.Repeat(`{"a":`, MaxDepth-1) + `{}` + strings.Repeat(`}`, MaxDepth-1),
		`{"a":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `}`,
		`{"a":` + strings.Repeat(`[{"b":`, (MaxDepth-2)/2) + `[]` + strings.Repeat(`}]`, (MaxDepth-2)/2) + `}`,
	} {
		if _, err := ParseObject([]byte(raw)); err != nil {
			t.Errorf("%.40q: %v", raw, err)
		}
	}
}

// objectSeeds begin the fuzzing of everything that reads JSON.
func objectSeeds() []string {
	return append(badObjects(), pingFrame, `{}`, ` { "a" : [ ] , "b" : { } } `, `{"sign":1,"b":2,"a":3}`,
		`{"action":"sync","room_id":12,"epoch":3,"seq":4}`, `{"a\/b":"\/","a":"\u002f\u0022\ud83d\ude00\u2028"}`,
		`{"n":[0,-0,1.5,-2e+10,1E400,9223372036854775808,18446744073709551616]}`)
}

// FuzzParseObject holds the scanner to encoding/json: what we accept it
// accepts, with the same fields and values.
func FuzzParseObject(f *testing.F) {
	for _, s := range objectSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		o, err := ParseObject(raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("the text was written to")
		}
		if err != nil {
			if CodeOf(err) != CodeBadRequest {
				t.Fatalf("error %v has no code", err)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("accepted %q, but %v", raw, err)
		}
		var m members
		m.trust(raw)
		count := 0
		for ; m.next(); count++ {
			if got := want[string(m.plainName())]; !bytes.Equal(got, m.value()) {
				t.Fatalf("%q: field %s is %s, want %s", raw, m.name(), m.value(), got)
			}
		}
		if count != len(want) {
			t.Fatalf("%q: %d fields, want %d", raw, count, len(want))
		}
		for name, value := range want {
			checkValue(t, o.Field(name), value)
		}
	})
}

// checkValue holds the reading of one value to encoding/json's.
func checkValue(t *testing.T, v Value, raw json.RawMessage) {
	t.Helper()
	if !bytes.Equal(v, raw) {
		t.Fatalf("Field found %s, want %s", v, raw)
	}
	var text string
	isText := raw[0] == '"' && json.Unmarshal(raw, &text) == nil
	if got, ok := v.Text(); ok != isText || got != text {
		t.Fatalf("%s as text: %q, %v; want %q", raw, got, ok, text)
	}
	digits := string(raw)
	if isText {
		digits = text
	}
	if n, ok := v.Int(); ok {
		var want int64
		if err := json.Unmarshal([]byte(trimZeros(digits)), &want); err != nil || want != n {
			t.Fatalf("%s as a number: %d, want %d (%v)", raw, n, want, err)
		}
	} else if json.Unmarshal([]byte(digits), new(int64)) == nil && digits != "null" {
		t.Fatalf("%s is a number, and was not read as one", raw)
	}
	if n, ok := v.Uint(); ok {
		var want uint64
		if err := json.Unmarshal([]byte(trimZeros(digits)), &want); err != nil || want != n {
			t.Fatalf("%s as a number: %d, want %d (%v)", raw, n, want, err)
		}
	}
	if o, ok := v.Object(); ok != (raw[0] == '{') {
		t.Fatalf("%s as an object: %s, %v", raw, o.Raw(), ok)
	}
}

// trimZeros turns digits as strings may have them into a JSON number.
func trimZeros(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		return "0"
	}
	return sign + digits
}

// FuzzParseClientFrame checks that a client's frame is read as encoding/json
// reads it, for the fields that have one way to be written.
func FuzzParseClientFrame(f *testing.F) {
	for _, s := range objectSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		frame, err := ParseClientFrame(raw)
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal(raw, &want); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
			t.Fatalf("accepted %q, but %v", raw, err)
		}
		for name, got := range map[string][]byte{"online_token": frame.Token, "sid": frame.SID, "sign": frame.Sign, "departure_id": frame.Departure} {
			if text, _ := want[name].(string); string(got) != text {
				t.Fatalf("%q: %s is %q, want %q", raw, name, got, text)
			}
		}
		if action, ok := want["action"].(string); !ok || frame.Action != ActionUnknown && frame.Action != Action(action) && action != "up_deport" {
			t.Fatalf("%q: action is %q", raw, frame.Action)
		}
		if frame.User < 0 || frame.Timestamp < 0 || len(frame.Room) > 0 && !ValidName(string(frame.Room)) {
			t.Fatalf("%q: got %+v", raw, frame)
		}
	})
}
