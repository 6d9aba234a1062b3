package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faac1247/rollcall/protocol"
)

func TestRoomStory(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.cluster.connect(7)
	d.want("PUT", "/v1/rooms/r1", `{"seats":2,"channel_name":"c","keep_empty":"10m"}`, 200,
		`{"room_id":"r1","epoch":1700000000000,"seq":0}`)
	d.want("PUT", "/v1/rooms/r1/occupants/7", `{"nickname":"小<明>","sex":1,"avatar_url":"a","avatar_small_url":"b","channel_name":"own","role":"host","unknown":{}}`, 200,
		`{"room_id":"r1","epoch":1700000000000,"seq":0,"end_point":"ws://n1.example:8001"}`)
	d.want("PUT", "/v1/rooms/r1/seats/2", `{"user_id":"7"}`, 200, `{"room_id":"r1","epoch":1700000000000,"seq":1}`)
	d.want("GET", "/v1/rooms/r1", "", 200,
		`{"room_id":"r1","node":"n1","epoch":1700000000000,"seq":1,"rev":7,"count":1,"channel_name":"",`+
			`"occupants":[{"user_id":7,"nickname":"小<明>","sex":1,"avatar_url":"a","avatar_small_url":"b","channel_name":"own","role":"host","seat":2,"since":"2026-01-02T03:04:05Z","online":true}],`+
			`"seats":[{"id":1,"status":1,"microphone":true,"user_id":0},{"id":2,"status":1,"microphone":true,"user_id":7}],"next":""}`)
	d.want("GET", "/v1/users/7", "", 200,
		`{"user_id":7,"online":true,"node":"n1","current_room_id":"r1","seat":2,"call_no":"","since":"2026-01-02T03:04:05Z"}`)
	d.want("GET", "/v1/rooms", "", 200, `{"rooms":[{"room_id":"r1","node":"n1","epoch":1700000000000,"count":1}],"next":""}`)

	d.wantError("PUT", "/v1/rooms/r1/seats/2", `{"user_id":7}`, protocol.CodeSeatTaken)
	d.want("DELETE", "/v1/rooms/r1/seats/2", "", 204, "")
	d.ok(nil, "PUT", "/v1/rooms/r1/seats/2", `{"status":0}`)
	d.wantError("PUT", "/v1/rooms/r1/seats/2", `{"user_id":7}`, protocol.CodeSeatClosed)
	d.wantError("PUT", "/v1/rooms/r1/seats/3", `{"user_id":7}`, protocol.CodeSeatNotFound)
	d.wantError("PUT", "/v1/rooms/r1/seats/1", `{"user_id":8}`, protocol.CodeNotInRoom)
	d.ok(nil, "PUT", "/v1/rooms/r1/seats/1", `{"microphone":false}`)

	d.want("DELETE", "/v1/rooms/r1/occupants/7", "", 204, "")
	d.wantError("DELETE", "/v1/rooms/r1/occupants/7", "", protocol.CodeNotInRoom)
	d.want("GET", "/v1/users/7", "", 200,
		`{"user_id":7,"online":true,"node":"n1","current_room_id":"","seat":0,"call_no":"","since":"2026-01-02T03:04:05Z"}`)
	d.want("DELETE", "/v1/rooms/r1", "", 204, "")
	d.wantError("GET", "/v1/rooms/r1", "", protocol.CodeRoomNotFound)
	d.wantError("DELETE", "/v1/rooms/r1", "", protocol.CodeRoomNotFound)
}

func TestEnterPassesEverythingOn(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	places := &recordingPlaces{Places: d.cluster}
	d.api.cfg.Places = places
	d.ok(nil, "PUT", "/v1/rooms/r.1/occupants/7", `{"nickname":"n","sex":"1","avatar_url":"a","avatar_small_url":"b","channel_name":"c","quiet":true}`)
	got := places.entered
	got.Key = ""
	want := EnterRequest{User: 7, Room: "r.1", Quiet: true, Profile: protocol.Profile{
		Nickname: "n", Sex: 1, AvatarURL: "a", AvatarSmallURL: "b", ChannelName: "c", Role: "audience",
	}}
	if got != want {
		t.Errorf("entered %+v, want %+v", got, want)
	}
	d.ok(nil, "PUT", "/v1/rooms/r2/occupants/8", "")
	if got := places.entered; got.User != 8 || got.Quiet {
		t.Errorf("an empty body entered %+v", got)
	}
}

