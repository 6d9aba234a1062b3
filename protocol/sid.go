package protocol

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// The errors of sids.
var (
	// ErrSID: the text is no sid.
	ErrSID = errors.New("malformed sid")
	// ErrSIDLoggedOut: a sid of a client whose user must sign in first.
	ErrSIDLoggedOut = errors.New("sid is logged out")
)

// sidSecret is how many hex digits stand between the s and the checksum.
const sidSecret = 32

// ParseSID reads a sid as the business backend issues it: the user's id, the
// letter s, 32 hex digits and two more that are SIDChecksum of all before. It
// returns ErrSIDLoggedOut for the form with d. in the place of s, whatever
// follows there, and else an error that wraps ErrSID.
//
// A sid that parses is well formed and no more. Anyone can make one; whether
// it is the user's current one, only its issuer knows.
func ParseSID(sid string) (UserID, error) {
	id, rest, err := cutSID(sid)
	if err != nil {
		return 0, err
	}
	if len(rest) != sidSecret+2 {
		return 0, fmt.Errorf("%w: %d characters after the user id, not %d", ErrSID, len(rest), sidSecret+2)
	}
	var digits [sidSecret/2 + 1]byte
	if _, err := hex.Decode(digits[:], []byte(rest)); err != nil {
		return 0, fmt.Errorf("%w: not hexadecimal after the user id", ErrSID)
	}
	if SIDChecksum(sid[:len(sid)-2]) != digits[len(digits)-1] {
		return 0, fmt.Errorf("%w: wrong checksum", ErrSID)
	}
	return id, nil
}

// ParseDevSID reads the user's id from a sid of development: the id, the letter
// s, and anything. It proves nothing. Its errors are those of ParseSID.
func ParseDevSID(sid string) (UserID, error) {
	id, _, err := cutSID(sid)
	return id, err
}

// FormatSID returns the sid of a user with these random bytes.
func FormatSID(id UserID, secret [16]byte) string {
	body := id.String() + "s" + hex.EncodeToString(secret[:])
	return body + hex.EncodeToString([]byte{SIDChecksum(body)})
}

// SIDChecksum returns the number that the last two digits of a sid stand for:
// the sum of the bytes before them, modulo 255.
func SIDChecksum(body string) byte {
	sum := 0
	for i := range len(body) {
		sum += int(body[i])
	}
	return byte(sum % 255)
}

// cutSID splits a sid at the letter after its user id.
func cutSID(sid string) (UserID, string, error) {
	n := 0
	for n < len(sid) && isDigit(sid[n]) {
		n++
	}
	rest := sid[n:]
	switch {
	case strings.HasPrefix(rest, "d."):
		return 0, "", ErrSIDLoggedOut
	case !strings.HasPrefix(rest, "s"):
		return 0, "", fmt.Errorf("%w: no user id and s at its start", ErrSID)
	}
	id, err := ParseUserID(sid[:n])
	if err != nil {
		return 0, "", fmt.Errorf("%w: %w", ErrSID, err)
	}
	return id, rest[1:], nil
}
