package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// request is an HTTP request and the call that it asks for.
type request struct {
	*http.Request
	route  *route
	params params
}

func (r *request) withTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), d)
}

// nameRule is what every name of a room or call has to keep.
const nameRule = "must be 1 to 64 characters of A-Z a-z 0-9 _ . -"

// room returns the room that the path names first.
func (r *request) room() (protocol.RoomID, error) {
	if !protocol.ValidName(r.params[0]) {
		return "", protocol.Errorf(protocol.CodeBadRequest, "room id %q in the path %s", clip(r.params[0]), nameRule)
	}
	return protocol.RoomID(r.params[0]), nil
}

// callNo returns the call that the path names first.
func (r *request) callNo() (string, error) {
	if !protocol.ValidName(r.params[0]) {
		return "", protocol.Errorf(protocol.CodeBadRequest, "call number %q in the path %s", clip(r.params[0]), nameRule)
	}
	return r.params[0], nil
}

// user returns the user that the path names in place i. One user has one
// spelling: no sign, no leading zero.
func (r *request) user(i int) (protocol.UserID, error) {
	user, err := protocol.ParseUserID(r.params[i])
	if err != nil || user.String() != r.params[i] {
		return 0, protocol.Errorf(protocol.CodeBadRequest, "user id %q in the path must be a positive number", clip(r.params[i]))
	}
	return user, nil
}

// seat returns the number of the seat that the path names second.
func (r *request) seat() (int, error) {
	n, err := strconv.Atoi(r.params[1])
	if err != nil || n < 1 || n > maxSeats || strconv.Itoa(n) != r.params[1] {
		return 0, protocol.Errorf(protocol.CodeBadRequest, "seat %q in the path must be a number from 1 to %d", clip(r.params[1]), maxSeats)
	}
	return n, nil
}

// page returns the query's after and limit.
func (r *request) page(def, most int) (after string, limit int, err error) {
	q := r.URL.Query()
	after = q.Get("after")
	if len(after) > maxAfter {
		return "", 0, protocol.Errorf(protocol.CodeBadRequest, "after: send the next of the page before")
	}
	if !q.Has("limit") {
		return after, def, nil
	}
	limit, err = strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > most {
		return "", 0, protocol.Errorf(protocol.CodeBadRequest, "limit: must be a number from 1 to %d", most)
	}
	return after, limit, nil
}

// maxAfter bounds what a page's next may be.
const maxAfter = 128

// body reads the whole body. What it returns is nobody else's.
func (r *request) body() ([]byte, error) {
	b, err := readAll(r.Body, r.ContentLength)
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, protocol.Errorf(protocol.CodeTooLarge, "body: more than %d bytes", e.Limit)
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadRequest, "body: did not arrive whole")
	}
	return b, nil
}

// trustedLength is how many bytes are set aside on the word of a header alone.
const trustedLength = 1 << 20

// readAll reads r to its end, in one allocation where the length that was
// announced is true.
func readAll(r io.Reader, length int64) ([]byte, error) {
	b := make([]byte, 0, max(512, min(length, trustedLength)+1))
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// fields reads the body as one JSON object. An empty body is an empty object.
func (r *request) fields() (*fields, error) {
	b, err := r.body()
	if err != nil || len(b) == 0 {
		return &fields{}, err
	}
	return parseFields(b)
}

// clip shortens what a caller sent for a message to that caller.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// fields are those of a JSON object, read by name and type. The first one that
// is wrong is remembered, and said by err.
type fields struct {
	object protocol.Object
	fault  error
}

func parseFields(raw []byte) (*fields, error) {
	object, err := protocol.ParseObject(raw)
	if err != nil {
		return nil, within("body", err)
	}
	return &fields{object: object}, nil
}

// within says in which part of the request a fault is.
func within(part string, err error) error {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return protocol.Errorf(e.Code, "%s: %s", part, e.Message)
	}
	return fmt.Errorf("%s: %w", part, err)
}

func (f *fields) err() error { return f.fault }

func (f *fields) wrong(name, rule string, args ...any) {
	if f.fault == nil {
		f.fault = protocol.Errorf(protocol.CodeBadRequest, "%s: %s", name, fmt.Sprintf(rule, args...))
	}
}

// value returns a field, nil if there is none or null.
func (f *fields) value(name string) protocol.Value {
	v := f.object.Field(name)
	if string(v) == "null" {
		return nil
	}
	return v
}

// text returns a string of at most most bytes, "" if there is none.
func (f *fields) text(name string, most int) string {
	v := f.value(name)
	if v == nil {
		return ""
	}
	s, ok := v.Text()
	switch {
	case !ok:
		f.wrong(name, "must be a string")
	case len(s) > most:
		f.wrong(name, "must have at most %d bytes", most)
	}
	return s
}

// integer returns a number between two others, def if there is none.
func (f *fields) integer(name string, def, least, most int64) int64 {
	v := f.value(name)
	if v == nil {
		return def
	}
	n, ok := v.Int()
	if !ok || n < least || n > most {
		f.wrong(name, "must be a whole number from %d to %d", least, most)
	}
	return n
}

// boolean returns true or false, false if there is none.
func (f *fields) boolean(name string) bool {
	v := f.value(name)
	if v == nil {
		return false
	}
	b, ok := v.Bool()
	if !ok {
		f.wrong(name, "must be true or false")
	}
	return b
}

// user returns a user id, given as a number or as a string of digits. There
// must be one.
func (f *fields) user(name string) protocol.UserID {
	n, ok := f.value(name).Int()
	if !ok || n <= 0 {
		f.wrong(name, "must be a positive number")
	}
	return protocol.UserID(n)
}

// duration returns what is given as Go spells durations, 0 if there is none.
func (f *fields) duration(name string, most time.Duration) time.Duration {
	if f.value(name) == nil {
		return 0
	}
	s := f.text(name, maxName)
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > most {
		f.wrong(name, `must be a duration such as "10m", from 0 to %s`, most)
	}
	return d
}
