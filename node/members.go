package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/owner"
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
)

const (
	// leaseLength is how long a node may own without the store's word.
	leaseLength = 2 * time.Second
	// leaseInterval is how often the lease is renewed.
	leaseInterval = 500 * time.Millisecond
	// leaseMargin is taken off the lease by the node's own clock, so that it
	// stops before the store lets others go on.
	leaseMargin = 100 * time.Millisecond
	// membershipTick bounds how long a change of the store's state or the end of
	// another's lease goes unnoticed.
	membershipTick = 100 * time.Millisecond
	// isolation is how long others may have the store, or be unseen together
	// with it, before this node gives up what it owns.
	isolation = 3 * time.Second
	// loadInterval is how often the others hear how many connections are here,
	// for each loadMembers that hear it: what everybody tells everybody fills
	// gossip's packets at a hundred members otherwise.
	loadInterval = 2 * time.Second
	loadMembers  = 20
	// awayAfter is how long the store must have been silent to be called away.
	awayAfter = time.Second
)

var (
	// errBuried ends a life that others declared dead.
	errBuried = errors.New("this incarnation has a tombstone")
	// errIsolated ends a life that lost the store while others have it.
	errIsolated = errors.New("cut off from the store, or from everybody")
)

// member is what this node knows of another, gossip and lease together.
type member struct {
	inc   protocol.Incarnation
	meta  gossip.Meta
	alive bool // as gossip sees it
	left  bool // by its own word
	since time.Time
}

// table is an immutable picture of the cluster: the ring and who its nodes are
// now.
type table struct {
	ring       *ring.Ring
	members    map[protocol.NodeID]member
	until      map[protocol.Incarnation]time.Time // leases, as of the last renewal
	tombstones map[protocol.Incarnation]time.Time
}

// owner returns the incarnation that the ring gives a partition to.
func (t *table) owner(p protocol.PartitionID) (protocol.Incarnation, bool) {
	node, ok := t.ring.Owner(p)
	if !ok {
		return "", false
	}
	m, ok := t.members[node]
	return m.inc, ok
}

// members decides who is alive, who owns what, and whether the store is there.
// Its loop is the only writer; others read the table and the flags.
type members struct {
	// set by newMembers
	life     *life
	log      *slog.Logger
	poke     chan struct{}             // something changed; look now
	suspects chan protocol.Incarnation // who may be dead; more than fit are told again

	current atomic.Pointer[table]
	mode    atomic.Int32
	// actUntil is the moment, in nanoseconds of this process's clock, until
	// which this node may own.
	actUntil  atomic.Int64
	storeSkew atomic.Int64 // store's clock less ours, in nanoseconds
	mostSkew  atomic.Int64 // the most that it ever was in this life
	pairs     atomic.Int64 // members that gossip sees alive, self included
	// doubtful is the moment, by the same clock as actUntil, until which this
	// life may be one that others buried in a store that is gone.
	doubtful atomic.Int64

	// owned by run
	leases   protocol.Leases
	renewed  time.Time // when the last renewal that was answered left
	returned time.Time // when the store answered again after having been away
	settling time.Time // when it came back or was replaced: not all may have renewed yet
	away     bool
	missing  time.Time // since when the others have the store and we don't
	hadPeers bool
	known    map[protocol.NodeID]member
	buried   map[protocol.Incarnation]bool // deaths acted upon
	// unburied are incarnations seen alive that have no tombstone.
	unburied map[protocol.Incarnation]bool
	// condemned had a tombstone before the store was replaced.
	condemned map[protocol.Incarnation]bool
	ringNodes []protocol.NodeID
	store     string
	told      time.Time // when the load was advertised
}

// start is the reference of the process's monotonic clock.
func (m *members) nanos() int64 { return int64(time.Since(m.life.born)) }

func newMembers(l *life) *members {
	m := &members{
		life:     l,
		log:      l.log,
		poke:     make(chan struct{}, 1),
		suspects: make(chan protocol.Incarnation, 16),
		known:    make(map[protocol.NodeID]member),
		buried:   make(map[protocol.Incarnation]bool),

		unburied:  make(map[protocol.Incarnation]bool),
		condemned: make(map[protocol.Incarnation]bool),
	}
	empty, err := ring.New(l.cfg.ring(), nil)
	if err != nil {
		panic("an empty ring can't fail: " + err.Error())
	}
	m.current.Store(&table{ring: empty})
	return m
}

