package main

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"github.com/faac1247/rollcall/bridge"
	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
)

// settings are the flags of serve. Values that can be wrong are texts here, so
// that all faults are found together; see config.
type settings struct {
	Config kong.ConfigFlag `help:"YAML file with these settings, by their flags' names." placeholder:"FILE"`

	NodeID    string `name:"node-id" env:"ROLLCALL_NODE_ID" help:"Unique in the cluster, stable. Host name by default."`
	Listen    string `env:"ROLLCALL_LISTEN" default:":8001" help:"The clients' door."`
	Advertise string `env:"ROLLCALL_ADVERTISE" help:"The ws:// or wss:// address that end_point answers. From --listen by default."`

	API      string   `name:"api" env:"ROLLCALL_API" default:"127.0.0.1:8101" help:"The backend's door."`
	APIKey   []string `name:"api-key" env:"ROLLCALL_API_KEY" help:"Key of the backend; repeatable. Needed off loopback."`
	Admin    string   `env:"ROLLCALL_ADMIN" default:"127.0.0.1:8201" help:"The operator's door."`
	AdminKey []string `name:"admin-key" env:"ROLLCALL_ADMIN_KEY" help:"Key of the operator; repeatable."`
	MNS      string   `name:"mns" env:"ROLLCALL_MNS" help:"The chat pipeline's door, such as :8301. Off by default."`
	MNSKey   []string `name:"mns-key" env:"ROLLCALL_MNS_KEY" help:"id:secret of the chat pipeline; repeatable."`

	Gossip          string   `env:"ROLLCALL_GOSSIP" default:"127.0.0.1:7946" help:"Membership."`
	GossipAdvertise string   `env:"ROLLCALL_GOSSIP_ADVERTISE" help:"The host:port at which other members reach --gossip."`
	Join            []string `env:"ROLLCALL_JOIN" help:"host:port or DNS name of other members; repeatable."`
	GossipKey       []string `name:"gossip-key" env:"ROLLCALL_GOSSIP_KEY" help:"16, 24 or 32 bytes in base64, or a file of such lines, read again when it changes; the first encrypts, all decrypt."`
	InsecureGossip  bool     `env:"ROLLCALL_INSECURE_GOSSIP" help:"Allow gossip off loopback without a key."`

	Redis []string `env:"ROLLCALL_REDIS" help:"redis:// or rediss:// URL; several for a Cluster; master=NAME for Sentinel. None: embedded, one node, development only."`

	SidAuth   string   `name:"sid-auth" env:"ROLLCALL_SID_AUTH" default:"jwt" help:"jwt, backend or dev."`
	JWTKey    []string `name:"jwt-key" env:"ROLLCALL_JWT_KEY" help:"HS256 secret, or file with a secret or PEM public key; repeatable."`
	JWKSURL   string   `name:"jwks-url" env:"ROLLCALL_JWKS_URL" help:"Key set of the issuer."`
	AuthURL   string   `name:"auth-url" env:"ROLLCALL_AUTH_URL" help:"The backend's sid check, with --sid-auth backend."`
	FrameSign string   `name:"frame-sign" env:"ROLLCALL_FRAME_SIGN" default:"hmac" help:"hmac, md5 (legacy), both, or off (development)."`

	PingInterval      string `env:"ROLLCALL_PING_INTERVAL" default:"15s" help:"What end_point tells."`
	HeartbeatTimeout  string `env:"ROLLCALL_HEARTBEAT_TIMEOUT" default:"20s" help:"Silence that is a loss."`
	LossGrace         string `env:"ROLLCALL_LOSS_GRACE" default:"0s" help:"Wait after a closed or silent connection."`
	CrashGrace        string `env:"ROLLCALL_CRASH_GRACE" default:"12s" help:"Wait after an edge's crash or drain."`
	ReportTimeout     string `env:"ROLLCALL_REPORT_TIMEOUT" default:"5s" help:"How long a relay has to report."`
	DepartureDeadline string `env:"ROLLCALL_DEPARTURE_DEADLINE" default:"60s" help:"When an unreported departure is given up."`
	DrainTimeout      string `env:"ROLLCALL_DRAIN_TIMEOUT" default:"25s" help:"The longest drain."`
	RoomDelivery      string `env:"ROLLCALL_ROOM_DELIVERY" default:"all" help:"all, or one: one member gets a publication and passes it on."`

	RoomSpread string `env:"ROLLCALL_ROOM_SPREAD" default:"5000" help:"Occupants above which a room's newcomers are spread over more nodes; 0 is never."`

	Webhook    string `env:"ROLLCALL_WEBHOOK" help:"Where events are posted."`
	WebhookKey string `name:"webhook-key" env:"ROLLCALL_WEBHOOK_KEY" help:"Signs them."`

	Cluster        string   `env:"ROLLCALL_CLUSTER" default:"rollcall" help:"Gossip label and Redis key prefix."`
	TLSCert        string   `name:"tls-cert" env:"ROLLCALL_TLS_CERT" help:"Certificate of the clients' door; reloaded on change."`
	TLSKey         string   `name:"tls-key" env:"ROLLCALL_TLS_KEY" help:"Its key."`
	AllowedOrigins []string `name:"allowed-origins" env:"ROLLCALL_ALLOWED_ORIGINS" help:"Origins that browsers may connect from. All by default."`
	TrustedProxies []string `name:"trusted-proxies" env:"ROLLCALL_TRUSTED_PROXIES" help:"CIDRs whose X-Forwarded-For counts."`
	MaxConns       string   `env:"ROLLCALL_MAX_CONNS" default:"0" help:"Connections at most; 0 is what the file limit allows."`
	MaxConnsPerIP  string   `name:"max-conns-per-ip" env:"ROLLCALL_MAX_CONNS_PER_IP" default:"0" help:"Connections of one address at most; 0 is off."`
	LogLevel       string   `env:"ROLLCALL_LOG_LEVEL" default:"info" help:"debug, info, warn or error."`
	LogFormat      string   `env:"ROLLCALL_LOG_FORMAT" default:"auto" help:"text, json, or auto: text on a terminal."`
}

