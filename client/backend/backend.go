// Package backend makes the calls of a backend: it puts users into rooms and
// calls, publishes to them, asks who is where, and listens to events.
//
//	b, err := backend.New(backend.Config{URLs: []string{"http://node:8101"}, Key: key})
//	…
//	entered, err := b.Enter(ctx, "42", 1017, backend.Entry{Profile: protocol.Profile{Nickname: "小明"}})
//
// A call that fails for want of an answer is made again, at the next node, until
// Attempts are over. Every write has an Idempotency-Key that its repeats share,
// so that it is done once. What a node says is wrong with a call is an Error, and
// within it a protocol.Error whose code is a stable word.
//
// The package starts no goroutines. Clients' connections are package client.
package backend

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxAnswer bounds what a node may answer.
	maxAnswer = 64 << 20
	// pauseMin and pauseMax bound the pauses between attempts, which double.
	pauseMin = 50 * time.Millisecond
	pauseMax = 2 * time.Second
)

// Config of a Client. URLs is required; zero values of all else work.
type Config struct {
	// URLs are the addresses of nodes, such as "http://node:8101". Any node takes
	// any call; one that does not answer is passed over for the next.
	URLs []string
	// Key is one of the nodes' API keys.
	Key string
	// Attempts is how often a call is made before it fails, 4 by default. With 1,
	// writes have no key: a room does not have to remember it.
	Attempts int
	// HTTPClient makes the requests, one with a timeout of 10 s by default. With
	// a timeout it can't be used for Events, which go through its Transport.
	HTTPClient *http.Client
}

// Validate reports everything that is wrong with c at once.
func (c Config) Validate() error {
	var faults []error
	if len(c.URLs) == 0 {
		faults = append(faults, errors.New("backend: no URL"))
	}
	for _, raw := range c.URLs {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			faults = append(faults, fmt.Errorf("backend: %q is no http URL", raw))
		}
	}
	if c.Attempts < 0 {
		faults = append(faults, fmt.Errorf("backend: %d attempts", c.Attempts))
	}
	return errors.Join(faults...)
}

// Client makes calls. It is safe for concurrent use.
type Client struct {
	// set by New
	cfg Config
	// next is the URL to begin with.
	next atomic.Uint32
}

// New returns a Client.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 4
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Timeout: 10 * time.Second}
	}
	return &Client{cfg: cfg}, nil
}

// Error is what a node says is wrong with a call. It wraps a protocol.Error.
type Error struct {
	// Status is the HTTP status.
	Status int
	// RetryAfter is when asking again may help, 0 where the node does not say.
	RetryAfter time.Duration
	// Err is the stable code and a message for people.
	Err protocol.Error
}

func (e *Error) Error() string { return fmt.Sprintf("status %d: %v", e.Status, &e.Err) }

// Unwrap returns the protocol.Error.
func (e *Error) Unwrap() error { return &e.Err }

// transient reports whether the same call may succeed later.
func (e *Error) transient() bool {
	return e.Status == http.StatusServiceUnavailable || e.Status == http.StatusTooManyRequests || e.Status == http.StatusBadGateway ||
		e.Status == http.StatusGatewayTimeout
}

// request is one call.
type request struct {
	method, path string
	body         any // nil for none; json.RawMessage as it is
	query        url.Values
}

// do makes a call until it is answered, and decodes the answer into into, unless
// that is nil.
func (c *Client) do(ctx context.Context, r request, into any) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = encode(r.body); err != nil {
			return fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
	}
	key := ""
	if r.method != http.MethodGet && c.cfg.Attempts > 1 {
		key = newKey()
	}
	for attempt := 1; ; attempt++ {
		turn := c.next.Load()
		err := c.try(ctx, c.cfg.URLs[int(turn)%len(c.cfg.URLs)], r, body, key, into)
		if err == nil {
			return nil
		}
		pause := min(pauseMin<<min(attempt-1, 10), pauseMax)
		if said := new(Error); errors.As(err, &said) {
			if !said.transient() {
				return fmt.Errorf("%s %s: %w", r.method, r.path, err)
			}
			pause = min(max(pause, said.RetryAfter), pauseMax)
		}
		c.next.CompareAndSwap(turn, turn+1)
		if attempt >= c.cfg.Attempts || !sleep(ctx, pause/2+mathrand.N(pause/2+1)) {
			return fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
	}
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

func newKey() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// try makes one request.
func (c *Client) try(ctx context.Context, base string, r request, body []byte, key string, into any) error {
	req, err := c.newRequest(ctx, base, r, body)
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.cfg.HTTPClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode/100 != 2 {
		return readError(resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if into == nil || len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("answer not understood: %w", err)
	}
	return nil
}

func (c *Client) newRequest(ctx context.Context, base string, r request, body []byte) (*http.Request, error) {
	address := strings.TrimRight(base, "/") + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.cfg.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// readError reads what a node says is wrong. What has no code is taken by its
// status.
func readError(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, Err: protocol.Error{Code: protocol.CodeInternal, Message: resp.Status}}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.RetryAfter = time.Duration(min(n, 3600)) * time.Second
	}
	var said struct {
		Error struct {
			Code    protocol.Code `json:"code"`
			Message string        `json:"message"`
		} `json:"error"`
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && json.Unmarshal(b, &said) == nil && said.Error.Code != "" {
		e.Err = protocol.Error{Code: said.Error.Code, Message: said.Error.Message}
	}
	return e
}

// sleep reports false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
