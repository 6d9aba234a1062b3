package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Sign says how a client signs its frames.
type Sign uint8

const (
	// SignAuto signs with the key that the server hands out, and the legacy way
	// where it hands out none.
	SignAuto Sign = iota
	// SignMD5 signs the legacy way. It proves nothing.
	SignMD5
	// SignOff does not sign. Only a server in development accepts that.
	SignOff
)

// Config of a Client. EndPoints and SID are required; zero values of all else
// work.
type Config struct {
	// EndPoints are the base URLs of nodes, or of what stands before them, such
	// as "http://node:8001". The client begins with a random one and goes to
	// the next when one fails.
	EndPoints []string
	// SID is what the business backend gave the user.
	SID string
	// RoomID is the room that the user is in or about to enter. It decides which
	// node end_point answers; without it the server looks where the user is.
	RoomID protocol.RoomID
	// V2 asks for presence and entered frames.
	V2 bool
	// Sign says how frames are signed.
	Sign Sign
	// Params are the app's common parameters of end_point, such as pf and ver.
	// If they have a ckey, the request is signed with it.
	Params url.Values

	// BackoffMin is what the pause after the first failure stays under, 500 ms by
	// default. It doubles with each failure in a row up to BackoffMax, 15 s by
	// default. A pause is a random part of that. In the first 15 s after a
	// connection that had lasted, it stays under 2 s.
	BackoffMin, BackoffMax time.Duration
	// ConnectTimeout bounds the asking of end_point, and the opening of the
	// websocket; 10 s by default each. TokenTimeout bounds the wait for the
	// server's first frame after that, 45 s by default: a server in trouble holds
	// its clients for a while.
	ConnectTimeout, TokenTimeout time.Duration
	// WriteTimeout bounds one write, 5 s by default.
	WriteTimeout time.Duration
	// ProbeInterval is how often the server's machine is asked for a sign of
	// life, by a websocket ping. If none came within an interval the connection
	// counts as broken. It is the heartbeat's interval by default, which also is
	// its resolution; negative turns it off.
	ProbeInterval time.Duration

	// Dial opens connections, by default as NewDialer's does. HTTPClient asks
	// end_point; by default one on top of Dial that keeps no connections.
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)
	HTTPClient *http.Client
	// TLS is for wss. Without a cache of sessions it gets one, so that who comes
	// back to a node needs no whole handshake.
	TLS *tls.Config
	// Pacer keeps the time, shared with other clients. Without it the client
	// runs one of its own.
	Pacer *Pacer
	// Logger gets what is of use when a client can't connect, at debug level.
	Logger *slog.Logger

	// OnConnect is told of each connection, OnDisconnect of its end or of an
	// attempt that failed.
	OnConnect    func(Connected)
	OnDisconnect func(Disconnected)
	// OnFrame is told every frame once: those to a room in order, resync and
	// error among them, and departures. It is not told create_token, drain and
	// synced.
	OnFrame func(Frame)
	// OnRoomGone is told after a reconnect that the user is not in a room or
	// call any more that it was in before: it was expelled, or taken out.
	OnRoomGone func(protocol.RoomID)
	// OnDeparture is told of each departure once, and returns whether to report
	// it now. Who returns false calls Report when the room has been told. Without
	// it departures are reported at once.
	OnDeparture func(Departure) bool
}

// Connected tells of a new connection.
type Connected struct {
	// EndPoint is where it leads.
	EndPoint string
	// PlaceKnown is false while the server can't tell where the user is.
	PlaceKnown bool
	// Room and Call are where the user is, empty for nowhere.
	Room, Call protocol.RoomID
	// PingInterval and HeartbeatTimeout are what the server asks for.
	PingInterval, HeartbeatTimeout time.Duration
	// Again is set on all but the first connection.
	Again bool
	// Took is the time from asking end_point to create_token, without the wait
	// that end_point asked for.
	Took time.Duration
}

// Disconnected tells of the end of a connection or of an attempt.
type Disconnected struct {
	// Err is why; a CloseError if the server said so.
	Err error
	// Open is false for an attempt that came to no connection.
	Open bool
	// Final is set if the client stays away. Otherwise it comes back after Pause.
	Final bool
	Pause time.Duration
}

// Validate reports everything that is wrong with c at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("client: "+format, args...))
		}
	}
	bad(len(c.EndPoints) == 0, "no end point")
	for _, e := range c.EndPoints {
		u, err := url.Parse(e)
		bad(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "", "end point %q is no http URL", e)
	}
	bad(c.SID == "", "no sid")
	bad(c.RoomID != "" && !protocol.ValidName(string(c.RoomID)), "room id %q: use 1 to 64 of A-Z a-z 0-9 _ . -", c.RoomID)
	bad(c.Sign > SignOff, "unknown sign mode %d", c.Sign)
	for _, d := range []time.Duration{c.BackoffMin, c.BackoffMax, c.ConnectTimeout, c.TokenTimeout, c.WriteTimeout} {
		bad(d < 0, "duration %v is negative", d)
	}
	full := c.withDefaults()
	bad(full.BackoffMax < full.BackoffMin, "largest backoff %v is under the smallest %v", full.BackoffMax, full.BackoffMin)
	return errors.Join(faults...)
}

// tlsSessions is how many nodes' TLS sessions a client remembers.
const tlsSessions = 4

func (c Config) withDefaults() Config {
	def(&c.BackoffMin, defaultBackoffMin)
	def(&c.BackoffMax, defaultBackoffMax)
	def(&c.ConnectTimeout, 10*time.Second)
	def(&c.TokenTimeout, 45*time.Second)
	def(&c.WriteTimeout, 5*time.Second)
	if c.Dial == nil {
		c.Dial = NewDialer().DialContext
	}
	if c.TLS == nil {
		c.TLS = new(tls.Config)
	}
	if c.TLS.ClientSessionCache == nil {
		c.TLS = c.TLS.Clone()
		c.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(tlsSessions)
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{Transport: &http.Transport{
			DialContext: c.Dial, TLSClientConfig: c.TLS, DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment,
		}}
	}
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