// faults gathers what is wrong with the settings.
type faults struct{ list []error }

func (f *faults) add(format string, args ...any) {
	f.list = append(f.list, fmt.Errorf(format, args...))
}

func (f *faults) duration(flag, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		f.add("%s %q: use a duration such as 15s or 500ms", flag, text)
	}
	return d
}

func (f *faults) count(flag, text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		f.add("%s %q: use a whole number", flag, text)
	}
	return n
}

// roomSpread reads a number of occupants; a node's zero is its default.
func (f *faults) roomSpread(text string) int {
	n := f.count("room-spread", text)
	if n < 0 {
		f.add("room-spread %d: use 0 or more", n)
	}
	if n == 0 {
		return -1
	}
	return n
}

func (f *faults) oneOf(flag, text string, allowed ...string) string {
	if !slices.Contains(allowed, text) {
		f.add("%s %q: use %s", flag, text, strings.Join(allowed, ", "))
	}
	return text
}

// config turns the settings into a node's configuration, without its store,
// and names every fault.
func (s *settings) config() (node.Config, error) {
	var f faults
	c := node.Config{
		NodeID: s.nodeID(&f), Cluster: s.Cluster,
		Listen: s.Listen, Advertise: s.Advertise,
		API: s.API, APIKeys: s.APIKey, Admin: s.Admin, AdminKeys: s.AdminKey,
		Gossip:           node.Gossip{Bind: s.Gossip, Advertise: s.GossipAdvertise, Join: s.Join, Insecure: s.InsecureGossip},
		SignMode:         edge.SignMode(s.FrameSign),
		PingInterval:     f.duration("ping-interval", s.PingInterval),
		HeartbeatTimeout: f.duration("heartbeat-timeout", s.HeartbeatTimeout),
		LossGrace:        f.duration("loss-grace", s.LossGrace),
		CrashGrace:       f.duration("crash-grace", s.CrashGrace),
		ReportTimeout:    f.duration("report-timeout", s.ReportTimeout),
		Departure:        f.duration("departure-deadline", s.DepartureDeadline),
		DrainTimeout:     f.duration("drain-timeout", s.DrainTimeout),
		RelayOnly:        f.oneOf("room-delivery", s.RoomDelivery, "all", "one") == "one",
		RoomSpread:       f.roomSpread(s.RoomSpread),
		MaxConns:         f.count("max-conns", s.MaxConns),
		MaxConnsPerIP:    f.count("max-conns-per-ip", s.MaxConnsPerIP),
		AllowedOrigins:   s.AllowedOrigins,
		TrustedProxies:   prefixes(&f, s.TrustedProxies),
		Webhook:          s.Webhook, WebhookKey: s.WebhookKey,
		TLSCert: s.TLSCert, TLSKey: s.TLSKey,
		SidAuth: s.SidAuth, Version: version(),
	}
	s.gossipKeys(&f, &c.Gossip)
	f.oneOf("log-level", s.LogLevel, "debug", "info", "warn", "error")
	f.oneOf("log-format", s.LogFormat, "auto", "text", "json")
	s.chatDoor(&f)
	s.certificate(&f)
	s.store(&f)
	c.Auth = s.authenticator(&f)
	for _, err := range unjoin(c.Validate()) {
		if !errors.Is(err, node.ErrNoStore) && (c.Auth != nil || !errors.Is(err, node.ErrNoAuth)) {
			f.list = append(f.list, err)
		}
	}
	return c, errors.Join(f.list...)
}

