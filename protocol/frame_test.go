package protocol

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

var someProfile = Profile{Nickname: "小明", Sex: 1, AvatarURL: "http://a/b?c=d&e", AvatarSmallURL: "s", ChannelName: "own", Role: "host"}

func TestAppendFrames(t *testing.T) {
	t.Parallel()
	seat := &SeatView{ID: 3, Status: 1, Microphone: true, UserID: 9}
	const looks = `"sex":1,"avatar_url":"http://a/b?c=d&e","avatar_small_url":"s"`
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{
			AppendCreateToken(nil, CreateToken{
				OnlineToken: "t", PingInterval: 15 * time.Second, HeartbeatTimeout: 20 * time.Second,
				PlaceKnown: true, Room: "12", Call: CallRoom("c1"), SignKey: "k",
			}),
			`{"action":"create_token","online_token":"t","ping_interval":15,"heartbeat_timeout":20,"current_room_id":12,"call_no":"c1","sign_key":"k"}`,
		},
		{
			AppendCreateToken(nil, CreateToken{OnlineToken: "t", PingInterval: 1500 * time.Millisecond, PlaceKnown: true}),
			`{"action":"create_token","online_token":"t","ping_interval":1.5,"heartbeat_timeout":0,"current_room_id":0,"call_no":""}`,
		},
		{
			AppendCreateToken(nil, CreateToken{OnlineToken: "t", Room: "r"}),
			`{"action":"create_token","online_token":"t","ping_interval":0,"heartbeat_timeout":0}`,
		},
		{
			AppendCreateTokenError(nil, "", ReasonUnknownUser),
			`{"action":"create_token","online_token":"","error_code":-1,"error_reason":"用户不存在"}`,
		},
		{
			AppendExitRoom(nil, ExitRoom{User: 7, ChannelName: "房/1", Seat: seat, Departure: "1-2-3"}),
			`{"action":"exit_room","user_id":7,"channel_name":"房/1","room_seat":{"id":3,"status":1,"microphone":true},"departure_id":"1-2-3"}`,
		},
		{
			AppendExitRoom(nil, ExitRoom{User: 7, Departure: "1-2-3"}),
			`{"action":"exit_room","user_id":7,"channel_name":"","room_seat":null,"departure_id":"1-2-3"}`,
		},
		{
			AppendHangUp(nil, HangUp{User: 7, Receiver: 8, CallNo: "c1", Departure: "1-2-3"}),
			`{"action":"hang_up","user_id":7,"receiver_id":8,"channel_name":"c1","departure_id":"1-2-3"}`,
		},
		{
			AppendEnterRoom(nil, EnterRoom{User: 7, Profile: someProfile, ChannelName: "c"}),
			`{"action":"enter_room","user_id":7,"nickname":"小明",` + looks + `,"channel_name":"c"}`,
		},
		{
			AppendUp(nil, Up{User: 7, Seat: 3, Profile: someProfile, ChannelName: "c"}),
			`{"action":"up","user_id":7,"currenr_room_seat_id":3,` + looks + `,"nickname":"小明","channel_name":"c"}`,
		},
		{
			AppendDown(nil, Down{User: 7, Seat: 3, ChannelName: "c"}),
			`{"action":"down","user_id":7,"currenr_room_seat_id":3,"channel_name":"c"}`,
		},
		{AppendDrain(nil, 2*time.Second), `{"action":"drain","retry_after":2}`},
		{AppendError(nil, ActionUp, "", CodeForbidden, "no \"x\""), `{"action":"error","request":"up","code":"forbidden","message":"no \"x\""}`},
		{AppendError(nil, ActionSync, "12", CodeNotInRoom, "no"), `{"action":"error","request":"sync","room_id":12,"code":"not_in_room","message":"no"}`},
		{AppendSynced(nil, "r1", 4, 5), `{"action":"synced","room_id":"r1","epoch":4,"seq":5}`},
		{
			AppendEntered(nil, Entered{Room: "5", Epoch: 4, Seq: 5, Rev: 6, Count: 2, Seats: []SeatView{*seat, {ID: 4}}}),
			`{"action":"entered","room_id":5,"epoch":4,"seq":5,"rev":6,"count":2,"seats":[{"id":3,"status":1,"microphone":true,"user_id":9},{"id":4,"status":0,"microphone":false,"user_id":0}]}`,
		},
		{
			AppendPresence(nil, Presence{Room: "5", Epoch: 4, Rev: 6, Out: []PresenceOut{{7, "closed"}, {8, "exit"}}, Count: 2}),
			`{"action":"presence","room_id":5,"epoch":4,"rev":6,"in":[],"out":[{"user_id":7,"reason":"closed"},{"user_id":8,"reason":"exit"}],"count":2}`,
		},
		{
			AppendPresence(nil, Presence{Room: "5", Epoch: 4, Rev: 6, Count: 201, CountOnly: true}),
			`{"action":"presence","room_id":5,"epoch":4,"rev":6,"count":201}`,
		},
	} {
		if string(c.got) != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
		if !json.Valid(c.got) {
			t.Errorf("not JSON: %s", c.got)
		}
	}
}

// TestResyncAgreesWithView holds the hand-written roster to the one that the
// backend's answers are marshalled from.
func TestResyncAgreesWithView(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 2, 3, 4, 5, 6, 789, time.FixedZone("", 8*3600))
	view := RoomView{
		RoomID: "r1", Node: "n1", Epoch: 1, Seq: 2, Rev: 3, Count: 4, ChannelName: "c", Next: "n",
		Occupants: []OccupantView{
			{UserID: 1, Profile: someProfile, Seat: 2, Since: since, Online: true},
			{UserID: 2, Since: since.UTC()},
		},
		Seats: []SeatView{{ID: 1, Status: 1, Microphone: true, UserID: 1}, {ID: 2}},
	}
	var got map[string]any
	if err := json.Unmarshal(AppendResync(nil, &view), &got); err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.Marshal(view)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(marshalled, &want); err != nil {
		t.Fatal(err)
	}
	want["action"] = "resync"
	delete(want, "node")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	empty := string(AppendResync(nil, &RoomView{RoomID: "1"}))
	if !strings.Contains(empty, `"occupants":[]`) || !strings.Contains(empty, `"seats":[]`) || !strings.Contains(empty, `"room_id":1,`) {
		t.Errorf("empty view: %s", empty)
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                       `""`,
		"房间/a":                   `"房间/a"`,
		"<>&\u2028\x7f":          "\"<>&\u2028\x7f\"",
		"\"\\\b\f\n\r\t\x00\x1f": `"\"\\\b\f\n\r\t\u0000\u001f"`,
		"a\xffb\xc3":             "\"a\ufffdb\ufffd\"",
		"\ufffd😀":                "\"\ufffd😀\"",
	} {
		got := AppendString(nil, in)
		if string(got) != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != strings.ToValidUTF8(in, "\ufffd") {
			t.Errorf("%q: read back as %q, %v", in, back, err)
		}
	}
}
