package mns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/notify"
	"github.com/faac1247/rollcall/mns/poll"
	"github.com/faac1247/rollcall/mns/push"
	"github.com/faac1247/rollcall/mns/sign"
)

// Server is one node's door to the chat pipeline. It is safe for concurrent
// use.
type Server struct {
	// set by New
	cfg      Config
	store    Store
	keys     map[string]*Key
	signers  map[string]*sign.Signer
	ids      *idSource
	poller   *poll.Poller
	hub      *push.Hub
	notifier *notify.Notifier
	keeper   *keeper
	express  *express
	metrics  *metrics
	calls    sync.Pool

	busy atomic.Int64 // requests under way
}

// New returns a Server. It starts nothing; until Run is called nobody can wait
// for messages.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, store: cfg.Store, keys: map[string]*Key{}, signers: map[string]*sign.Signer{}, ids: newIDSource()}
	for i := range cfg.Keys {
		k := &cfg.Keys[i]
		s.keys[k.ID], s.signers[k.ID] = k, sign.NewSigner(k.Secret)
	}
	s.express = newExpress(s)
	s.calls.New = func() any { return new(call) }
	s.keeper = newKeeper(cfg.Store, cfg.Logger)
	s.poller = poll.New(poll.Config{
		Store: cfg.Store, MaxWaiting: cfg.MaxWaiting, Dead: s.keeper.suspect, Logger: cfg.Logger,
	})
	s.hub = push.New(push.Config{
		Bus: cfg.Store, Lookup: cfg.Store, Handler: sockets{s},
		MaxConns: cfg.Push.MaxConns, MaxSubscriptions: cfg.Push.MaxSubscriptions,
		FirstTimeout: cfg.Push.FirstTimeout, IdleTimeout: cfg.Push.IdleTimeout,
		MaxFrames: cfg.Push.MaxFrames, MaxBytes: cfg.Push.MaxBytes, StallTimeout: cfg.Push.StallTimeout,
		Logger: cfg.Logger,
	})
	s.notifier = notify.New(notify.Config{
		Store: cfg.Store, Receiver: s.poller, Rooms: cfg.Rooms, Account: cfg.Account,
		Workers: cfg.Notify.Workers, PerHost: cfg.Notify.PerHost, Timeout: cfg.Notify.Timeout,
		Allow: cfg.Notify.Allow, Logger: cfg.Logger,
	})
	var err error
	if s.metrics, err = newMetrics(cfg.Registerer, s); err != nil {
		return nil, fmt.Errorf("register mns metrics: %w", err)
	}
	return s, nil
}

// Run serves what is not a request: those who wait, what other nodes tell,
// websockets and deliveries. It returns when ctx has ended and all of that with
// it.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.store.Listen(ctx, listener{s}) })
	g.Go(func() error { return s.poller.Run(ctx) })
	g.Go(func() error { return s.hub.Run(ctx) })
	g.Go(func() error { return s.notifier.Run(ctx) })
	g.Go(func() error { return s.keeper.run(ctx) })
	g.Go(func() error { return s.express.run(ctx) })
	return g.Wait()
}

// HTTPServer returns an HTTP server for s with the timeouts that suit it. The
// caller runs and shuts it down.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// listener passes on what the store tells.
type listener struct{ *Server }

// Woken implements chat.Listener.
func (l listener) Woken(q chat.QueueName, _ chat.Epoch) { l.poller.Woken(q) }

// Heard implements chat.Listener.
func (l listener) Heard(n chat.News) { l.hub.Heard(n) }

// Renewed implements chat.Listener.
func (l listener) Renewed() {
	l.poller.Renewed()
	l.hub.Renewed()
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if x, sent := s.serveOne(w, r); x != nil {
		x.run(sent)
	}
}