type recordingPlaces struct {
	Places
	entered EnterRequest
}

func (p *recordingPlaces) Enter(ctx context.Context, req EnterRequest) protocol.Reply {
	p.entered = req
	return p.Places.Enter(ctx, req)
}

func TestRosterPages(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	for n := 101; n <= 203; n++ {
		d.ok(nil, "PUT", fmt.Sprintf("/v1/rooms/r1/occupants/%d", n), "")
	}
	seen := 0
	path := "/v1/rooms/r1"
	for _, size := range []int{100, 3} {
		var page roomAnswer
		d.ok(&page, "GET", path, "")
		if len(page.Occupants) != size || page.Count != 103 {
			t.Fatalf("GET %s: %d of %d occupants, want %d of 103", path, len(page.Occupants), page.Count, size)
		}
		seen += size
		path = "/v1/rooms/r1?after=" + page.Next
	}
	var page roomAnswer
	d.ok(&page, "GET", "/v1/rooms/r1?limit=2", "")
	if len(page.Occupants) != 2 || page.Next != "102" || seen != 103 {
		t.Errorf("limit=2: %d occupants, next %q; %d seen", len(page.Occupants), page.Next, seen)
	}
}

func TestListOfRoomsPages(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	for _, room := range []string{"a", "b", "c"} {
		d.ok(nil, "PUT", "/v1/rooms/"+room, "{}")
	}
	d.ok(nil, "PUT", "/v1/calls/c1", `{"caller_id":1,"receiver_id":2}`)
	d.want("GET", "/v1/rooms?limit=1&after=a", "", 200, `{"rooms":[{"room_id":"b","node":"n1","epoch":1700000000000,"count":0}],"next":"b"}`)
	d.want("GET", "/v1/rooms?after=c", "", 200, `{"rooms":[],"next":""}`)
}

func TestRoomNamesInPaths(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	longest := strings.Repeat("x", 64)
	for _, room := range []string{"0", "12", ".", "..", "%2e%2e", "a-b_c.D", longest} {
		if got := d.ask("PUT", "/v1/rooms/"+room, "{}"); got.status != 200 {
			t.Errorf("room %s: %d %s", room, got.status, got.body)
		}
	}
	for _, room := range []string{"a%20b", "%2F", "call%2Fc1", "a:b", "%E4%BA%BA", longest + "x", "%00"} {
		d.wantError("PUT", "/v1/rooms/"+room, "{}", protocol.CodeBadRequest, "room id", "A-Z a-z 0-9")
	}
}

func TestCallStory(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.cluster.connect(1)
	d.wantError("GET", "/v1/calls/c1", "", protocol.CodeCallNotFound, "c1")
	d.want("PUT", "/v1/calls/c1", `{"caller_id":1,"receiver_id":2}`, 200,
		`{"call_no":"c1","caller_id":1,"receiver_id":2,"epoch":1700000000000,"end_point":"ws://n1.example:8001"}`)
	d.want("GET", "/v1/calls/c1", "", 200, `{"call_no":"c1","node":"n1","epoch":1700000000000,"caller_id":1,"receiver_id":2,"parties":[`+
		`{"user_id":1,"role":"caller","since":"2026-01-02T03:04:05Z","online":true},{"user_id":2,"role":"receiver","since":"2026-01-02T03:04:05Z","online":true}]}`)
	d.wantError("PUT", "/v1/calls/c2", `{"caller_id":3,"receiver_id":2}`, protocol.CodeUserBusy)
	d.want("GET", "/v1/users/1", "", 200,
		`{"user_id":1,"online":true,"node":"n1","current_room_id":"","seat":0,"call_no":"c1","since":"2026-01-02T03:04:05Z"}`)
	d.want("DELETE", "/v1/calls/c1", "", 204, "")
	d.wantError("DELETE", "/v1/calls/c1", "", protocol.CodeCallNotFound)
	d.wantError("GET", "/v1/rooms/c1", "", protocol.CodeRoomNotFound)
}

