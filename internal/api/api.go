package api

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/protocol"
)

// Config of an API. The interfaces but Chats are required; all else works as zero.
type Config struct {
	Rooms   Rooms
	Places  Places
	Users   Users
	Cluster Cluster
	Events  Events
	// Chats may be nil: then no room has a chat topic.
	Chats Chats

	// Keys are the bearer keys that are let in. Without any, everybody is: the
	// listener must then be on loopback.
	Keys []string

	// MaxBody bounds the body of a request, 1 MiB by default; MaxBatch that of
	// POST /v1/publish, 8 MiB. Larger ones are refused with CodeTooLarge.
	MaxBody, MaxBatch int64
	// MaxFrame bounds a published frame, 64 KiB by default. Larger ones are
	// refused with CodeTooLarge.
	MaxFrame int
	// MaxRequests bounds the requests served at a time, 4096 by default, and
	// MaxStreams those of event streams, 64. More are refused with CodeBusy.
	MaxRequests, MaxStreams int
	// BatchWidth is how many rooms of one batch are published to at a time, 128
	// by default; the others wait.
	BatchWidth int

	// Timeout bounds a request, streams aside, 10 s by default.
	Timeout time.Duration
	// Heartbeat is the pause after which a silent event stream gets a comment
	// line, 15 s by default.
	Heartbeat time.Duration
	// StreamWrite bounds one write to an event stream, 10 s by default. A
	// reader that takes longer is dropped.
	StreamWrite time.Duration

	// Logger and Registerer may be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Validate reports all faults of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	if c.Rooms == nil || c.Places == nil || c.Users == nil || c.Cluster == nil || c.Events == nil {
		faults = append(faults, errors.New("api: rooms, places, users, cluster and events are required"))
	}
	for i, k := range c.Keys {
		if k == "" {
			faults = append(faults, fmt.Errorf("api: key %d is empty", i+1))
		}
	}
	if min(c.MaxBody, c.MaxBatch, int64(c.MaxFrame), int64(c.MaxRequests), int64(c.MaxStreams), int64(c.BatchWidth)) < 0 {
		faults = append(faults, errors.New("api: a limit is negative"))
	}
	if min(c.Timeout, c.Heartbeat, c.StreamWrite) < 0 {
		faults = append(faults, errors.New("api: a duration is negative"))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	c.MaxBody = cmp.Or(c.MaxBody, 1<<20)
	c.MaxBatch = cmp.Or(c.MaxBatch, 8<<20)
	c.MaxFrame = cmp.Or(c.MaxFrame, 64<<10)
	c.MaxRequests = cmp.Or(c.MaxRequests, 4096)
	c.MaxStreams = cmp.Or(c.MaxStreams, 64)
	c.BatchWidth = cmp.Or(c.BatchWidth, 128)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Heartbeat = cmp.Or(c.Heartbeat, 15*time.Second)
	c.StreamWrite = cmp.Or(c.StreamWrite, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// API serves the backend's door. It is safe for concurrent use.
type API struct {
	// set by New
	cfg     Config
	keys    keyring
	routes  []route
	log     *slog.Logger
	metrics *metrics

	// requests and streams hold one element for each that is served.
	requests, streams chan struct{}
}

// New returns an API. It starts nothing.
func New(cfg Config) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &API{
		cfg:      cfg,
		keys:     newKeyring(cfg.Keys),
		routes:   routes(),
		log:      cfg.Logger,
		metrics:  newMetrics(cfg.Registerer),
		requests: make(chan struct{}, cfg.MaxRequests),
		streams:  make(chan struct{}, cfg.MaxStreams),
	}, nil
}

// ServeHTTP serves one request. An event stream lasts until the request's
// context or the subscription ends, so whoever shuts a server down ends one of
// them first.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	req := &request{Request: r}
	call, err := "unknown", a.keys.admit(r)
	if err == nil {
		req.route, req.params, err = match(a.routes, r)
	}
	if req.route != nil {
		call = req.route.call
	}
	if err == nil {
		err = a.serve(w, req)
	}
	if err != nil {
		a.refuse(w, call, err)
	}
	a.metrics.observe(call, err, time.Since(started), req.route != nil && req.route.stream != nil)
}

// serve runs the call that the request asks for, as soon as there is room.
func (a *API) serve(w http.ResponseWriter, req *request) (err error) {
	limit := a.requests
	if req.route.stream != nil {
		limit = a.streams
	}
	select {
	case limit <- struct{}{}:
		defer func() { <-limit }()
	default:
		return protocol.Errorf(protocol.CodeBusy, "%d requests of this kind are served already; ask again shortly", cap(limit))
	}
	defer a.recover(req, &err)
	if req.route.stream != nil {
		return req.route.stream(a, w, req)
	}
	ctx, cancel := req.withTimeout(a.cfg.Timeout)
	defer cancel()
	bound := a.cfg.MaxBody
	if req.route.batch {
		bound = a.cfg.MaxBatch
	}
	req.Body = http.MaxBytesReader(w, req.Body, bound)
	result, err := req.route.answer(a, ctx, req)
	if err != nil {
		return err
	}
	return write(w, result)
}

// recover turns a panic of one call into that call's failure.
func (a *API) recover(req *request, err *error) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	a.metrics.panics.Inc()
	a.log.Error("request panicked", "call", req.route.call, "panic", p, "stack", string(debug.Stack()))
	*err = protocol.Errorf(protocol.CodeInternal, "%s", internalMessage)
}
