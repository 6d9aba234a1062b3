package mnsclient

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/sign"
	"github.com/faac1247/rollcall/mns/wire"
)

// Config of a Client. Endpoint, KeyID and Secret are required.
type Config struct {
	// Endpoint is where the server is, such as http://127.0.0.1:8301.
	Endpoint      string
	KeyID, Secret string
	// Token comes along for a temporary key.
	Token string
	// Region, if set, has requests signed by version 4 for that region.
	Region string
	// HTTP makes the requests; by default a client that keeps 64 connections.
	// Its timeout, if any, has to be longer than a long poll.
	HTTP *http.Client
	// Timeout bounds a request, what it waits for messages aside, 10 s by
	// default.
	Timeout time.Duration
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		faults = append(faults, fmt.Errorf("mns client: endpoint %q is not of the form http://host:port", c.Endpoint))
	}
	if c.KeyID == "" || c.Secret == "" {
		faults = append(faults, errors.New("mns client: key id and secret are required"))
	}
	if c.Timeout < 0 {
		faults = append(faults, fmt.Errorf("mns client: timeout %v is negative", c.Timeout))
	}
	return errors.Join(faults...)
}

// Client speaks to one server. It is safe for concurrent use.
type Client struct {
	// set by New
	cfg    Config
	base   string
	signer *sign.Signer
}

// New returns a Client.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		}}
	}
	return &Client{cfg: cfg, base: strings.TrimRight(cfg.Endpoint, "/"), signer: sign.NewSigner(cfg.Secret)}, nil
}

// Close lets idle connections go.
func (c *Client) Close() { c.cfg.HTTP.CloseIdleConnections() }

// request is one request to be signed and made.
type request struct {
	method string
	target string // path and query
	body   []byte
	wait   time.Duration // for messages
}

// answer is what came back.
type answer struct {
	status int
	node   *wire.Node // nil without a body
}

// maxAnswer bounds what is read of an answer: a batch of large bodies, escaped.
const maxAnswer = 16 << 20

// do makes a request. An answer of 400 and above is an error, and returned too.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+r.wait)
	defer cancel()
	h, err := http.NewRequestWithContext(ctx, r.method, c.base+r.target, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("mns %s %s: %w", r.method, r.target, err)
	}
	c.sign(h, r)
	response, err := c.cfg.HTTP.Do(h)
	if err != nil {
		return nil, fmt.Errorf("mns %s %s: %w", r.method, r.target, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("mns %s %s: %w", r.method, r.target, err)
	}
	a := &answer{status: response.StatusCode}
	if len(body) > 0 {
		if a.node, err = wire.Parse(body); err != nil {
			return nil, fmt.Errorf("mns %s %s: answer %s: %w", r.method, r.target, response.Status, err)
		}
	}
	if a.status >= http.StatusBadRequest {
		return a, a.fault()
	}
	return a, nil
}

func (c *Client) sign(h *http.Request, r request) {
	now := time.Now().UTC()
	h.Header.Set("Date", now.Format(http.TimeFormat))
	h.Header.Set("X-Mns-Version", "2015-06-06")
	if len(r.body) > 0 {
		h.Header.Set("Content-Type", "text/xml;charset=UTF-8")
	}
	if c.cfg.Token != "" {
		h.Header.Set("Security-Token", c.cfg.Token)
	}
	signed := sign.Request{Method: r.method, Target: h.URL.RequestURI(), Header: h.Header}
	if c.cfg.Region == "" {
		h.Header.Set("Authorization", sign.Header(c.cfg.KeyID, c.signer.V2(signed)))
		return
	}
	scope := sign.Scope{Day: now.Format("20060102"), Region: c.cfg.Region}
	h.Header.Set("Authorization", sign.HeaderV4(sign.Public, c.cfg.KeyID, scope,
		sign.V4(sign.Public, c.cfg.Secret, scope, now, signed)))
}

// fault reads an error's document.
func (a *answer) fault() error {
	e := &chat.Error{Status: a.status, Code: strconv.Itoa(a.status), Message: http.StatusText(a.status)}
	if a.node != nil {
		e.Code = cmp.Or(a.text("Code"), e.Code)
		e.Message = cmp.Or(a.text("Message"), e.Message)
	}
	return e
}

func (a *answer) text(name string) string {
	if a.node == nil {
		return ""
	}
	return text(a.node, name)
}

func text(n *wire.Node, name string) string {
	if c := n.Child(name); c != nil {
		return c.Text
	}
	return ""
}

func number(n *wire.Node, name string) int64 {
	v, _ := strconv.ParseInt(text(n, name), 10, 64) // 0 for what is not there
	return v
}
