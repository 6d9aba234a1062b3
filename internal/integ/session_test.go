package integ

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/lxzan/gws"
)

// C5: a new connection supersedes the old one, whose close expels nobody and
// hangs nothing up.
func TestNewConnectionSupersedes(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b := s.come(s.b, host)
		old := s.come(s.a, nil)
		a := old.user
		s.sit(s.a, s.room, 3, a)
		no := s.call(s.a, a, b.user)
		for _, node := range []int{s.b, s.a, s.a} {
			next := s.dial(a, node)
			eventually(t, 2*time.Second, closedWith(old, 4001))
			old = next
		}
		throughout(t, 2*time.Second, func() error {
			if n := len(b.heard("exit_room")) + len(b.heard("hang_up")); n != 0 {
				return fmt.Errorf("%d departures told", n)
			}
			u, err := s.user(s.b, a)
			if err == nil && (!u.Online || u.CurrentRoomID != s.room || u.Seat != 3 || u.CallNo != no) {
				err = fmt.Errorf("A is %+v", u)
			}
			return err
		})
		stands(t, old, b)
	})
}

// C6: pings are not answered.
func TestPingIsNotAnswered(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		a := s.come(s.a, nil)
		start := len(a.heard(""))
		for range 5 {
			a.say(fields{"action": "ping"})
		}
		s.publish(s.b, s.room, fields{"action": "probe"})
		eventually(t, 2*time.Second, func() error {
			got := a.after(start)
			if len(got) != 1 || got[0].action != "probe" {
				return fmt.Errorf("heard %v, want the probe alone", got)
			}
			return nil
		})
	})
}

// C8: a frame with a bad sign has no effect and no answer; the connection
// stays, until there were too many.
func TestBadSignHasNoEffect(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		a, b := s.come(s.a, nil), s.come(s.b, host)
		bad := func(p *phone, content string) {
			p.sayRaw(gws.OpcodeText, encode(p.whole(fields{
				"action": "send_topic_msg", "room_id": s.room, "content": content, "sign": "7a5e5df2f36b0bb937d0d14c4c4d77f6",
			})))
		}
		start := len(a.heard(""))
		for range 5 {
			bad(a, "bad")
		}
		a.say(fields{"action": "send_topic_msg", "room_id": s.room, "content": "good"})
		eventually(t, 2*time.Second, func() error {
			got := b.heard("send_topic_msg")
			if len(got) != 1 || got[0].fields["content"] != "good" {
				return fmt.Errorf("B heard %v, want the good one alone", got)
			}
			return nil
		})
		for _, f := range a.after(start) {
			if f.action != "send_topic_msg" && f.action != "enter_room" {
				t.Errorf("A was answered %v", f.fields)
			}
		}
		stands(t, a)
		for range 40 {
			bad(a, "again")
		}
		eventually(t, 3*time.Second, closedWith(a, 4006))
		eventually(t, time.Second, told(b, "exit_room", a.user, 1))
	})
}

// C14: who was expelled learns it from create_token, and who was not, that too.
func TestReturnTellsWhereOneIs(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		s.room = fmt.Sprint(names.Add(1)) // of digits only: a number on the wire
		b := s.relay(s.b, host)
		a := s.come(s.a, nil)
		no := s.call(s.b, a.user, b.user)
		again := s.dial(a.user, s.b)
		if f := again.token().fields; fmt.Sprintf("%.0f", f["current_room_id"]) != s.room || f["call_no"] != no {
			t.Errorf("superseding, A is told %v, want room %s and call %s", f, s.room, no)
		}
		again.hang()
		eventually(t, time.Second, told(b, "exit_room", a.user, 1))
		eventually(t, time.Second, told(b, "hang_up", a.user, 1))
		again = s.dial(a.user, s.a)
		if f := again.token().fields; f["current_room_id"] != float64(0) || f["call_no"] != "" {
			t.Errorf("expelled, A is told %v, want nowhere", f)
		}
	})
}

// A kick closes the connection, for good and for the room too.
func TestKick(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b, a := s.relay(s.b, host), s.come(s.a, nil)
		s.must(http.MethodDelete, s.b, fmt.Sprintf("/v1/users/%d/connection", a.user), nil, nil)
		eventually(t, 2*time.Second, closedWith(a, 4003))
		eventually(t, time.Second, told(b, "exit_room", a.user, 1))
	})
}
