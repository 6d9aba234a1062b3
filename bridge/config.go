package bridge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/faac1247/rollcall/protocol"
)

// Config of a Redis. The zero value is a server on this machine.
type Config struct {
	// URL says where the store is, redis://127.0.0.1:6379 by default:
	//
	//	redis://user:password@host:6379/0       one server
	//	rediss://host:6379                      the same over TLS
	//	redis://a:6379,b:6379                   a Cluster, by some of its nodes
	//	redis://host:6379?cluster=true          a Cluster, by one address
	//	redis://a:26379,b:26379/0?master=name   what the Sentinels call name
	//
	// Sentinels that want credentials of their own get sentinel_username and
	// sentinel_password. Special characters in a password are percent-encoded.
	URL string
	// Prefix begins every key and channel, "rollcall" by default: two clusters
	// with different ones do not meet.
	Prefix string
	// Timeout bounds one exchange with a server, 1 s by default; half of it
	// bounds connecting.
	Timeout time.Duration
	// Queue bounds the calls that wait to be laid into a pipeline, for users'
	// records, for reads and for messages each; 16384 by default. When it is
	// full a call is refused with ErrBusy.
	Queue int
	// TLS replaces the settings that rediss: has by default.
	TLS *tls.Config
	// Dial replaces the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.URL == "" {
		c.URL = "redis://127.0.0.1:6379"
	}
	if c.Prefix == "" {
		c.Prefix = "rollcall"
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Queue == 0 {
		c.Queue = 16384
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	if _, err := parseURL(c.URL); err != nil {
		faults = append(faults, err)
	}
	if !protocol.ValidName(c.Prefix) {
		faults = append(faults, fmt.Errorf("redis prefix %q is not one to 64 of A-Z a-z 0-9 _ . -", c.Prefix))
	}
	if c.Timeout < 0 {
		faults = append(faults, fmt.Errorf("redis timeout %s is negative", c.Timeout))
	}
	if c.Queue < 0 {
		faults = append(faults, fmt.Errorf("redis queue %d is negative", c.Queue))
	}
	return errors.Join(faults...)
}

// options returns how to reach the store. The library never repeats a command:
// only the caller knows which may be.
func (c Config) options() (*redis.UniversalOptions, error) {
	o, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		o.TLSConfig = c.TLS
	}
	o.Dialer = c.Dial
	o.MaxRetries = -1
	o.DialTimeout = c.Timeout / 2
	o.DialerRetries = 1
	o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = c.Timeout, c.Timeout, c.Timeout
	o.ContextTimeoutEnabled = true
	o.PoolSize, o.PipelinePoolSize = 8, 16
	o.FailingTimeoutSeconds = 1
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

// parseURL reads Config.URL. Its errors never show a password.
func parseURL(text string) (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{}
	var hosts []*url.URL
	query := url.Values{}
	scheme := "redis"
	for i, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = scheme + "://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("redis url: address %d is not of the form redis://host:port", i+1)
		}
		if u.Scheme != "redis" && u.Scheme != "rediss" {
			return nil, fmt.Errorf("redis url: scheme %q is neither redis nor rediss", u.Scheme)
		}
		scheme = u.Scheme
		if err := readURL(o, u); err != nil {
			return nil, err
		}
		for name, values := range u.Query() {
			query[name] = values
		}
		hosts = append(hosts, u)
	}
	if scheme == "rediss" {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if err := readQuery(o, query); err != nil {
		return nil, err
	}
	usual := "6379"
	if o.MasterName != "" {
		usual = "26379"
	}
	for _, u := range hosts {
		o.Addrs = append(o.Addrs, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), usual)))
	}
	if o.DB != 0 && o.MasterName == "" && (len(o.Addrs) > 1 || o.IsClusterMode) {
		return nil, fmt.Errorf("redis url: a Cluster has no database %d", o.DB)
	}
	return o, nil
}

// readURL takes credentials and database from one of the addresses.
func readURL(o *redis.UniversalOptions, u *url.URL) error {
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		db, err := strconv.Atoi(path)
		if err != nil || db < 0 {
			return fmt.Errorf("redis url: database %q is not a number", path)
		}
		o.DB = db
	}
	return nil
}

func readQuery(o *redis.UniversalOptions, query url.Values) error {
	for name := range query {
		value := query.Get(name)
		switch name {
		case "master":
			o.MasterName = value
		case "sentinel_username":
			o.SentinelUsername = value
		case "sentinel_password":
			o.SentinelPassword = value
		case "cluster":
			on, err := strconv.ParseBool(value)
			if err != nil {
				return fmt.Errorf("redis url: cluster=%q is neither true nor false", value)
			}
			o.IsClusterMode = on
		default:
			return fmt.Errorf("redis url: unknown setting %q", name)
		}
	}
	if o.MasterName != "" && o.IsClusterMode {
		return errors.New("redis url: a Cluster has no Sentinel master")
	}
	return nil
}
