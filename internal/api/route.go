package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// route is one call. Exactly one of answer and stream is set.
type route struct {
	// call names it in metrics and logs.
	call   string
	method string
	path   string
	// answer returns what to encode as JSON, nil for nothing.
	answer func(*API, context.Context, *request) (any, error)
	// stream writes for as long as it likes. It fails only before it has
	// written anything.
	stream func(*API, http.ResponseWriter, *request) error
	// batch allows a larger body.
	batch bool
}

// routes returns the table of all calls.
func routes() []route {
	return []route{
		{call: "enter", method: "PUT", path: "/v1/rooms/{room}/occupants/{user}", answer: (*API).enter},
		{call: "exit", method: "DELETE", path: "/v1/rooms/{room}/occupants/{user}", answer: (*API).exit},
		{call: "rooms", method: "GET", path: "/v1/rooms", answer: (*API).rooms},
		{call: "room", method: "GET", path: "/v1/rooms/{room}", answer: (*API).room},
		{call: "configure", method: "PUT", path: "/v1/rooms/{room}", answer: (*API).configure},
		{call: "close", method: "DELETE", path: "/v1/rooms/{room}", answer: (*API).closeRoom},
		{call: "seat", method: "PUT", path: "/v1/rooms/{room}/seats/{seat}", answer: (*API).changeSeat},
		{call: "down", method: "DELETE", path: "/v1/rooms/{room}/seats/{seat}", answer: (*API).emptySeat},
		{call: "publish", method: "POST", path: "/v1/rooms/{room}/publish", answer: (*API).publish},
		{call: "chat", method: "GET", path: "/v1/rooms/{room}/chat", answer: (*API).chat},
		{call: "open_chat", method: "PUT", path: "/v1/rooms/{room}/chat", answer: (*API).openChat},
		{call: "close_chat", method: "DELETE", path: "/v1/rooms/{room}/chat", answer: (*API).closeChat},
		{call: "batch", method: "POST", path: "/v1/publish", answer: (*API).publishBatch, batch: true},
		{call: "start_call", method: "PUT", path: "/v1/calls/{call_no}", answer: (*API).startCall},
		{call: "call", method: "GET", path: "/v1/calls/{call_no}", answer: (*API).call},
		{call: "end_call", method: "DELETE", path: "/v1/calls/{call_no}", answer: (*API).endCall},
		{call: "users", method: "POST", path: "/v1/users/query", answer: (*API).users},
		{call: "user", method: "GET", path: "/v1/users/{user}", answer: (*API).user},
		{call: "notify", method: "POST", path: "/v1/users/{user}/notify", answer: (*API).notify},
		{call: "kick", method: "DELETE", path: "/v1/users/{user}/connection", answer: (*API).kick},
		{call: "timeline", method: "GET", path: "/v1/users/{user}/timeline", answer: (*API).timeline},
		{call: "cluster", method: "GET", path: "/v1/cluster", answer: (*API).cluster},
		{call: "events", method: "GET", path: "/v1/events", stream: (*API).events},
	}
}

// params are the values of a path's {…}, in their order.
type params [2]string

// match finds the call of a request. http.ServeMux would do but for its own
// answers: it redirects a path like /v1/rooms/.. with a page of HTML, where
// ".." is a room, and refuses others as text.
func match(routes []route, r *http.Request) (*route, params, error) {
	path := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	var methods []string
	for i := range routes {
		p, ok := matchPath(routes[i].path, path)
		if !ok {
			continue
		}
		if routes[i].method == r.Method {
			return &routes[i], p, nil
		}
		methods = append(methods, routes[i].method)
	}
	if methods != nil {
		return nil, params{}, methodError{methods}
	}
	return nil, params{}, pathError{}
}

// matchPath compares a pattern with the segments of a path as they were sent,
// so that an escaped slash is part of a name.
func matchPath(pattern string, path []string) (p params, ok bool) {
	n, filled := 0, 0
	for want := range strings.SplitSeq(pattern[1:], "/") {
		if n == len(path) || path[n] == "" {
			return p, false
		}
		if strings.HasPrefix(want, "{") {
			value, err := url.PathUnescape(path[n])
			if err != nil {
				return p, false
			}
			p[filled] = value
			filled++
		} else if want != path[n] {
			return p, false
		}
		n++
	}
	return p, n == len(path)
}

// pathError is the refusal of a path that no call has.
type pathError struct{}

func (pathError) Error() string { return "no such path; docs/openapi.yaml lists them" }

// methodError is the refusal of a method that a path does not take.
type methodError struct{ allowed []string }

func (e methodError) Error() string { return "this path takes " + strings.Join(e.allowed, ", ") }
