package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// defaultTTL is how long the backend's word is good for when it does not
	// say, maxTTL how long at most.
	defaultTTL = time.Minute
	maxTTL     = time.Hour
	// unknownTTL is how long a sid that nobody stands behind stays unknown: who
	// repeats it shall not make us ask the backend each time.
	unknownTTL = 2 * time.Second
	// maxAnswer bounds what the backend may answer.
	maxAnswer = 64 << 10
)

// backend judges sids by asking who issued them.
type backend struct {
	// set by newBackend
	url    string
	client *http.Client
	calls  chan struct{}

	flight singleflight.Group
}

func newBackend(cfg Config) (*backend, error) {
	if u, err := url.Parse(cfg.AuthURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("auth: mode backend needs an http URL to ask, such as https://host/path") // what was given may hold a password
	}
	return &backend{url: cfg.AuthURL, client: cfg.Client, calls: make(chan struct{}, cfg.MaxCalls)}, nil
}

// verdict is what the backend said.
type verdict struct {
	id    Identity
	until time.Time
}

// judge implements judge. Those who ask about the same sid share one call,
// which does not end because one of them goes away.
func (b *backend) judge(ctx context.Context, sid string) (Identity, time.Time, error) {
	v, err, _ := b.flight.Do(sid, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		return b.ask(ctx, sid)
	})
	said, ok := v.(verdict)
	if !ok || err != nil {
		return Identity{}, time.Time{}, fmt.Errorf("%w: backend: %w", ErrUnavailable, err)
	}
	if said.id.User <= 0 {
		return Identity{}, said.until, fmt.Errorf("%w: the backend knows nobody behind it", ErrUnknown)
	}
	return said.id, said.until, nil
}

// ask makes one call. An error means that the backend gave no verdict.
func (b *backend) ask(ctx context.Context, sid string) (verdict, error) {
	select {
	case b.calls <- struct{}{}:
		defer func() { <-b.calls }()
	case <-ctx.Done():
		return verdict{}, fmt.Errorf("wait for a call to end: %w", ctx.Err())
	}
	question, err := json.Marshal(map[string]string{"sid": sid})
	if err != nil {
		return verdict{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(question))
	if err != nil {
		return verdict{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		return verdict{}, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return verdict{}, err
	}
	now := time.Now()
	switch resp.StatusCode {
	case http.StatusOK:
		return read(body, now)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return verdict{until: now.Add(unknownTTL)}, nil
	default:
		return verdict{}, fmt.Errorf("status %d", resp.StatusCode)
	}
}

// read understands the backend's answer.
func read(body []byte, now time.Time) (verdict, error) {
	var answer struct {
		User json.RawMessage `json:"user_id"`
		May  []string        `json:"may"`
		TTL  *float64        `json:"ttl"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return verdict{}, fmt.Errorf("answer: %w", err)
	}
	var user subject
	if err := user.UnmarshalJSON(answer.User); err != nil {
		return verdict{until: now.Add(unknownTTL)}, nil //nolint:nilerr // no user is a verdict
	}
	ttl := defaultTTL
	if answer.TTL != nil {
		ttl = time.Duration(min(max(*answer.TTL, 0), maxTTL.Seconds()) * float64(time.Second))
	}
	until := now.Add(ttl)
	return verdict{id: Identity{User: protocol.UserID(user), May: answer.May, Expires: until}, until: until}, nil
}
