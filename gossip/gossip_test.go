package gossip_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/protocol"
)

// TestCrashIsKnownToAllInTwoSeconds is the promise that takeover rests on. The
// host vanishes: no reset and no refusal helps the detection.
func TestCrashIsKnownToAllInTwoSeconds(t *testing.T) {
	t.Parallel()
	for trial := range 6 {
		t.Run(fmt.Sprint(trial), func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				c.startAll(10)
				time.Sleep(time.Duration(trial) * 137 * time.Millisecond)
				crashed := c.nodes[3+trial]
				rest := slices.Concat(c.nodes[:3+trial], c.nodes[4+trial:])
				c.net.Vanish(crashed.host)
				took := c.within(2*time.Second, "detection", func() bool {
					return allSee(rest, crashed.id, "b1", gossip.Failed)
				})
				t.Logf("all know after %v", took)
				for _, n := range rest {
					if n.counts(gossip.Failed) != 1 || n.View().Alive(crashed.View().Members[3+trial].Incarnation) {
						t.Errorf("%s sees %v", n.id, n.View())
					}
				}
			})
		})
	}
}

func TestCutHealsWithinTenSeconds(t *testing.T) {
	for name, members := range map[string][2][]int{
		"2/2": {{0, 1}, {2, 3}},
		"3/2": {{0, 1, 2}, {3, 4}},
		"1/4": {{0}, {1, 2, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				left, right := members[0], members[1]
				total := len(left) + len(right)
				// The seed's name is gone once all have met: the far half is
				// found by its former addresses.
				c.net.SetName("seed.test", hostOf(0))
				c.startAll(total, func(cfg *gossip.Config) {
					cfg.Join, cfg.Resolver = []string{"seed.test:7946"}, c.net
				})
				c.net.SetName("seed.test")
				hosts := func(side []int) (out []string) {
					for _, i := range side {
						out = append(out, hostOf(i))
					}
					return out
				}
				c.net.Split(hosts(left), hosts(right))
				took := c.within(15*time.Second, "split", func() bool {
					for i, n := range c.nodes {
						want := len(left)
						if slices.Contains(right, i) {
							want = len(right)
						}
						if n.counts(gossip.Alive) != want {
							return false
						}
					}
					return true
				})
				t.Logf("split after %v", took)
				time.Sleep(time.Minute)
				c.net.Heal()
				took = c.within(10*time.Second, "heal", func() bool {
					return everyoneSees(c.nodes, total, gossip.Alive)
				})
				t.Logf("whole after %v", took)
			})
		})
	}
}

func TestOneWayCutHeals(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(5)
		for i := 1; i < 5; i++ {
			c.net.CutOneWay(hostOf(0), hostOf(i))
		}
		time.Sleep(time.Minute)
		c.net.Heal()
		c.within(10*time.Second, "heal", func() bool { return everyoneSees(c.nodes, 5, gossip.Alive) })
	})
}

func TestPauseIsForgiven(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(4)
		paused := c.nodes[2]
		c.net.Pause(paused.host)
		time.Sleep(5 * time.Second)
		c.net.Resume(paused.host)
		c.within(10*time.Second, "thaw", func() bool { return everyoneSees(c.nodes, 4, gossip.Alive) })
		if !allSee(c.nodes, paused.id, "b1", gossip.Alive) {
			t.Error("a pause changed the life of a node")
		}
	})
}

func TestLeave(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(10)
		leaver := c.nodes[9]
		rest := c.nodes[:9]
		start := time.Now()
		if err := leaver.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("leave returned after %v", time.Since(start))
		took := c.within(time.Second, "leave", func() bool { return allSee(rest, leaver.id, "b1", gossip.Left) })
		t.Logf("known to all after %v", took)
		if err := leaver.Leave(t.Context()); err != nil {
			t.Errorf("second leave: %v", err)
		}
		start = time.Now()
		leaver.halt(t)
		t.Logf("run ended after %v", time.Since(start))
		if err := leaver.Leave(t.Context()); !errors.Is(err, gossip.ErrNotRunning) {
			t.Errorf("leave after the end: %v", err)
		}
		if view := leaver.View(); len(view.Members) != 10 {
			t.Errorf("the view was not frozen: %v", view)
		}
		c.start(9, "b2")
		c.within(2*time.Second, "return", func() bool { return allSee(rest, leaver.id, "b2", gossip.Alive) })
	})
}

