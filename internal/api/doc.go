// Package api is the backend's door: the HTTP calls with which a backend puts
// users into rooms and calls, publishes to them and asks who is where.
//
// It turns requests into commands and replies into answers, and decides
// nothing about rooms or users: those who do are behind the interfaces of its
// Config, which the node implements. Any node takes any call.
//
// What every call has in common:
//
//   - A request carries a key, unless none is configured.
//   - Bodies are bounded, and checked as strictly as frames; a field that the
//     call does not know is let through, one of the wrong type is named.
//   - A write has a key of its own, from the Idempotency-Key header or at
//     random, so that what is repeated on the way is done once.
//   - Failures are a protocol.Code with its HTTP status, in the same shape for
//     all of them, unknown paths included.
//   - What can't be known is CodeUnavailable, never an empty answer.
//
// The package starts no goroutine that outlives its request. docs/openapi.yaml
// describes the calls to their users, and a test holds the two together.
package api
