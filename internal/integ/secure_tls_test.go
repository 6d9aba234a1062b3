package integ

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificates are the files that a cluster's clients' doors speak TLS with.
type certificates struct {
	cert, key string
	roots     *x509.CertPool
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	dir := t.TempDir()
	c := &certificates{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), roots: x509.NewCertPool()}
	c.issue(t, 1)
	return c
}

// issue writes a new certificate of a serial number, and its key, over the
// former ones.
func (c *certificates) issue(t *testing.T, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "rollcall"}, IPAddresses: []net.IP{net.ParseIP(lab.host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, c.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	c.write(t, c.key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c.roots.AddCert(parsed)
}

// write replaces a file as a whole.
func (c *certificates) write(t *testing.T, name string, body []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", body, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func (c *certificates) config() *tls.Config {
	return &tls.Config{RootCAs: c.roots, ServerName: lab.host, MinVersion: tls.VersionTLS12}
}

// serial is the number of the certificate that a door shows now.
func (c *certificates) serial(address string) (int64, error) {
	conn, err := tls.Dial("tcp", address, c.config())
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// shows is nil once a door shows a certificate.
func (c *certificates) shows(address string, serial int64) func() error {
	return func() error {
		got, err := c.serial(address)
		if err == nil && got != serial {
			err = fmt.Errorf("certificate %d is shown, want %d", got, serial)
		}
		return err
	}
}

// A certificate that is replaced is taken without a restart, one that is broken
// is not, and nobody who is connected notices either.
func TestCertificateIsReplacedUnderConnections(t *testing.T) {
	t.Parallel()
	files := newCertificates(t)
	c := startCluster(t, clusterOptions{nodes: 2, flags: []string{"--tls-cert", files.cert, "--tls-key", files.key}})
	room := newRoom()
	var phones []*phone
	come := func() {
		p := c.phone(newUser(), 1+len(phones)%2, phoneOptions{tls: files.config()})
		c.enter(1, room, p.user, nil)
		phones = append(phones, p)
	}
	for range 4 {
		come()
	}
	hears := 0
	heard := func() {
		t.Helper()
		hears++
		c.publish(2, room, fields{"action": "probe"})
		eventually(t, 5*time.Second, heardAll(phones[:4], "probe", hears))
		stands(t, phones...)
	}
	c.reachable(1, room, phones...)
	heard()

	files.issue(t, 2)
	for i := 1; i <= 2; i++ {
		eventually(t, 10*time.Second, files.shows(at(c.ports[i].listen), 2))
	}
	come()
	heard()
	files.write(t, files.key, []byte("not a key"))
	for i := 1; i <= 2; i++ {
		eventually(t, 10*time.Second, func() error {
			if err := files.shows(at(c.ports[i].listen), 2)(); err != nil {
				return err // each handshake has the files looked at
			}
			return says(c.node(i), "changed certificate not taken")()
		})
	}
	come()
	heard()
	files.issue(t, 3)
	for i := 1; i <= 2; i++ {
		eventually(t, 10*time.Second, files.shows(at(c.ports[i].listen), 3))
	}
	heard()
	c.check()
}

// The clients' door speaks TLS 1.2 and 1.3 with forward secrecy, and nothing
// older; a handshake that stops half way is closed after a few seconds.
func TestTLSOfTheClientsDoor(t *testing.T) {
	t.Parallel()
	files := newCertificates(t)
	c := startCluster(t, clusterOptions{nodes: 1, flags: []string{"--tls-cert", files.cert, "--tls-key", files.key}})
	address := at(c.ports[1].listen)
	for name, v := range map[string]struct {
		change func(*tls.Config)
		good   bool
	}{
		"TLS 1.0":                   {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, false},
		"TLS 1.1":                   {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, false},
		"TLS 1.2":                   {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		"TLS 1.3":                   {func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, true},
		"1.2 without key exchange":  {weak(tls.TLS_RSA_WITH_AES_128_CBC_SHA), false},
		"1.2 with RC4":              {weak(tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA), false},
		"HTTP/2, which has no door": {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, false},
	} {
		config := files.config()
		v.change(config)
		conn, err := tls.Dial("tcp", address, config)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != v.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	// In the clear there is nothing but a hint.
	if status, err := c.ask(http.MethodGet, "http://"+address+"/?sid=1s", nil, nil); err == nil || status != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered %d %v", status, err)
	}
	for name, beginning := range map[string]string{"nothing": "", "half a hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
		if d, err := trickle(address, beginning, time.Hour); err != nil || d > 12*time.Second {
			t.Errorf("%s is borne for %s (%v)", name, d, err)
		}
	}
}

// weak has a client offer one cipher suite of TLS 1.2.
func weak(suite uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite} }
}

// Pages of other sites open no websocket where the origins are named; apps,
// which have none, and pages of those sites do.
func TestOriginsOfBrowsers(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{nodes: 1, flags: []string{"--allowed-origins", "https://app.example,https://www.app.example"}})
	for origin, want := range map[string]int{
		"": http.StatusSwitchingProtocols, "https://app.example": http.StatusSwitchingProtocols, "https://WWW.app.example": http.StatusSwitchingProtocols,
		"https://evil.example": http.StatusForbidden, "http://app.example": http.StatusForbidden, "https://app.example.evil.example": http.StatusForbidden,
		"https://app.example:8443": http.StatusForbidden, "null": http.StatusForbidden, "https://sub.app.example": http.StatusForbidden,
	} {
		req, err := http.NewRequest(http.MethodGet, "http://"+at(c.ports[1].listen)+fmt.Sprintf("/?sid=%ds", newUser()), nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin,
		} {
			if value != "" {
				req.Header.Set(name, value)
			}
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("origin %q: %s, want %d", origin, resp.Status, want)
		}
	}
}
