//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/errgroup"
)

const (
	// askers is how many keep-alive connections ask, each in its own turn.
	askers = 8
	// known is how many users ask again and again; fresh how many ask once.
	known, fresh = 1000, 60_000
)

// endpoint asks a bare handler and end_point, as fast as they answer, and then
// end_point at a third of that.
func endpoint(l *lab) ([]figure, error) {
	_, bareAt, err := l.startBare()
	if err != nil {
		return nil, err
	}
	_, store, err := l.startRedis()
	if err != nil {
		return nil, err
	}
	pemFile, private, err := edKey(l.dir)
	if err != nil {
		return nil, err
	}
	nodes, err := l.startNodes(1, store, "--jwt-key", pemFile)
	if err != nil {
		return nil, err
	}
	at := nodes[0].listen
	hs := paths(known, jwt.SigningMethodHS256, []byte(sidKey))
	theirs, _, err := ask(bareAt, []string{"/bare"}, 0, l.lasts/2)
	if err != nil {
		return nil, err
	}
	stop := l.profiled(nodes[0])
	ours, _, err := ask(at, hs, 0, l.lasts/2)
	if err != nil {
		return nil, err
	}
	stop()
	_, theirs99, err := ask(bareAt, []string{"/bare"}, ours/3, l.lasts/2)
	if err != nil {
		return nil, err
	}
	_, p99, err := ask(at, hs, ours/3, l.lasts/2)
	if err != nil {
		return nil, err
	}
	freshHS, _, err := ask(at, paths(fresh, jwt.SigningMethodHS256, []byte(sidKey)), 0, l.lasts/4)
	if err != nil {
		return nil, err
	}
	freshEd, _, err := ask(at, paths(fresh/3, jwt.SigningMethodEdDSA, private), 0, l.lasts/4)
	if err != nil {
		return nil, err
	}
	return []figure{
		{name: "requests/s, bare handler", value: theirs},
		{name: "requests/s, HS256, 1,000 users", value: ours},
		{name: "of bare", value: ours / theirs, least: 0.6},
		{name: "p99 at a third of that rate", value: p99, unit: "ms", most: 1},
		{name: "the bare handler's at the same rate", value: theirs99, unit: "ms"},
		{name: "of it", value: p99 / theirs99},
		{name: "of bare, every sid new, HS256", value: freshHS / theirs},
		{name: "of bare, every sid new, EdDSA", value: freshEd / theirs},
	}, nil
}

// paths are requests of n users, whose sids nobody has seen before.
func paths(n int, method jwt.SigningMethod, key any) []string {
	list := make([]string, n)
	stamp := strconv.FormatInt(time.Now().UnixNano(), 36)
	for i := range list {
		text, err := jwt.NewWithClaims(method, jwt.MapClaims{
			"sub": strconv.Itoa(i + 1), "exp": time.Now().Add(time.Hour).Unix(), "jti": stamp,
		}).SignedString(key)
		if err != nil {
			panic("sid: " + err.Error()) // a key of ours
		}
		list[i] = "/api/websocket/end_point?room_id=42&sid=" + url.QueryEscape(text)
	}
	return list
}

// ask returns the requests/s and the p99 in milliseconds; with a rate it asks
// at fixed times, without one as fast as it is answered. What is timed begins
// when the request was due: one that has to wait for the answer before it counts
// in full.
func ask(at string, paths []string, rate float64, lasts time.Duration) (perSecond, p99 float64, err error) {
	parts := make([]*hdrhistogram.Histogram, askers)
	// A thread that comes back from the kernel needs one of the runtime's
	// processors. With fewer than askers it waits for what the monitor takes from
	// another one, up to 10 ms.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * askers))
	began := time.Now()
	var g errgroup.Group
	for i := range parts {
		parts[i] = hdrhistogram.New(1, longest, 3)
		g.Go(func() error { return asker(at, paths, i, rate/askers, began.Add(lasts), parts[i]) })
	}
	if err := g.Wait(); err != nil {
		return 0, 0, err
	}
	lasted := time.Since(began)
	all := hdrhistogram.New(1, longest, 3)
	for _, p := range parts {
		all.Merge(p)
	}
	return float64(all.TotalCount()) / lasted.Seconds(), float64(all.ValueAtQuantile(99)) / 1000, nil
}

func asker(at string, paths []string, i int, rate float64, end time.Time, took *hdrhistogram.Histogram) error {
	conn, err := dialBlocking(at)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if rate > 0 {
		// The runtime's poller hands a thread on, which would be charged to the answer.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	in, out := bufio.NewReader(conn), []byte(nil)
	began := time.Now()
	for n := 0; ; n++ {
		due := time.Now()
		if rate > 0 {
			turn := float64(n) + float64(i)/askers // not all at once
			due = began.Add(time.Duration(turn / rate * 1e9))
			sleep(time.Until(due))
		}
		if due.After(end) {
			return nil
		}
		out = append(append(append(out[:0], "GET "...), paths[(n*askers+i)%len(paths)]...), " HTTP/1.1\r\nHost: x\r\n\r\n"...)
		if _, err := conn.Write(out); err != nil {
			return err
		}
		if err := answer(in); err != nil {
			return err
		}
		_ = took.RecordValue(min(longest, max(1, time.Since(due).Microseconds()))) // within the bounds
	}
}

// dialBlocking connects with a file whose reads block their thread.
func dialBlocking(address string) (*os.File, error) {
	tcp, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), address)
	err = errors.Join(
		syscall.Connect(fd, &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}),
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("dial %s: %w", address, err), file.Close())
	}
	return file, nil
}

// answer reads one response, whose length it has to name.
func answer(in *bufio.Reader) error {
	status, length := "", -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		const field = "Content-Length: "
		switch {
		case status == "":
			status = string(line)
		case len(line) <= 2:
			if length < 0 || len(status) < 12 || status[9:12] != strconv.Itoa(http.StatusOK) {
				return fmt.Errorf("answered %q, length %d", status, length)
			}
			body, err := in.Peek(length)
			if err != nil {
				return err
			}
			if !bytes.HasPrefix(body, []byte(`{"error_code":0,`)) {
				return fmt.Errorf("refused: %s", body)
			}
			_, err = in.Discard(length)
			return err
		case len(line) > len(field)+2 && string(line[:len(field)]) == field:
			if length, err = strconv.Atoi(string(line[len(field) : len(line)-2])); err != nil {
				return err
			}
		}
	}
}

// edKey makes an Ed25519 key and writes its public half to a file.
func edKey(dir string) (file string, private ed25519.PrivateKey, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", nil, err
	}
	file = filepath.Join(dir, "ed25519.pem")
	return file, private, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
}
