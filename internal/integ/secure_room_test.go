package integ

import (
	"fmt"
	"net/url"
	"testing"
	"time"
)

// A client that may send everything can do nothing in a room or a call that it
// is not in: not publish, not take, leave or hear, not end. Nor can it speak as
// somebody else in its own.
func TestStrangerDoesNothingInARoom(t *testing.T) {
	t.Parallel()
	c := share(t, strict)
	room, own := newRoom(), newRoom()
	hostess, victim := c.signedPhone(newUser(), 1, phoneOptions{}), c.signedPhone(newUser(), 2, phoneOptions{})
	c.enter(1, room, hostess.user, host)
	c.enter(1, room, victim.user, nil)
	c.sit(1, room, 1, victim.user)
	no := c.call(1, hostess.user, victim.user)
	stranger, friend := c.signedPhone(newUser(), 3, phoneOptions{}), c.signedPhone(newUser(), 1, phoneOptions{})
	c.enter(2, own, stranger.user, nil)
	c.enter(2, own, friend.user, nil)
	c.reachable(1, room, hostess, victim)
	heard := map[*phone]int{hostess: len(hostess.heard("")), victim: len(victim.heard(""))}

	attacks := []fields{
		{"action": "send_topic_msg", "room_id": room, "content": "hi", "user_id": victim.user},
		{"action": "send_gift", "room_id": room, "notify_type": "bc", "sender_id": victim.user},
		{"action": "send_gift", "room_id": room, "notify_type": "ptp", "receiver_id": hostess.user},
		{"action": "up", "room_id": room, "currenr_room_seat_id": 2},
		{"action": "up", "room_id": room, "currenr_room_seat_id": 2, "user_id": hostess.user},
		{"action": "down", "room_id": room, "currenr_room_seat_id": 1},
		{"action": "down", "room_id": room, "currenr_room_seat_id": 1, "user_id": victim.user},
		{"action": "exit_room", "room_id": room, "user_id": victim.user},
		{"action": "hang_up", "room_id": no, "user_id": victim.user, "receiver_id": hostess.user},
		{"action": "sync", "room_id": room, "epoch": 0, "seq": 0},
		{"action": "call", "room_id": newRoom(), "receiver_id": victim.user, "user_id": hostess.user}, // who is in a call already
	}
	for _, f := range attacks {
		stranger.say(f)
	}
	for _, report := range []string{"exit_room_report", "hang_up_report"} {
		stranger.say(fields{"action": report, "user_id": victim.user, "room_id": room})
	}
	eventually(t, 5*time.Second, func() error {
		// To leave where one is not, and to end a call that is not one's own, is
		// what it already is: that may be answered or not.
		if n := len(stranger.heard("error")); n < len(attacks)-2 {
			return fmt.Errorf("%d refusals of %d attacks", n, len(attacks))
		}
		return nil
	})
	for _, f := range stranger.heard("error") {
		if code := f.fields["code"]; code != "not_in_room" && code != "user_busy" && code != "forbidden" && code != "call_not_found" {
			t.Errorf("refused with %v", f.fields)
		}
	}
	stranger.say(fields{"action": "send_topic_msg", "room_id": own, "content": "mine", "user_id": victim.user, "sender_id": victim.user})
	eventually(t, 5*time.Second, heardAll([]*phone{friend}, "send_topic_msg", 1))
	if f := friend.heard("send_topic_msg")[0]; f.number("user_id") != stranger.user {
		t.Errorf("the stranger spoke as another: %v", f.fields)
	}

	c.publish(1, room, fields{"action": "probe"})
	eventually(t, 5*time.Second, heardAll([]*phone{hostess, victim}, "probe", 1))
	for p, n := range heard {
		for _, f := range p.after(n) {
			if f.action != "probe" {
				t.Errorf("user %d heard %v", p.user, f.fields)
			}
		}
	}
	for _, f := range stranger.heard("") {
		if f.action == "synced" || f.action == "resync" || fmt.Sprint(f.fields["room_id"]) == room && f.action != "error" {
			t.Errorf("the stranger heard %v", f.fields)
		}
	}
	r, err := c.room(2, room)
	if err != nil || r.Count != 2 || r.sitter(1) != victim.user || r.sitter(2) != 0 {
		t.Errorf("the room is %+v (%v), want the two, one on seat 1", r, err)
	}
	for _, p := range []*phone{hostess, victim} {
		if u, err := c.user(3, p.user); err != nil || u.CallNo != no || u.CurrentRoomID != room {
			t.Errorf("user %d is %+v (%v), want in %s and call %s", p.user, u, err, room, no)
		}
	}
	if u, err := c.user(3, stranger.user); err != nil || u.CallNo != "" || u.CurrentRoomID != own {
		t.Errorf("the stranger is %+v (%v), want in %s", u, err, own)
	}
}

