package auth

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/faac1247/rollcall/protocol"
)

const secret = "0123456789abcdef0123456789abcdef"

func sign(t testing.TB, method jwt.SigningMethod, key any, kid string, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	if kid != "" {
		token.Header["kid"] = kid
	}
	sid, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return sid
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func newAuth(t testing.TB, cfg Config) *Authenticator {
	t.Helper()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func publicPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestTokens(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := publicPEM(t, &rsaKey.PublicKey)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(strings.Repeat("s", 40)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAuth(t, Config{Keys: []string{secret, file, rsaPEM, publicPEM(t, edPublic)}})
	good := func() map[string]any {
		return map[string]any{"sub": "42", "exp": in(time.Hour), "may": []string{"enter_room"}}
	}
	with := func(name string, value any) map[string]any {
		c := good()
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	tests := []struct {
		name string
		sid  string
		ok   bool
	}{
		{"HS256", sign(t, jwt.SigningMethodHS256, []byte(secret), "", good()), true},
		{"HS256 of a file's secret", sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("s", 40)), "", good()), true},
		{"RS256", sign(t, jwt.SigningMethodRS256, rsaKey, "", good()), true},
		{"EdDSA", sign(t, jwt.SigningMethodEdDSA, edKey, "", good()), true},
		{"numeric sub", sign(t, jwt.SigningMethodHS256, []byte(secret), "", with("sub", 42)), true},
		{"other secret", sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), "", good()), false},
		{"public key as secret", sign(t, jwt.SigningMethodHS256, []byte(rsaPEM), "", good()), false},
		{"HS512", sign(t, jwt.SigningMethodHS512, []byte(secret), "", good()), false},
		{"none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", good()), false},
		{"expired", sign(t, jwt.SigningMethodHS256, []byte(secret), "", with("exp", in(-time.Second))), false},
		{"not yet", sign(t, jwt.SigningMethodHS256, []byte(secret), "", with("nbf", in(time.Hour))), false},
		{"without exp", sign(t, jwt.SigningMethodHS256, []byte(secret), "", with("exp", nil)), false},
		{"without sub", sign(t, jwt.SigningMethodHS256, []byte(secret), "", with("sub", nil)), false},
		{"sub is a name", sign(t, jwt.SigningMethodHS256, []byte(secret), "", with("sub", "root")), false},
		{"sub is negative", sign(t, jwt.SigningMethodHS256, []byte(secret), "", with("sub", "-1")), false},
		{"empty", "", false},
		{"too long", strings.Repeat("a", maxSID+1), false},
		{"no token", "42sanything", false},
	}
	for _, test := range tests {
		id, err := a.Authenticate(t.Context(), test.sid)
		if test.ok {
			if err != nil || id.User != 42 || !slices.Equal(id.May, []string{"enter_room"}) || id.Expires.IsZero() {
				t.Errorf("%s: %+v, %v", test.name, id, err)
			}
		} else if !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v, %v; want unknown", test.name, id, err)
		} else if test.sid != "" && strings.Contains(err.Error(), test.sid) {
			t.Errorf("%s: the error repeats the sid", test.name)
		}
	}
}

func TestTokenNeverOutlivesItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, Config{Keys: []string{secret}})
		sid := sign(t, jwt.SigningMethodHS256, []byte(secret), "", map[string]any{"sub": "7", "exp": in(10 * time.Second)})
		for range 9 {
			if _, err := a.Authenticate(t.Context(), sid); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		if _, err := a.Authenticate(t.Context(), sid); !errors.Is(err, ErrUnknown) {
			t.Fatalf("after its end: %v", err)
		}
	})
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // too short on purpose
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)}))
	for name, cfg := range map[string]Config{
		"unknown mode":        {Mode: "oauth"},
		"jwt without keys":    {},
		"short secret":        {Keys: []string{"secret"}},
		"missing file":        {Keys: []string{"/nowhere/" + strings.Repeat("k", 40)}},
		"private key":         {Keys: []string{private}},
		"short RSA key":       {Keys: []string{publicPEM(t, &small.PublicKey)}},
		"JWKS is no URL":      {JWKSURL: "keys"},
		"backend without URL": {Mode: ModeBackend},
		"backend by file URL": {Mode: ModeBackend, AuthURL: "file:///etc/passwd"},
	} {
		if err := cfg.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A URL that can't be used may hold a password all the same.
func TestBadURLIsNotSaid(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"htps://user:hunter2@issuer.example/keys", "https://user:hunter2@issuer.example:port/", "user:hunter2@issuer.example"} {
		for _, cfg := range []Config{{JWKSURL: url}, {Mode: ModeBackend, AuthURL: url}} {
			if err := cfg.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "user") {
				t.Errorf("%+v: %v", cfg, err)
			}
		}
	}
}

