package auth

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/faac1247/rollcall/protocol"
)

const (
	hs256 = "HS256"
	rs256 = "RS256"
	eddsa = "EdDSA"

	// minSecret is how long the secret of HS256 has to be, as its standard says.
	minSecret = 32
	// minRSABits is the smallest RSA key that is taken.
	minRSABits = 2048
)

// tokens judges sids that are JSON web tokens: sub is the user, exp is required,
// may lists what the client may send.
type tokens struct {
	// set by newTokens
	parser *jwt.Parser
	keys   map[string][]jwt.VerificationKey // by algorithm
	issuer *issuer                          // nil without a JWKS URL
}

func newTokens(cfg Config) (*tokens, error) {
	t := &tokens{
		parser: jwt.NewParser(jwt.WithValidMethods([]string{hs256, rs256, eddsa}), jwt.WithExpirationRequired()),
		keys:   make(map[string][]jwt.VerificationKey),
	}
	var faults []error
	for _, k := range cfg.Keys {
		if err := t.add(k); err != nil {
			faults = append(faults, err)
		}
	}
	if cfg.JWKSURL != "" {
		var err error
		if t.issuer, err = newIssuer(cfg); err != nil {
			faults = append(faults, err)
		}
	}
	if len(cfg.Keys) == 0 && cfg.JWKSURL == "" {
		faults = append(faults, errors.New("auth: mode jwt needs a key or a JWKS URL"))
	}
	return t, errors.Join(faults...)
}

// add takes a key, given as a file's name or as itself. The text of a key never
// becomes part of an error.
func (t *tokens) add(given string) error {
	content, err := os.ReadFile(given) //nolint:gosec // the operator names the file
	switch {
	case err == nil:
	case strings.HasPrefix(given, "/") || strings.HasPrefix(given, "./"):
		return fmt.Errorf("auth: key file: %w", err) // not a secret, but a name mistyped
	default:
		content = []byte(given)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		secret := bytes.TrimSpace(content)
		if len(secret) < minSecret {
			return fmt.Errorf("auth: a secret of %d bytes is too short for HS256, which takes %d", len(secret), minSecret)
		}
		t.keys[hs256] = append(t.keys[hs256], secret)
		return nil
	}
	key, err := publicKey(block)
	if err != nil {
		return fmt.Errorf("auth: PEM key: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSABits {
			return fmt.Errorf("auth: an RSA key of %d bits is too short, take %d", key.N.BitLen(), minRSABits)
		}
		t.keys[rs256] = append(t.keys[rs256], key)
	case ed25519.PublicKey:
		t.keys[eddsa] = append(t.keys[eddsa], key)
	default:
		return fmt.Errorf("auth: PEM key: %T is neither RSA nor Ed25519", key)
	}
	return nil
}

func publicKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	default:
		return nil, fmt.Errorf("a %q is no public key", strings.ToLower(block.Type))
	}
}

// claims is what a token says.
type claims struct {
	jwt.RegisteredClaims
	User subject  `json:"sub"`
	May  []string `json:"may"`
}

// subject is a user's id, given as a string or, as some issuers do, a number.
type subject protocol.UserID

// UnmarshalJSON implements json.Unmarshaler.
func (s *subject) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	id, err := protocol.ParseUserID(text)
	*s = subject(id)
	return err
}

// judge implements judge.
func (t *tokens) judge(ctx context.Context, sid string) (Identity, time.Time, error) {
	var c claims
	_, err := t.parser.ParseWithClaims(sid, &c, func(token *jwt.Token) (any, error) { return t.keysOf(ctx, token) })
	switch {
	case errors.Is(err, ErrUnavailable):
		return Identity{}, time.Time{}, err
	case err != nil:
		return Identity{}, time.Time{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	case c.User <= 0:
		return Identity{}, time.Time{}, fmt.Errorf("%w: token without sub", ErrUnknown)
	}
	until := c.ExpiresAt.Time
	return Identity{User: protocol.UserID(c.User), May: c.May, Expires: until}, until, nil
}

// keysOf returns the keys that may have signed a token. A key serves its own
// algorithm and no other: a public key is no secret for HS256.
func (t *tokens) keysOf(ctx context.Context, token *jwt.Token) (any, error) {
	alg := token.Method.Alg()
	keys := t.keys[alg]
	if t.issuer != nil && alg != hs256 {
		key, err := t.issuer.key(ctx, token)
		switch {
		case err == nil:
			keys = append(slices.Clone(keys), key)
		case len(keys) == 0:
			return nil, err
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key for %s", alg)
	}
	return jwt.VerificationKeySet{Keys: keys}, nil
}
