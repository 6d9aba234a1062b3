package mns

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// query is a request's parameters. SDKs spell their names in more than one way,
// so the case of letters does not count. A '+' is itself, since some put receipt
// handles in unescaped.
type query []parameter

type parameter struct{ name, value string }

// maxParameters bounds the parameters of a request.
const maxParameters = 32

func parseQuery(raw string) (query, error) {
	if raw == "" {
		return nil, nil
	}
	q := make(query, 0, 2)
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		decoded, err := url.PathUnescape(value)
		if err != nil || len(q) >= maxParameters {
			return nil, badParameter(name)
		}
		q = append(q, parameter{name, decoded})
	}
	return q, nil
}

// get returns a parameter, the last of those that are there more than once.
func (q query) get(name string) (value string, ok bool) {
	for i := len(q) - 1; i >= 0; i-- {
		if strings.EqualFold(q[i].name, name) {
			return q[i].value, true
		}
	}
	return "", false
}

func badParameter(name string) *chat.Error {
	return chat.ErrInvalidQuery.With("Http request URL contains invalid querystring item %q.", name)
}

// has reports whether a parameter is there, with or without a value.
func (q query) has(name string) bool {
	_, ok := q.get(name)
	return ok
}

// int returns a number within bounds, and missing when it is not there.
func (q query) int(name string, low, high, missing int) (int, error) {
	text, ok := q.get(name)
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
	v, ok := q.get(name)
	return ok && !strings.EqualFold(v, "false")
}
