package integ

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// heardAll is nil once every phone heard n frames of an action.
func heardAll(phones []*phone, action string, n int) func() error {
	return func() error {
		for _, p := range phones {
			if got := len(p.heard(action)); got != n {
				return fmt.Errorf("user %d heard %s %d times, want %d", p.user, action, got, n)
			}
		}
		return nil
	}
}

// reachable waits until the phones hear what is published to a room: its owner
// learns of a new connection a moment after create_token.
func (c *cluster) reachable(i int, room string, phones ...*phone) {
	c.tb.Helper()
	var last published
	for _, p := range phones {
		eventually(c.tb, 5*time.Second, func() error {
			last = c.publish(i, room, fields{"action": "hello"})
			if len(p.heard("hello")) == 0 {
				return fmt.Errorf("user %d hears nothing of room %s", p.user, room)
			}
			return nil
		})
	}
	for _, p := range phones {
		eventually(c.tb, 5*time.Second, func() error {
			if list := p.heard("hello"); list[len(list)-1].number("seq") != int(last.Seq) {
				return fmt.Errorf("user %d has not heard number %d of room %s", p.user, last.Seq, room)
			}
			return nil
		})
	}
}

// C18: what happens in a room reaches its members wherever they are, in one
// order, with the fields of the protocol, and what the server doesn't know of
// a frame untouched.
func TestPublicationsReachTheRoom(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		s.room = fmt.Sprint(names.Add(1)) // of digits only: a number on the wire
		b := s.come(s.b, host)
		far := s.come(s.owner, nil)
		a := s.dial(newUser(), s.a)
		profile := fields{"nickname": "安 <&> Ann", "sex": 1, "avatar_url": "http://a/b.png", "avatar_small_url": "http://a/s.png", "channel_name": "lobby"}
		s.enter(s.a, s.room, a.user, profile)
		s.sit(s.b, s.room, 4, a.user)
		s.must(http.MethodDelete, s.a, "/v1/rooms/"+s.room+"/seats/4", nil, nil)
		gift := fields{"action": "send_gift", "sender_id": a.user, "receiver_id": b.user, "notify_type": "bc", "gift": fields{"id": 5, "num": 2, "name": "花"}, "user_car_gift": nil}
		if got := s.publish(s.b, s.room, gift); got.Delivered != 3 {
			t.Errorf("delivered to %d, want 3", got.Delivered)
		}
		a.say(fields{"action": "send_topic_msg", "room_id": s.room, "content": "好/\"x\"", "segment": []int{1, 2}})

		want := []fields{
			{"action": "enter_room", "user_id": a.user, "nickname": "安 <&> Ann", "sex": 1, "avatar_url": "http://a/b.png", "avatar_small_url": "http://a/s.png", "channel_name": "lobby"},
			{"action": "up", "user_id": a.user, "currenr_room_seat_id": 4, "nickname": "安 <&> Ann"},
			{"action": "down", "user_id": a.user, "currenr_room_seat_id": 4},
			gift,
			{"action": "send_topic_msg", "user_id": a.user, "content": "好/\"x\"", "segment": []int{1, 2}},
		}
		for _, p := range []*phone{b, far} {
			eventually(t, 2*time.Second, heardAll([]*phone{p}, "send_topic_msg", 1))
			var got []frame
			for _, f := range p.heard("") {
				if f.action != "create_token" && f.number("user_id") != far.user {
					got = append(got, f)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("user %d heard %v, want %d frames", p.user, got, len(want))
			}
			for n, f := range got {
				for name, v := range want[n] {
					if fmt.Sprint(v) != fmt.Sprint(f.fields[name]) {
						t.Errorf("user %d, frame %d: %s is %v, want %v", p.user, n, name, f.fields[name], v)
					}
				}
				if fmt.Sprintf("%.0f", f.fields["room_id"]) != s.room || n > 0 && f.number("seq") != got[n-1].number("seq")+1 {
					t.Errorf("user %d, frame %d is %v: not of room %s or out of order", p.user, n, f.fields, s.room)
				}
			}
		}
	})
}