// serveOne serves one request. If it took the connection over it returns that,
// and whether the answer went out.
func (s *Server) serveOne(w http.ResponseWriter, r *http.Request) (x *expressConn, sent bool) {
	start := time.Now()
	c := s.calls.Get().(*call)
	defer func() {
		c.reset()
		s.calls.Put(c)
	}()
	c.http = r
	if isSocket(r) {
		if err := s.serveSocket(w, r); err != nil {
			c.id = s.ids.newRequest()
			s.finish(c, w, start, opSocket, c.fault(s.explain(c, opSocket, err)).Code)
		}
		return nil, false
	}
	op, code := s.decide(c, w)
	if c.key != nil {
		x = s.express.take(w, r)
	}
	if x == nil {
		s.finish(c, w, start, op, code)
		return nil, false
	}
	sent = x.answer(c)
	s.metrics.served(op.name, code, time.Since(start))
	return x, sent
}

// decide serves a request up to its answer, and returns what it was and how it
// ended.
func (s *Server) decide(c *call, w http.ResponseWriter) (op operation, code string) {
	c.id, c.status = s.ids.newRequest(), http.StatusOK
	op, err := s.serve(c, w)
	if err != nil {
		return op, c.fault(s.explain(c, op, err)).Code
	}
	return op, codeOK
}

// finish sends an answer.
func (s *Server) finish(c *call, w http.ResponseWriter, start time.Time, op operation, code string) {
	undelivered := c.undelivered
	if !c.send(w) && undelivered != nil {
		undelivered()
	}
	s.metrics.served(op.name, code, time.Since(start))
}

// serve does what the request asks for. A panic costs the request alone.
func (s *Server) serve(c *call, w http.ResponseWriter) (op operation, err error) {
	op = opUnknown
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Logger.Error("request panicked", "operation", op.name, "panic", p, "stack", string(debug.Stack()))
			err = chat.ErrInternal
		}
	}()
	if s.busy.Add(1) > int64(s.cfg.MaxRequests) {
		s.busy.Add(-1)
		return op, chat.ErrUnavailable
	}
	defer s.busy.Add(-1)
	if err := c.read(w, s.cfg.MaxBody, s.cfg.BodyTimeout); err != nil {
		return op, err
	}
	if c.key, err = s.authenticate(c.http); err != nil {
		return op, err
	}
	if err := checkDigest(c.http.Header.Get("Content-Md5"), c.body.Bytes()); err != nil {
		return op, err
	}
	path, raw, _ := strings.Cut(c.http.RequestURI, "?")
	if strings.HasPrefix(path, "http") {
		path = c.http.URL.EscapedPath()
	}
	if c.query, err = parseQuery(raw); err != nil {
		return op, err
	}
	if op, c.names, err = route(c.http.Method, path, c.query); err != nil {
		return op, err
	}
	if op.right != 0 && !c.key.may(op.right, c.names.target()) {
		return op, chat.ErrAccessDenied
	}
	return op, op.serve(s, c)
}

// explain turns what went wrong into what the client is told.
func (s *Server) explain(c *call, op operation, err error) error {
	if _, ok := errors.AsType[*chat.Error](err); ok {
		return err
	}
	if c.ctx().Err() == nil {
		s.metrics.storeErrors.Inc()
		s.cfg.Logger.Debug("store could not be asked", "operation", op.name, "err", err)
	}
	return chat.ErrUnavailable
}

// Waiting returns how many receivers wait for a queue's messages at this node.
func (s *Server) Waiting(q chat.QueueName) int { return s.poller.Waiting(q) }

// Looks returns how often this node looked into queues for those who wait.
func (s *Server) Looks() int { return int(s.poller.Stats().Checks.Load()) }

// FailedDeliveries returns how many tries of this node to deliver to a queue or
// an HTTP endpoint failed.
func (s *Server) FailedDeliveries() int { return int(s.notifier.Stats().Failed.Load()) }

// Websockets returns how many are connected to this node.
func (s *Server) Websockets() int { return int(s.hub.Stats().Conns.Load()) }