func (m *members) table() *table { return m.current.Load() }

// dead reports whether an incarnation has a tombstone.
func (m *members) dead(inc protocol.Incarnation) bool {
	_, ok := m.table().tombstones[inc]
	return ok
}

func (m *members) storeMode() owner.StoreMode { return owner.StoreMode(m.mode.Load()) }
func (m *members) storeAway() bool            { return m.storeMode() != owner.StoreHere }

// mayAct reports whether this node may own and answer now.
func (m *members) mayAct() bool { return m.nanos() < m.actUntil.Load() }

// inDoubt reports whether others may have buried this life in a store that was
// replaced since, whose tombstone they have yet to put back: its lease ended
// before it saw the new store. What it believes of its connections may be old.
func (m *members) inDoubt() bool { return m.nanos() < m.doubtful.Load() }

// now is the store's clock as this node knows it.
func (m *members) now() time.Time { return time.Now().Add(time.Duration(m.storeSkew.Load())) }

// latest is the furthest that the store's clock can have been: a failover may
// set it back, and an epoch that was minted before is not to be minted again.
func (m *members) latest() time.Time {
	return time.Now().Add(time.Duration(m.mostSkew.Load()))
}

// suspect notes that an incarnation may be dead without anybody knowing: it holds
// a partition that this node claims, or is the edge of users in its rooms. Those
// that gossip knows are judged anyway.
func (m *members) suspect(inc protocol.Incarnation) {
	if m.table().members[inc.Node()].inc == inc {
		return
	}
	select {
	case m.suspects <- inc:
	default:
	}
}

func (m *members) look() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// run renews the lease, judges the others and rebuilds the ring, until ctx ends
// or this life is over.
func (m *members) run(ctx context.Context) error {
	renewals := time.NewTicker(leaseInterval)
	defer renewals.Stop()
	ticks := time.NewTicker(membershipTick)
	defer ticks.Stop()
	answers := make(chan renewal, 1)
	asking := false
	ask := func() {
		if !asking {
			asking = true
			go func() { answers <- m.renew(ctx) }()
		}
	}
	defer func() {
		if asking {
			<-answers
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-renewals.C:
			if m.life.owner.Beat() {
				ask()
			} else {
				m.log.Error("a partition loop hangs; the lease is not renewed")
			}
		case a := <-answers:
			asking = false
			if err := m.answered(a); err != nil {
				return err
			}
		case <-m.life.gossip.Changed():
			ask() // a newcomer's lease is in the answer
		case <-m.poke:
		case inc := <-m.suspects:
			m.unburied[inc] = true // judged by its lease and by gossip, as any other
		case <-ticks.C:
		}
		if err := m.judge(ctx); err != nil {
			return err
		}
	}
}

// renewal is the store's answer, and when the question left.
type renewal struct {
	leases protocol.Leases
	err    error
	left   time.Time
}

func (m *members) renew(ctx context.Context) renewal {
	ctx, cancel := context.WithTimeout(ctx, leaseLength/2)
	defer cancel()
	left := time.Now()
	leases, err := m.life.store.Renew(ctx, protocol.LeaseRenewal{Incarnation: m.life.inc, Length: leaseLength})
	return renewal{leases: leases, err: err, left: left}
}

func (m *members) answered(a renewal) error {
	if a.err != nil {
		if errors.Is(a.err, protocol.ErrBuried) {
			if m.life.resigned.Load() {
				return nil // by itself, at the end of a drain
			}
			return errBuried
		}
		if !m.away {
			m.log.Warn("lease not renewed", "err", a.err)
		}
		return nil
	}
	if m.away || m.renewed.IsZero() {
		m.returned = time.Now()
	}
	if m.away {
		m.settling = time.Now()
	}
	first := m.store == ""
	lapsed := a.left.Sub(m.renewed) > leaseLength
	former := m.leases.Tombstones
	m.leases, m.renewed = a.leases, a.left
	skew := int64(a.leases.Now.Sub(a.left.Add(time.Since(a.left) / 2)))
	if first || skew > m.mostSkew.Load() {
		m.mostSkew.Store(skew)
	}
	m.storeSkew.Store(skew)
	m.extend(a.left.Add(leaseLength - leaseMargin))
	if m.store != a.leases.Store {
		m.store = a.leases.Store
		if !first {
			m.log.Warn("the store was replaced; putting back what this node holds")
			m.returned, m.settling = time.Now(), time.Now()
			if lapsed && m.hadPeers {
				m.doubtful.Store(m.nanos() + int64(leaseLength))
			}
			for inc := range former {
				m.condemned[inc] = true // once dead, dead for good
			}
			m.life.restoreStore()
		}
	}
	return nil
}

