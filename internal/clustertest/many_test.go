package clustertest

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/simnet"
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
)

// manyMembers is the size of the simulated cluster of TestManyMembers.
var manyMembers = flag.Int("many.members", 12, "members of the simulation of gossip and ring")

const (
	// manyLoads is how often a member tells another number of connections, for
	// each manyListeners, as nodes do.
	manyLoads     = 2 * time.Second
	manyListeners = 20
	// manyWatched is for how long the network is watched at rest.
	manyWatched = 60 * time.Second
	// packetHeader is what UDP and IP add to a packet.
	packetHeader = 28
)

// traffic counts what a member sends.
type traffic struct{ packets, packetBytes, streamBytes atomic.Int64 }

// counted is a transport whose traffic is counted.
type counted struct {
	*simnet.Transport
	traffic *traffic
}

func (t counted) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	t.traffic.packets.Add(1)
	t.traffic.packetBytes.Add(int64(len(b)))
	return t.Transport.WriteToAddress(b, a)
}

func (t counted) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := t.Transport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	return countedConn{conn, t.traffic}, nil
}

// countedConn counts both directions for who dialled.
type countedConn struct {
	net.Conn
	traffic *traffic
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.traffic.streamBytes.Add(int64(n))
	return n, err
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.traffic.streamBytes.Add(int64(n))
	return n, err
}

// gossiper is one member: its gossip, and how to end it.
type gossiper struct {
	*gossip.Gossip
	host string
	stop context.CancelFunc
	done chan error
}

// crowdOfMembers is a cluster of members without anything else of a node.
type crowdOfMembers struct {
	t       *testing.T
	net     *simnet.Network
	traffic traffic
	alive   []*gossiper
	gone    []*gossiper // vanished, and perhaps still ending
	born    int
	changed time.Time // the members, last
}

