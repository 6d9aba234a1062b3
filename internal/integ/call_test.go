package integ

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// free is nil once the call is over and a user in none.
func (s *stage) free(no string, user int) func() error {
	return func() error {
		u, err := s.user(s.owner, user)
		if err != nil || u.CallNo != "" {
			return fmt.Errorf("user %d is in call %q (%v)", user, u.CallNo, err)
		}
		_, err = s.request(http.MethodGet, s.b, "/v1/calls/"+no, nil, nil)
		if said, ok := err.(*apiError); !ok || said.Code != "call_not_found" { //nolint:errorlint // as ask returns it
			return fmt.Errorf("the call is there: %v", err)
		}
		return nil
	}
}

// C16: when A drops out of a call the other party is told, the call is over,
// and both are free; if they share a room, that is told too.
func TestDropHangsUp(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		for name, caller := range map[string]bool{"caller": true, "receiver": false} {
			t.Run(name, func(t *testing.T) {
				s := s.in(t)
				b, a := s.relay(s.b, host), s.come(s.a, nil)
				no := s.call(s.owner, b.user, a.user)
				if caller {
					s.must(http.MethodDelete, s.b, "/v1/calls/"+no, nil, nil)
					no = s.call(s.owner, a.user, b.user)
				}
				a.hang()
				eventually(t, time.Second, told(b, "hang_up", a.user, 1))
				eventually(t, time.Second, told(b, "exit_room", a.user, 1))
				f := b.heardOf("hang_up", a.user)[0]
				if f.number("receiver_id") != b.user || f.fields["channel_name"] != no {
					t.Errorf("hang_up is %v, want to user %d for call %s", f.fields, b.user, no)
				}
				eventually(t, time.Second, s.free(no, a.user))
				eventually(t, time.Second, s.free(no, b.user))
				throughout(t, 6*time.Second, told(b, "hang_up", a.user, 1))
			})
		}
	})
}

// C17: hang_up comes again every 5 s until it is reported, or the other party
// is in another call, or gone.
func TestHangUpIsRepeatedUntilReported(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		for name, end := range map[string]func(b *phone){
			"reported": func(b *phone) { b.report(b.heard("hang_up")[1]) },
			"reported raw": func(b *phone) {
				b.say(fields{"action": "hang_up_report", "user_id": b.heard("hang_up")[1].fields["user_id"]})
			},
			"another call": func(b *phone) { s.call(s.owner, b.user, newUser()) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := s.in(t)
				a, b := s.dial(newUser(), s.a), s.dial(newUser(), s.b)
				s.call(s.owner, a.user, b.user)
				a.hang()
				eventually(t, 7*time.Second, told(b, "hang_up", a.user, 2))
				heard := b.heard("hang_up")
				if gap := heard[1].at.Sub(heard[0].at); gap < 4800*time.Millisecond || gap > 6*time.Second {
					t.Errorf("repeated after %s, want 5 s", gap)
				}
				if heard[0].fields["departure_id"] != heard[1].fields["departure_id"] {
					t.Error("the repeat is another departure")
				}
				end(b)
				throughout(t, 7*time.Second, told(b, "hang_up", a.user, 2))
			})
		}
		t.Run("gone", func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			a, b := s.dial(newUser(), s.a), s.dial(newUser(), s.b)
			s.call(s.owner, a.user, b.user)
			a.hang()
			eventually(t, 2*time.Second, told(b, "hang_up", a.user, 1))
			b.hang()
			eventually(t, 2*time.Second, func() error {
				u, err := s.user(s.owner, b.user)
				if err == nil && u.Online {
					err = fmt.Errorf("B is online")
				}
				return err
			})
		})
	})
}

// A call that the backend ends is told to nobody.
func TestOrderlyEndOfCallTellsNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		a, b := s.dial(newUser(), s.a), s.dial(newUser(), s.b)
		no := s.call(s.owner, a.user, b.user)
		s.must(http.MethodDelete, s.a, "/v1/calls/"+no, nil, nil)
		eventually(t, time.Second, s.free(no, b.user))
		a.hang()
		throughout(t, time.Second, told(b, "hang_up", a.user, 0))
	})
}
