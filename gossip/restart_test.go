package gossip_test

import (
	"slices"
	"testing"
	"time"

	"github.com/faac1247/rollcall/gossip"
)

// TestFastRestartIsANewLife restarts a node so fast that nobody misses it.
func TestFastRestartIsANewLife(t *testing.T) {
	seeded := func(*gossip.Config) {}
	unseeded := func(cfg *gossip.Config) { cfg.Join = nil }
	for name, restart := range map[string]struct {
		gap   time.Duration
		seeds func(*gossip.Config)
	}{
		"seeds":    {150 * time.Millisecond, seeded},
		"no seeds": {150 * time.Millisecond, unseeded},
		// No probe falls into the gap: only answers to later ones tell.
		"no seeds, at once": {0, unseeded},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				c.startAll(5)
				time.Sleep(20 * time.Second) // the first contacts are over
				old := c.nodes[4]
				rest := c.nodes[:4:4]
				failed := 0
				c.net.Kill(old.host)
				time.Sleep(restart.gap)
				restarted := c.start(4, "b2", restart.seeds)
				took := c.within(2*time.Second, "restart", func() bool {
					failed += rest[0].counts(gossip.Failed)
					return allSee(append(rest, restarted), old.id, "b2", gossip.Alive) &&
						everyoneSees(append(rest, restarted), 5, gossip.Alive)
				})
				t.Logf("known to all after %v", took)
				if failed != 0 {
					t.Error("the restart was seen as a failure")
				}
				if rest[0].View().Alive("n04@b1") || !rest[0].View().Alive("n04@b2") {
					t.Errorf("%v", rest[0].View())
				}
			})
		})
	}
}

func TestRestartAfterFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(4)
		old := c.nodes[3]
		rest := c.nodes[:3]
		c.kill(old)
		c.within(2*time.Second, "failure", func() bool { return allSee(rest, old.id, "b1", gossip.Failed) })
		c.start(3, "b2")
		c.within(2*time.Second, "return", func() bool { return allSee(rest, old.id, "b2", gossip.Alive) })
	})
}

// TestRestartElsewhere brings a node back at another address while its former
// life is still believed alive, as a container that is rescheduled.
func TestRestartElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(4)
		old := c.nodes[3]
		rest := c.nodes[:3]
		c.net.Vanish(old.host)
		time.Sleep(150 * time.Millisecond)
		moved := c.startAt("10.0.9.9", 3, "b2")
		took := c.within(6*time.Second, "move", func() bool { return allSee(rest, old.id, "b2", gossip.Alive) })
		t.Logf("accepted after %v", took)
		if m, _ := rest[0].View().Member(old.id); m.Addr != "10.0.9.9:7946" {
			t.Errorf("listed at %s", m.Addr)
		}
		want := gossip.Conflict{
			Node: "n03", Self: true,
			Listed: gossip.Claim{Addr: "10.0.9.9:7946", Incarnation: "n03@b2"},
			Other:  gossip.Claim{Addr: address(3), Incarnation: "n03@b1"},
		}
		if conflict := firstConflict(t, moved); conflict != want {
			t.Errorf("conflict %+v", conflict)
		}
	})
}

// firstConflict returns the conflict that a node has noticed first.
func firstConflict(t *testing.T, n *node) gossip.Conflict {
	t.Helper()
	select {
	case conflict := <-n.Conflicts():
		if n.Stats().Conflicts == 0 {
			t.Error("a conflict is not counted")
		}
		return conflict
	default:
		t.Errorf("%s at %s has noticed no conflict", n.id, n.host)
		return gossip.Conflict{}
	}
}

// TestReturnElsewhereIsNoConflict once the former life is known to have failed.
func TestReturnElsewhereIsNoConflict(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(4)
		old := c.nodes[3]
		rest := c.nodes[:3:3]
		c.net.Vanish(old.host)
		c.within(2*time.Second, "failure", func() bool { return allSee(rest, old.id, "b1", gossip.Failed) })
		moved := c.startAt("10.0.9.9", 3, "b2")
		took := c.within(5*time.Second, "return", func() bool { return allSee(rest, old.id, "b2", gossip.Alive) })
		t.Logf("accepted after %v", took)
		for _, n := range append(rest, moved) {
			if n.Stats().Conflicts != 0 {
				t.Errorf("%s at %s counts %d conflicts", n.id, n.host, n.Stats().Conflicts)
			}
		}
	})
}

// TestConflict runs two nodes of one name. The incumbent stays, and does not
// suffer when the other gives up.
func TestConflict(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(4)
		honest := slices.Clone(c.nodes)
		double := c.startAt("10.0.9.9", 3, "b9")
		time.Sleep(5 * time.Second)
		if !allSee(honest, "n03", "b1", gossip.Alive) {
			t.Error("the newcomer took the name")
		}
		seed, newcomer := firstConflict(t, honest[0]), firstConflict(t, double)
		if seed.Self || seed.Listed.Incarnation != "n03@b1" || seed.Other.Incarnation != "n03@b9" {
			t.Errorf("the seed reports %+v", seed)
		}
		if !newcomer.Self || newcomer.Listed.Incarnation != "n03@b9" || newcomer.Other.Incarnation != "n03@b1" {
			t.Errorf("the newcomer reports %+v", newcomer)
		}
		before := sinceOf(honest, "n03")
		double.halt(t)
		time.Sleep(3 * time.Second)
		if !allSee(honest, "n03", "b1", gossip.Alive) || !slices.Equal(before, sinceOf(honest, "n03")) {
			t.Error("the goodbye of one was taken for the other's")
		}
	})
}

// TestNewLifeInTheSameProcess is what a node does that finds its tombstone.
func TestNewLifeInTheSameProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(5)
		if err := c.nodes[2].SetMeta(func(m *gossip.Meta) { m.Boot = "b2" }); err != nil {
			t.Fatal(err)
		}
		c.within(time.Second, "new life", func() bool { return allSee(c.nodes, "n02", "b2", gossip.Alive) })
	})
}

// TestRestartWithAnotherShapeEndsTheFormerLife: the newcomer is refused but
// answers probes at the old address, which must not keep the old life alive.
func TestRestartWithAnotherShapeEndsTheFormerLife(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(3)
		rest := c.nodes[:2]
		c.net.Kill(c.nodes[2].host)
		c.start(2, "b2", func(cfg *gossip.Config) { cfg.Meta.Shape.Load = 2 })
		c.within(4*time.Second, "end", func() bool { return allSee(rest, "n02", "b1", gossip.Failed) })
	})
}