func (c *crowdOfMembers) start() {
	c.t.Helper()
	i := c.born
	c.born++
	address := fmt.Sprintf("10.0.%d.%d", i/200, i%200+1)
	tr, err := c.net.Host(address).Transport(gossipPort)
	if err != nil {
		c.t.Fatal(err)
	}
	g, err := gossip.New(gossip.Config{
		Node: protocol.NodeID(fmt.Sprintf("rollcall-%03d", i)), Transport: counted{tr, &c.traffic},
		Join: []string{"10.0.0.1:7946", "10.0.0.2:7946", "10.0.0.3:7946"}, Logger: slog.New(slog.DiscardHandler),
		Meta: gossip.Meta{
			Boot: "abcdefghij", State: gossip.Serving, Shape: ring.Config{}.Shape(), Format: 1, Version: "v1.0.0",
			Client: "wss://rollcall-000.chat.example.com:443", API: "10.0.0.1:8101",
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &gossiper{Gossip: g, host: address, stop: stop, done: make(chan error, 1)}
	go func() { m.done <- g.Run(ctx) }()
	go func() {
		load := time.NewTicker(manyLoads * time.Duration(max(1, *manyMembers/manyListeners)))
		defer load.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-load.C:
				_ = g.SetMeta(func(m *gossip.Meta) { m.Connections = rand.Uint32N(20_000) }) // it fits
			}
		}
	}()
	c.alive = append(c.alive, m)
	c.changed = time.Now()
}

// vanish takes a member's machine away.
func (c *crowdOfMembers) vanish(i int) {
	m := c.alive[i]
	c.alive = slices.Delete(c.alive, i, i+1)
	c.net.Vanish(m.host)
	c.changed = time.Now()
	m.stop()
	c.gone = append(c.gone, m)
}

// members lists those that one of them sees alive.
func (m *gossiper) members() []protocol.NodeID {
	var list []protocol.NodeID
	for _, seen := range m.View().Members {
		if seen.State == gossip.Alive {
			list = append(list, seen.Node)
		}
	}
	return list
}

// agree waits until all see the members that live, and so have one ring, which
// it returns with how long that took.
func (c *crowdOfMembers) agree(what string) (*ring.Ring, time.Duration) {
	c.t.Helper()
	for {
		want := c.alive[0].members()
		same := len(want) == len(c.alive) && !slices.ContainsFunc(c.alive, func(m *gossiper) bool { return !slices.Equal(m.members(), want) })
		took := time.Since(c.changed)
		if same {
			r, err := ring.New(ring.Config{}, want)
			if err != nil {
				c.t.Fatal(err)
			}
			c.t.Logf("%s: %d members agree after %s", what, len(want), took)
			return r, took
		}
		if took > time.Minute {
			c.t.Fatalf("%s: no agreement within a minute", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// moved logs what a change of members moves, and fails where it is more than a
// change of so many members calls for.
func (c *crowdOfMembers) moved(what string, from, to *ring.Ring, changed int) {
	c.t.Helper()
	n := max(len(from.Members()), len(to.Members()))
	share := float64(len(ring.Diff(from, to))) / float64(to.Partitions())
	most := 0
	for _, m := range to.Members() {
		most = max(most, len(to.Owned(m)))
	}
	full := float64(most) * float64(len(to.Members())) / float64(to.Partitions())
	c.t.Logf("%s: %.2f%% of the partitions move, %.2f%% are the least; the fullest has %.2f of the mean", what, 100*share, 100*float64(changed)/float64(n), full)
	if share > 1.6*float64(changed)/float64(n) || full > 1.26+float64(n)/4093 {
		c.t.Errorf("%s: %.3f of the partitions move for %d of %d members, the fullest has %.2f of the mean", what, share, changed, n, full)
	}
}

// A cluster of many members: how much gossip costs each of them at rest, how
// long all need to know of joins and crashes, and what these move.
//
//	go test ./internal/clustertest -run TestManyMembers -v -many.members=100
func TestManyMembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := *manyMembers
		c := &crowdOfMembers{t: t, net: simnet.New(simnet.Config{
			Quality: simnet.Quality{Latency: 300 * time.Microsecond, Jitter: 400 * time.Microsecond}, Rand: rand.New(rand.NewPCG(1, 1)),
		})}
		defer c.net.Close()
		defer func() {
			for _, m := range slices.Concat(c.alive, c.gone) {
				m.stop()
				<-m.done
			}
		}()
		for range n {
			c.start()
			time.Sleep(50 * time.Millisecond)
		}
		whole, _ := c.agree("all start, one every 50 ms")
		time.Sleep(10 * time.Second)
		c.rest(n)

		c.start()
		joined, took := c.agree("one joins")
		if took > 10*time.Second {
			t.Errorf("a join is known to all after %s", took)
		}
		c.moved("one joins", whole, joined, 1)

		c.vanish(n / 2)
		without, took := c.agree("one vanishes")
		if took > 10*time.Second {
			t.Errorf("a crash is known to all after %s", took)
		}
		c.moved("one vanishes", joined, without, 1)

		tenth := max(1, n/10)
		for range tenth {
			c.vanish(rand.IntN(len(c.alive)))
		}
		rest, took := c.agree("a tenth vanishes at once")
		if took > 20*time.Second {
			t.Errorf("%d crashes are known to all after %s", tenth, took)
		}
		c.moved("a tenth vanishes at once", without, rest, tenth)
	})
}

// rest logs what gossip takes when nothing happens but that loads change.
func (c *crowdOfMembers) rest(n int) {
	count := func() [3]float64 {
		return [3]float64{float64(c.traffic.packets.Load()), float64(c.traffic.packetBytes.Load()), float64(c.traffic.streamBytes.Load())}
	}
	before := count()
	time.Sleep(manyWatched)
	after := count()
	each := func(i int) float64 { return (after[i] - before[i]) / manyWatched.Seconds() / float64(n) }
	c.t.Logf("at rest a member sends %.0f packets/s, %.0f B/s with their headers, and by streams %.0f B/s",
		each(0), each(1)+packetHeader*each(0), each(2))
}
