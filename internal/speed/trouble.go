//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// fairRate is the publications/s of a room that others disturb.
	fairRate = 100
	// stopped is how many of the large room's members do not read.
	stopped = 5
)

// fair measures a small room, alone and beside one that is flooded. A flood
// has the machine's processors busy, so that the crowd that is measured has a
// reader of its own.
func fair(l *lab) ([]figure, error) {
	noisy, err := l.oneRoom(false)
	if err != nil {
		return nil, err
	}
	defer l.leave(noisy)
	reader, err := newCrowd()
	if err != nil {
		return nil, err
	}
	defer reader.close()
	still := *noisy
	still.crowd, still.place = reader, newPlace("still", manyPublications)
	if err := still.fill(roomSize, l.members+1, still.place); err != nil {
		return nil, err
	}
	load := func() error { return still.openLoop(still.target, []*place{still.place}, fairRate, l.lasts) }
	if _, err := still.charge(l, load); err != nil {
		return nil, err
	}
	aloneP50, alone := still.quantile(50), still.quantile(99)
	// As many other rooms, all flooded through the same door, are the measure of
	// what the busy machine itself does to the room.
	var g errgroup.Group
	g.Go(func() error { return noisy.flood(noisy.target, noisy.place, inFlight, l.lasts) })
	if _, err := still.charge(l, load); err != nil {
		return nil, err
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return []figure{
		{name: "p50 alone", value: aloneP50, unit: "ms"},
		{name: "p50 beside the flood", value: still.quantile(50), unit: "ms"},
		{name: "p99 alone", value: alone, unit: "ms"},
		{name: "p99 beside the flood", value: still.quantile(99), unit: "ms"},
		{name: "p99, times alone", value: still.quantile(99) / alone, most: 2},
	}, nil
}

// slow measures a large room, and then again while some members do not read.
func slow(l *lab) ([]figure, error) {
	a, err := l.oneRoom(false)
	if err != nil {
		return nil, err
	}
	defer l.leave(a)
	const rate = 50
	load := func() error { return a.openLoop(a.target, []*place{a.place}, rate, l.lasts) }
	if _, err := a.charge(l, load); err != nil {
		return nil, err
	}
	before := a.quantile(99)
	a.mu.Lock()
	deaf := a.sockets[:stopped]
	a.mu.Unlock()
	for _, s := range deaf {
		// The kernel takes little for a small receive buffer, and the reader nothing.
		if err := syscall.SetsockoptInt(s.fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096); err != nil {
			return nil, err
		}
		if err := syscall.EpollCtl(a.poll, syscall.EPOLL_CTL_DEL, s.fd, nil); err != nil {
			return nil, err
		}
	}
	closed := a.node.gauge("rollcall_edge_closed_slow_total")
	heap := a.node.inUse()
	if _, err := a.charge(l, load); err != nil {
		return nil, err
	}
	during, grown := a.quantile(99), a.node.inUse()-heap
	late := func() float64 { return a.node.gauge("rollcall_edge_closed_slow_total") - closed }
	if err := a.overfill(deaf, func() bool { return late() >= stopped }); err != nil {
		return nil, fmt.Errorf("%w: %g of %d slow connections were closed and counted", err, late(), stopped)
	}
	return []figure{
		{name: "p99, all read", value: before, unit: "ms"},
		{name: fmt.Sprintf("p99 of the others, %d do not", stopped), value: during, unit: "ms"},
		{name: "memory grew by", value: grown / (1 << 10), unit: "KiB"},
		{name: "slow ones closed and counted", value: late(), least: stopped},
	}, nil
}

// overfill publishes to some members, in a room of their own, more than the
// kernel and the server keep for them, until it was enough.
func (a *audience) overfill(some []*socket, enough func() bool) error {
	const size = 32 << 10
	aside := newPlace("aside", 0)
	var members []member
	for _, s := range some {
		members = append(members, member{user: s.user, place: aside})
	}
	if err := enter(a.node, members); err != nil {
		return err
	}
	frame := []byte(`{"action":"speed","content":"` + strings.Repeat("x", size) + `"}`)
	return within(30*time.Second, func() error {
		_, err := call(http.MethodPost, a.target.url(aside.name), frame)
		if enough() {
			return nil
		}
		return errors.Join(errors.New("they take it still"), err)
	})
}

// collected measures deliveries while full collections run one after another.
func collected(l *lab) ([]figure, error) {
	a, err := l.large(false, l.members)
	if err != nil {
		return nil, err
	}
	defer l.leave(a)
	load := func() error { return a.openLoop(a.target, []*place{a.place}, 20, l.lasts) }
	if _, err := a.charge(l, load); err != nil {
		return nil, err
	}
	before := a.quantile(99)
	var over atomic.Bool
	var g errgroup.Group
	rounds := a.node.gauge("go_gc_duration_seconds_count")
	g.Go(func() error {
		for !over.Load() {
			if _, err := fetch("http://" + a.node.admin + "/debug/pprof/heap?gc=1"); err != nil {
				return err
			}
		}
		return nil
	})
	_, err = a.charge(l, load)
	over.Store(true)
	if failed := g.Wait(); err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "p99 of deliveries, no collection forced", value: before, unit: "ms"},
		{name: "p99 during collections, one after another", value: a.quantile(99), unit: "ms"},
		{name: "collections/s", value: (a.node.gauge("go_gc_duration_seconds_count") - rounds) / l.lasts.Seconds()},
	}, nil
}

