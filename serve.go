package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/faac1247/rollcall/bridge"
	"github.com/faac1247/rollcall/node"
)

type serveCommand struct {
	Settings settings `embed:""`
}

// Run starts the parts in the order in which they need each other: settings,
// store, node; and stops them in reverse.
func (c *serveCommand) Run(ctx context.Context, p *program) error {
	cfg, err := c.Settings.config()
	if err != nil {
		return &usageError{err}
	}
	cfg.Logger = logger(p.stderr, c.Settings.LogLevel, c.Settings.LogFormat)
	limitMemory(cfg.Logger)
	g, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.Go(func() error { return paceCollector(ctx) })
	url := c.Settings.storeURL()
	cfg.StoreKind = "redis"
	if url == "" {
		embedded, err := bridge.ListenEmbedded()
		if err != nil {
			return err
		}
		cfg.Logger.Warn("no --redis: using the embedded store, for development only; it is in memory, not Redis, and no other node reaches it")
		url, cfg.StoreKind = embedded.URL(), "embedded"
		g.Go(func() error { return embedded.Run(ctx) })
	}
	metrics := prometheus.NewRegistry()
	store, err := bridge.Open(bridge.Config{URL: url, Prefix: cfg.Cluster, Logger: cfg.Logger, Registerer: metrics})
	if err != nil {
		return &usageError{err}
	}
	defer func() { _ = store.Disconnect() }() // nothing is under way any more
	cfg.Store, cfg.Metrics = store, metrics
	warnOfPersistence(ctx, store, cfg.Logger)
	var n *node.Node
	chat, err := c.Settings.pipeline(&cfg, store, metrics, func(ctx context.Context, room, key, body string) error {
		return n.Say(ctx, room, key, body)
	})
	if err != nil {
		return &usageError{err}
	}
	if n, err = node.New(cfg); err != nil {
		return &usageError{err}
	}
	if chat != nil {
		g.Go(func() error { return chat.Run(ctx) })
	}
	g.Go(func() error {
		select {
		case <-p.terminate:
			n.Drain()
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error {
		defer cancel()
		return n.Run(ctx)
	})
	return g.Wait()
}

// checkCommand checks the settings and starts nothing.
type checkCommand struct {
	Settings settings `embed:""`
}

func (c *checkCommand) Run(p *program) error {
	cfg, err := c.Settings.config()
	if err != nil {
		return &usageError{err}
	}
	url := c.Settings.storeURL()
	if err := (bridge.Config{URL: url, Prefix: cfg.Cluster}).Validate(); err != nil {
		return &usageError{err}
	}
	fmt.Fprintf(p.stdout, "settings are fine: node %s, clients at %s\n", cfg.NodeID, cfg.Listen)
	return nil
}

// logger writes text for people and JSON for programs.
func logger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // checked with the settings
	options := &slog.HandlerOptions{Level: l}
	if f, ok := w.(*os.File); format == "text" || format == "auto" && ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// persistenceTimeout bounds the look at the store's settings at start.
const persistenceTimeout = 2 * time.Second

// warnOfPersistence says loudly when the store may lose what it was told.
func warnOfPersistence(ctx context.Context, store *bridge.Redis, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, persistenceTimeout)
	defer cancel()
	warnings, err := store.Persistence(ctx)
	if err != nil {
		log.Warn("the store's persistence is not known", "err", err)
	}
	for _, w := range warnings {
		log.Warn("the store may lose data: " + w)
	}
}

// storeURL joins the values of --redis, which a comma separates too, into one:
// they are addresses of the same Cluster or Sentinels.
func (s *settings) storeURL() string { return strings.Join(s.Redis, ",") }
