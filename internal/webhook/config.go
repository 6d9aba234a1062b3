package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/protocol"
)

// Outbox holds committed events until they are posted.
type Outbox interface {
	// Outbox returns up to limit of a partition's oldest events, in their
	// order, and how many older ones went unposted because it was full.
	Outbox(ctx context.Context, p protocol.PartitionID, limit int) (entries []protocol.OutboxEntry, gap int64, err error)
	// Posted forgets a partition's events up to the one with this id, and the
	// gap before them.
	Posted(ctx context.Context, p protocol.PartitionID, upTo string) error
}

// Config of a Poster. URL, Outbox and Owned are required; all else works as
// zero.
type Config struct {
	// URL is where events are posted.
	URL string
	// Key signs them. Without one they are not signed.
	Key    string
	Outbox Outbox
	// Owned returns the partitions whose outboxes this node posts. It is asked
	// before every post, so that a partition has one poster even while its
	// owner changes, but for a post that is under way.
	Owned func() []protocol.PartitionID

	// Parallel is how many partitions are posted at a time, 16 by default; the
	// others wait.
	Parallel int
	// Batch bounds the events of one post, 500 by default, and BatchBytes their
	// size, 1 MiB. An event that is larger is posted alone.
	Batch, BatchBytes int
	// Poll is how often all partitions are looked at, 2 s by default, for those
	// that nobody woke.
	Poll time.Duration
	// Timeout bounds one post, and one question to the outbox, 10 s by default.
	Timeout time.Duration
	// MinPause and MaxPause bound the pause after a failure, 500 ms and 1 min by
	// default. It doubles from one to the other, less a random part of up to
	// half.
	MinPause, MaxPause time.Duration

	// Transport carries the posts; by default one with as many connections as
	// Parallel, whose proxy is that of the environment.
	Transport http.RoundTripper
	// Logger and Registerer may be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Validate reports all faults of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		faults = append(faults, fmt.Errorf("webhook: %q is no http or https address", c.URL))
	}
	if c.Outbox == nil || c.Owned == nil {
		faults = append(faults, errors.New("webhook: an outbox and the owned partitions are required"))
	}
	if min(c.Parallel, c.Batch, c.BatchBytes) < 0 {
		faults = append(faults, errors.New("webhook: a limit is negative"))
	}
	if min(c.Poll, c.Timeout, c.MinPause, c.MaxPause) < 0 {
		faults = append(faults, errors.New("webhook: a duration is negative"))
	}
	if d := c.withDefaults(); d.MaxPause < d.MinPause {
		faults = append(faults, fmt.Errorf("webhook: the longest pause %v is under the shortest, %v", d.MaxPause, d.MinPause))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	c.Parallel = cmp.Or(c.Parallel, 16)
	c.Batch = cmp.Or(c.Batch, 500)
	c.BatchBytes = cmp.Or(c.BatchBytes, 1<<20)
	c.Poll = cmp.Or(c.Poll, 2*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.MinPause = cmp.Or(c.MinPause, 500*time.Millisecond)
	c.MaxPause = cmp.Or(c.MaxPause, time.Minute)
	if c.Transport == nil {
		c.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: c.Parallel, MaxConnsPerHost: c.Parallel,
			IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: c.Timeout, ForceAttemptHTTP2: true,
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
