package mns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/mns/chat"
)

// Config of a Server. Store and Keys are required; zero values of the rest
// work.
type Config struct {
	Store Store
	// Keys are who may do what.
	Keys []Key
	// Rooms says something to the occupants of a room, once for each key, with
	// no error if there are none. Without it rooms are no endpoints.
	Rooms func(ctx context.Context, room, key, body string) error
	// Account is the owner of everything, "1000" by default. Requests may name
	// any account in their host: there is one.
	Account string

	// Skew is how far a request's date may be from ours, 15 min by default.
	Skew time.Duration
	// MaxTag bounds tags, in bytes, 128 by default. The service documents 16,
	// which apps in use exceed.
	MaxTag int
	// MaxRequests bounds the requests under way, waiting ones included, 150,000
	// by default; more are answered 503.
	MaxRequests int
	// MaxWaiting bounds the receivers that wait, 100,000 by default; more are
	// answered at once, as if they had not asked to wait.
	MaxWaiting int
	// MaxBody bounds a request's body, 1 MiB by default.
	MaxBody int
	// BodyTimeout is how long a body may take to arrive, 10 s by default.
	BodyTimeout time.Duration
	// OnceMemory is for how long a publication's names are remembered, 10 min by
	// default, see HeaderOnce.
	OnceMemory time.Duration

	Push   PushConfig
	Notify NotifyConfig

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// PushConfig is about the websockets.
type PushConfig struct {
	// MaxConns bounds them, 100,000 by default; more are answered 503.
	MaxConns int
	// MaxSubscriptions bounds those of one connection, 64 by default.
	MaxSubscriptions int
	// FirstTimeout is how long a connection may be without a subscription, 10 s
	// by default; IdleTimeout how long it may be silent in both directions, 30 s.
	FirstTimeout, IdleTimeout time.Duration
	// MaxFrames and MaxBytes bound what waits for one slow client, 1024 and
	// 1 MiB by default.
	MaxFrames, MaxBytes int
	// StallTimeout is how long one write may take, 10 s by default.
	StallTimeout time.Duration
}

// NotifyConfig is about the HTTP endpoints of subscriptions.
type NotifyConfig struct {
	// Workers is how many deliveries run at once, 32 by default, PerHost how
	// many to one host, 8.
	Workers, PerHost int
	// Timeout is how long an endpoint may take, 5 s by default.
	Timeout time.Duration
	// Allow decides which addresses endpoints may have. By default all but
	// link-local, multicast and unspecified ones.
	Allow func(netip.Addr) bool
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("mns: "+format, args...))
		}
	}
	bad(c.Store == nil, "no store")
	bad(len(c.Keys) == 0, "no key: nobody could do anything")
	seen := map[string]bool{}
	for _, k := range c.Keys {
		if err := k.validate(); err != nil {
			faults = append(faults, err)
		}
		bad(seen[k.ID], "key %q is there twice", k.ID)
		seen[k.ID] = true
	}
	bad(c.Skew < 0 || c.BodyTimeout < 0 || c.OnceMemory < 0, "a duration is negative")
	bad(c.MaxTag < chat.MaxTag, "tags of %d bytes: fewer than the %d that clients may rely on", c.MaxTag, chat.MaxTag)
	bad(c.MaxRequests < 0 || c.MaxWaiting < 0, "a limit is negative")
	bad(c.MaxBody < 2*chat.MaxBatchSize, "bodies of %d bytes: too few for a batch", c.MaxBody)
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	def(&c.Account, "1000")
	def(&c.Skew, 15*time.Minute)
	def(&c.MaxTag, 128)
	def(&c.MaxRequests, 150_000)
	def(&c.MaxWaiting, 100_000)
	def(&c.MaxBody, 1<<20)
	def(&c.BodyTimeout, 10*time.Second)
	def(&c.OnceMemory, 10*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
