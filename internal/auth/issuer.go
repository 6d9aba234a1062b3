package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"
)

const (
	// keysMaxAge is when the issuer's keys are fetched anew although nothing is
	// missing, so that a withdrawn one goes out of use.
	keysMaxAge = 15 * time.Minute
	// keysMinAge is how often an unknown key may cause a fetch: who makes up key
	// ids shall not make us ask the issuer each time.
	keysMinAge = 10 * time.Second
	// maxKeySet bounds what the issuer may answer.
	maxKeySet = 1 << 20
)

// issuer holds the keys that a URL publishes. They are fetched when first
// needed, when they have become old, and when a token names one that is not
// among them.
type issuer struct {
	// set by newIssuer
	url    string
	client *http.Client

	flight singleflight.Group

	// guarded by mu
	mu    sync.Mutex
	keys  keyfunc.Keyfunc // nil before the first fetch that worked
	tried time.Time       // when the last fetch began
	got   time.Time       // when the last one worked
}

func newIssuer(cfg Config) (*issuer, error) {
	if u, err := url.Parse(cfg.JWKSURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("auth: the JWKS URL is no http URL; use https://host/path") // not said: it may hold a password
	}
	return &issuer{url: cfg.JWKSURL, client: cfg.Client}, nil
}

// key returns the key that a token names.
func (i *issuer) key(ctx context.Context, token *jwt.Token) (any, error) {
	i.mu.Lock()
	keys, tried, got := i.keys, i.tried, i.got
	i.mu.Unlock()
	now := time.Now()
	if keys != nil {
		key, err := keys.KeyfuncCtx(ctx)(token)
		stale := now.Sub(got) > keysMaxAge
		if err == nil && !stale {
			return key, nil
		}
		if now.Sub(tried) < keysMinAge {
			return key, err
		}
	}
	_, err, _ := i.flight.Do("", func() (any, error) { return nil, i.fetch(context.WithoutCancel(ctx)) })
	i.mu.Lock()
	keys = i.keys
	i.mu.Unlock()
	if keys == nil {
		return nil, fmt.Errorf("%w: issuer's keys: %w", ErrUnavailable, err)
	}
	return keys.KeyfuncCtx(ctx)(token)
}

// fetch gets the keys. Without success those that are there stay in use.
func (i *issuer) fetch(ctx context.Context) error {
	i.mu.Lock()
	i.tried = time.Now()
	i.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url, nil)
	if err != nil {
		return err
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	keys, err := keyfunc.NewJWKSetJSON(body)
	if err != nil {
		return fmt.Errorf("key set: %w", err)
	}
	i.mu.Lock()
	i.keys, i.got = keys, time.Now()
	i.mu.Unlock()
	return nil
}
