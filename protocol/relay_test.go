package protocol

import "testing"

func TestAppendRelayed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ frame, want string }{
		{
			`{"action":"send_topic_msg","online_token":"t","sid":"s","timestamp":1,"sign":"x","user_id":99,"sender_id":99,"room_id":5,"epoch":1,"seq":2,"content":"你好"}`,
			`{"action":"send_topic_msg","content":"你好","user_id":7}`,
		},
		{`{"us\u0065r_id":99,"action":"send_topic_msg"}`, `{"action":"send_topic_msg","user_id":7}`},
		{
			`{"action":"send_gift","sender_id":99,"receiver_id":8,"gift":{"id":1,"sender_id":"7"}}`,
			`{"action":"send_gift","receiver_id":8,"gift":{"id":1,"sender_id":"7"},"user_id":7,"sender_id":7}`,
		},
		{`{"action":"send_gift","gift":5}`, `{"action":"send_gift","gift":5,"user_id":7,"sender_id":7}`},
	} {
		f, err := ParseClientFrame([]byte(c.frame))
		if err != nil {
			t.Fatal(err)
		}
		got, err := AppendRelayed([]byte("before"), &f, 7)
		if err != nil || string(got) != "before"+c.want {
			t.Errorf("%s: got %s, %v; want %s", c.frame, got, err, c.want)
		}
	}
}

func TestAppendRelayedRefuses(t *testing.T) {
	t.Parallel()
	for gift, want := range map[string]Code{
		`{"sender_id":8}`:                    CodeForbidden,
		`{"sender_id":"8"}`:                  CodeForbidden,
		`{"sender_id":null}`:                 CodeForbidden,
		`{"s\u0065nder_id":8}`:               CodeForbidden,
		`{"sender_id":7,"sender_id":8}`:      CodeBadRequest,
		`{"sender_id":7,"\u0073ender_id":8}`: CodeBadRequest,
		`{"sender_id":18446744073709551623}`: CodeForbidden,
		`{"sender_id":7.0}`:                  CodeForbidden,
	} {
		f, err := ParseClientFrame([]byte(`{"action":"send_gift","gift":` + gift + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := AppendRelayed([]byte("before"), &f, 7); CodeOf(err) != want || string(got) != "before" {
			t.Errorf("%s: got %s, %v; want %s", gift, got, err, want)
		}
	}
}
