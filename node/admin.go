package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/faac1247/rollcall/internal/api"
	"github.com/faac1247/rollcall/web"
)

// checkTimeout bounds one run of all checks.
const checkTimeout = 5 * time.Second

// newAdmin is the operator's door. Health and metrics are open; all else needs
// a key, or to come from this machine to a door that only this machine reaches.
func newAdmin(n *Node) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", n.healthz)
	mux.HandleFunc("GET /readyz", n.readyz)
	mux.HandleFunc("GET /metrics", n.serveMetrics)
	guarded := http.NewServeMux()
	guarded.HandleFunc("/debug/pprof/", pprof.Index)
	// Not pprof's cmdline: keys may be given as flags.
	guarded.HandleFunc("/debug/pprof/profile", pprof.Profile)
	guarded.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	guarded.HandleFunc("/debug/pprof/trace", pprof.Trace)
	guarded.HandleFunc("GET /debug/check", n.check)
	guarded.HandleFunc("POST /drain", func(w http.ResponseWriter, _ *http.Request) {
		n.Drain()
		w.WriteHeader(http.StatusAccepted)
	})
	guarded.Handle("/v1/", n.through(func(l *life) http.Handler { return l.operator }))
	guarded.Handle("/", web.Handler())
	mux.Handle("/", n.guard(guarded))
	return mux
}

// guard asks for an admin key where the door can be reached from elsewhere.
func (n *Node) guard(next http.Handler) http.Handler {
	open := loopback(n.cfg.Admin) && len(n.cfg.AdminKeys) == 0
	keys := api.NewKeys(n.cfg.AdminKeys)
	// A page of another site reaches an open door from the operator's browser,
	// and a POST of its asks nobody first.
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open && !keys.Admit(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "give an admin key as Authorization: Bearer KEY", http.StatusUnauthorized)
			return
		}
		if open && !localHost(r.Host) {
			http.Error(w, "this door answers to a loopback name only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localHost guards an open door against pages that reach it under a name of
// their own (DNS rebinding).
func localHost(host string) bool {
	if !strings.Contains(host, ":") || strings.HasSuffix(host, "]") {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "0")
	}
	return loopback(host)
}

// healthz answers while the process serves its doors; it never looks at the
// store.
func (n *Node) healthz(w http.ResponseWriter, _ *http.Request) {
	inc := ""
	if l := n.current.Load(); l != nil {
		inc = string(l.inc)
	}
	answer(w, http.StatusOK, map[string]any{"status": "ok", "node": n.cfg.NodeID, "incarnation": inc, "store": n.cfg.StoreKind, "sid_auth": n.cfg.SidAuth})
}

// readyz answers 503 while clients should not be sent here.
func (n *Node) readyz(w http.ResponseWriter, _ *http.Request) {
	status, reason := http.StatusOK, "ready"
	l := n.current.Load()
	switch {
	case l == nil || !l.ready.Load():
		status, reason = http.StatusServiceUnavailable, "starting"
	case l.draining.Load():
		status, reason = http.StatusServiceUnavailable, "draining"
	case !l.members.mayAct():
		status, reason = http.StatusServiceUnavailable, "no lease"
	case !l.members.inRing():
		status, reason = http.StatusServiceUnavailable, "joining"
	}
	answer(w, status, map[string]string{"status": reason})
}

// inRing reports whether the ring gives partitions to this node.
func (m *members) inRing() bool {
	t := m.table()
	self, ok := t.members[m.life.cfg.NodeID]
	return ok && self.inc == m.life.inc && len(t.ring.Owned(m.life.cfg.NodeID)) > 0
}

func (n *Node) serveMetrics(w http.ResponseWriter, r *http.Request) {
	l := n.current.Load()
	if l == nil {
		http.Error(w, "between two lives", http.StatusServiceUnavailable)
		return
	}
	gatherers := prometheus.Gatherers{l.registry}
	if n.cfg.Metrics != nil {
		gatherers = append(gatherers, n.cfg.Metrics)
	}
	promhttp.HandlerFor(gatherers, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
}

func (n *Node) check(w http.ResponseWriter, r *http.Request) {
	faults := []string{}
	for _, err := range n.Check(r.Context()) {
		faults = append(faults, err.Error())
	}
	status := http.StatusOK
	if len(faults) > 0 {
		status = http.StatusInternalServerError
	}
	answer(w, status, map[string]any{"broken": faults})
}

// Check returns every invariant that is broken now.
func (n *Node) Check(ctx context.Context) []error {
	l := n.current.Load()
	if l == nil || !l.ready.Load() {
		return []error{fmt.Errorf("node %s is not serving", n.cfg.NodeID)}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return append(l.owner.Check(ctx), l.edge.Check()...)
}

// answer writes a small JSON document.
func answer(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a reader that is gone needs no answer
}
