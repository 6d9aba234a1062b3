package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// userFlights, readFlights and messageFlights are how many pipelines of
	// each kind are under way at once. Two keep the server at work while the
	// answers of one are being read.
	userFlights, readFlights, messageFlights = 2, 2, 2
)

// ErrBusy refuses a call because too many wait already. It has had no effect.
var ErrBusy error = &protocol.Error{Code: protocol.CodeBusy, Message: "too many calls wait for the store"}

// Redis is a store on a Redis or Valkey server. It is safe for concurrent use.
type Redis struct {
	// set by Open
	cfg      Config
	log      *slog.Logger
	client   redis.UniversalClient
	scripts  scripts
	metrics  *metrics
	users    *lane
	reads    *lane
	messages *lane
	life     life
	mode     pubsubMode
}

// Open returns a Redis. It connects when it is first used.
func Open(cfg Config) (*Redis, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	// The library logs to one logger of the process, a line for every dial that
	// fails. All that it says comes back as an error too.
	redis.SetLogger(&logging.VoidLogger{})
	r := &Redis{
		cfg:     cfg,
		log:     cfg.Logger,
		client:  redis.NewUniversalClient(options),
		scripts: loadScripts(),
	}
	if r.metrics, err = newMetrics(cfg.Registerer, r.client); err != nil {
		_ = r.client.Close()
		return nil, fmt.Errorf("register store metrics: %w", err)
	}
	r.users = newLane("users", userFlights, cfg, r.exec, r.metrics)
	r.reads = newLane("reads", readFlights, cfg, r.exec, r.metrics)
	r.messages = newLane("messages", messageFlights, cfg, r.exec, r.metrics)
	return r, nil
}

// Disconnect closes the connections. Calls fail afterwards.
func (r *Redis) Disconnect() error { return r.client.Close() }

// Ping reports whether the server that keeps the leases answers.
func (r *Redis) Ping(ctx context.Context) error {
	_, err := r.Now(ctx)
	return err
}

// Now returns the store's clock: that of the server that keeps the leases.
func (r *Redis) Now(ctx context.Context) (time.Time, error) {
	c := r.call(r.scripts.clock, []string{r.leaseKey("leases")})
	r.exec(ctx, []*command{c})
	ms, err := c.int()
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store's clock: %w", err)
	}
	return fromMillis(ms), nil
}

// leaseKey names a key of the lives.
func (r *Redis) leaseKey(part string) string { return r.cfg.Prefix + ":{leases}:" + part }

// key names a key of a partition.
func (r *Redis) key(p protocol.PartitionID, part string) string {
	b := make([]byte, 0, len(r.cfg.Prefix)+12+len(part))
	b = append(b, r.cfg.Prefix...)
	b = append(b, ":{p"...)
	b = strconv.AppendUint(b, uint64(p), 10)
	b = append(b, "}:"...)
	b = append(b, part...)
	return string(b)
}

// fromMillis reads a time of the store, 0 for none.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
