package gossip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/faac1247/rollcall/protocol"
)

var (
	// ErrOtherShape means that a member computes another ring.
	ErrOtherShape = errors.New("cluster shape differs")
	// ErrNotRunning means that Run has not started or has returned.
	ErrNotRunning = errors.New("gossip is not running")
)

// conflictsKept bounds the conflicts that wait for their reader; more are
// counted only.
const conflictsKept = 16

// conflictFresh is how long after a conflict over its own name a node is not
// sure of it: it contacts the others more often, and stops without a goodbye,
// which would be taken for the other's.
const conflictFresh = 15 * time.Second

// Gossip keeps one node in touch with the others.
type Gossip struct {
	// Set by New.
	config  Config
	shape   protocol.ClusterShape
	roster  *roster
	keyring *memberlist.Keyring
	logger  *lineLogger

	conflicts chan Conflict
	greet     chan string     // addresses to contact at once
	dirty     chan struct{}   // the meta has changed
	leaving   chan chan error // asks to leave
	stopped   chan struct{}   // closed when Run returns

	started      atomic.Bool
	list         atomic.Pointer[memberlist.Memberlist]
	encoded      atomic.Pointer[[]byte]
	boot         atomic.Pointer[string]
	lastConflict atomic.Int64 // unix nanoseconds, of this node's own name
	counts       counts

	// Guarded by metaMu.
	metaMu sync.Mutex
	meta   Meta
}

// Conflict is one name claimed from two addresses. The member that is listed
// keeps it; the other becomes a member once the listed one has left, or has
// failed and two seconds have passed.
//
// It is either a node that came back elsewhere before it was missed, which
// passes, or two nodes configured with one id. The lease tells which.
type Conflict struct {
	Node protocol.NodeID
	// Self: the name is this node's own.
	Self bool
	// Listed holds the name as far as this node knows, Other claims it.
	Listed, Other Claim
}

// Claim is an address from which a name is claimed.
type Claim struct {
	Addr        string
	Incarnation protocol.Incarnation
}

// Stats counts what happened since Run.
type Stats struct {
	// Joins are the addresses contacted because they were not alive in the
	// view; JoinFailures those that did not answer or refused.
	Joins, JoinFailures uint64
	// JoinError is one reason why the last round of joins reached nobody, empty
	// when it reached somebody. A round with nobody to reach leaves it.
	JoinError string
	// Refused counts the messages about members that must not be in this
	// cluster, RefusedStreams the streams beyond the bound.
	Refused, RefusedStreams uint64
	// Conflicts counts claims of a live member's name from another address.
	Conflicts uint64
	// Updates counts the changes of this node's meta that were advertised.
	Updates uint64
}

type counts struct {
	joins, joinFailures     atomic.Uint64
	refused, refusedStreams atomic.Uint64
	conflicts, updates      atomic.Uint64
	joinError               atomic.Pointer[string]
	unanswered              atomic.Int64 // joins in a row that nobody answered
}

// New returns a Gossip for one life of a node. It opens nothing until Run.
func New(cfg Config) (*Gossip, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gossip config: %w", err)
	}
	cfg = cfg.withDefaults()
	g := &Gossip{
		config:    cfg,
		shape:     cfg.Meta.Shape,
		roster:    newRoster(),
		logger:    newLineLogger(cfg.Logger),
		conflicts: make(chan Conflict, conflictsKept),
		greet:     make(chan string, conflictsKept),
		dirty:     make(chan struct{}, 1),
		leaving:   make(chan chan error),
		stopped:   make(chan struct{}),
	}
	if len(cfg.Keys) > 0 {
		ring, err := memberlist.NewKeyring(cfg.Keys, cfg.Keys[0])
		if err != nil {
			return nil, fmt.Errorf("gossip keys: %w", err)
		}
		g.keyring = ring
	}
	if err := g.SetMeta(func(m *Meta) { *m = cfg.Meta }); err != nil {
		return nil, err
	}
	return g, nil
}