func TestUsers(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.cluster.connect(1, 2)
	d.ok(nil, "PUT", "/v1/rooms/r1/occupants/2", "")
	d.ok(nil, "PUT", "/v1/rooms/r1/seats/8", `{"user_id":2}`)
	d.want("POST", "/v1/users/query", `{"user_ids":[2,"3",1,2]}`, 200, `{"users":[`+
		`{"user_id":2,"online":true,"node":"n1","current_room_id":"r1","seat":8,"call_no":"","since":"2026-01-02T03:04:05Z"},`+
		`{"user_id":3,"online":false,"node":"","current_room_id":"","seat":0,"call_no":"","since":null},`+
		`{"user_id":1,"online":true,"node":"n1","current_room_id":"","seat":0,"call_no":"","since":"2026-01-02T03:04:05Z"},`+
		`{"user_id":2,"online":true,"node":"n1","current_room_id":"r1","seat":8,"call_no":"","since":"2026-01-02T03:04:05Z"}]}`)
	d.want("POST", "/v1/users/query", `{"user_ids":[]}`, 200, `{"users":[]}`)
	d.wantError("GET", "/v1/users/3", "", protocol.CodeUserNotFound)

	d.want("POST", "/v1/users/1/notify", `{"action":"x"}`, 200, `{"delivered":1}`)
	d.want("POST", "/v1/users/3/notify", `{"action":"x"}`, 200, `{"delivered":0}`)
	d.want("DELETE", "/v1/users/1/connection", "", 204, "")
	d.want("DELETE", "/v1/users/2/connection", "", 204, "")
	d.wantError("DELETE", "/v1/users/1/connection", "", protocol.CodeUserNotFound)
	if got := fmt.Sprint(d.cluster.frames[1], d.cluster.frames[2]); got != `[{"action":"x"} closed: kicked] [closed: kicked]` {
		t.Errorf("users got %s", got)
	}

	d.ok(nil, "DELETE", "/v1/rooms/r1/occupants/2", "")
	d.want("GET", "/v1/users/2/timeline", "", 200, `{"user_id":2,"removal":{"room_id":"r1","call_no":"","reason":"exited","node":"n1","at":"2026-01-02T03:04:05Z"},"node":"n1","events":[`+
		`{"at":"2026-01-02T03:04:05Z","event":"connected","conn":1,"room_id":"","call_no":"","reason":""},`+
		`{"at":"2026-01-02T03:04:05Z","event":"entered","conn":1,"room_id":"r1","call_no":"","reason":""},`+
		`{"at":"2026-01-02T03:04:05Z","event":"called","conn":1,"room_id":"","call_no":"c1","reason":"why"}]}`)
}

// A record may know of a move before the room's owner does, and the other way
// round: then the user has no seat, and that is no failure.
func TestUserWhoseRoomDoesNotHaveThem(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.cluster.users[4] = protocol.UserRecord{User: 4, Version: 1, Room: "r9"}
	d.want("GET", "/v1/users/4", "", 200, `{"user_id":4,"online":false,"node":"","current_room_id":"r9","seat":0,"call_no":"","since":null}`)
	d.ok(nil, "PUT", "/v1/rooms/r9/occupants/5", "")
	d.want("GET", "/v1/users/4", "", 200, `{"user_id":4,"online":false,"node":"","current_room_id":"r9","seat":0,"call_no":"","since":null}`)
}

func TestCluster(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.want("GET", "/v1/cluster", "", 200, `{"node":"n1","agreed":true,"digest":"d1","partitions":4093,"members":[`+
		`{"node":"n1","incarnation":"n1@b1","state":"serving","digest":"d1","end_point":"ws://n1.example:8001","partitions":4093,"connections":3,"since":"2026-01-02T03:04:05Z"},`+
		`{"node":"n2","incarnation":"n2@b1","state":"draining","digest":"d0","end_point":"ws://n2.example:8001","partitions":0,"connections":0,"since":"2026-01-02T03:04:05Z"}]}`)
}