// issuerServer publishes the keys that it is given.
type issuerServer struct {
	*httptest.Server
	mu    sync.Mutex
	keys  map[string]*rsa.PublicKey
	calls atomic.Int64
	fail  atomic.Bool
}

func newIssuerServer(t *testing.T) *issuerServer {
	s := &issuerServer{keys: make(map[string]*rsa.PublicKey)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.calls.Add(1)
		if s.fail.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var set struct {
			Keys []map[string]string `json:"keys"`
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for kid, key := range s.keys {
			set.Keys = append(set.Keys, map[string]string{
				"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig",
				"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
				"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
			})
		}
		if err := json.NewEncoder(w).Encode(set); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestIssuer(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	server := newIssuerServer(t)
	server.keys["a"] = &key.PublicKey
	server.fail.Store(true)
	a := newAuth(t, Config{JWKSURL: server.URL})
	sid := sign(t, jwt.SigningMethodRS256, key, "a", map[string]any{"sub": "42", "exp": in(time.Hour)})
	if _, err := a.Authenticate(t.Context(), sid); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("without the issuer: %v", err)
	}
	server.fail.Store(false)
	if id, err := a.Authenticate(t.Context(), sid); err != nil || id.User != 42 {
		t.Fatalf("%+v, %v", id, err)
	}
	// Nobody makes the issuer work by making up key ids.
	before := server.calls.Load()
	for i := range 20 {
		forged := sign(t, jwt.SigningMethodRS256, key, fmt.Sprint("k", i), map[string]any{"sub": "42", "exp": in(time.Hour)})
		if _, err := a.Authenticate(t.Context(), forged); !errors.Is(err, ErrUnknown) {
			t.Fatalf("unknown key: %v", err)
		}
	}
	if n := server.calls.Load() - before; n > 1 {
		t.Errorf("%d fetches for unknown keys", n)
	}
	// The issuer's public key is no secret for HS256.
	der := x509.MarshalPKCS1PublicKey(&key.PublicKey)
	confused := sign(t, jwt.SigningMethodHS256, der, "a", map[string]any{"sub": "42", "exp": in(time.Hour)})
	if _, err := a.Authenticate(t.Context(), confused); !errors.Is(err, ErrUnknown) {
		t.Errorf("confused algorithm: %v", err)
	}
}

// backendServer answers sids of the form "<user>-…".
func backendServer(t *testing.T, calls *atomic.Int64, answer func(w http.ResponseWriter, sid string)) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var q struct {
			SID string `json:"sid"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s %v", r.Method, err)
		}
		answer(w, q.SID)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestBackend(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	url := backendServer(t, &calls, func(w http.ResponseWriter, sid string) {
		switch sid {
		case "good":
			fmt.Fprint(w, `{"user_id":42,"may":["up"],"ttl":300}`)
		case "text":
			fmt.Fprint(w, `{"user_id":"43"}`)
		case "brief":
			fmt.Fprint(w, `{"user_id":44,"ttl":0}`)
		case "nobody":
			fmt.Fprint(w, `{"user_id":0}`)
		case "denied":
			w.WriteHeader(http.StatusForbidden)
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "moved":
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		default:
			fmt.Fprint(w, `<html>`)
		}
	})
	a := newAuth(t, Config{Mode: ModeBackend, AuthURL: url})
	for _, test := range []struct {
		sid   string
		user  protocol.UserID
		err   error
		calls int64 // for two questions
	}{
		{"good", 42, nil, 1},
		{"text", 43, nil, 1},
		{"brief", 44, nil, 2},
		{"nobody", 0, ErrUnknown, 1},
		{"denied", 0, ErrUnknown, 1},
		{"broken", 0, ErrUnavailable, 2},
		{"moved", 0, ErrUnavailable, 2},
		{"html", 0, ErrUnavailable, 2},
	} {
		before := calls.Load()
		for range 2 {
			if id, err := a.Authenticate(t.Context(), test.sid); !errors.Is(err, test.err) || id.User != test.user {
				t.Errorf("%s: %+v, %v", test.sid, id, err)
			}
		}
		if n := calls.Load() - before; n != test.calls {
			t.Errorf("%s: %d calls, want %d", test.sid, n, test.calls)
		}
	}
}

func TestBackendIsAskedOnceForAll(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var waiting sync.WaitGroup
	waiting.Add(1)
	url := backendServer(t, &calls, func(w http.ResponseWriter, _ string) {
		waiting.Wait()
		fmt.Fprint(w, `{"user_id":42}`)
	})
	a := newAuth(t, Config{Mode: ModeBackend, AuthURL: url})
	gone, cancel := context.WithCancel(t.Context())
	cancel() // the first to ask does not wait for the answer to be of use
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			ctx := t.Context()
			if i == 0 {
				ctx = gone
			}
			if id, err := a.Authenticate(ctx, "sid"); err != nil || id.User != 42 {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
	waiting.Done()
	all.Wait()
	if n := calls.Load(); n > 2 {
		t.Errorf("%d calls", n)
	}
}

func TestBackendAway(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	a := newAuth(t, Config{Mode: ModeBackend, AuthURL: url})
	if _, err := a.Authenticate(t.Context(), "sid"); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	a := newAuth(t, Config{Mode: ModeDev})
	if id, err := a.Authenticate(t.Context(), "42sx"); err != nil || id.User != 42 || !slices.Equal(id.May, []string{"*"}) {
		t.Fatalf("%+v, %v", id, err)
	}
	for _, sid := range []string{"", "s", "0sx", "-1sx", "42", "42d.x", "xsx"} {
		if id, err := a.Authenticate(t.Context(), sid); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %+v, %v", sid, id, err)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache(160)
	now := time.Now()
	for i := range 10_000 {
		c.add(fmt.Sprint(i), Identity{User: protocol.UserID(i + 1)}, now.Add(time.Hour))
		if i >= 100 {
			continue
		}
		if id, ok := c.lookup(fmt.Sprint(i), now); !ok || id.User != protocol.UserID(i+1) {
			t.Fatalf("%d: %+v, %v", i, id, ok)
		}
	}
	n := 0
	for i := range c.shards {
		n += len(c.shards[i].entries)
	}
	if n > 160 {
		t.Errorf("%d remembered, bound 160", n)
	}
}

func TestCacheForgetsTheLongestUnused(t *testing.T) {
	t.Parallel()
	c := newCache(2 * cacheShards)
	now := time.Now()
	first := c.shard(digestOf("0"))
	var same []string // sids that share a lock
	for i := 0; len(same) < 3; i++ {
		if sid := fmt.Sprint(i); c.shard(digestOf(sid)) == first {
			same = append(same, sid)
		}
	}
	c.add(same[0], Identity{User: 1}, now.Add(time.Hour))
	c.add(same[1], Identity{User: 2}, now.Add(time.Hour))
	c.lookup(same[0], now)
	c.add(same[2], Identity{User: 3}, now.Add(time.Hour))
	if _, ok := c.lookup(same[0], now); !ok {
		t.Error("the one just used is forgotten")
	}
	if _, ok := c.lookup(same[1], now); ok {
		t.Error("the one not used is remembered")
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("42sx")
	f.Add("a.b.c")
	f.Add(sign(f, jwt.SigningMethodHS256, []byte(secret), "", map[string]any{"sub": "42", "exp": in(time.Hour)}))
	a := newAuth(f, Config{Keys: []string{secret}})
	f.Fuzz(func(t *testing.T, sid string) {
		id, err := a.Authenticate(t.Context(), sid)
		if (err == nil) != (id.User > 0) {
			t.Fatalf("%+v, %v", id, err)
		}
	})
}

func FuzzBackendAnswer(f *testing.F) {
	f.Add([]byte(`{"user_id":42,"may":["up"],"ttl":1e300}`))
	f.Add([]byte(`{"user_id":null,"ttl":-5}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		now := time.Now()
		v, err := read(bytes.Clone(body), now)
		if err == nil && (v.id.User < 0 || v.until.After(now.Add(maxTTL))) {
			t.Fatalf("%+v", v)
		}
	})
}

func BenchmarkKnownSID(b *testing.B) {
	a := newAuth(b, Config{Keys: []string{secret}})
	sid := sign(b, jwt.SigningMethodHS256, []byte(secret), "", map[string]any{"sub": "42", "exp": in(time.Hour), "may": []string{"*"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), sid); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewSID(b *testing.B) {
	a := newAuth(b, Config{Keys: []string{secret}})
	sid := sign(b, jwt.SigningMethodHS256, []byte(secret), "", map[string]any{"sub": "42", "exp": in(time.Hour)})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := a.judge.judge(b.Context(), sid); err != nil {
			b.Fatal(err)
		}
	}
}
