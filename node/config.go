package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/api"
	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
)

// Config of a Node. The zero value of every duration and limit is replaced by
// its default; Validate names every fault at once.
type Config struct {
	// NodeID is unique in the cluster and stable across restarts.
	NodeID protocol.NodeID
	// Cluster separates clusters on one gossip network; the store has its own
	// prefix.
	Cluster string

	// Listen is the clients' door; Advertise the ws:// or wss:// address that
	// end_point answers for this node.
	Listen, Advertise string
	// API is the backend's door. Without a key it opens on loopback only.
	API     string
	APIKeys []string
	// Admin is the operator's door.
	Admin     string
	AdminKeys []string

	Gossip Gossip

	// Partitions is the cluster's number of partitions, 4093 by default. All
	// nodes of a cluster must agree.
	Partitions int

	SignMode         edge.SignMode
	PingInterval     time.Duration // 15 s
	HeartbeatTimeout time.Duration // 20 s
	LossGrace        time.Duration // 0
	CrashGrace       time.Duration // 12 s
	ReportTimeout    time.Duration // 5 s
	Departure        time.Duration // 60 s; when an unreported departure is given up
	DrainTimeout     time.Duration // 25 s
	NeverConnected   time.Duration // 30 s
	RelayOnly        bool          // --room-delivery one
	// RoomSpread is how many occupants a room may have before its newcomers are
	// spread over more edges than its owner, 5000 by default; below 0 never.
	RoomSpread int

	// MaxConns is what the file limit allows by default; MaxConnsPerIP 0 is off.
	MaxConns, MaxConnsPerIP int
	AllowedOrigins          []string
	TrustedProxies          []netip.Prefix
	// ConnectRate is how many clients a second end_point sends on before it
	// answers not_before_ms, 5000 by default.
	ConnectRate int

	Webhook, WebhookKey string
	// TLSCert and TLSKey are files; set, the clients' door speaks TLS with them,
	// read again when they change.
	TLSCert, TLSKey string

	// Store is the bridge to Redis, or a store in memory.
	Store Store
	// StoreKind names it for people: "redis", "embedded".
	StoreKind string
	// Auth tells who a sid is; SidAuth names the way for people.
	Auth    *auth.Authenticator
	SidAuth string
	// Chats are the chat topics of rooms, nil without a chat pipeline.
	Chats api.Chats
	// Doors are further listeners that live as long as the node.
	Doors []Door

	// Listener opens a door; net.Listen by default.
	Listener func(network, address string) (net.Listener, error)
	// Transport is gossip's network; UDP and TCP by default.
	Transport func() (memberlist.NodeAwareTransport, error)
	Logger    *slog.Logger
	// Metrics are served beside the node's own: those of what it was given.
	Metrics prometheus.Gatherer
	Version string
}

// Gossip says how members find and trust each other.
type Gossip struct {
	Bind, Advertise string
	Join            []string
	Keys            [][]byte
	// Reload, if it is set, returns what Keys are to be from now on, or the same
	// as before. It is asked while the node runs.
	Reload func() ([][]byte, error)
	// Insecure allows gossip off loopback without a key.
	Insecure bool
}

