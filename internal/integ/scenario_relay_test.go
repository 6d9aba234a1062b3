package integ

import (
	"errors"
	"testing"
	"time"
)

// Scenario 8: A drops, returns and drops again while the first relay is silent.
// Nobody is asked after the return, the second departure is its own, and
// neither a stranger's report counts nor one of the first departure.
func TestScenario8DropReturnDrop(t *testing.T) {
	t.Parallel()
	c := share(t, both)
	s := &stage{cluster: c, room: c.roomAt(2), owner: 2}
	silent := s.come(2, host)
	second := s.come(3, nil)
	stranger := s.dial(newUser(), 1)
	s.enter(1, newRoom(), stranger.user, nil)
	a := s.come(1, nil)

	asked := func(first, next int) error {
		return errors.Join(told(silent, "exit_room", a.user, first)(), told(second, "exit_room", a.user, next)())
	}
	a.hang()
	eventually(t, 3*time.Second, func() error { return asked(1, 0) })
	old := silent.heardOf("exit_room", a.user)[0]
	a = s.dial(a.user, 2)
	s.enter(2, s.room, a.user, nil)
	throughout(t, 7*time.Second, func() error { return asked(1, 0) }) // longer than a relay has to report

	a.hang()
	eventually(t, 3*time.Second, func() error { return asked(2, 0) })
	again := silent.heardOf("exit_room", a.user)[1]
	if id := again.fields["departure_id"]; id == nil || id == old.fields["departure_id"] {
		t.Errorf("the second departure has the id %v, the first had %v", id, old.fields["departure_id"])
	}
	stranger.report(again)
	silent.report(old)
	eventually(t, 10*time.Second, func() error { return asked(2, 1) })
	if id := second.heardOf("exit_room", a.user)[0].fields["departure_id"]; id != again.fields["departure_id"] {
		t.Errorf("the next relay is asked for %v, the first was for %v", id, again.fields["departure_id"])
	}
	second.report(again)
	throughout(t, 7*time.Second, func() error { return asked(2, 1) })
	stands(t, silent, second, stranger)
	c.check()
}
