package integ

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// trickle opens a connection, says a beginning and then a byte now and then, and
// returns how long the other side bore it.
func trickle(address, beginning string, gap time.Duration) (time.Duration, error) {
	conn, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	began := time.Now()
	if _, err := io.WriteString(conn, beginning); err != nil {
		return 0, err
	}
	stop := repeat(gap, func() { _, _ = io.WriteString(conn, "x") }) // its end is seen by the reader
	defer stop()
	const patience = 40 * time.Second
	_ = conn.SetReadDeadline(began.Add(patience))
	if _, err := io.Copy(io.Discard, conn); errTimeout(err) != nil {
		return 0, fmt.Errorf("open after %s", patience)
	}
	return time.Since(began), nil
}

// Who says what it wants a byte at a time, or announces a body that never ends,
// is closed at every door, with and without a key; meanwhile the others are
// served.
func TestTricklersAreClosedAtEveryDoor(t *testing.T) {
	t.Parallel()
	const each = 20
	c := startCluster(t, clusterOptions{nodes: 1, mns: true})
	doors := c.ports[1]
	key := "Authorization: Bearer " + apiKey + "\r\n"
	body := func(method, path, headers string) string {
		return method + " " + path + " HTTP/1.1\r\nHost: " + lab.host + "\r\n" + headers + "\r\n"
	}
	const endless, chunked = "Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"
	var running sync.WaitGroup
	for name, a := range map[string]struct {
		port      int
		beginning string
		most      time.Duration // a few seconds more than the door's limit
	}{
		"listen, header":         {doors.listen, "GET /?sid=1s HTTP/1.1\r\nA: ", 12 * time.Second},
		"api, header":            {doors.api, "GET /v1/cluster HTTP/1.1\r\nA: ", 12 * time.Second},
		"admin, header":          {doors.admin, "GET /metrics HTTP/1.1\r\nA: ", 12 * time.Second},
		"mns, header":            {doors.mns, "GET / HTTP/1.1\r\nA: ", 12 * time.Second},
		"listen, body":           {doors.listen, body("POST", "/", endless), 25 * time.Second},
		"listen, chunks":         {doors.listen, body("POST", "/api/websocket/end_point", chunked) + "ffff\r\n", 25 * time.Second},
		"api, body with a key":   {doors.api, body("PUT", "/v1/rooms/r/occupants/5", key+endless), 25 * time.Second},
		"api, chunks with a key": {doors.api, body("POST", "/v1/publish", key+chunked) + "ffff\r\n", 25 * time.Second},
		"api, body":              {doors.api, body("PUT", "/v1/rooms/r/occupants/5", endless), 25 * time.Second},
		"admin, body":            {doors.admin, body("GET", "/metrics", endless), 25 * time.Second},
		"mns, body":              {doors.mns, body("PUT", "/queues/q", endless), 25 * time.Second},
	} {
		for range each {
			running.Go(func() {
				if d, err := trickle(at(a.port), a.beginning, 300*time.Millisecond); err != nil || d > a.most {
					t.Errorf("%s: borne for %s (%v), want at most %s", name, d, err, a.most)
				}
			})
		}
	}
	room := newRoom()
	for range 10 {
		p := c.phone(newUser(), 1, phoneOptions{})
		c.enter(1, room, p.user, nil)
		if status, err := c.admin(1, "/healthz"); err != nil || status != http.StatusOK {
			t.Errorf("healthz: %d %v", status, err)
		}
	}
	running.Wait()
	eventually(t, 10*time.Second, func() error { return metricIs(t, c, 1, `go_goroutines `, func(n float64) bool { return n < 400 }) })
	c.check()
}

// More half-open connections than --max-conns has room for are closed unread,
// and counted; whoever is in stays, and the next one gets in once they are gone.
func TestHalfOpenConnectionsCount(t *testing.T) {
	t.Parallel()
	const most, spare, many = 8, 256, 400
	c := startCluster(t, clusterOptions{nodes: 1, flags: []string{"--max-conns", fmt.Sprint(most)}})
	inside := c.phone(newUser(), 1, phoneOptions{})
	var open []net.Conn
	for range many {
		conn, err := net.DialTimeout("tcp", at(c.ports[1].listen), dialTimeout)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		open = append(open, conn)
	}
	const refused = many - most - spare
	eventually(t, 4*time.Second, func() error {
		return metricIs(t, c, 1, `rollcall_door_refused_total{door="listen"} `, func(n float64) bool { return n >= refused && n <= refused+2 })
	})
	for _, conn := range open {
		_ = conn.Close()
	}
	eventually(t, 10*time.Second, func() error {
		p, err := dialPhone(at(c.ports[1].listen), newUser(), phoneOptions{})
		if err == nil {
			p.hang()
		}
		return err
	})
	stands(t, inside)
}

// metricIs is nil if a node's metric, named with its labels, is as it has to be.
func metricIs(t *testing.T, c *cluster, i int, name string, ok func(float64) bool) error {
	t.Helper()
	_, page := fetch(t, c.ports[i].admin, "/metrics", "")
	_, rest, found := strings.Cut(page, "\n"+name)
	if !found {
		return errors.New("no metric " + name)
	}
	var value float64
	if _, err := fmt.Sscan(rest, &value); err != nil {
		return err
	}
	if !ok(value) {
		return fmt.Errorf("%s is %v", name, value)
	}
	return nil
}
