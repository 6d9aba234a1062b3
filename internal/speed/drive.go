//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/protocol"
)

const (
	apiKey = "speed-key"
	sidKey = "a-secret-of-the-speed-rows-of-32-bytes"
	// wireSize is the size of a publication's frame on the wire.
	wireSize = 256
)

// backend is the publisher's connection pool.
var backend = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}, Timeout: 60 * time.Second}

// call asks the backend's door.
func call(method, to string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := backend.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s answers %s: %s", method, to, resp.Status, answer)
	}
	return answer, err
}

// sid is a user's signed identity.
func sid(user int) string {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": strconv.Itoa(user), "exp": time.Now().Add(time.Hour).Unix(), "may": []string{"enter_room", "exit_room"},
	})
	text, err := token.SignedString([]byte(sidKey))
	if err != nil {
		panic("sid: " + err.Error()) // a constant key
	}
	return text
}

// signed returns a frame of a connected user as its client signs it.
func (s *socket) signed(action, fields string) ([]byte, error) {
	frame := fmt.Appendf(nil, `{"action":%q,"online_token":%q,"sid":%q,"timestamp":%d%s}`,
		action, s.text("online_token"), s.sid, time.Now().Unix(), fields)
	return protocol.AppendSigned(nil, frame, s.text("sign_key"))
}

// target is a server that takes publications.
type target struct {
	at   string // host:port of its HTTP
	bare bool
}

// url is where a room is published to.
func (t target) url(room string) string {
	if t.bare {
		return "http://" + t.at + "/publish?room=" + room
	}
	return "http://" + t.at + "/v1/rooms/" + room + "/publish"
}

// frame returns a publication that has wireSize bytes when it reaches a client.
func (t target) frame(room string) []byte {
	const head, tail, wsHead = `{"action":"speed","content":"`, `"}`, 4
	size := wireSize - wsHead - len(head) - len(tail)
	if !t.bare {
		size -= len(`,"room_id":"","epoch":1795411607368,"seq":10000`) + len(room)
	}
	return []byte(head + strings.Repeat("x", size) + tail)
}

// publish sends the next publication of a room, due at a time of the crowd.
func (t target) publish(p *place, due int64) error {
	k := p.next.Add(1) - 1
	if int(k) >= len(p.sent) {
		return fmt.Errorf("more than %d publications in room %s", len(p.sent), p.name)
	}
	p.sent[k].Store(due)
	_, err := call(http.MethodPost, t.url(p.name), t.frame(p.name))
	return err
}

// flood keeps n publications in flight in one room until the time is over. One
// is in flight until everybody has it.
func (c *crowd) flood(t target, p *place, n int, lasts time.Duration) error {
	end := time.Now().Add(lasts)
	var g errgroup.Group
	for range n {
		g.Go(func() error {
			for time.Now().Before(end) {
				if err := t.publish(p, c.now()); err != nil {
					return err
				}
				select {
				case <-c.completed:
				case <-time.After(10 * time.Second):
					return fmt.Errorf("room %s: a publication has not reached everybody within 10 s", p.name)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// punctual lets the caller's goroutine sleep to within the kernel's slack of
// 50 us until the returned function is called. Go's own sleep ends up to a
// millisecond late, which would be charged to the server.
func punctual() (done func()) {
	runtime.LockOSThread()
	// A sleeping thread keeps one of the runtime's processors for a while.
	former := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(former + 1)
	return func() {
		runtime.GOMAXPROCS(former)
		runtime.UnlockOSThread()
	}
}

// sleep blocks the thread for d, to within the kernel's slack of 50 us.
func sleep(d time.Duration) {
	if d > 0 {
		rest := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&rest, nil) // woken early, it asks a little early
	}
}

// openLoop publishes at fixed times, to the rooms in turn, whether or not what
// came before has arrived.
func (c *crowd) openLoop(t target, places []*place, rate float64, lasts time.Duration) error {
	var g errgroup.Group
	g.SetLimit(512)
	defer punctual()()
	begin := c.now() + int64(10*time.Millisecond)
	for i := range int(rate * lasts.Seconds()) {
		due := begin + int64(float64(i)/rate*1e9)
		sleep(time.Duration(due - c.now()))
		g.Go(func() error { return t.publish(places[i%len(places)], due) })
	}
	return g.Wait()
}

// busy publishes to the rooms in turn with n callers until the time is over.
func (c *crowd) busy(t target, places []*place, n int, lasts time.Duration) error {
	end := time.Now().Add(lasts)
	var g errgroup.Group
	var turn atomic.Int64
	for range n {
		g.Go(func() error {
			for time.Now().Before(end) {
				if err := t.publish(places[int(turn.Add(1))%len(places)], c.now()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// batches publishes to all rooms, size of them a call, with n callers.
func (c *crowd) batches(t target, places []*place, size, n int, lasts time.Duration) error {
	end := time.Now().Add(lasts)
	var bodies [][]byte
	for at := 0; at+size <= len(places); at += size {
		var items []string
		for _, p := range places[at : at+size] {
			items = append(items, fmt.Sprintf(`{"room_id":%q,"frame":%s}`, p.name, t.frame(p.name)))
		}
		bodies = append(bodies, []byte("["+strings.Join(items, ",")+"]"))
	}
	var g errgroup.Group
	var turn atomic.Int64
	for range n {
		g.Go(func() error {
			for time.Now().Before(end) {
				if _, err := call(http.MethodPost, "http://"+t.at+"/v1/publish", bodies[int(turn.Add(1))%len(bodies)]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// quiet waits until nothing has been delivered for a moment.
func (c *crowd) quiet() {
	const pause = 300 * time.Millisecond
	for last := int64(-1); ; time.Sleep(pause) {
		now := c.delivered.Load()
		if now == last {
			return
		}
		last = now
	}
}

// enter puts users into their rooms through the backend's door.
func enter(nd *node, members []member) error {
	var g errgroup.Group
	g.SetLimit(32)
	for _, m := range members {
		g.Go(func() error {
			to := fmt.Sprintf("http://%s/v1/rooms/%s/occupants/%d", nd.api, m.place.name, m.user)
			_, err := call(http.MethodPut, to, []byte(`{"nickname":"n","role":"audience","quiet":true}`))
			return err
		})
	}
	return g.Wait()
}

// path is the websocket's of a user.
func path(user int) string { return "/?sid=" + url.QueryEscape(sid(user)) }