// Run gossips until ctx ends, then says goodbye unless the configuration or a
// conflict over the node's name forbids it, and returns after everything has
// ended. It may be called once.
//
// A goodbye takes about half a second, and what memberlist leaves behind up to
// as much again.
func (g *Gossip) Run(ctx context.Context) error {
	if !g.started.CompareAndSwap(false, true) {
		return errors.New("gossip runs once")
	}
	defer close(g.stopped)
	defer g.roster.close()
	defer g.logger.mute()
	list, err := g.create(ctx)
	if err != nil {
		return err
	}
	g.list.Store(list)

	var loops sync.WaitGroup
	loops.Go(func() { g.rejoin(ctx, list) })
	loops.Go(func() { g.herald(ctx) })
	g.advertise(ctx, list)
	if !g.config.CrashOnStop {
		_ = g.goodbye(list) // late or not, the end comes
	}
	g.roster.close()
	g.logger.mute()
	probe := time.Duration(min(list.GetHealthScore()+2, maxHealth)) * probeInterval
	_ = list.Shutdown() // closes the transport, which ends every wait but a probe's
	loops.Wait()
	// memberlist does not say when its loops have ended. The last to end is a
	// probe under way, which waits for its interval times the health score.
	time.Sleep(probe)
	return nil
}

// create opens the network and memberlist on it.
func (g *Gossip) create(ctx context.Context) (*memberlist.Memberlist, error) {
	logger := g.logger.std()
	t, err := newTransport(ctx, g.config, logger, &g.counts.refusedStreams)
	if err != nil {
		return nil, err
	}
	list, err := memberlist.Create(g.settings(t))
	if err != nil {
		t.abandon()
		return nil, fmt.Errorf("start gossip of %s: %w", g.config.Node, err)
	}
	return list, nil
}

// settings returns memberlist's configuration.
func (g *Gossip) settings(t *transport) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = string(g.config.Node)
	c.Label = g.config.Label
	c.Keyring = g.keyring
	c.Transport = t
	c.Logger = g.logger.std()

	c.ProbeInterval = probeInterval
	c.ProbeTimeout = probeTimeout
	c.GossipInterval = gossipInterval
	c.SuspicionMult = suspicionMult
	c.SuspicionMaxTimeoutMult = suspicionMaxMult
	c.AwarenessMaxMultiplier = maxHealth
	c.PushPullInterval = pushPullInterval
	c.TCPTimeout = streamTimeout
	c.DeadNodeReclaimTime = nameReclaimedAfter
	c.EnableCompression = false // metas are small, and so are the machines at their worst

	d := delegate{g}
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict, c.Ping = d, d, d, d, d, d
	return c
}

// View returns the current view. It has no members before Run has bound.
func (g *Gossip) View() *View { return g.roster.view.Load() }

// Changed returns a channel that says that there is a new view, or several.
// It has one place and one reader.
func (g *Gossip) Changed() <-chan struct{} { return g.roster.changed }

// Conflicts returns the claims of a live member's name from another address.
// They are repeated for as long as they last; those that find the channel full
// are counted only.
func (g *Gossip) Conflicts() <-chan Conflict { return g.conflicts }

// Health returns how badly this node keeps up with its probes: 0 is well,
// from 1 on it waits longer before it suspects others.
func (g *Gossip) Health() int {
	if list := g.list.Load(); list != nil {
		return list.GetHealthScore()
	}
	return 0
}

// Stats returns the counters as they stand.
func (g *Gossip) Stats() Stats {
	s := Stats{
		Joins:          g.counts.joins.Load(),
		JoinFailures:   g.counts.joinFailures.Load(),
		Refused:        g.counts.refused.Load(),
		RefusedStreams: g.counts.refusedStreams.Load(),
		Conflicts:      g.counts.conflicts.Load(),
		Updates:        g.counts.updates.Load(),
	}
	if text := g.counts.joinError.Load(); text != nil {
		s.JoinError = *text
	}
	return s
}

// conflict records a claim of a name that a live member has. Claims of a name
// whose holder is known to have gone are that node coming back.
func (g *Gossip) conflict(listed, other Claim) {
	node := listed.Incarnation.Node()
	if m, ok := g.View().Member(node); ok && m.State != Alive {
		return
	}
	g.counts.conflicts.Add(1)
	c := Conflict{Node: node, Self: node == g.config.Node, Listed: listed, Other: other}
	if c.Self {
		g.lastConflict.Store(time.Now().UnixNano())
	}
	select {
	case g.conflicts <- c:
	default:
	}
}

// disputed reports whether this node's name was claimed by another lately.
func (g *Gossip) disputed() bool {
	last := g.lastConflict.Load()
	return last != 0 && time.Since(time.Unix(0, last)) < conflictFresh
}