// chatDoor finds what is wrong with the chat pipeline's door.
func (s *settings) chatDoor(f *faults) {
	keys := s.mnsKeys(f)
	if s.MNS == "" {
		return
	}
	if _, _, err := net.SplitHostPort(s.MNS); err != nil {
		f.add("mns %q: use host:port, such as 127.0.0.1:8301 or :8301", s.MNS)
	}
	if len(keys) == 0 {
		f.add("mns %q has no key: give --mns-key id:secret", s.MNS)
	}
}

// certificate finds what is wrong with the files of TLS.
func (s *settings) certificate(f *faults) {
	if s.TLSCert == "" || s.TLSKey == "" {
		return // one without the other is the node's to say
	}
	if _, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey); err != nil {
		f.add("tls-cert, tls-key: %w", err)
	}
}

// store finds what is wrong with the address of Redis.
func (s *settings) store(f *faults) {
	if len(s.Redis) == 0 {
		return
	}
	// The cluster's name is the node's to judge.
	f.list = append(f.list, unjoin(bridge.Config{URL: s.storeURL()}.Validate())...)
}

func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

func (s *settings) nodeID(f *faults) protocol.NodeID {
	if s.NodeID != "" {
		return protocol.NodeID(s.NodeID)
	}
	host, err := os.Hostname()
	if err != nil {
		f.add("node-id: this machine has no host name (%v); give one", err)
	}
	return protocol.NodeID(host)
}