// extend lets this node act until t at least, and wakes the loops that had to
// park meanwhile.
func (m *members) extend(t time.Time) {
	until := int64(t.Sub(m.life.born))
	if former := m.actUntil.Load(); until > former {
		m.actUntil.Store(until)
		if former <= m.nanos() {
			m.life.owner.Wake()
		}
	}
}

// judge brings table, deaths and store mode up to date.
func (m *members) judge(ctx context.Context) error {
	view := m.life.gossip.View()
	m.observe(view)
	if err := m.judgeStore(); err != nil {
		return err
	}
	m.bury(ctx)
	m.rebuild()
	m.advertiseLoad()
	return nil
}

// advertiseLoad tells the others, every now and then, how many connections are
// here.
func (m *members) advertiseLoad() {
	if time.Since(m.told) < loadInterval*time.Duration(max(1, m.pairs.Load()/loadMembers)) {
		return
	}
	m.told = time.Now()
	n := uint32(m.life.edge.Count())
	m.life.advertise(func(meta *gossip.Meta) { meta.Connections = n })
}

// observe takes over what gossip sees.
func (m *members) observe(view *gossip.View) {
	alive := int64(0)
	for _, seen := range view.Members {
		isAlive := seen.State == gossip.Alive
		if isAlive {
			alive++
		}
		m.unburied[seen.Incarnation] = true
		former, known := m.known[seen.Node]
		if known && former.inc != seen.Incarnation && !isAlive {
			continue // an earlier life's end, told late
		}
		m.known[seen.Node] = member{
			inc: seen.Incarnation, meta: seen.Meta, alive: isAlive, left: seen.State == gossip.Left, since: seen.Since,
		}
		if known && former.inc != seen.Incarnation {
			m.log.Info("member has a new life", "member", seen.Node, "incarnation", seen.Incarnation, "former", former.inc)
		}
	}
	m.pairs.Store(alive)
	if alive > 1 {
		m.hadPeers = true
	}
}

// judgeStore decides what this node may do with respect to the store.
func (m *members) judgeStore() error {
	silent := time.Since(m.renewed)
	if silent < awayAfter {
		m.setAway(false)
		m.missing = time.Time{}
		m.setMode(owner.StoreHere)
		return nil
	}
	m.setAway(true)
	peers, without := 0, 0
	for node, other := range m.known {
		if node == m.life.cfg.NodeID || !other.alive {
			continue
		}
		peers++
		if other.meta.StoreAway {
			without++
		}
	}
	if peers == without && (peers > 0 || !m.hadPeers) {
		m.missing = time.Time{}
		m.extend(time.Now().Add(time.Second))
		m.setMode(owner.StoreAway)
		return nil
	}
	if m.missing.IsZero() {
		m.missing = time.Now()
	}
	if time.Since(m.missing) >= isolation {
		return errIsolated
	}
	return nil
}

func (m *members) setAway(away bool) {
	if m.away == away {
		return
	}
	m.away = away
	if away {
		m.log.Warn("store is away", "since", time.Since(m.renewed).Round(time.Millisecond))
	} else {
		m.log.Info("store is back")
	}
	m.life.advertise(func(meta *gossip.Meta) { meta.StoreAway = away })
}

func (m *members) setMode(mode owner.StoreMode) {
	if owner.StoreMode(m.mode.Swap(int32(mode))) != mode {
		m.log.Info("store mode", "away", mode != owner.StoreHere)
	}
	m.life.owner.SetStoreMode(mode)
	m.life.setStoreAway(mode != owner.StoreHere)
}

