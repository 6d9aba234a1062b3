package integ

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// out is nil once a user is offline, in no room and in no call, by every node's
// word, and the room's roster and seats are without it.
func (s *stage) out(user int) func() error {
	return func() error {
		for i := 1; i <= 3; i++ {
			u, err := s.user(i, user)
			if err != nil {
				return err
			}
			if u.Online || u.CurrentRoomID != "" || u.CallNo != "" || u.Seat != 0 {
				return fmt.Errorf("by node %d the user is %+v", i, u)
			}
			r, err := s.cluster.room(i, s.room)
			if err != nil {
				return err
			}
			if r.seatOf(user) >= 0 {
				return fmt.Errorf("by node %d the roster has the user", i)
			}
			for _, seat := range r.Seats {
				if seat.UserID == user {
					return fmt.Errorf("by node %d seat %d is the user's", i, seat.ID)
				}
			}
		}
		return nil
	}
}

// C9 and C10: a dropped A is out at once, its seat free; exactly one other
// member is told, and A never, not even when it is back.
func TestDroppedIsOutAndOneIsTold(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		var others []*phone
		for n := range 5 {
			others = append(others, s.relay(n%3+1, nil))
		}
		a := s.come(s.a, fields{"channel_name": "lobby"})
		s.sit(s.b, s.room, 3, a.user)
		s.must(http.MethodPut, s.b, "/v1/rooms/"+s.room+"/seats/3", fields{"microphone": false}, nil)
		a.hang()
		eventually(t, time.Second, s.out(a.user))
		eventually(t, time.Second, func() error { return toldOnce(others, a.user) })
		for _, p := range others {
			for _, f := range p.heardOf("exit_room", a.user) {
				seat, _ := f.fields["room_seat"].(fields)
				if f.fields["channel_name"] != "lobby" || seat["id"] != float64(3) || seat["status"] != float64(1) || seat["microphone"] != false {
					t.Errorf("exit_room is %v", f.fields)
				}
			}
		}
		back := s.dial(a.user, s.a)
		s.enter(s.a, s.room, a.user, nil)
		throughout(t, 6*time.Second, func() error { return toldOnce(others, a.user) })
		for _, p := range []*phone{a, back} {
			if n := len(p.heard("exit_room")); n != 0 {
				t.Errorf("A was told %d departures", n)
			}
		}
	})
}

// toldOnce is nil if exactly one of the phones was told of a user's departure,
// once.
func toldOnce(phones []*phone, user int) error {
	n := 0
	for _, p := range phones {
		n += len(p.heardOf("exit_room", user))
	}
	if n != 1 {
		return fmt.Errorf("departure of user %d told %d times, want 1", user, n)
	}
	return nil
}

// C11 and C12: relays are asked in their order, each 5 s after the one before,
// only those with a live connection; once one has reported, nobody is.
func TestRelaysAreAskedInOrderUntilOneReports(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		latest := func() *phone { return s.come(2, nil) }
		early, second := latest(), s.come(s.b, nil)
		first := s.come(3, nil)
		s.sit(1, s.room, 5, second.user)
		s.sit(1, s.room, 2, first.user)
		h := s.come(s.a, host)
		absent := newUser() // in the room by the backend's word, never connected
		s.enter(1, s.room, absent, host)
		late := latest()
		a := s.come(s.a, nil)

		a.hang()
		order := []*phone{h, first, second, late}
		var before time.Time
		for n, p := range order {
			eventually(t, 7*time.Second, told(p, "exit_room", a.user, 1))
			heard := p.heardOf("exit_room", a.user)[0]
			if gap := heard.at.Sub(before); n > 0 && (gap < 4800*time.Millisecond || gap > 6*time.Second) {
				t.Errorf("relay %d is asked %s after the one before, want 5 s", n+1, gap)
			}
			before = heard.at
			if p == late {
				p.report(heard)
			}
		}
		throughout(t, 11*time.Second, func() error {
			for _, p := range append(order, early) {
				want := 1
				if p == early {
					want = 0
				}
				if err := told(p, "exit_room", a.user, want)(); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// C12: when the relay drops too, the next is asked at once, for both.
func TestRelayThatDropsIsFollowedAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b, c := s.come(s.b, host), s.relay(s.owner, nil)
		a := s.come(s.a, nil)
		a.hang()
		eventually(t, time.Second, told(b, "exit_room", a.user, 1))
		b.hang()
		eventually(t, time.Second, told(c, "exit_room", a.user, 1))
		eventually(t, time.Second, told(c, "exit_room", b.user, 1))
	})
}

// C12 and C17: with nobody reporting, all are asked again from the first until
// 60 s are over, and a call's other party every 5 s, always for the same
// departure.
func TestUnreportedDepartureIsGivenUpAfterAMinute(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b, c := s.come(s.b, host), s.come(s.owner, nil)
		a := s.come(s.a, nil)
		s.call(s.a, a.user, b.user)
		dropped := time.Now()
		a.hang()
		eventually(t, 7*time.Second, told(c, "exit_room", a.user, 1))
		eventually(t, 7*time.Second, told(b, "exit_room", a.user, 2))
		count := func() int {
			return len(b.heard("exit_room")) + len(c.heard("exit_room")) + len(b.heard("hang_up"))
		}
		// 60 s make twelve askings of either kind.
		eventually(t, 60*time.Second, func() error {
			if n := count(); n < 24 {
				return fmt.Errorf("%d askings, want 24", n)
			}
			return nil
		})
		if d := time.Since(dropped); d < 54*time.Second || d > 60*time.Second {
			t.Errorf("the twelfth asking comes after %s, want 55 s", d)
		}
		throughout(t, 11*time.Second, func() error {
			if n := count(); n != 24 {
				return fmt.Errorf("%d askings, want 24", n)
			}
			return nil
		})
		for action, heard := range map[string][]frame{"exit_room": append(b.heard("exit_room"), c.heard("exit_room")...), "hang_up": b.heard("hang_up")} {
			if len(heard) != 12 {
				t.Errorf("%s asked for %d times, want 12", action, len(heard))
			}
			for _, f := range heard {
				if f.fields["departure_id"] != heard[0].fields["departure_id"] {
					t.Errorf("%s changes its departure_id", action)
				}
			}
		}
	})
}

