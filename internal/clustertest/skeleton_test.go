package clustertest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A's process is killed and B, on another node, hears it; then the owner's node
// is killed with another occupant on it, and B still hears it.
func TestDepartureCrossesNodesAndOutlivesTheOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		owner := c.OwnerOf("42")
		b := c.Dial(2, owner%3+1, PhoneOptions{Report: true})
		a := c.Dial(1, (owner+1)%3+1, PhoneOptions{})
		e := c.Dial(5, owner, PhoneOptions{})
		c.Enter(1, "42", 2, map[string]any{"role": "host"})
		c.Enter(1, "42", 1, nil)
		c.Enter(2, "42", 5, nil)

		hung := time.Now()
		a.Hang()
		c.Eventually(time.Second, heard(b, "exit_room", 1, 1))
		t.Logf("told after %s", time.Since(hung))

		killed := time.Now()
		c.Kill(owner)
		e.Hang()
		c.Eventually(20*time.Second, heard(b, "exit_room", 5, 1))
		t.Logf("told after %s", time.Since(killed))
		c.Settle()
		time.Sleep(30 * time.Second)
		if n := len(b.HeardOf("exit_room", 1)); n != 1 {
			t.Errorf("B heard of A %d times, want 1", n)
		}
		if n := len(b.HeardOf("exit_room", 5)); n != 1 {
			t.Errorf("B heard of E %d times, want 1", n)
		}
		if b.Gone() != nil {
			t.Errorf("B lost its connection: %v", b.Gone())
		}
		c.Check()
		b.Hang()
	})
}

// heard is true once p has heard n frames of an action about a user.
func heard(p *Phone, action string, user, n int) func() error {
	return func() error {
		if got := len(p.HeardOf(action, user)); got != n {
			return fmt.Errorf("user %d heard %s of %d %d times, want %d", p.User, action, user, got, n)
		}
		return nil
	}
}