// bury writes the tombstones of incarnations whose lease has ended and that
// gossip does not see. After the store has been away, everyone gets the length
// of a lease to renew first.
func (m *members) bury(ctx context.Context) {
	m.condemn(ctx)
	if m.away || time.Since(m.returned) < leaseLength && m.hadPeers {
		m.learnDeaths()
		return
	}
	now := m.leases.Now.Add(time.Since(m.renewed))
	for inc := range m.leases.Until {
		m.unburied[inc] = true
	}
	for inc := range m.leases.Tombstones {
		delete(m.unburied, inc)
	}
	for inc := range m.unburied {
		if until, leased := m.leases.Until[inc]; inc == m.life.inc || leased && !until.Before(now) || m.aliveInGossip(inc) {
			continue
		}
		died, err := m.life.store.Bury(ctx, inc)
		if err != nil {
			m.log.Debug("not buried", "incarnation", inc, "err", err)
			continue
		}
		m.log.Info("member is dead", "incarnation", inc, "died", died)
		m.leases.Tombstones[inc] = died
		delete(m.leases.Until, inc)
		delete(m.unburied, inc)
	}
	m.learnDeaths()
}

// condemn puts back the tombstones that the store has lost, whatever lease their
// incarnations have got since: this node and others have long buried them, and
// will have nothing from them. Who lives on under one finds it, and begins anew.
func (m *members) condemn(ctx context.Context) {
	if m.away {
		return
	}
	for inc := range m.condemned {
		if _, ok := m.leases.Tombstones[inc]; !ok {
			died, err := m.life.store.Resign(ctx, inc)
			if err != nil {
				m.log.Debug("tombstone not put back", "incarnation", inc, "err", err)
				continue
			}
			m.leases.Tombstones[inc] = died
			delete(m.leases.Until, inc)
		}
		delete(m.condemned, inc)
	}
}

func (m *members) aliveInGossip(inc protocol.Incarnation) bool {
	other, ok := m.known[inc.Node()]
	return ok && other.inc == inc && other.alive
}

// learnDeaths tells the rest of the node of tombstones that it has not acted
// upon.
func (m *members) learnDeaths() {
	for inc, died := range m.leases.Tombstones {
		if !m.buried[inc] {
			m.buried[inc] = true
			m.life.died(inc, died)
		}
	}
	for inc := range m.buried {
		if _, ok := m.leases.Tombstones[inc]; !ok && !m.away {
			delete(m.buried, inc) // the store has forgotten it, so may we
		}
	}
}

// rebuild makes a new table when members, leases or tombstones changed what it
// says.
func (m *members) rebuild() {
	nodes := m.serving()
	old := m.table()
	moved := !slices.Equal(nodes, m.ringNodes) || !maps.Equal(old.tombstones, m.leases.Tombstones) || !maps.EqualFunc(old.members, m.known, sameLife)
	if !moved && maps.Equal(old.members, m.known) {
		return
	}
	next := &table{ring: old.ring, members: maps.Clone(m.known), until: maps.Clone(m.leases.Until), tombstones: maps.Clone(m.leases.Tombstones)}
	if !slices.Equal(nodes, m.ringNodes) {
		r, err := ring.New(m.life.cfg.ring(), nodes)
		if err != nil {
			m.log.Error("ring not built; keeping the former one", "nodes", nodes, "err", err)
			return
		}
		m.log.Info("ring", "nodes", nodes, "digest", fmt.Sprintf("%016x", r.Digest()))
		m.ringNodes = nodes
		next.ring = r
		m.life.advertise(func(meta *gossip.Meta) { meta.Digest = r.Digest() })
	}
	m.current.Store(next)
	if !moved {
		return // somebody's figures changed, nobody's place
	}
	m.life.owner.Assign(owner.Assignment{Owner: next.owner, Dead: slices.Sorted(maps.Keys(next.tombstones))})
	m.life.sweeper.look()
}

// serving lists the nodes of the ring, in order: serving, with a lease, and
// neither dead nor gone by their own word. A node that gossip has lost stays
// until its lease has ended too. While the store is away nothing moves, nor
// until everybody had the time to renew in one that came back or was replaced:
// its list of leases is not whole before.
func (m *members) serving() []protocol.NodeID {
	if m.away || time.Since(m.settling) < leaseLength {
		return m.ringNodes
	}
	var nodes []protocol.NodeID
	for node, other := range m.known {
		until, leased := m.leases.Until[other.inc]
		if _, dead := m.leases.Tombstones[other.inc]; dead || !leased {
			continue
		}
		if !other.alive && until.Before(m.leases.Now) {
			continue
		}
		if other.meta.State == gossip.Serving {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

func sameLife(a, b member) bool {
	return a.inc == b.inc && a.alive == b.alive && a.meta.State == b.meta.State
}
