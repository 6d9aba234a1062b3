package gossip

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// joinsAtOnce and joinsARound bound one round of joins; of more addresses
	// a random choice is contacted.
	joinsAtOnce = 8
	joinsARound = 16
	// eagerFor is how long after its start, or after a conflict over its name,
	// a node contacts others every eagerPeriod.
	eagerFor    = 10 * time.Second
	eagerPeriod = time.Second
	// joinsBeforeWarning is how many joins in a row nobody must have answered.
	// The first of several nodes that start together hears nobody at first.
	joinsBeforeWarning = 5
	// lookupPatience bounds a round's wait for each name.
	lookupPatience = 2 * time.Second
)

// rejoin contacts whoever should be a member and is not, until ctx ends.
//
// memberlist does not do so: it talks to those that it believes alive, so two
// halves of a cluster that have declared each other dead stay apart after the
// network has healed. It runs also while nobody is missing, because who is
// missing changes.
func (g *Gossip) rejoin(ctx context.Context, list *memberlist.Memberlist) {
	started := time.Now()
	met := false
	for {
		targets := g.missing(ctx)
		eager := time.Since(started) < eagerFor || g.disputed()
		if addr, ok := g.anyone(); ok && eager {
			targets = append(targets, addr)
		}
		if g.join(ctx, list, targets) {
			met = true
		}
		wait := g.config.RejoinInterval
		if eager || (!met && len(g.config.Join) > 0) {
			wait = min(wait, eagerPeriod)
		}
		wait += time.Duration((rand.Float64() - 0.5) * 0.4 * float64(wait))
		if !g.greetFor(ctx, list, wait) {
			return
		}
	}
}

// greetFor contacts those who answered as another life, for as long as the
// pause between two rounds lasts. It returns false when ctx ends.
func (g *Gossip) greetFor(ctx context.Context, list *memberlist.Memberlist, wait time.Duration) bool {
	round := time.NewTimer(wait)
	defer round.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-round.C:
			return true
		case addr := <-g.greet:
			g.join(ctx, list, []string{addr})
		}
	}
}

// missing returns the addresses of seeds that are not alive, and of members
// that failed.
func (g *Gossip) missing(ctx context.Context) []string {
	alive := make(map[string]bool)
	wanted := make(map[string]bool)
	for _, m := range g.View().Members {
		switch m.State {
		case Alive:
			alive[m.Addr] = true
		case Failed:
			wanted[m.Addr] = true
		}
	}
	for _, seed := range g.config.Join {
		for _, addr := range g.resolve(ctx, seed) {
			wanted[addr] = true
		}
	}
	missing := make([]string, 0, len(wanted))
	for addr := range wanted {
		if !alive[addr] {
			missing = append(missing, addr)
		}
	}
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	return missing[:min(len(missing), joinsARound)]
}

// resolve returns the addresses that a seed has now, none if it has none.
func (g *Gossip) resolve(ctx context.Context, seed string) []string {
	host, port, err := splitSeed(seed)
	if err != nil {
		return nil // Validate has let none through
	}
	hosts := []string{host}
	if _, err := netip.ParseAddr(host); err != nil {
		ctx, cancel := context.WithTimeout(ctx, lookupPatience)
		defer cancel()
		if hosts, err = g.config.Resolver.LookupHost(ctx, host); err != nil {
			g.config.Logger.Debug("seed does not resolve", "seed", seed, "error", err)
			return nil
		}
	}
	addrs := make([]string, 0, len(hosts))
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), port).String())
		}
	}
	return addrs
}

// anyone returns the address of a random other member that is alive.
func (g *Gossip) anyone() (string, bool) {
	var others []string
	for _, m := range g.View().Members {
		if m.State == Alive && m.Node != g.config.Node {
			others = append(others, m.Addr)
		}
	}
	if len(others) == 0 {
		return "", false
	}
	return others[rand.IntN(len(others))], true
}

// join exchanges state with each address and reports whether one answered.
func (g *Gossip) join(ctx context.Context, list *memberlist.Memberlist, addrs []string) bool {
	var (
		wait sync.WaitGroup
		slot = make(chan struct{}, joinsAtOnce)
		errs = make([]error, len(addrs))
	)
	for i, addr := range addrs {
		slot <- struct{}{}
		wait.Go(func() {
			defer func() { <-slot }()
			if ctx.Err() == nil {
				_, errs[i] = list.Join([]string{addr})
			}
		})
	}
	wait.Wait()
	if len(addrs) == 0 || ctx.Err() != nil {
		return false
	}
	failures, text := 0, ""
	for _, err := range errs {
		if err != nil {
			failures, text = failures+1, err.Error()
		}
	}
	g.counts.joins.Add(uint64(len(addrs)))
	g.counts.joinFailures.Add(uint64(failures))
	if failures < len(addrs) {
		text = ""
	}
	g.counts.joinError.Store(&text)
	if text == "" {
		g.counts.unanswered.Store(0)
	} else if g.counts.unanswered.Add(1) == joinsBeforeWarning {
		g.config.Logger.Warn("nobody answers a join", "asked", len(addrs), "error", text)
	}
	return failures < len(addrs)
}