// What can't be known is 503, whatever was asked, and says when to ask again.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.ok(nil, "PUT", "/v1/rooms/r1/occupants/1", "")
	d.cluster.away = true
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/rooms/r1/occupants/1", ""}, {"DELETE", "/v1/rooms/r1/occupants/1", ""}, {"GET", "/v1/rooms/r1", ""},
		{"GET", "/v1/rooms/r2", ""}, {"GET", "/v1/rooms", ""}, {"PUT", "/v1/rooms/r1", "{}"}, {"DELETE", "/v1/rooms/r1", ""},
		{"PUT", "/v1/rooms/r1/seats/1", `{"status":1}`}, {"DELETE", "/v1/rooms/r1/seats/1", ""},
		{"POST", "/v1/rooms/r1/publish", `{"action":"x"}`}, {"PUT", "/v1/calls/c", `{"caller_id":1,"receiver_id":2}`},
		{"GET", "/v1/calls/c", ""}, {"DELETE", "/v1/calls/c", ""}, {"GET", "/v1/users/1", ""}, {"GET", "/v1/users/9", ""},
		{"POST", "/v1/users/query", `{"user_ids":[1]}`}, {"GET", "/v1/users/1/timeline", ""}, {"GET", "/v1/events", ""},
	} {
		got := d.wantError(c.method, c.path, c.body, protocol.CodeUnavailable)
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", c.method, c.path)
		}
		if strings.Contains(got.body, "10.1.2.3") {
			t.Errorf("%s %s gives an address away: %s", c.method, c.path, got.body)
		}
	}
}

// That the record is known and the room's owner is not does not make up a seat.
func TestUserWhoseSeatIsUnknown(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.cluster.connect(1, 2)
	d.ok(nil, "PUT", "/v1/rooms/r1/occupants/1", "")
	d.api.cfg.Rooms = rooms(func(protocol.Command) protocol.Reply { return fail(protocol.CodeMoved, "to n2@b7") })
	got := d.wantError("GET", "/v1/users/1", "", protocol.CodeUnavailable)
	if strings.Contains(got.body, "n2@b7") {
		t.Errorf("the answer speaks of the inside: %s", got.body)
	}
	d.want("POST", "/v1/users/query", `{"user_ids":[1,2]}`, 200,
		`{"users":[{"user_id":1,"error":{"code":"unavailable","message":"the room is changing its owner; ask again shortly"}},`+
			`{"user_id":2,"online":true,"node":"n1","current_room_id":"","seat":0,"call_no":"","since":"2026-01-02T03:04:05Z"}]}`)
}

// rooms is a Rooms that is only a function.
type rooms func(protocol.Command) protocol.Reply

func (f rooms) Do(_ context.Context, cmd protocol.Command) protocol.Reply { return f(cmd) }

func TestDurableFalse(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.cluster.volatile = true
	d.want("PUT", "/v1/rooms/r1/occupants/7", "", 200,
		`{"room_id":"r1","epoch":1700000000000,"seq":0,"durable":false,"end_point":"ws://n1.example:8001"}`)
	d.want("PUT", "/v1/rooms/r1", "{}", 200, `{"room_id":"r1","epoch":1700000000000,"seq":0,"durable":false}`)
	d.want("PUT", "/v1/rooms/r1/seats/1", `{"status":1}`, 200, `{"room_id":"r1","epoch":1700000000000,"seq":1,"durable":false}`)
	d.want("POST", "/v1/rooms/r1/publish", `{"action":"x"}`, 200, `{"epoch":1700000000000,"seq":2,"delivered":1,"durable":false}`)
	d.want("POST", "/v1/publish", `[{"room_id":"r1","frame":{"action":"x"}}]`, 200, `[{"epoch":1700000000000,"seq":3,"delivered":1,"durable":false}]`)
	d.want("DELETE", "/v1/rooms/r1/occupants/7", "", 200, `{"durable":false}`)
	d.want("DELETE", "/v1/rooms/r1", "", 200, `{"durable":false}`)
}

