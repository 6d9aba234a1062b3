package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

func TestBadRequests(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.ok(nil, "PUT", "/v1/rooms/r/occupants/1", "")
	seq := d.cluster.rooms["r"].seq
	long := strings.Repeat("x", 2000)
	for _, c := range []struct{ method, path, body, says string }{
		{"PUT", "/v1/rooms/r/occupants/0", "", "user id"},
		{"PUT", "/v1/rooms/r/occupants/-1", "", "user id"},
		{"PUT", "/v1/rooms/r/occupants/+1", "", "user id"},
		{"PUT", "/v1/rooms/r/occupants/01", "", "user id"},
		{"PUT", "/v1/rooms/r/occupants/1.0", "", "user id"},
		{"PUT", "/v1/rooms/r/occupants/abc", "", "positive number"},
		{"PUT", "/v1/rooms/r/occupants/9223372036854775808", "", "user id"},
		{"DELETE", "/v1/rooms/r/occupants/x", "", "user id"},
		{"GET", "/v1/users/x", "", "user id"},
		{"DELETE", "/v1/users/x/connection", "", "user id"},
		{"GET", "/v1/users/x/timeline", "", "user id"},
		{"POST", "/v1/users/x/notify", `{"action":"x"}`, "user id"},
		{"DELETE", "/v1/rooms/a%20b/occupants/1", "", "room id"},
		{"POST", "/v1/rooms/a%20b/publish", `{"action":"x"}`, "room id"},
		{"PUT", "/v1/calls/a%20b", "{}", "call number"},
		{"GET", "/v1/calls/a%20b", "", "call number"},
		{"DELETE", "/v1/calls/a%20b", "", "call number"},

		{"PUT", "/v1/rooms/r/occupants/1", `{"nickname":1}`, "nickname: must be a string"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"nickname":"` + long + `"}`, "nickname: must have at most"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"sex":"m"}`, "sex: must be"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"sex":1.5}`, "sex: must be"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"avatar_url":{}}`, "avatar_url: must be a string"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"avatar_small_url":"` + long + `"}`, "avatar_small_url: must have at most"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"channel_name":[]}`, "channel_name: must be a string"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"role":"owner"}`, "role: must be host or audience"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"quiet":"true"}`, "quiet: must be true or false"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"nickname":"a","nickname":"b"}`, "given twice"},
		{"PUT", "/v1/rooms/r/occupants/1", `[]`, "expected an object"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"nickname":"` + "\xff" + `"}`, "UTF-8"},
		{"PUT", "/v1/rooms/r/occupants/1", `{"nickname":"\ud800"}`, "escape"},
		{"PUT", "/v1/rooms/r/occupants/1", `{`, "body: "},
		{"PUT", "/v1/rooms/r/occupants/1", `{} {}`, "after the object"},

		{"PUT", "/v1/rooms/r", `{"seats":-1}`, "seats: must be"},
		{"PUT", "/v1/rooms/r", `{"seats":100000}`, "seats: must be"},
		{"PUT", "/v1/rooms/r", `{"keep_empty":600}`, "keep_empty: must be a string"},
		{"PUT", "/v1/rooms/r", `{"keep_empty":"soon"}`, "keep_empty: must be a duration"},
		{"PUT", "/v1/rooms/r", `{"keep_empty":"-1s"}`, "keep_empty: must be a duration"},
		{"PUT", "/v1/rooms/r", `{"keep_empty":"100000h"}`, "keep_empty: must be a duration"},
		{"PUT", "/v1/rooms/r", `{"channel_name":7}`, "channel_name: must be a string"},

		{"PUT", "/v1/rooms/r/seats/0", `{"status":1}`, "seat"},
		{"PUT", "/v1/rooms/r/seats/x", `{"status":1}`, "seat"},
		{"PUT", "/v1/rooms/r/seats/01", `{"status":1}`, "seat"},
		{"PUT", "/v1/rooms/r/seats/9999999999999999999", `{"status":1}`, "seat"},
		{"DELETE", "/v1/rooms/r/seats/-1", "", "seat"},
		{"PUT", "/v1/rooms/r/seats/1", ``, "exactly one of"},
		{"PUT", "/v1/rooms/r/seats/1", `{"status":1,"microphone":true}`, "exactly one of"},
		{"PUT", "/v1/rooms/r/seats/1", `{"status":2}`, "status: must be"},
		{"PUT", "/v1/rooms/r/seats/1", `{"microphone":1}`, "microphone: must be"},
		{"PUT", "/v1/rooms/r/seats/1", `{"user_id":0}`, "user_id: must be a positive number"},
		{"PUT", "/v1/rooms/r/seats/1", `{"user_id":"x"}`, "user_id: must be a positive number"},

		{"GET", "/v1/rooms/r?limit=0", "", "limit"},
		{"GET", "/v1/rooms/r?limit=501", "", "limit"},
		{"GET", "/v1/rooms/r?limit=", "", "limit"},
		{"GET", "/v1/rooms/r?after=" + long, "", "after"},
		{"GET", "/v1/rooms?limit=1001", "", "limit"},
		{"GET", "/v1/rooms?limit=ten", "", "limit"},

		{"POST", "/v1/rooms/r/publish", ``, "frame: "},
		{"POST", "/v1/rooms/r/publish", `"x"`, "frame: "},
		{"POST", "/v1/rooms/r/publish", `{}`, "action"},
		{"POST", "/v1/rooms/r/publish", `{"action":""}`, "action"},
		{"POST", "/v1/rooms/r/publish", `{"action":7}`, "action"},
		{"POST", "/v1/rooms/r/publish", `{"action":"x","notify_type":"ptp"}`, "receiver_id"},
		{"POST", "/v1/rooms/r/publish", `{"action":"x","notify_type":"ptp","receiver_id":0}`, "receiver_id"},
		{"POST", "/v1/rooms/r/publish", `{"action":"x","gift":{"notify_type":"ptp","receiver_id":"x"}}`, "receiver_id"},
		{"POST", "/v1/rooms/r/publish", "{\"action\":\"\xc3\"}", "UTF-8"},
		{"POST", "/v1/users/1/notify", `{}`, "action"},
		{"POST", "/v1/publish", ``, "expected an array"},
		{"POST", "/v1/publish", `{"items":[]}`, "expected an array"},
		{"POST", "/v1/publish", `[{"room_id":"r","frame":{"action":"x"}}`, "byte 39"},
		{"POST", "/v1/publish", `[{"room_id":"r","frame":{"action":"x"}},]`, "element without an end"},
		{"POST", "/v1/publish", `[{"room_id":"r","frame":{"action":"x"}}] x`, "after the array"},

		{"PUT", "/v1/calls/c", ``, "caller_id: must be a positive number"},
		{"PUT", "/v1/calls/c", `{"caller_id":1}`, "receiver_id: must be a positive number"},
		{"PUT", "/v1/calls/c", `{"caller_id":1,"receiver_id":"1"}`, "another user"},
		{"PUT", "/v1/calls/c", `{"caller_id":true,"receiver_id":2}`, "caller_id"},

		{"POST", "/v1/users/query", ``, "user_ids: must be a list"},
		{"POST", "/v1/users/query", `{"user_ids":7}`, "user_ids: must be a list"},
		{"POST", "/v1/users/query", `{"user_ids":[1,0]}`, "user_ids[1]"},
		{"POST", "/v1/users/query", `{"user_ids":[[]]}`, "user_ids[0]"},
		{"GET", "/v1/events?events=", "", "events"},
		{"GET", "/v1/events?events=entered,left", "", "left"},
	} {
		d.wantError(c.method, c.path, c.body, protocol.CodeBadRequest, c.says)
	}
	if now := d.cluster.rooms["r"].seq; now != seq || len(d.cluster.commands) > 0 {
		t.Errorf("a refused request did something: seq %d, %d commands", now, len(d.cluster.commands))
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(c *Config) { c.MaxBody, c.MaxBatch, c.MaxFrame = 300, 100_000, 200 })
	d.ok(nil, "PUT", "/v1/rooms/r/occupants/1", "")
	pad := func(n int) string { return strings.Repeat("x", n) }
	items := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"room_id":"r","frame":{"action":"x"}},`, n), ",") + "]"
	}
	for _, c := range []struct{ method, path, body, says string }{
		{"PUT", "/v1/rooms/r/occupants/1", `{"x":"` + pad(400) + `"}`, "300 bytes"},
		{"POST", "/v1/rooms/r/publish", `{"action":"` + pad(400) + `"}`, "300 bytes"},
		{"POST", "/v1/rooms/r/publish", `{"action":"` + pad(200) + `"}`, "more than 200"},
		{"POST", "/v1/users/1/notify", `{"action":"` + pad(200) + `"}`, "more than 200"},
		{"POST", "/v1/publish", items(1) + pad(100_000), "100000 bytes"},
		{"POST", "/v1/publish", items(1001), "1000"},
	} {
		d.wantError(c.method, c.path, c.body, protocol.CodeTooLarge, c.says)
	}
	d.ok(nil, "POST", "/v1/publish", items(1000))

	d = newDoor(t, nil)
	d.wantError("POST", "/v1/users/query", `{"user_ids":[1`+strings.Repeat(",1", 1000)+`]}`, protocol.CodeTooLarge, "1000")
	d.ok(nil, "POST", "/v1/users/query", `{"user_ids":[1`+strings.Repeat(",1", 999)+`]}`)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v2/rooms", "/v1/rooms/", "/v1//rooms", "/v1/rooms/r/", "/v1/rooms//occupants/1", "/v1/rooms/r/occupants",
		"/v1/rooms/r/occupants/1/x", "/v1/../v1/rooms", "/V1/rooms", "/metrics",
	} {
		d.checkError(path, d.ask("GET", path, ""), 404, protocol.CodeBadRequest, "no such path")
	}
	for _, c := range []struct{ method, path, allow string }{
		{"POST", "/v1/rooms/r", "GET, PUT, DELETE"}, {"HEAD", "/v1/rooms", "GET"}, {"GET", "/v1/publish", "POST"},
		{"OPTIONS", "/v1/cluster", "GET"}, {"DELETE", "/v1/users/query", "POST, GET"}, {"PATCH", "/v1/calls/c", "PUT, GET, DELETE"},
	} {
		got := d.ask(c.method, c.path, "")
		d.checkError(c.method+" "+c.path, got, 405, protocol.CodeBadRequest, "this path takes")
		if got.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, got.header.Get("Allow"), c.allow)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(c *Config) { c.Keys = []string{"first", "second"} })
	for _, h := range []string{"", "Bearer", "Bearer ", "Bearer third", "Bearer firs", "Bearer firstx", "first", "Basic first", "Bearer first second"} {
		for _, path := range []string{"/v1/cluster", "/nowhere", "/v1/events"} {
			got := d.ask("GET", path, "", "Authorization", h)
			d.checkError(path+" with "+h, got, 401, protocol.CodeUnauthorized)
			if got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%q: no WWW-Authenticate", h)
			}
		}
	}
	d.checkError("without a key", d.ask("GET", "/v1/cluster", ""), 401, protocol.CodeUnauthorized)
	for _, h := range []string{"Bearer first", "bearer second", "Bearer  first"} {
		d.ok(nil, "GET", "/v1/cluster", "", "Authorization", h)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	const enter, k = "/v1/rooms/r/occupants/1", "Idempotency-Key"
	d.ok(nil, "PUT", enter, "", k, "a")
	d.ok(nil, "PUT", "/v1/rooms/r/occupants/2", "", k, "a")
	d.ok(nil, "POST", "/v1/rooms/r/publish", `{"action":"x"}`, k, "a")
	first := d.ask("POST", "/v1/rooms/r/publish", `{"action":"x"}`, k, "b")
	again := d.ask("POST", "/v1/rooms/r/publish", `{"action":"x"}`, k, "b")
	if first.body != again.body {
		t.Errorf("repeated: %s, at first %s", again.body, first.body)
	}
	if r := d.cluster.rooms["r"]; r.seq != 2 || len(r.roster) != 2 {
		t.Errorf("seq %d and %d occupants, want 2 and 2: one key is another one for another target", r.seq, len(r.roster))
	}
	batch := `[{"room_id":"r","frame":{"action":"x"}},{"room_id":"r","frame":{"action":"x"}}]`
	d.ok(nil, "POST", "/v1/publish", batch, k, "a")
	d.ok(nil, "POST", "/v1/publish", batch, k, "a")
	if r := d.cluster.rooms["r"]; r.seq != 4 {
		t.Errorf("seq %d after a batch of two that was repeated, want 4", r.seq)
	}
	d.ok(nil, "DELETE", enter, "", k, "a")
	d.ok(nil, "DELETE", enter, "", k, "a")
	d.wantError("DELETE", enter, "", protocol.CodeNotInRoom)

	d.ok(nil, "PUT", enter, "")
	if key := d.cluster.keys[len(d.cluster.keys)-1]; key != "" {
		t.Errorf("without the header a move has key %q: it is single by its version", key)
	}
	before := len(d.cluster.keys)
	for range 2 {
		d.ok(nil, "POST", "/v1/rooms/r/publish", `{"action":"x"}`)
	}
	seen := map[string]bool{}
	for _, key := range d.cluster.keys[before:] {
		if key == "" || seen[key] {
			t.Errorf("without the header the key is %q", key)
		}
		seen[key] = true
	}
	for _, bad := range []string{"", strings.Repeat("k", 256), "a\tb", "ключ"} {
		d.checkError("key "+bad, d.ask("PUT", enter, "", k, bad), 400, protocol.CodeBadRequest, k)
	}
	d.checkError("two keys", d.ask("PUT", enter, "", k, "a", k, "b"), 400, protocol.CodeBadRequest, k)
	d.ok(nil, "PUT", enter, "", k, strings.Repeat("k", 255))
}

// A key must be one for one target, however the parts of the path are cut.
func TestOperationKeysDiffer(t *testing.T) {
	t.Parallel()
	enter, exit := &route{call: "enter"}, &route{call: "exit"}
	seen := map[string]string{}
	for _, c := range []struct {
		route  *route
		params params
		key    string
	}{
		{enter, params{"a", "1"}, "k"}, {enter, params{"a", "11"}, "k"}, {enter, params{"a1", "1"}, "k"}, {exit, params{"a", "1"}, "k"},
		{enter, params{"a", "1"}, "1k"}, {enter, params{"a", ""}, "1k"},
	} {
		r := httptest.NewRequest("PUT", "/", nil)
		r.Header.Set("Idempotency-Key", c.key)
		key, err := operationKey(&request{Request: r, route: c.route, params: c.params})
		if err != nil || len(key) != 24 {
			t.Errorf("key %q, %v", key, err)
		}
		if what, ok := seen[key]; ok {
			t.Errorf("%v and %s have one key", c, what)
		}
		seen[key] = c.route.call + c.params[0] + c.params[1]
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	r := httptest.NewRequest("PUT", "/v1/rooms/r", io.MultiReader(strings.NewReader(`{"seats":`), brokenReader{}))
	w := httptest.NewRecorder()
	d.api.ServeHTTP(w, r)
	d.checkError("half a body", answer{status: w.Code, header: w.Header(), body: w.Body.String()}, 400, protocol.CodeBadRequest, "body")
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// An error for the caller stays one when it is wrapped on its way here.
func TestWrappedRefusal(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("read timeline of user 5: %w", protocol.Errorf(protocol.CodeUserNotFound, "nothing is known of user 5"))
	status, public := refusal(err)
	if status != http.StatusNotFound || public.Code != protocol.CodeUserNotFound || public.Message != "nothing is known of user 5" {
		t.Errorf("%d %v", status, public)
	}
}
