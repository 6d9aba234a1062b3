package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/faac1247/rollcall/protocol"
)

// What a zero Config means.
const (
	DefaultBind           = "127.0.0.1:7946"
	defaultRejoinInterval = 5 * time.Second
	defaultFormerFor      = 30 * time.Minute
)

// How memberlist is tuned: a crash is known to all in 1.4 s at 10 members and
// 1.7 s at 100, at ten packets a second and node. Half the probe interval
// makes false failures on a busy machine; a suspicion of two intervals would
// need nobody's confirmation.
const (
	probeInterval      = 200 * time.Millisecond
	probeTimeout       = 100 * time.Millisecond
	gossipInterval     = 50 * time.Millisecond
	suspicionMult      = 3
	suspicionMaxMult   = 3
	maxHealth          = 8 // memberlist slows its probes down by at most this
	pushPullInterval   = 10 * time.Second
	streamTimeout      = 2 * time.Second
	nameReclaimedAfter = 2 * time.Second
)

// Resolver turns host names into addresses, as net.Resolver does.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Config says who a node is and how it finds the others.
type Config struct {
	// Node is this node's id: one to 64 of A-Z a-z 0-9 _ . -
	Node protocol.NodeID
	// Meta is what the node advertises at first. Boot and Shape are required;
	// a member of another shape is refused, by both sides.
	Meta Meta
	// Bind is the ip:port to gossip on, UDP and TCP. Port 0 takes a free one.
	// Empty is DefaultBind.
	Bind string
	// Advertise is the host or host:port that others reach Bind at, a name
	// being resolved when Run starts. Empty is Bind itself, or a private
	// address of this machine where Bind is 0.0.0.0.
	Advertise string
	// Join names seeds, each host:port or ip:port. Those that are not alive in
	// the view are contacted again and again for as long as the node runs,
	// host names resolved anew each time. The node itself may be among them.
	Join []string
	// Keys encrypt gossip with AES, each of 16, 24 or 32 bytes: the first
	// encrypts, all decrypt. No keys, no encryption, and only on loopback
	// unless Insecure.
	Keys [][]byte
	// Insecure lets gossip go without keys off loopback.
	Insecure bool
	// Label keeps clusters apart that reach each other: gossip with another
	// label is dropped. At most 255 bytes.
	Label string
	// Transport replaces UDP and TCP; Bind, Advertise and Insecure are then
	// unused. It belongs to Run, which shuts it down. Its Shutdown must end
	// its dials.
	Transport memberlist.NodeAwareTransport
	// Resolver resolves seeds. Nil is the system's.
	Resolver Resolver
	// RejoinInterval is the time between two rounds of contacting missing
	// seeds and failed members, give or take a fifth. 0 is 5 s.
	RejoinInterval time.Duration
	// FormerFor is how long members stay in the view, and failed ones are
	// contacted, after they went. 0 is 30 minutes. More than 256 are never
	// kept.
	FormerFor time.Duration
	// CrashOnStop has Run end without a goodbye, as a crash would.
	CrashOnStop bool
	// Logger takes membership changes at info, and memberlist's complaints.
	// Nil discards.
	Logger *slog.Logger
}

// Validate reports all faults of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	if !protocol.ValidName(string(c.Node)) {
		faults = append(faults, fmt.Errorf("node id %q: must be one to 64 of A-Z a-z 0-9 _ . -", c.Node))
	}
	if _, err := c.Meta.Encode(); err != nil {
		faults = append(faults, fmt.Errorf("meta: %w", err))
	}
	if c.Meta.Shape == (protocol.ClusterShape{}) {
		faults = append(faults, errors.New("meta has no cluster shape"))
	}
	if len(c.Label) > memberlist.LabelMaxSize {
		faults = append(faults, fmt.Errorf("label of %d bytes: at most %d", len(c.Label), memberlist.LabelMaxSize))
	}
	for i, key := range c.Keys {
		if err := memberlist.ValidateKey(key); err != nil {
			faults = append(faults, fmt.Errorf("key %d of %d bytes: must be 16, 24 or 32", i+1, len(key)))
		}
	}
	for _, seed := range c.Join {
		if _, _, err := splitSeed(seed); err != nil {
			faults = append(faults, err)
		}
	}
	if c.RejoinInterval < 0 || c.FormerFor < 0 {
		faults = append(faults, errors.New("intervals must not be negative"))
	}
	if c.Transport == nil {
		faults = append(faults, c.validateAddresses())
	}
	return errors.Join(faults...)
}

func (c Config) validateAddresses() error {
	bind, err := parseBind(c.Bind)
	if err != nil {
		return err
	}
	advertise, _, err := splitAdvertise(c.Advertise)
	if err != nil {
		return err
	}
	if bind.Addr() == netip.IPv6Unspecified() && advertise == "" {
		return fmt.Errorf("bind address %s: needs an advertise address", bind)
	}
	if !bind.Addr().IsLoopback() && len(c.Keys) == 0 && !c.Insecure {
		return fmt.Errorf("bind address %s: gossip off loopback needs a key, or insecure gossip", bind)
	}
	return nil
}

// parseBind reads an ip:port, where no ip is all of IPv4.
func parseBind(s string) (netip.AddrPort, error) {
	if s == "" {
		s = DefaultBind
	}
	if host, port, err := net.SplitHostPort(s); err == nil && host == "" {
		s = net.JoinHostPort("0.0.0.0", port)
	}
	bind, err := netip.ParseAddrPort(s)
	if err != nil {
		return bind, fmt.Errorf("bind address %q: must be ip:port", s)
	}
	return bind, nil
}

// splitAdvertise reads a host or a host:port. Port 0 stands for that of the
// bind address, and no host for nothing to advertise.
// CheckAdvertise says what is wrong with a member's Config.Advertise.
func CheckAdvertise(s string) error {
	_, _, err := splitAdvertise(s)
	return err
}

// CheckSeed says what is wrong with one of a member's Config.Join.
func CheckSeed(s string) error {
	_, _, err := splitSeed(s)
	return err
}

func splitAdvertise(s string) (host string, port uint16, err error) {
	if _, err := netip.ParseAddr(s); err == nil || !strings.Contains(s, ":") {
		return s, 0, nil
	}
	host, number, err := net.SplitHostPort(s)
	if err == nil && host != "" {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil && n > 0 {
			return host, uint16(n), nil
		}
	}
	return "", 0, fmt.Errorf("advertise address %q: must be host or host:port", s)
}

func splitSeed(s string) (host string, port uint16, err error) {
	host, number, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", 0, fmt.Errorf("seed %q: must be host:port", s)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("seed %q: must be host:port", s)
	}
	return host, uint16(n), nil
}

func (c Config) withDefaults() Config {
	if c.Bind == "" {
		c.Bind = DefaultBind
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.RejoinInterval == 0 {
		c.RejoinInterval = defaultRejoinInterval
	}
	if c.FormerFor == 0 {
		c.FormerFor = defaultFormerFor
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