// authenticator makes the part that knows sids, nil if it can't be. Of a mode
// that there is not, the other settings are judged by what they are for.
func (s *settings) authenticator(f *faults) *auth.Authenticator {
	cfg := auth.Config{Mode: s.SidAuth, Keys: s.JWTKey, JWKSURL: s.JWKSURL, AuthURL: s.AuthURL}
	modes := []string{s.SidAuth}
	if !slices.Contains([]string{auth.ModeJWT, auth.ModeBackend, auth.ModeDev}, s.SidAuth) {
		f.add("sid-auth %q: use %s, %s or %s", s.SidAuth, auth.ModeJWT, auth.ModeBackend, auth.ModeDev)
		modes = nil
		if len(s.JWTKey) > 0 || s.JWKSURL != "" {
			modes = append(modes, auth.ModeJWT)
		}
		if s.AuthURL != "" {
			modes = append(modes, auth.ModeBackend)
		}
	}
	flags := map[string]string{auth.ModeJWT: "jwt-key, jwks-url", auth.ModeBackend: "auth-url"}
	var a *auth.Authenticator
	for _, mode := range modes {
		cfg.Mode = mode
		made, err := auth.New(cfg)
		for _, err := range unjoin(err) {
			f.add("%s: %w", flags[mode], err)
		}
		a = made
	}
	return a
}

// mnsKeys are the keys of the chat pipeline's door.
func (s *settings) mnsKeys(f *faults) []mns.Key {
	var keys []mns.Key
	for i, text := range s.MNSKey {
		key, err := mns.ParseKey(text)
		if err != nil {
			f.add("mns-key %d: %v", i+1, err)
			continue
		}
		keys = append(keys, key)
	}
	return keys
}

// gossipKeys reads gossip's keys, and has them read again where some are in
// files.
func (s *settings) gossipKeys(f *faults, g *node.Gossip) {
	keys, files, err := readGossipKeys(s.GossipKey)
	f.list = append(f.list, unjoin(err)...)
	g.Keys = keys
	if files {
		g.Reload = func() ([][]byte, error) {
			keys, _, err := readGossipKeys(s.GossipKey)
			return keys, err
		}
	}
}

// readGossipKeys decodes keys, each given itself or as a file with one a line,
// and reports whether there were files. What is wrong with a key is said
// without it.
func readGossipKeys(texts []string) (keys [][]byte, files bool, err error) {
	var faults []error
	for i, text := range texts {
		lines := []string{text}
		if body, err := os.ReadFile(text); err == nil {
			lines, files = strings.Fields(string(body)), true
			if len(lines) == 0 {
				faults = append(faults, fmt.Errorf("gossip-key %d is a file without a key", i+1))
			}
		}
		for _, line := range lines {
			key, err := base64.StdEncoding.DecodeString(line)
			if err != nil {
				faults = append(faults, fmt.Errorf("gossip-key %d is neither base64 nor a file of it; make one with: head -c 32 /dev/urandom | base64", i+1))
				break
			}
			keys = append(keys, key)
		}
	}
	return keys, files, errors.Join(faults...)
}

func prefixes(f *faults, texts []string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			f.add("trusted-proxies %q: use a CIDR such as 10.0.0.0/8", text)
			continue
		}
		list = append(list, p)
	}
	return list
}

// yamlFile reads settings from a YAML file, by their flags' names. The
// environment and the command line win over it.
func yamlFile(r io.Reader) (kong.Resolver, error) {
	f := fileSettings{}
	if err := yaml.NewDecoder(r).Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("settings file: %w", err)
	}
	return f, nil
}

// fileSettings holds the values of a settings file by flag.
type fileSettings map[string]any

// Validate names every setting in the file that no flag has.
func (f fileSettings) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, c := range app.Children {
		for _, flag := range c.Flags {
			known[flag.Name] = true
		}
	}
	var unknown []error
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !known[name] {
			unknown = append(unknown, fmt.Errorf("settings file: %q is not a setting; rollcall serve --help lists them", name))
		}
	}
	return errors.Join(unknown...)
}

// Resolve answers a flag's value in the file, nil where the environment has
// one.
func (f fileSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	v, ok := f[flag.Name]
	if !ok {
		return nil, nil
	}
	if list, ok := v.([]any); ok {
		texts := make([]string, len(list))
		for i, item := range list {
			texts[i] = fmt.Sprint(item)
		}
		return strings.Join(texts, ","), nil
	}
	return fmt.Sprint(v), nil
}
