package api

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/faac1247/rollcall/protocol"
)

// Keys are the bearer keys that a door lets in, kept as hashes: comparing those
// takes the same time whatever a key's length and where it differs. The zero
// value lets nobody in, nor does an empty key. Keys are safe for concurrent use.
type Keys struct{ hashes [][sha256.Size]byte }

// NewKeys returns the keys that let somebody in.
func NewKeys(keys []string) Keys {
	var k Keys
	for _, key := range keys {
		if key != "" {
			k.hashes = append(k.hashes, sha256.Sum256([]byte(key)))
		}
	}
	return k
}

// Admit reports whether a request brings one of the keys as Authorization:
// Bearer KEY. It compares with every one there is.
func (k Keys) Admit(r *http.Request) bool {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given := sha256.Sum256([]byte(strings.TrimSpace(key)))
	found := 0
	for i := range k.hashes {
		found |= subtle.ConstantTimeCompare(k.hashes[i][:], given[:])
	}
	return strings.EqualFold(scheme, "Bearer") && found == 1
}

// keyring decides whom the backend's door lets in.
type keyring struct {
	keys Keys
	// origins keeps other sites' pages out where there is no key to do so: a
	// browser on the same machine reaches a loopback listener too.
	origins *http.CrossOriginProtection
}

func newKeyring(keys []string) keyring {
	return keyring{keys: NewKeys(keys), origins: http.NewCrossOriginProtection()}
}

// admit checks a request's key against every one there is.
func (k keyring) admit(r *http.Request) error {
	if len(k.keys.hashes) == 0 {
		if err := k.origins.Check(r); err != nil {
			return protocol.Errorf(protocol.CodeForbidden, "pages of other sites are let in with a key only: %v", err)
		}
		return nil
	}
	if !k.keys.Admit(r) {
		return protocol.Errorf(protocol.CodeUnauthorized, "no valid key; send Authorization: Bearer KEY")
	}
	return nil
}

// maxIdempotencyKey bounds what a caller may send as a key.
const maxIdempotencyKey = 255

// operationKey names one write: the same for the same Idempotency-Key, call
// and target, and another one for each request without the header, so that
// what nodes repeat among themselves is single all the same.
func operationKey(req *request) (string, error) {
	key, err := givenKey(req)
	if key == "" && err == nil {
		key = rand.Text()
	}
	return key, err
}

// givenKey is operationKey for a write that is single by itself, which needs no
// name without the header: a move has its version.
//
// The name is a hash: a room keeps sixteen of them for good, however long the
// callers' keys are.
func givenKey(req *request) (string, error) {
	given, ok := req.Header["Idempotency-Key"]
	if !ok {
		return "", nil
	}
	if len(given) != 1 || !validIdempotencyKey(given[0]) {
		return "", protocol.Errorf(protocol.CodeBadRequest,
			"Idempotency-Key: send one, of 1 to %d printable ASCII characters", maxIdempotencyKey)
	}
	h := sha256.New()
	for _, part := range [...]string{req.route.call, req.params[0], req.params[1], given[0]} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18]), nil
}

func validIdempotencyKey(s string) bool {
	if s == "" || len(s) > maxIdempotencyKey {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
