package edge

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// startTLS runs an edge behind TLS, whose writes may block.
func startTLS(t *testing.T, change func(*Config)) *world {
	t.Helper()
	issuer := httptest.NewTLSServer(http.NotFoundHandler())
	defer issuer.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(issuer.Certificate())
	dial := func() (net.Conn, error) {
		return tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS13})
	}
	certified := &tls.Config{Certificates: issuer.TLS.Certificates, MinVersion: tls.VersionTLS13}
	return startOn(t, tls.NewListener(l, certified), dial, change)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	w := startTLS(t, nil)
	c := w.connect(1)
	w.enter(1, "r", 1, 0)
	for seq := protocol.Seq(1); seq <= 100; seq++ {
		w.edge.Publish([]protocol.Publication{publication("r", seq)})
	}
	c.expectSeqs(1, 100)
	c.silent()
	w.edge.Kick(1, "")
	began := time.Now()
	c.expectClose(protocol.CloseKicked)
	if _, err := c.next(); err == nil || time.Since(began) > 900*time.Millisecond {
		t.Errorf("the end came after %v: %v", time.Since(began), err)
	}
}

// A client behind TLS that never reads holds up nobody either.
func TestTLSClientThatNeverReads(t *testing.T) {
	t.Parallel()
	w := startTLS(t, nil)
	c := w.connect(1)
	defer c.close()
	w.overdue(1)
	w.enter(1, "r", 1, 0)
	filler := `{"action":"send_topic_msg","content":"` + strings.Repeat("x", 60_000) + `"}`
	s := w.edge.registry.session(1)
	for seq := protocol.Seq(1); s.Open(); seq++ {
		began := time.Now()
		w.edge.Publish([]protocol.Publication{{Room: "r", Epoch: 1, Seq: seq, Frame: []byte(filler)}})
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("a publication was held up for %v", took)
		}
		if seq > 20_000 {
			t.Fatal("never closed")
		}
	}
	w.eventually("loss told", func() bool { return !w.store.online(1) })
}