// C11: who has 32 departures unreported is passed over while another is free.
func TestBusyRelayIsPassedOver(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		h := s.come(s.b, host)
		free := s.come(s.owner, nil)
		var leavers []*phone
		for range 33 {
			leavers = append(leavers, s.come(s.a, nil))
		}
		for _, p := range leavers[:32] {
			p.hang()
		}
		// The host was asked first for each; some it may have passed by leaving
		// before it, as the latest to enter.
		eventually(t, 4*time.Second, func() error {
			if n := len(h.heard("exit_room")); n != 32 {
				return fmt.Errorf("the host was asked for %d, want 32", n)
			}
			return nil
		})
		leavers[32].hang()
		eventually(t, 2*time.Second, told(free, "exit_room", leavers[32].user, 1))
		if n := len(h.heardOf("exit_room", leavers[32].user)); n != 0 {
			t.Errorf("the host was asked before, although 32 wait for it")
		}
	})
}

// C13: the last one in a room is out too, and nobody is told.
func TestLastOneLeavesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		a := s.come(s.a, host)
		s.sit(s.b, s.room, 1, a.user)
		a.hang()
		eventually(t, time.Second, s.out(a.user))
		eventually(t, time.Second, func() error {
			if r, err := s.cluster.room(s.b, s.room); err != nil || r.Count != 0 {
				return fmt.Errorf("the room holds %d (%v)", r.Count, err)
			}
			return nil
		})
		b := s.come(s.b, nil)
		throughout(t, time.Second, told(b, "exit_room", a.user, 0))
	})
}

// C15: an exit by the backend is no departure; a drop after it is.
func TestOrderlyExitTellsNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b := s.relay(s.b, host)
		leaves, drops := s.come(s.a, nil), s.come(s.a, nil)
		s.must(http.MethodDelete, s.b, fmt.Sprintf("/v1/rooms/%s/occupants/%d", s.room, leaves.user), nil, nil)
		leaves.hang()
		drops.hang()
		eventually(t, time.Second, told(b, "exit_room", drops.user, 1))
		throughout(t, time.Second, told(b, "exit_room", leaves.user, 0))
		if err := s.out(leaves.user)(); err != nil {
			t.Error(err)
		}
	})
}

// A report of somebody who was not asked counts for nothing.
func TestStrangersReportCountsForNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b, c := s.come(s.b, host), s.relay(s.owner, nil)
		a := s.come(s.a, nil)
		a.hang()
		eventually(t, time.Second, told(b, "exit_room", a.user, 1))
		asked := b.heardOf("exit_room", a.user)[0]
		stranger := s.dial(newUser(), s.a)
		stranger.report(asked)
		c.report(asked)
		eventually(t, 6*time.Second, told(c, "exit_room", a.user, 1))
	})
}
