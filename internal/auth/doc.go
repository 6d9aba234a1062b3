// Package auth tells who a sid is: by a signature (jwt), by asking the backend
// that issued it (backend), or, in development only, by taking its word (dev).
//
// Verified sids are remembered, in a bounded cache and never past their end,
// so that the next request of the same client costs a look-up. An
// Authenticator has no goroutine: the issuer's keys and the backend are asked
// by whoever needs the answer, once for all who wait for it.
package auth