// A client moves nobody but itself, whomever it names.
func TestClientMovesItselfAlone(t *testing.T) {
	t.Parallel()
	c := share(t, strict)
	room, other := newRoom(), newRoom()
	victim, mover := c.signedPhone(newUser(), 1, phoneOptions{}), c.signedPhone(newUser(), 2, phoneOptions{})
	c.enter(1, room, victim.user, nil)
	mover.say(fields{"action": "enter_room", "room_id": other, "user_id": victim.user, "nickname": "x"})
	eventually(t, 5*time.Second, func() error {
		if u, err := c.user(3, mover.user); err != nil || u.CurrentRoomID != other {
			return fmt.Errorf("the mover is %+v (%v), want in %s", u, err, other)
		}
		return nil
	})
	mover.say(fields{"action": "exit_room", "room_id": other, "user_id": victim.user})
	eventually(t, 5*time.Second, func() error {
		if u, err := c.user(3, mover.user); err != nil || u.CurrentRoomID != "" {
			return fmt.Errorf("the mover is %+v (%v), want nowhere", u, err)
		}
		return nil
	})
	if u, err := c.user(3, victim.user); err != nil || u.CurrentRoomID != room {
		t.Errorf("the victim is %+v (%v), want in %s", u, err, room)
	}
	stands(t, victim, mover)
}

// A sid that has ended lets nobody in who brings it again; who came in while it
// held stays.
func TestEndedSIDIsNotReplayed(t *testing.T) {
	t.Parallel()
	c := share(t, strict)
	user := newUser()
	ends := time.Now().Add(3 * time.Second).Truncate(time.Second)
	sid := token("HS256", jwtKey, claims{Subject: fmt.Sprint(user), Expires: ends.Unix(), May: []string{"*"}})
	p := c.phone(user, 1, phoneOptions{sid: sid})
	eventually(t, 15*time.Second, func() error {
		e, err := c.endPoint(2, url.Values{"sid": {sid}})
		if err != nil || e.ErrorCode != -100 || time.Now().Before(ends) {
			return fmt.Errorf("end_point answers %+v, %v", e, err)
		}
		return nil
	})
	for i := 1; i <= 3; i++ { // node 1 has judged it before
		again, err := dialPhone(at(c.ports[i].listen), user, phoneOptions{sid: sid})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(again.hang)
		eventually(t, 5*time.Second, closedWith(again, 4004))
	}
	stands(t, p)
	room := newRoom()
	c.enter(2, room, user, nil)
	c.reachable(2, room, p)
}

// Who sends good frames faster than a client ever has to is closed, and lost to
// its room as with any other close.
func TestFloodingClientIsClosed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b, a := s.relay(s.b, host), s.come(s.a, nil)
		for range 600 {
			a.say(fields{"action": "ping"})
		}
		eventually(t, 5*time.Second, closedWith(a, 4006))
		eventually(t, 5*time.Second, told(b, "exit_room", a.user, 1))
		stands(t, b)
	})
}
