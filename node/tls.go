package node

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheck is how often the certificate's files are looked at, at most.
const certCheck = time.Second

// certificate is a certificate that is read again when its files change. A
// change that can't be read leaves the former one in use.
type certificate struct {
	// set by newCertificate
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	changed [2]time.Time // of the files, when they were read
	looked  time.Time
}

// newCertificate reads the certificate for the first time.
func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// config is a server's, whose handshakes take turns. Websockets need HTTP/1.1.
func (c *certificate) config(turns *turns) *tls.Config {
	own := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.get(), nil
		},
	}
	served := own.Clone()
	served.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return turns.take(hello, own)
	}
	return served
}

func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certCheck {
		return c.current
	}
	c.looked = time.Now()
	if c.fileTimes() != c.changed {
		if err := c.read(); err != nil {
			c.log.Error("changed certificate not taken; the former one stays in use", "err", err)
		} else {
			c.log.Info("certificate read again", "file", c.certFile)
		}
	}
	return c.current
}

func (c *certificate) fileTimes() (times [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}

func (c *certificate) read() error {
	times := c.fileTimes()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read tls-cert and tls-key: %w", err)
	}
	c.current, c.changed = &pair, times
	return nil
}
