package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/protocol"
)

// SignMode says which signatures of clients' frames count.
type SignMode string

const (
	// SignHMAC: the keyed signature, with the key that create_token hands out.
	SignHMAC SignMode = "hmac"
	// SignMD5: the signature of clients that know no key. It proves nothing.
	SignMD5 SignMode = "md5"
	// SignBoth: either.
	SignBoth SignMode = "both"
	// SignOff: none, nor token, sid and timestamp; for development.
	SignOff SignMode = "off"
)

// hands reports whether create_token carries a key.
func (m SignMode) hands() bool { return m == SignHMAC || m == SignBoth }

// Config of an Edge. The first group is required; zero values of the others
// work.
type Config struct {
	Incarnation protocol.Incarnation
	Users       Users
	Owners      Owners
	Mover       Mover
	Auth        Authenticator
	// Partition places users' records, RoomPartition rooms. Partitions is how
	// many there are.
	Partition     func(protocol.UserID) protocol.PartitionID
	RoomPartition func(protocol.RoomID) protocol.PartitionID
	Partitions    int

	// SignMode is SignHMAC by default.
	SignMode SignMode
	// PingInterval is what clients are told, 15 s by default. HeartbeatTimeout
	// is the silence that counts as a loss, 20 s by default.
	PingInterval     time.Duration
	HeartbeatTimeout time.Duration
	// LossGrace is how long a closed or silent connection waits for its user
	// before the loss is declared. 0: not at all.
	LossGrace time.Duration

	// MaxConns bounds the connections, MaxConnsPerIP those of one address (of
	// one /64 for IPv6). 0 is no bound. What is over is refused with 503.
	MaxConns      int
	MaxConnsPerIP int
	// MaxHeld bounds the sockets that wait for their user's record, 4096 by
	// default, and HoldTimeout how long, 30 s by default. Over either bound a
	// socket is closed with 1013.
	MaxHeld     int
	HoldTimeout time.Duration
	// AllowedOrigins lists the origins of browsers, "*" for all. Without any,
	// none is refused: a sid is in the URL, so a foreign page has nothing to
	// ride on. Requests without an origin are never refused.
	AllowedOrigins []string
	// TrustedProxies may say for whom they speak, in X-Forwarded-For.
	TrustedProxies []netip.Prefix
	// FrameRate is how many frames a second a client may send for long, 20 by
	// default; for a moment it may send twice as many. Reports that are owed do
	// not count.
	FrameRate float64
	// MaxBacklogBytes and MaxBacklogFrames bound what waits for one slow client,
	// see outbox.Config.
	MaxBacklogBytes  int
	MaxBacklogFrames int
	// TimelineEvents is how many events of users are remembered, 65536 by
	// default.
	TimelineEvents int

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Validate reports everything that is wrong with c at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("edge: "+format, args...))
		}
	}
	bad(c.Incarnation == "", "no incarnation")
	bad(c.Users == nil || c.Owners == nil || c.Mover == nil || c.Auth == nil, "users, owners, mover and auth are required")
	bad(c.Partition == nil || c.RoomPartition == nil || c.Partitions <= 0 || c.Partitions > maxPartitions,
		"partition, room partition and 1 to %d partitions are required", maxPartitions)
	switch c.SignMode {
	case SignHMAC, SignMD5, SignBoth, SignOff:
	default:
		bad(true, "sign mode %q is not hmac, md5, both or off", c.SignMode)
	}
	bad(c.PingInterval < time.Second, "ping interval %v is under a second", c.PingInterval)
	bad(c.HeartbeatTimeout <= c.PingInterval, "heartbeat timeout %v is not over the ping interval %v", c.HeartbeatTimeout, c.PingInterval)
	bad(c.LossGrace < 0, "loss grace %v is negative", c.LossGrace)
	bad(c.MaxConns < 0 || c.MaxConnsPerIP < 0 || c.MaxHeld < 0, "a limit is negative")
	bad(c.FrameRate < 0, "frame rate %v is negative", c.FrameRate)
	return errors.Join(faults...)
}

// maxPartitions is what a protocol.PartitionID can number.
const maxPartitions = 1 << 16

func (c Config) withDefaults() Config {
	def(&c.SignMode, SignHMAC)
	def(&c.PingInterval, 15*time.Second)
	def(&c.HeartbeatTimeout, 20*time.Second)
	def(&c.MaxHeld, 4096)
	def(&c.HoldTimeout, 30*time.Second)
	def(&c.FrameRate, 20)
	def(&c.TimelineEvents, 1<<16)
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
