package auth

import (
	"errors"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

var (
	// ErrUnknown means that the sid was judged and nobody stands behind it:
	// malformed, forged, expired or revoked. Asking again is useless.
	ErrUnknown = errors.New("unknown sid")
	// ErrUnavailable means that the sid could not be judged now.
	ErrUnavailable = errors.New("sid cannot be verified now")
)

// Identity is who stands behind a sid.
type Identity struct {
	User protocol.UserID
	// May lists the actions that the client may send itself; "*" is all.
	May []string
	// Expires is when the sid ends; zero for never.
	Expires time.Time
}
