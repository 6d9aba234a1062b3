package notify

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// maxAnswer is how much of an endpoint's answer is read, so that its connection
// can be used again.
const maxAnswer = 64 << 10

// client posts to endpoints.
type client struct {
	http http.Client
}

func newClient(cfg Config) *client {
	dialer := &net.Dialer{
		Timeout: cfg.Timeout,
		// After the name was resolved, so that no name leads elsewhere.
		Control: func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if !cfg.Allow(a.Addr()) {
				return fmt.Errorf("endpoints may not be at %s", a.Addr())
			}
			return nil
		},
	}
	return &client{http: http.Client{
		Timeout: cfg.Timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: cfg.PerHost, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: cfg.Timeout, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// errEndpoint is returned for an answer that is not a success.
var errEndpoint = errors.New("the endpoint did not take it")

// post makes one try.
func (c *client) post(ctx context.Context, d *delivery, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	sum := md5.Sum(body)
	h := r.Header
	h.Set("Content-Md5", base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(sum[:]))))
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	h.Set("User-Agent", "rollcall")
	h.Set("X-Mns-Version", "2015-06-06")
	h.Set("X-Mns-Request-Id", string(d.Publication.ID))
	h.Set("X-Mns-Message-Id", string(d.Publication.ID))
	if d.Publication.Tag != "" {
		h.Set("X-Mns-Message-Tag", string(d.Publication.Tag))
	}
	h.Set("Content-Type", map[chat.Format]string{
		chat.FormatXML: "text/xml;charset=utf-8", chat.FormatJSON: "application/json;charset=utf-8",
		chat.FormatSimplified: "text/plain;charset=utf-8",
	}[d.Look])
	answer, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%w: %s", errEndpoint, answer.Status)
	}
	return nil
}
