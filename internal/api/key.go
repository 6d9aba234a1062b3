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

// keyring holds the keys that are let in, as hashes: comparing those takes the
// same time whatever the key's length and where it differs.
type keyring struct {
	hashes [][sha256.Size]byte
	// origins keeps other sites' pages out where there is no key to do so: a
	// browser on the same machine reaches a loopback listener too.
	origins *http.CrossOriginProtection
}

func newKeyring(keys []string) keyring {
	k := keyring{origins: http.NewCrossOriginProtection()}
	for _, key := range keys {
		k.hashes = append(k.hashes, sha256.Sum256([]byte(key)))
	}
	return k
}

// admit checks a request's key against every one there is.
func (k keyring) admit(r *http.Request) error {
	if len(k.hashes) == 0 {
		if err := k.origins.Check(r); err != nil {
			return protocol.Errorf(protocol.CodeForbidden, "pages of other sites are let in with a key only: %v", err)
		}
		return nil
	}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given := sha256.Sum256([]byte(strings.TrimSpace(key)))
	found := 0
	for i := range k.hashes {
		found |= subtle.ConstantTimeCompare(k.hashes[i][:], given[:])
	}
	if !strings.EqualFold(scheme, "Bearer") || found == 0 {
		return protocol.Errorf(protocol.CodeUnauthorized, "no valid key; send Authorization: Bearer KEY")
	}
	return nil
}

// maxIdempotencyKey bounds what a caller may send as a key.
const maxIdempotencyKey = 255

// operationKey names one write: the same for the same Idempotency-Key, call
// and target, and another one for each request without the header, so that
// what nodes repeat among themselves is single all the same.
//
// The name is a hash: a room keeps sixteen of them for good, however long the
// callers' keys are.
func operationKey(req *request) (string, error) {
	given, ok := req.Header["Idempotency-Key"]
	if !ok {
		return rand.Text(), nil
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
