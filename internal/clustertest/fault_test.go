package clustertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/internal/simnet"
	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
)

// running counts the nodes that run.
func (w *world) running() int { return len(w.nodes) }

func (w *world) fault(st step) {
	n := st.Node
	switch st.Kind {
	case "kill", "drain":
		if w.nodes[n] == nil || w.running() < 3 {
			return
		}
		if st.Kind == "kill" {
			w.Kill(n)
		} else {
			w.Drain(n)
		}
		w.until(st.For, n, func() { w.Start(n) })
	case "restart":
		if w.nodes[n] == nil || w.running() < 3 {
			return
		}
		w.Kill(n)
		time.Sleep(150 * time.Millisecond)
		w.Start(n)
		w.faults = append(w.faults, fault{node: n, from: time.Now().Add(-time.Second), to: time.Now().Add(3 * time.Second)})
	case "freeze":
		w.freeze(n)
		w.depot.setSilent(n, true)
		w.until(st.For, n, func() {
			w.depot.setSilent(n, false)
			w.thaw(n)
		})
	case "cut":
		w.Cut(n, st.Other)
		w.until(st.For, -1, w.Heal)
	case "oneway":
		w.Net.CutOneWay(host(n), host(st.Other))
		w.until(st.For, -1, w.Heal)
	case "slowlink":
		w.Net.SetLink(host(n), host(st.Other), simnet.Quality{Latency: 150 * time.Millisecond, Jitter: 150 * time.Millisecond})
		w.until(st.For, -1, func() { w.Net.SetLink(host(n), host(st.Other), simnet.Quality{}) })
	case "storeslow":
		w.depot.setLatency(min(st.For/50, 250*time.Millisecond))
		w.until(st.For, 0, func() { w.depot.setLatency(0) })
	case "storepaused":
		w.depot.setPaused(true)
		w.until(st.For, 0, func() { w.depot.setPaused(false) })
	case "storeaway":
		w.depot.setAway(true)
		w.until(st.For, 0, func() { w.depot.setAway(false) })
	case "nodestoreaway":
		w.depot.setNodeAway(n, true)
		w.until(st.For, n, func() { w.depot.setNodeAway(n, false) })
	case "answerslost":
		w.depot.setAnswersLost(n, true)
		w.until(min(st.For, time.Second), n, func() { w.depot.setAnswersLost(n, false) })
	case "refused", "doubled", "late", "lost":
		w.posts[n].set(st.Kind)
		w.until(min(st.For, 5*time.Second), n, func() { w.posts[n].set("") })
	case "flush":
		w.lossy = true
		w.depot.flush()
		w.faults = append(w.faults, fault{node: 0, from: time.Now(), to: time.Now().Add(5 * time.Second)})
	case "rollback":
		w.lossy = true
		failover := w.depot.snapshot()
		w.until(min(st.For, 500*time.Millisecond), 0, func() { failover(0) })
	case "failover": // to a replica that lacks the tail and whose clock is behind
		w.lossy = true
		failover := w.depot.snapshot()
		w.until(min(st.For, 500*time.Millisecond), 0, func() { failover(st.For / 10) })
	}
}

// bad reports whether a node did not work for its clients at some time.
func (w *world) bad(node int, from, to time.Time) bool {
	return slices.ContainsFunc(w.faults, func(f fault) bool {
		return f.node >= 0 && (f.node == 0 || f.node == node) && f.from.Before(to) && f.to.Add(3*time.Second).After(from)
	})
}

// post is a node's way to the others, which may fail in its own ways.
type post struct {
	node.Store

	mu    sync.Mutex
	fault string
	count int
}

// wrap puts a post between node n and its store.
func (w *world) wrap(n int, s node.Store) node.Store {
	p := w.posts[n]
	if p == nil {
		p = &post{}
		w.posts[n] = p
	}
	p.Store = s
	return p
}

func (p *post) set(fault string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// next returns the fault that the next message meets: two of three get through
// unharmed.
func (p *post) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if p.count%3 != 0 {
		return ""
	}
	return p.fault
}

// Publish implements inbox.Transport.
func (p *post) Publish(ctx context.Context, to protocol.Incarnation, payload []byte) (int, error) {
	switch p.next() {
	case "refused": // as a store answers that loads its data, or is out of memory
		return 0, fmt.Errorf("LOADING or OOM: %w", protocol.ErrStoreAway)
	case "lost":
		return 1, nil
	case "late":
		time.AfterFunc(700*time.Millisecond, func() { _, _ = p.Store.Publish(context.WithoutCancel(ctx), to, payload) })
		return 1, nil
	case "doubled":
		if _, err := p.Store.Publish(ctx, to, slices.Clone(payload)); err != nil {
			return 0, err
		}
	}
	return p.Store.Publish(ctx, to, payload)
}