func TestStopSaysGoodbyeUnlessACrashIsWanted(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(3, func(cfg *gossip.Config) { cfg.CrashOnStop = cfg.Node == "n02" })
		c.nodes[1].halt(t)
		c.within(time.Second, "goodbye", func() bool { return c.nodes[0].sees("n01", "b1", gossip.Left) })
		c.nodes[2].halt(t)
		c.within(2*time.Second, "crash", func() bool { return c.nodes[0].sees("n02", "b1", gossip.Failed) })
	})
}

func TestMetaReachesAll(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(10)
		n := c.nodes[4]
		for i := range 1000 {
			err := n.SetMeta(func(m *gossip.Meta) { m.Connections, m.State = uint32(i), gossip.Draining })
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		c.within(time.Second, "meta", func() bool {
			for _, other := range c.nodes {
				m, _ := other.View().Member(n.id)
				if m.Meta.Connections != 999 || m.Meta.State != gossip.Draining {
					return false
				}
			}
			return true
		})
		if updates := n.Stats().Updates; updates > 8 {
			t.Errorf("%d updates in one second", updates)
		}
		before := n.Stats().Updates
		_ = n.SetMeta(func(*gossip.Meta) {})
		time.Sleep(time.Second)
		if n.Stats().Updates != before {
			t.Error("no change is advertised as one")
		}
	})
}

func TestSetMetaRefusesWhatCannotBeSaid(t *testing.T) {
	t.Parallel()
	g, err := gossip.New(config(1, "b1"))
	if err != nil {
		t.Fatal(err)
	}
	before := g.Meta()
	err = g.SetMeta(func(m *gossip.Meta) { m.Client = string(make([]byte, 600)) })
	if !errors.Is(err, gossip.ErrMetaTooLong) {
		t.Errorf("too long: %v", err)
	}
	err = g.SetMeta(func(m *gossip.Meta) { m.Shape.Partitions++ })
	if !errors.Is(err, gossip.ErrOtherShape) {
		t.Errorf("another shape: %v", err)
	}
	if g.Meta() != before {
		t.Error("a refused change was made")
	}
}

func TestOtherShapeIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(3)
		honest := slices.Clone(c.nodes)
		other := c.start(3, "b1", func(cfg *gossip.Config) { cfg.Meta.Shape.Partitions = 271 })
		time.Sleep(20 * time.Second)
		if !everyoneSees(honest, 3, gossip.Alive) || other.counts(gossip.Alive) != 1 {
			t.Errorf("%v\n%v", honest[0].View(), other.View())
		}
		text := other.Stats().JoinError
		if !bytes.Contains([]byte(text), []byte("cluster shape differs")) || !bytes.Contains([]byte(text), []byte("271")) {
			t.Errorf("the refused node is told %q", text)
		}
		if honest[0].Stats().Refused == 0 {
			t.Error("the refusal is not counted")
		}
	})
}

func TestLabelsKeepClustersApart(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		for i := range 4 {
			c.start(i, "b1", func(cfg *gossip.Config) {
				cfg.Label = []string{"red", "blue"}[i%2]
				cfg.Join = []string{address(0), address(1)}
			})
		}
		time.Sleep(15 * time.Second)
		for i, n := range c.nodes {
			if n.counts(gossip.Alive) != 2 || !n.sees(c.nodes[(i+2)%4].id, "b1", gossip.Alive) {
				t.Errorf("%s sees %v", n.id, n.View())
			}
		}
	})
}