// Door is a listener with a handler of its own.
type Door struct {
	Name, Addr string
	Handler    http.Handler
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.PingInterval, 15*time.Second)
	set(&c.HeartbeatTimeout, 20*time.Second)
	set(&c.CrashGrace, 12*time.Second)
	set(&c.ReportTimeout, 5*time.Second)
	set(&c.Departure, 60*time.Second)
	set(&c.DrainTimeout, 25*time.Second)
	set(&c.NeverConnected, 30*time.Second)
	if c.Cluster == "" {
		c.Cluster = "rollcall"
	}
	if c.Partitions == 0 {
		c.Partitions = ring.DefaultPartitions
	}
	if c.RoomSpread == 0 {
		c.RoomSpread = defaultRoomSpread
	}
	if c.ConnectRate == 0 {
		c.ConnectRate = 5000
	}
	if c.MaxConns == 0 {
		c.MaxConns = connsByFiles()
	}
	if c.SignMode == "" {
		c.SignMode = edge.SignHMAC
	}
	if c.Listener == nil {
		c.Listener = net.Listen
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// ErrNoStore and ErrNoAuth are the faults of a Config without a part that only
// the program can make.
var (
	ErrNoStore = errors.New("no store")
	ErrNoAuth  = errors.New("no authenticator")
)

// Validate names every fault of the settings at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !protocol.ValidName(string(c.NodeID)) {
		fault("node-id %q: use 1 to 64 of A-Z a-z 0-9 _ . -", c.NodeID)
	}
	if c.Cluster != "" && !protocol.ValidName(c.Cluster) {
		fault("cluster %q: use 1 to 64 of A-Z a-z 0-9 _ . -", c.Cluster)
	}
	c.validateAddresses(fault)
	if len(c.Gossip.Keys) > 0 {
		if err := validKeys(c.Gossip.Keys); err != nil {
			faults = append(faults, err)
		}
	}
	switch c.SignMode {
	case "", edge.SignHMAC, edge.SignMD5, edge.SignBoth, edge.SignOff:
	default:
		fault("frame-sign %q: use hmac, md5, both or off", c.SignMode)
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"ping-interval", c.PingInterval}, {"heartbeat-timeout", c.HeartbeatTimeout}, {"loss-grace", c.LossGrace},
		{"crash-grace", c.CrashGrace}, {"report-timeout", c.ReportTimeout}, {"departure-deadline", c.Departure}, {"drain-timeout", c.DrainTimeout},
	} {
		if d.value < 0 {
			fault("%s %s: use a duration of 0 or more", d.flag, d.value)
		}
	}
	if c.HeartbeatTimeout > 0 && c.PingInterval >= c.HeartbeatTimeout {
		fault("ping-interval %s: use less than heartbeat-timeout %s", c.PingInterval, c.HeartbeatTimeout)
	}
	if c.MaxConns < 0 {
		fault("max-conns %d: use 0 or more", c.MaxConns)
	}
	if c.MaxConnsPerIP < 0 {
		fault("max-conns-per-ip %d: use 0 or more", c.MaxConnsPerIP)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		fault("tls-cert and tls-key go together: give both")
	}
	if c.Store == nil {
		faults = append(faults, ErrNoStore)
	}
	if c.Auth == nil {
		faults = append(faults, ErrNoAuth)
	}
	return errors.Join(faults...)
}

// validateAddresses names what is wrong with where the node listens, and with
// the addresses that it tells, asks or trusts.
func (c *Config) validateAddresses(fault func(format string, args ...any)) {
	for _, a := range []struct{ flag, addr string }{
		{"listen", c.Listen}, {"api", c.API}, {"admin", c.Admin}, {"gossip", c.Gossip.Bind},
	} {
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			fault("%s %q: use host:port, such as 127.0.0.1:8001 or :8001", a.flag, a.addr)
		}
	}
	if len(c.APIKeys) == 0 && !loopback(c.API) {
		fault("api %q is open to others: give an api-key, or listen on 127.0.0.1", c.API)
	}
	if len(c.Gossip.Keys) == 0 && !loopback(c.Gossip.Bind) && !c.Gossip.Insecure {
		fault("gossip %q is open to others: give a gossip-key, or insecure-gossip where the network is trusted", c.Gossip.Bind)
	}
	if err := gossip.CheckAdvertise(c.Gossip.Advertise); err != nil {
		fault("gossip-advertise: %w", err)
	}
	for _, seed := range c.Gossip.Join {
		if err := gossip.CheckSeed(seed); err != nil {
			fault("join: %w", err)
		}
	}
	if c.Advertise != "" && !isURL(c.Advertise, "ws", "wss") {
		fault("advertise %q: use a ws:// or wss:// address", c.Advertise)
	}
	if c.Webhook != "" && !isURL(c.Webhook, "http", "https") {
		fault("webhook: use an http:// or https:// address") // not said: it may hold a password
	}
	for _, origin := range c.AllowedOrigins {
		if origin != "*" && origin != "null" && (!strings.Contains(origin, "://") || strings.ContainsAny(origin, " \t") || strings.HasSuffix(origin, "/")) {
			fault("allowed-origins %q: use scheme://host, such as https://example.com, or *", origin)
		}
	}
}

// isURL reports whether a text is an address of one of the schemes.
func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme)
}

func (c *Config) ring() ring.Config { return ring.Config{Partitions: c.Partitions} }

// loopback reports whether an address is reachable from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// advertised is the address that end_point answers for this node.
func (c *Config) advertised() string {
	if c.Advertise != "" {
		return c.Advertise
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = firstAddress()
	}
	scheme := "ws"
	if c.TLSCert != "" {
		scheme = "wss"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// firstAddress is how others most likely reach this machine.
func firstAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
