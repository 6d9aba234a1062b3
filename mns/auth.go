package mns

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/sign"
)

// version is the only one of the interface.
const version = "2015-06-06"

// authenticate returns the key that signed a request, or the first fault.
func (s *Server) authenticate(r *http.Request) (*Key, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, chat.ErrMissingAuthorization
	}
	a, err := sign.ParseAuthorization(header)
	if err != nil {
		return nil, chat.ErrInvalidAuthorization
	}
	date := r.Header.Get("Date")
	if date == "" {
		date = r.Header.Get("X-Mns-Date")
	}
	if date == "" {
		return nil, chat.ErrMissingDate
	}
	at, err := parseDate(date)
	if err != nil {
		return nil, err
	}
	if r.Header.Get("X-Mns-Version") == "" {
		return nil, chat.ErrMissingVersion
	}
	key, err := s.key(a.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.fresh(at); err != nil {
		return nil, err
	}
	if !s.genuine(a, key, at, r) {
		return nil, chat.ErrSignature
	}
	if key.Token != "" && !same(r.Header.Get("Security-Token"), key.Token) {
		return nil, chat.ErrUnknownKey.With("The security token you provided is invalid.")
	}
	return key, nil
}

// genuine reports whether the key signed the request.
func (s *Server) genuine(a sign.Authorization, key *Key, at time.Time, r *http.Request) bool {
	request := sign.Request{Method: r.Method, Target: r.RequestURI, Header: r.Header}
	if a.V4 == nil {
		return s.signers[key.ID].CheckV2(a.Signature, request)
	}
	if a.Scope.Day != at.UTC().Format("20060102") {
		return false
	}
	return same(a.Signature, sign.V4(*a.V4, key.Secret, a.Scope, at, request))
}

// key returns an access key by its id.
func (s *Server) key(id string) (*Key, error) {
	if k, ok := s.keys[id]; ok {
		return k, nil
	}
	return nil, chat.ErrUnknownKey
}

// parseDate reads a date of HTTP.
func parseDate(text string) (time.Time, error) {
	at, err := http.ParseTime(text)
	if err != nil {
		if at, err = time.Parse(time.RFC1123Z, text); err != nil {
			return at, chat.ErrInvalidDate
		}
	}
	return at, nil
}

// fresh refuses a date that is too far from ours.
func (s *Server) fresh(at time.Time) error {
	if d := time.Since(at); d > s.cfg.Skew || d < -s.cfg.Skew {
		return chat.ErrTimeExpired
	}
	return nil
}

// same compares in constant time.
func same(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// checkDigest compares Content-MD5, if there is one, with the body. Most SDKs
// send the digest's hex text in base64, the standard is its bytes.
func checkDigest(header string, body []byte) error {
	if header == "" {
		return nil
	}
	sum := md5.Sum(body)
	got, err := base64.StdEncoding.DecodeString(strings.TrimSpace(header))
	if err != nil || string(got) != string(sum[:]) && !strings.EqualFold(string(got), hex.EncodeToString(sum[:])) {
		return chat.ErrInvalidDigest
	}
	return nil
}