func TestInternalErrorsStayInside(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	d := newDoor(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	d.api.cfg.Rooms = rooms(func(protocol.Command) protocol.Reply { return fail(protocol.CodeInternal, "secret detail") })
	got := d.wantError("PUT", "/v1/rooms/r1", "{}", protocol.CodeInternal)
	if strings.Contains(got.body, "secret") || !strings.Contains(log.String(), "secret detail") {
		t.Errorf("answer %s, log %s", got.body, log.String())
	}
	for _, answer := range []protocol.Reply{{Body: []byte("garbage")}, {}} {
		d.api.cfg.Rooms = rooms(func(protocol.Command) protocol.Reply { return answer })
		d.wantError("GET", "/v1/rooms/r1", "", protocol.CodeInternal)
	}
}

func TestPanicCostsOneRequest(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.api.cfg.Rooms = rooms(func(protocol.Command) protocol.Reply { panic("boom") })
	d.wantError("PUT", "/v1/rooms/r1", "{}", protocol.CodeInternal)
	d.wantError("POST", "/v1/publish", `[{"room_id":"r1","frame":{"action":"x"}}]`, protocol.CodeInternal)
	if n := testutil.ToFloat64(d.api.metrics.panics); n != 2 {
		t.Errorf("%v panics counted, want 2", n)
	}
	d.api.cfg.Rooms = d.cluster
	d.ok(nil, "PUT", "/v1/rooms/r1", "{}")
}

func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(c *Config) { c.MaxRequests = 1 })
	var inner answer
	d.api.cfg.Rooms = rooms(func(protocol.Command) protocol.Reply {
		inner = d.ask("GET", "/v1/cluster", "")
		return protocol.Reply{}
	})
	d.ok(nil, "PUT", "/v1/rooms/r1", "{}")
	d.checkError("a second request", inner, 503, protocol.CodeBusy)
	if inner.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	d.ok(nil, "GET", "/v1/cluster", "")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.ok(nil, "PUT", "/v1/rooms/r1/occupants/1", "")
	d.ask("GET", "/v1/rooms/r2", "")
	d.ask("GET", "/nowhere", "")
	d.ok(nil, "POST", "/v1/publish", `[{"room_id":"r1","frame":{"action":"x"}},{"room_id":"r1","frame":{}}]`)
	want := `
# HELP rollcall_api_batch_publications_total Publications in batches, by code.
# TYPE rollcall_api_batch_publications_total counter
rollcall_api_batch_publications_total{code="bad_request"} 1
rollcall_api_batch_publications_total{code="ok"} 1
# HELP rollcall_api_requests_total Requests of the backend, by call and code; a stream counts when it ends.
# TYPE rollcall_api_requests_total counter
rollcall_api_requests_total{call="batch",code="ok"} 1
rollcall_api_requests_total{call="enter",code="ok"} 1
rollcall_api_requests_total{call="room",code="room_not_found"} 1
rollcall_api_requests_total{call="unknown",code="bad_request"} 1
`
	if err := testutil.GatherAndCompare(d.metrics, strings.NewReader(want), "rollcall_api_requests_total", "rollcall_api_batch_publications_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(d.metrics, "rollcall_api_request_seconds"); err != nil || n != 4 {
		t.Errorf("%d histograms, %v; want one for each of 4 calls", n, err)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Keys: []string{"k", ""}, MaxBody: -1, Timeout: -1})
	for _, part := range []string{"required", "key 2 is empty", "limit is negative", "duration is negative"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New: %v; want it to say %q", err, part)
		}
	}
}

func TestAnswerHeaders(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	got := d.ask("GET", "/v1/cluster", "")
	for name, want := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got := d.ask("DELETE", "/v1/rooms/r1", "", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"); got.status != http.StatusForbidden {
		t.Errorf("a page of another site got %d without a key", got.status)
	}
}