func TestKeysAreReplacedWithoutAPause(t *testing.T) {
	old, fresh := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 16)
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(4, func(cfg *gossip.Config) { cfg.Keys = [][]byte{old} })
		stranger := c.start(4, "b1") // has no key
		for _, step := range []func(*gossip.Gossip) error{
			func(g *gossip.Gossip) error { return g.AddKey(fresh) },
			func(g *gossip.Gossip) error { return g.UseKey(fresh) },
			func(g *gossip.Gossip) error { return g.RemoveKey(old) },
			func(g *gossip.Gossip) error { return g.SetKeys([][]byte{fresh, old}) },
			func(g *gossip.Gossip) error { return g.SetKeys([][]byte{old, fresh}) },
			func(g *gossip.Gossip) error { return g.SetKeys([][]byte{fresh, old}) },
			func(g *gossip.Gossip) error { return g.SetKeys([][]byte{fresh}) },
		} {
			for _, n := range c.nodes[:4] {
				if err := step(n.Gossip); err != nil {
					t.Fatal(err)
				}
				for range 100 {
					time.Sleep(20 * time.Millisecond)
					if !everyoneSees(c.nodes[:4], 4, gossip.Alive) {
						t.Fatal("a member was lost on the way")
					}
				}
			}
		}
		c.start(5, "b1", func(cfg *gossip.Config) { cfg.Keys = [][]byte{old} })
		newest := c.start(6, "b1", func(cfg *gossip.Config) { cfg.Keys = [][]byte{fresh} })
		time.Sleep(5 * time.Second)
		if !everyoneSees(append(c.nodes[:4:4], newest), 5, gossip.Alive) {
			t.Errorf("%v", c.nodes[0].View())
		}
		if stranger.counts(gossip.Alive) != 1 {
			t.Error("a node without a key came in")
		}
		if err := stranger.AddKey(fresh); !errors.Is(err, gossip.ErrNoKeys) {
			t.Errorf("a key where there are none: %v", err)
		}
		if err := newest.RemoveKey(fresh); err == nil {
			t.Error("the key in use was removed")
		}
		for _, keys := range [][][]byte{nil, {old, old[:5]}} {
			if err := newest.SetKeys(keys); err == nil {
				t.Errorf("%d keys were set", len(keys))
			}
		}
	})
}

// TestSeedsAreResolvedAnew moves a seed's name while the node runs.
func TestSeedsAreResolvedAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		named := func(cfg *gossip.Config) {
			cfg.Join, cfg.Resolver = []string{"seed.test:7946"}, c.net
		}
		first := c.start(0, "b1", named)
		second := c.start(1, "b1", named)
		time.Sleep(30 * time.Second)
		if first.counts(gossip.Alive) != 1 {
			t.Fatal("they met without a seed")
		}
		c.net.SetName("seed.test", hostOf(0), hostOf(1))
		c.within(10*time.Second, "meeting", func() bool { return everyoneSees(c.nodes, 2, gossip.Alive) })
		if first.Stats().Joins == 0 && second.Stats().Joins == 0 {
			t.Error("no join is counted")
		}
	})
}

func TestNobodyIsContactedForNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(4)
		time.Sleep(30 * time.Second)
		before := c.nodes[3].Stats().Joins
		time.Sleep(time.Minute)
		if after := c.nodes[3].Stats().Joins; after != before {
			t.Errorf("%d joins in a whole cluster", after-before)
		}
	})
}

func TestFormerMembersAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.startAll(3, func(cfg *gossip.Config) { cfg.FormerFor = time.Minute })
		c.kill(c.nodes[2])
		time.Sleep(50 * time.Second)
		if !c.nodes[0].sees("n02", "b1", gossip.Failed) {
			t.Error("forgotten too early")
		}
		time.Sleep(30 * time.Second)
		if _, ok := c.nodes[0].View().Member("n02"); ok {
			t.Error("never forgotten")
		}
	})
}

func TestViewsAreImmutableAndSignalled(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		n := c.start(0, "b1")
		if len(n.View().Members) != 0 || n.Health() != 0 {
			t.Error("there is a view before there is a network")
		}
		<-n.Changed()
		first := n.View()
		if len(first.Members) != 1 || first.Members[0].Addr != address(0) || first.Version == 0 {
			t.Errorf("first view %v", first)
		}
		c.start(1, "b1")
		<-n.Changed()
		if second := n.View(); len(second.Members) != 2 || second.Version <= first.Version || len(first.Members) != 1 {
			t.Errorf("first %v, second %v", first, second)
		}
		synctest.Wait()
	})
}

func TestRunRunsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		n := c.start(0, "b1")
		<-n.Changed()
		if err := n.Run(t.Context()); err == nil {
			t.Error("it runs twice")
		}
	})
	g, err := gossip.New(config(1, "b1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Leave(context.Background()); !errors.Is(err, gossip.ErrNotRunning) {
		t.Errorf("leave before run: %v", err)
	}
}

func TestFormatIsTheLowestOfTheLiving(t *testing.T) {
	t.Parallel()
	member := func(id string, format uint8, state gossip.MemberState) gossip.Member {
		return gossip.Member{Node: protocol.NodeID(id), State: state, Meta: gossip.Meta{Format: format}}
	}
	v := &gossip.View{Members: []gossip.Member{
		member("a", 3, gossip.Alive), member("b", 1, gossip.Failed), member("c", 2, gossip.Alive),
	}}
	if v.Format() != 2 || (&gossip.View{}).Format() != 0 {
		t.Errorf("formats %d and %d", v.Format(), (&gossip.View{}).Format())
	}
}
