package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

var (
	// ErrUnknown means that the sid was judged and nobody stands behind it:
	// malformed, forged, expired or revoked. Asking again is useless.
	ErrUnknown = errors.New("unknown sid")
	// ErrUnavailable means that the sid could not be judged now.
	ErrUnavailable = errors.New("sid can't be verified now")
)

// Identity is who stands behind a sid. It is shared: nobody changes it.
type Identity struct {
	User protocol.UserID
	// May lists the actions that the client may send itself; "*" is all.
	May []string
	// Expires is when the sid ends; zero for never.
	Expires time.Time
}

// The modes of an Authenticator.
const (
	ModeJWT     = "jwt"
	ModeBackend = "backend"
	ModeDev     = "dev"
)

// Config of an Authenticator.
type Config struct {
	// Mode is ModeJWT by default.
	Mode string
	// Keys are those that tokens may be signed with: each a file's name or the
	// key itself. A PEM block holds a public key, RSA for RS256 or Ed25519 for
	// EdDSA; anything else is the secret of HS256.
	Keys []string
	// JWKSURL is where the issuer publishes its keys, for RS256 and EdDSA.
	JWKSURL string
	// AuthURL is the backend's: POST {"sid":…} answers {"user_id":…,
	// "may":[…],"ttl":seconds}, user_id 0 for nobody's.
	AuthURL string
	// MaxCalls bounds the calls to the backend at a time, 64 by default. More
	// wait for one to end.
	MaxCalls int
	// CacheSize bounds the remembered sids, 65536 by default. The one not used
	// for longest goes first.
	CacheSize int
	// Client makes the calls to JWKSURL and AuthURL, by default one with a
	// timeout of 5 s that follows no redirects.
	Client *http.Client
}

// maxSID bounds the length of a sid.
const maxSID = 4 << 10

func (c Config) withDefaults() Config {
	if c.Mode == "" {
		c.Mode = ModeJWT
	}
	if c.MaxCalls == 0 {
		c.MaxCalls = 64
	}
	if c.CacheSize == 0 {
		c.CacheSize = 1 << 16
	}
	if c.Client == nil {
		c.Client = &http.Client{
			Timeout:       callTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return c
}

// callTimeout bounds one call to the issuer or the backend.
const callTimeout = 5 * time.Second

// Validate reports everything that is wrong with c at once. It reads the keys'
// files.
func (c Config) Validate() error {
	_, err := New(c)
	return err
}

// judge tells who a sid is, without remembering anything. until is when the
// answer has to be asked for again.
type judge interface {
	judge(ctx context.Context, sid string) (id Identity, until time.Time, err error)
}

// Authenticator tells who a sid is. It is safe for concurrent use.
type Authenticator struct {
	// set by New
	judge judge
	cache *cache
	dev   bool
}

// New returns an Authenticator. It makes no call yet.
func New(cfg Config) (*Authenticator, error) {
	cfg = cfg.withDefaults()
	a := &Authenticator{cache: newCache(cfg.CacheSize)}
	var err error
	switch cfg.Mode {
	case ModeJWT:
		a.judge, err = newTokens(cfg)
	case ModeBackend:
		a.judge, err = newBackend(cfg)
	case ModeDev:
		a.dev = true
	default:
		err = fmt.Errorf("auth: mode %q is not jwt, backend or dev", cfg.Mode)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Authenticate tells who a sid is. Its errors wrap ErrUnknown or
// ErrUnavailable, and say why without repeating the sid.
//
// Hot: once for each end_point and connection (BenchmarkKnownSID,
// BenchmarkNewSID).
func (a *Authenticator) Authenticate(ctx context.Context, sid string) (Identity, error) {
	if a.dev {
		user, err := protocol.ParseDevSID(sid)
		if err != nil {
			return Identity{}, fmt.Errorf("%w: not of the form that development takes", ErrUnknown)
		}
		return Identity{User: user, May: everything}, nil
	}
	if sid == "" || len(sid) > maxSID {
		return Identity{}, fmt.Errorf("%w: %d bytes long", ErrUnknown, len(sid))
	}
	now := time.Now()
	if id, known := a.cache.lookup(sid, now); known {
		if id.User == 0 {
			return Identity{}, fmt.Errorf("%w: judged a moment ago", ErrUnknown)
		}
		return id, nil
	}
	id, until, err := a.judge.judge(ctx, sid)
	if until.After(now) && (err == nil || errors.Is(err, ErrUnknown)) {
		a.cache.add(sid, id, until)
	}
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

// everything is what a sid in development may do.
var everything = []string{"*"}