// secure compares one publication at a time into a room over TLS with the same
// in the clear. Its clients are of the standard library: one goroutine each.
func secure(l *lab) ([]figure, error) {
	const members = 1000
	var costs []float64
	for _, with := range []bool{false, true} {
		c, err := l.overTLS(with, members)
		if err != nil {
			return nil, err
		}
		costs = append(costs, c)
		l.stage.close()
	}
	return []figure{
		{name: "server CPU a delivery, in the clear", value: costs[0], unit: "us"},
		{name: "server CPU a delivery, TLS 1.3", value: costs[1], unit: "us"},
		{name: "times", value: costs[1] / costs[0]},
	}, nil
}

func (l *lab) overTLS(with bool, n int) (float64, error) {
	a := &audience{place: newPlace("tls", manyPublications)}
	var flags []string
	if with {
		cert, key, err := certificate(l.dir)
		if err != nil {
			return 0, err
		}
		flags = []string{"--tls-cert", cert, "--tls-key", key}
	}
	if err := l.serve(a, false, flags...); err != nil {
		return 0, err
	}
	defer a.close()
	var got atomic.Int64
	var members []member
	for i := range n {
		conn, err := net.Dial("tcp", a.node.listen)
		if err != nil {
			return 0, err
		}
		if with {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // our own certificate, on the loopback
		}
		defer func() { _ = conn.Close() }()
		request := "GET " + path(i+1) + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3BlZWRzcGVlZHNwZWVkcw==\r\n\r\n"
		if _, err := io.WriteString(conn, request); err != nil {
			return 0, err
		}
		go count(conn, &got)
		members = append(members, member{user: i + 1, place: a.place})
	}
	time.Sleep(500 * time.Millisecond)
	if err := enter(a.node, members); err != nil {
		return 0, err
	}
	time.Sleep(500 * time.Millisecond)
	cpu, published := a.server.cpu(), 0
	stop := l.profiled(a.node)
	for end := time.Now().Add(l.lasts); time.Now().Before(end); published++ {
		had := got.Load()
		if err := a.target.publish(a.place, 0); err != nil {
			return 0, err
		}
		// The first publications' numbers are up to four digits shorter.
		for least := int64(n) * (wireSize - 4); got.Load()-had < least; {
			time.Sleep(50 * time.Microsecond)
			if time.Now().After(end.Add(10 * time.Second)) {
				return 0, fmt.Errorf("%d of %d bytes came", got.Load()-had, least)
			}
		}
	}
	stop()
	return micros(a.server.cpu()-cpu) / float64(published*n), nil
}

// count reads and counts bytes until the connection ends.
func count(conn io.Reader, got *atomic.Int64) {
	buf := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buf)
		got.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// certificate writes a new P-256 certificate for the loopback.
func certificate(dir string) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
}
