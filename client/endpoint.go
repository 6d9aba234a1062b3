package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxAnswer bounds what end_point may answer.
	maxAnswer = 64 << 10
	// maxWait bounds the wait that end_point may ask for.
	maxWait = time.Minute
	// errorLogIn is the error_code of a sid that belongs to nobody.
	errorLogIn = -100
)

// route is end_point's answer.
type route struct {
	endPoint string
	// notBefore is how long to wait before connecting.
	notBefore time.Duration
}

// refusal is an answer that asks to come back later.
type refusal struct {
	status     int
	retryAfter time.Duration
}

func (e *refusal) Error() string { return fmt.Sprintf("refused with status %d", e.status) }

// askEndPoint asks one node where to connect.
func (c *Client) askEndPoint(ctx context.Context, base string, room protocol.RoomID) (route, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	q := c.query(room)
	if failed := c.avoid.recent(time.Now()); len(failed) > 0 {
		q["failed"] = failed
	}
	for name, values := range c.cfg.Params {
		q[name] = values
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endPointURL(base, q), nil)
	if err != nil {
		return route{}, fmt.Errorf("ask end_point: %w", err)
	}
	resp, err := c.cfg.HTTPClient.Do(req)
	if err != nil {
		// The error of net/http has the URL in it, and that the sid.
		var text *url.Error
		if errors.As(err, &text) {
			err = text.Err
		}
		return route{}, fmt.Errorf("ask end_point of %s: %w", base, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return route{}, fmt.Errorf("read the answer of end_point: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return route{}, fmt.Errorf("ask end_point of %s: %w", base, &refusal{resp.StatusCode, retryAfter(resp.Header)})
	}
	return parseRoute(body)
}

// query has the parameters that end_point and the websocket share.
func (c *Client) query(room protocol.RoomID) url.Values {
	q := url.Values{"sid": {c.cfg.SID}}
	if room != "" && !room.IsCall() {
		q.Set("room_id", string(room))
	}
	return q
}

// endPointURL returns the address to ask. Parameters with a ckey are signed.
func endPointURL(base string, q url.Values) string {
	if q.Has("ckey") {
		q.Set("h", protocol.SignParams(q))
	}
	return strings.TrimRight(base, "/") + "/api/websocket/end_point?" + q.Encode()
}

// retryAfter reads the header of that name, 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}

func parseRoute(body []byte) (route, error) {
	var answer struct {
		ErrorCode   int     `json:"error_code"`
		ErrorReason string  `json:"error_reason"`
		EndPoint    string  `json:"end_point"`
		NotBeforeMS float64 `json:"not_before_ms"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return route{}, fmt.Errorf("answer of end_point: %w", err)
	}
	switch {
	case answer.ErrorCode == errorLogIn:
		return route{}, fmt.Errorf("%w (%s)", ErrLogIn, answer.ErrorReason)
	case answer.ErrorCode != 0:
		return route{}, fmt.Errorf("end_point answers error %d: %s", answer.ErrorCode, answer.ErrorReason)
	}
	u, err := url.Parse(answer.EndPoint)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
		return route{}, fmt.Errorf("end_point answers %q, which is no websocket address", answer.EndPoint)
	}
	wait := time.Duration(min(max(answer.NotBeforeMS, 0), float64(maxWait.Milliseconds()))) * time.Millisecond
	return route{endPoint: answer.EndPoint, notBefore: wait}, nil
}

// socketURL returns the websocket's address for what end_point answered.
func socketURL(endPoint string, q url.Values, v2 bool) (*url.URL, error) {
	u, err := url.Parse(endPoint)
	if err != nil {
		return nil, fmt.Errorf("end point %q: %w", endPoint, err)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	if v2 {
		q.Set("v", "2")
	}
	u.RawQuery = q.Encode()
	return u, nil
}

// address returns the host and port to dial.
func address(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "wss" || u.Scheme == "https" {
		return u.Host + ":443"
	}
	return u.Host + ":80"
}