// C18: ptp goes to the addressed user alone, in a room and without one.
func TestPointToPoint(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b, other, a := s.come(s.b, host), s.come(s.owner, nil), s.come(s.a, nil)
		to := fields{"action": "send_gift", "notify_type": "ptp", "receiver_id": b.user, "sender_id": a.user}
		if got := s.publish(s.a, s.room, to); got.Delivered != 1 {
			t.Errorf("delivered to %d, want 1", got.Delivered)
		}
		to["room_id"] = s.room
		a.say(to)
		eventually(t, 2*time.Second, heardAll([]*phone{b}, "send_gift", 2))
		for _, f := range b.heard("send_gift") {
			if _, ok := f.fields["seq"]; ok {
				t.Errorf("a frame to one user has a seq: %v", f.fields)
			}
		}
		var notified published
		s.must(http.MethodPost, s.a, fmt.Sprintf("/v1/users/%d/notify", b.user), fields{"action": "red_packet", "id": 3}, &notified)
		if notified.Delivered != 1 {
			t.Errorf("notified %d users, want 1", notified.Delivered)
		}
		eventually(t, 2*time.Second, heardAll([]*phone{b}, "red_packet", 1))
		s.publish(s.b, s.room, fields{"action": "probe"})
		eventually(t, 2*time.Second, heardAll([]*phone{a, other, b}, "probe", 1))
		for _, p := range []*phone{a, other} {
			if n := len(p.heard("send_gift")) + len(p.heard("red_packet")); n != 0 {
				t.Errorf("user %d heard %d frames that were for B", p.user, n)
			}
		}
	})
}

// C18 in relay mode: a room's publication goes to one member.
func TestRelayModeTellsOne(t *testing.T) {
	t.Parallel()
	c := share(t, legacy)
	s := &stage{cluster: c, room: c.roomAt(1), owner: 1, a: 2, b: 1, sign: byMD5}
	h, other, a := s.come(s.b, host), s.come(s.a, nil), s.come(s.a, nil)
	if got := s.publish(s.a, s.room, fields{"action": "probe"}); got.Delivered != 1 {
		t.Errorf("delivered to %d, want 1", got.Delivered)
	}
	eventually(t, 2*time.Second, heardAll([]*phone{h}, "probe", 1))
	throughout(t, time.Second, heardAll([]*phone{other, a}, "probe", 0))
	a.hang()
	eventually(t, time.Second, told(h, "exit_room", a.user, 1))
}

// C20 and C21: receipts and unknown actions are accepted in silence; what is no
// frame is ignored, until there was too much of it.
func TestReceiptsAndUnknownActionsAreSilent(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		a := s.come(s.a, nil)
		start := len(a.heard(""))
		for _, action := range []string{
			"enter_room_report", "send_topic_msg_report", "send_gift_report", "up_report", "up_deport", "down_report",
			"exit_room_report", "hang_up_report", "no_such_action", "",
		} {
			a.say(fields{"action": action, "user_id": a.user})
		}
		for _, status := range []int{1, 2} {
			a.say(fields{"action": "room_channel_status_report", "status": status})
			a.say(fields{"action": "room_signal_status_report", "status": status})
		}
		for _, noise := range []string{"", "{", "[]", "null", `"ping"`, `{"action":7}`, "\x00\x01"} {
			a.sayRaw(1, []byte(noise))
		}
		s.publish(s.b, s.room, fields{"action": "probe"})
		eventually(t, 2*time.Second, heardAll([]*phone{a}, "probe", 1))
		if got := a.after(start); len(got) != 1 {
			t.Errorf("A heard %v, want the probe alone", got)
		}
		stands(t, a)
		for range 30 {
			a.sayRaw(1, []byte("noise"))
		}
		eventually(t, 2*time.Second, closedWith(a, 4006))
	})
}

// C22: a token is worth nothing on any other connection, not even of the same
// user, and what was for a user who is gone reaches nobody.
func TestDeadTokenReachesNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		a, b := s.come(s.a, nil), s.come(s.b, host)
		former := a.token().fields["online_token"]
		a.hang()
		eventually(t, time.Second, s.out(a.user))
		_, err := s.request(http.MethodPost, s.b, fmt.Sprintf("/v1/users/%d/notify", a.user), fields{"action": "secret"}, nil)
		t.Logf("notifying a user who is gone: %v", err)
		again := s.dial(a.user, s.a)
		s.enter(s.a, s.room, a.user, nil)
		for _, p := range []*phone{again, b} {
			p.say(fields{"action": "send_topic_msg", "room_id": s.room, "content": "dead", "online_token": former})
			p.say(fields{"action": "send_topic_msg", "room_id": s.room, "content": "alive"})
		}
		eventually(t, 2*time.Second, heardAll([]*phone{again, b}, "send_topic_msg", 2))
		for _, p := range []*phone{again, b} {
			for _, f := range p.heard("send_topic_msg") {
				if f.fields["content"] != "alive" {
					t.Errorf("user %d heard %v, said under a dead token", p.user, f.fields)
				}
			}
			if n := len(p.heard("secret")); n != 0 {
				t.Errorf("user %d heard what was for a connection that is gone", p.user)
			}
		}
	})
}
