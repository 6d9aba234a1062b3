package mns

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// query is a request's parameters, by lower-case name: SDKs spell them in more
// than one way. A '+' is itself, since some put receipt handles in unescaped.
type query map[string]string

// maxParameters bounds the parameters of a request.
const maxParameters = 32

func parseQuery(raw string) (query, error) {
	if raw == "" {
		return nil, nil
	}
	q := query{}
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		decoded, err := url.PathUnescape(value)
		if err != nil || len(q) >= maxParameters {
			return nil, badParameter(name)
		}
		q[strings.ToLower(name)] = decoded
	}
	return q, nil
}

func badParameter(name string) *chat.Error {
	return chat.ErrInvalidQuery.With("Http request URL contains invalid querystring item %q.", name)
}

// has reports whether a parameter is there, with or without a value.
func (q query) has(name string) bool {
	_, ok := q[name]
	return ok
}

// int returns a number within bounds, and missing when it is not there.
func (q query) int(name string, low, high, missing int) (int, error) {
	text, ok := q[strings.ToLower(name)]
	if !ok {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badParameter(name)
	}
	if n < low || n > high {
		return 0, chat.OutOfRange(name, low, high, "")
	}
	return n, nil
}

// seconds is int for a duration. It is nil when it is not there.
func (q query) seconds(name string, low, high time.Duration) (*time.Duration, error) {
	n, err := q.int(name, int(low/time.Second), int(high/time.Second), -1)
	if err != nil || n < 0 {
		return nil, err
	}
	d := time.Duration(n) * time.Second
	return &d, nil
}

// bool reports whether a parameter is there and not false.
func (q query) bool(name string) bool {
	v, ok := q[name]
	return ok && !strings.EqualFold(v, "false")
}
