package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A handshake waits for its turn, however long ago its deadline was, and gives
// the turn back when it has computed, when it has failed and when it is given
// up. One that can't say when it has computed does not wait.
func TestHandshakesTakeTurns(t *testing.T) {
	t.Parallel()
	own := selfSigned(t)
	client := func(version uint16) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version} // the test's own
	}
	// shake begins a handshake and returns how the node's side ends, what ends it
	// and the client's end.
	shake := func(turns *turns, client *tls.Config) (outcome chan error, end context.CancelFunc, far net.Conn) {
		served := own.Clone()
		served.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return turns.take(hello, own) }
		here, there := net.Pipe()
		_ = here.SetDeadline(time.Now().Add(readHeaderTimeout))
		ctx, cancel := context.WithCancel(context.Background())
		outcome = make(chan error, 1)
		go func() {
			outcome <- tls.Server(here, served).HandshakeContext(ctx)
			_ = here.Close()
		}()
		go func() {
			link := there
			if client.ServerName == "mute" {
				link = deaf{there}
			}
			if tls.Client(link, client).HandshakeContext(ctx) == nil {
				_, _ = there.Read(make([]byte, 1<<10)) // the session's ticket
			}
			if client.ServerName != "mute" {
				_ = there.Close()
			}
		}()
		return outcome, cancel, there
	}
	for name, c := range map[string]struct {
		version uint16
		spoil   bool // the client refuses the certificate
		hangUp  bool // the client is gone while the handshake waits
		mute    bool // the client never answers
		giveUp  bool // the node ends while the handshake waits
		waits   bool
		ok      bool
	}{
		"done":      {version: tls.VersionTLS13, waits: true, ok: true},
		"failed":    {version: tls.VersionTLS13, waits: true, spoil: true},
		"hung up":   {version: tls.VersionTLS13, waits: true, hangUp: true},
		"mute":      {version: tls.VersionTLS13, waits: true, mute: true},
		"given up":  {version: tls.VersionTLS13, waits: true, giveUp: true},
		"older TLS": {version: tls.VersionTLS12, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turns := &turns{free: make(chan struct{}, 1)}
				turns.free <- struct{}{} // another's
				settings := client(c.version)
				settings.InsecureSkipVerify = !c.spoil
				settings.ServerName = "elsewhere"
				if c.mute {
					settings.ServerName = "mute"
				}
				outcome, end, far := shake(turns, settings)
				defer end()
				synctest.Wait()
				if waits := turns.waiting.Load() == 1; waits != c.waits {
					t.Fatalf("waits: %t, want %t", waits, c.waits)
				}
				time.Sleep(2 * readHeaderTimeout)
				if c.giveUp {
					end()
				}
				if c.hangUp {
					_ = far.Close()
				}
				if c.waits && !c.giveUp {
					<-turns.free
				}
				if synctest.Wait(); c.mute && len(turns.free) != 0 {
					t.Error("a client that does not answer keeps the turn")
				}
				if err := <-outcome; (err == nil) != c.ok {
					t.Errorf("ended with %v", err)
				}
				synctest.Wait()
				if want := map[bool]int{true: 1, false: 0}[c.giveUp || !c.waits]; len(turns.free) != want {
					t.Errorf("%d turns are taken, want %d", len(turns.free), want)
				}
				if n := turns.waiting.Load(); n != 0 {
					t.Errorf("%d wait", n)
				}
			})
		})
	}
	t.Run("too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			turns := &turns{free: make(chan struct{}, 1)}
			turns.free <- struct{}{}
			outcome, end, _ := shake(turns, client(tls.VersionTLS13))
			defer end()
			began := time.Now()
			if err := <-outcome; err == nil || time.Since(began) != turnTimeout {
				t.Errorf("ended with %v after %s, want an error after %s", err, time.Since(began), turnTimeout)
			}
		})
	})
}

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// deaf is a connection whose end takes what comes and hands on nothing.
type deaf struct{ net.Conn }

func (d deaf) Read([]byte) (int, error) {
	_, _ = io.Copy(io.Discard, d.Conn) // whatever ends it
	return 0, io.EOF
}
