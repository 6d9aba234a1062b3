package clustertest

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// freezes are how long nodes are frozen: within the lease, just within it, past
// it, up to the end of the crash grace, and far beyond it.
var freezes = []time.Duration{800 * time.Millisecond, 1900 * time.Millisecond, 3 * time.Second, 11 * time.Second, 25 * time.Second}

// Scenario 2: a node is frozen under clients that keep pinging into the frozen
// sockets. Under 2 s nothing moves; after the thaw nobody who is there is
// expelled, no frame of a former epoch arrives after one of a later, and who was
// expelled does not reappear. Here a frozen node's own clock runs on; in
// package integ it stops.
func TestScenario2FrozenNode(t *testing.T) {
	for _, frozen := range freezes {
		t.Run(frozen.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) { frozenNode(t, frozen) })
		})
	}
}

// Users of the frozen node: one who goes elsewhere when it takes too long, one
// whose app does not notice, and one who leaves for good.
const (
	impatient = iota + 1
	patient
	leaver
)

func frozenNode(t *testing.T, frozen time.Duration) {
	c := New(t, 3, Options{})
	room := c.roomsByOwner()[2]
	host := c.Dial(99, 1, PhoneOptions{Report: true, Query: "&v=2"})
	c.Enter(1, room, 99, map[string]any{"role": "host"})
	for user := impatient; user <= leaver; user++ {
		c.Keep(c.Dial(user, 2, PhoneOptions{Query: "&v=2"}))
		c.Enter(1, room, user, nil)
	}
	before := c.epoch(1, room)

	began := time.Now()
	c.freeze(2)
	c.phones[leaver].Hang()
	if frozen > 2*time.Second {
		time.Sleep(1500 * time.Millisecond)
		c.phones[impatient].Hang()
		c.Keep(c.Dial(impatient, 3, PhoneOptions{Query: "&v=2"}))
	}
	time.Sleep(frozen - time.Since(began))
	lost := len(host.HeardOf("exit_room", patient)) > 0
	if want := frozen > 20*time.Second; lost != want {
		t.Errorf("after %s the room was told of who pings in vain: %t, want %t", frozen, lost, want)
	}
	c.thaw(2)
	time.Sleep(500 * time.Millisecond)
	c.afterThaw(t, frozen, room, before)
	c.Eventually(20*time.Second, heard(host, "exit_room", leaver, 1))
	c.Settle()
	for range 25 {
		time.Sleep(time.Second)
		users, _ := c.roster(1, room)
		if slices.Contains(users, leaver) || lost && slices.Contains(users, patient) {
			t.Fatalf("the roster has %v again", users)
		}
	}
	if n := len(host.HeardOf("exit_room", impatient)); n != 0 {
		t.Errorf("%d departures told of a user who came back", n)
	}
	if n := len(host.HeardOf("exit_room", patient)); !lost && n != 0 || n > 1 {
		t.Errorf("%d departures told of a user who pinged all the time", n)
	}
	for _, user := range []int{impatient, patient} {
		if err := c.agreed(user, []string{room}); err != nil {
			t.Error(err)
		}
	}
	epochsRise(t, host)
	c.Check()
	host.Hang()
	c.Release()
}

// afterThaw looks at who lost connection or room, and has who lost the
// connection come back.
func (c *Cluster) afterThaw(t *testing.T, frozen time.Duration, room string, before int64) {
	t.Helper()
	if frozen < 2*time.Second {
		if after := c.epoch(1, room); after != before {
			t.Errorf("the room changed its owner in a pause of %s", frozen)
		}
		for _, user := range []int{impatient, patient} {
			if c.phones[user].Gone() != nil {
				t.Errorf("user %d lost its connection in a pause of %s", user, frozen)
			}
		}
		return
	}
	if after := c.epoch(1, room); after <= before {
		t.Errorf("epoch %d after a pause of %s, was %d", after, frozen, before)
	}
	// The life that was buried sends its clients away.
	c.Eventually(5*time.Second, func() error {
		if c.phones[patient].Gone() == nil {
			return errors.New("the patient client still holds the socket of a buried life")
		}
		return nil
	})
	c.phones[patient].Hang()
	c.Keep(c.Dial(patient, 1, PhoneOptions{Query: "&v=2"}))
}

// epochsRise fails the test where a frame of a former epoch arrived after one
// of a later.
func epochsRise(t *testing.T, p *Phone) {
	t.Helper()
	last := 0.0
	for _, f := range p.Heard("") {
		if e, ok := f.Fields["epoch"].(float64); ok {
			if e < last {
				t.Errorf("user %d: a frame of epoch %v after one of %v", p.User, e, last)
			}
			last = e
		}
	}
}

// Scenario 2 with a node alone: there is nobody to take over, so nothing moves
// at all.
func TestScenario2FrozenAlone(t *testing.T) {
	for _, frozen := range freezes[:4] {
		t.Run(frozen.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := New(t, 1, Options{})
				host := c.Keep(c.Dial(99, 1, PhoneOptions{Report: true}))
				c.Enter(1, "r1", 99, map[string]any{"role": "host"})
				c.Keep(c.Dial(patient, 1, PhoneOptions{}))
				c.Enter(1, "r1", patient, nil)
				before := c.epoch(1, "r1")
				c.freeze(1)
				time.Sleep(frozen)
				c.thaw(1)
				c.Eventually(5*time.Second, func() error { return c.agreed(patient, []string{"r1"}) })
				time.Sleep(25 * time.Second)
				if err := c.agreed(patient, []string{"r1"}); err != nil {
					t.Error(err)
				}
				for user, p := range c.phones {
					if p.Gone() != nil {
						t.Errorf("user %d lost its connection: %v", user, p.Gone())
					}
				}
				if n := len(host.Heard("exit_room")); n != 0 {
					t.Errorf("%d departures told", n)
				}
				if after := c.epoch(1, "r1"); after != before {
					t.Errorf("epoch %d, was %d", after, before)
				}
				c.Check()
				c.Release()
			})
		})
	}
}
