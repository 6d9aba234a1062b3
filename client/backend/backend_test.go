package backend

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// node answers every request with what the test set, and remembers the requests.
type node struct {
	mu      sync.Mutex
	answers []func(http.ResponseWriter)
	got     []string // method, path and body
	keys    []string // Idempotency-Key
	auth    string
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	n.keys = append(n.keys, r.Header.Get("Idempotency-Key"))
	n.auth = r.Header.Get("Authorization")
	answer := n.answers[0]
	if len(n.answers) > 1 {
		n.answers = n.answers[1:]
	}
	answer(w)
}

func say(status int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func start(t *testing.T, answers ...func(http.ResponseWriter)) (*Client, *node) {
	t.Helper()
	n := &node{answers: answers}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	c, err := New(Config{URLs: []string{server.URL + "/"}, Key: "k1"})
	if err != nil {
		t.Fatal(err)
	}
	return c, n
}

func TestCalls(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	seats, keep := 4, 90*time.Second
	for want, call := range map[string]func(*Client) (any, error){
		`PUT /v1/rooms/42/occupants/7 {"nickname":"小明<","sex":1,"avatar_url":"","avatar_small_url":"","role":"host","quiet":true}`: func(c *Client) (any, error) {
			return c.Enter(ctx, "42", 7, Entry{Profile: protocol.Profile{Nickname: "小明<", Sex: 1, Role: "host"}, Quiet: true})
		},
		`DELETE /v1/rooms/42/occupants/7`: func(c *Client) (any, error) { return c.Exit(ctx, "42", 7) },
		`PUT /v1/rooms/42 {"seats":4,"keep_empty":"1m30s"}`: func(c *Client) (any, error) {
			return c.Configure(ctx, "42", Settings{Seats: &seats, KeepEmpty: &keep})
		},
		`DELETE /v1/rooms/42`:                    func(c *Client) (any, error) { return c.CloseRoom(ctx, "42") },
		`GET /v1/rooms/42?after=7&limit=9`:       func(c *Client) (any, error) { return c.Room(ctx, "42", "7", 9) },
		`GET /v1/rooms`:                          func(c *Client) (any, error) { return c.Rooms(ctx, "", 0) },
		`PUT /v1/rooms/42/seats/3 {"user_id":7}`: func(c *Client) (any, error) { return c.Up(ctx, "42", 3, 7) },
		`PUT /v1/rooms/42/seats/3 {"status":0}`:  func(c *Client) (any, error) { return c.OpenSeat(ctx, "42", 3, false) },
		`PUT /v1/rooms/42/seats/3 {"microphone":true}`: func(c *Client) (any, error) {
			return c.Microphone(ctx, "42", 3, true)
		},
		`DELETE /v1/rooms/42/seats/3`: func(c *Client) (any, error) { return c.Down(ctx, "42", 3) },
		`POST /v1/rooms/42/publish {"action":"pk","x":"<"}`: func(c *Client) (any, error) {
			return c.Publish(ctx, "42", RawFrame(`{"action":"pk","x":"<"}`))
		},
		`POST /v1/users/7/notify {"action":"pk"}`: func(c *Client) (any, error) {
			return c.Notify(ctx, 7, map[string]string{"action": "pk"})
		},
		`GET /v1/users/7`: func(c *Client) (any, error) { return c.User(ctx, 7) },
		`DELETE /v1/users/7/connection?reason=spam`:        func(c *Client) (any, error) { return c.Kick(ctx, 7, "spam") },
		`GET /v1/users/7/timeline`:                         func(c *Client) (any, error) { return c.Timeline(ctx, 7) },
		`PUT /v1/calls/c1 {"caller_id":7,"receiver_id":8}`: func(c *Client) (any, error) { return c.StartCall(ctx, "c1", 7, 8) },
		`GET /v1/calls/c1`:                                 func(c *Client) (any, error) { return c.Call(ctx, "c1") },
		`DELETE /v1/calls/c1`:                              func(c *Client) (any, error) { return c.EndCall(ctx, "c1") },
		`GET /v1/cluster`:                                  func(c *Client) (any, error) { return c.Cluster(ctx) },
	} {
		c, n := start(t, say(200, `{}`))
		if _, err := call(c); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if n.got[0] != want || n.auth != "Bearer k1" {
			t.Errorf("asked %s with %q\nwant  %s", n.got[0], n.auth, want)
		}
		if reads := strings.HasPrefix(want, "GET"); reads != (n.keys[0] == "") {
			t.Errorf("%s: key %q", want, n.keys[0])
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c, _ := start(t, say(200, `{"room_id":"r1","epoch":17,"seq":3,"end_point":"ws://n1:8001"}`))
	entered, err := c.Enter(ctx, "r1", 7, Entry{})
	if err != nil || entered.RoomID != "r1" || entered.Epoch != 17 || entered.Seq != 3 || entered.EndPoint != "ws://n1:8001" || !entered.Durable() {
		t.Errorf("%+v, %v", entered, err)
	}
	c, _ = start(t, say(200, `{"durable":false}`))
	if done, err := c.Exit(ctx, "r1", 7); err != nil || done.Durable() {
		t.Errorf("%+v, %v", done, err)
	}
	c, _ = start(t, say(204, ``))
	if done, err := c.Exit(ctx, "r1", 7); err != nil || !done.Durable() {
		t.Errorf("%+v, %v", done, err)
	}
	c, _ = start(t, say(200, `{"room_id":"r1","occupants":[{"user_id":7,"nickname":"n"}],"next":"7"}`), say(200, `{"room_id":"r1","occupants":[{"user_id":8}],"next":""}`))
	roster, err := c.Roster(ctx, "r1")
	if err != nil || len(roster) != 2 || roster[0].Nickname != "n" || roster[1].UserID != 8 {
		t.Errorf("%+v, %v", roster, err)
	}
	c, _ = start(t, say(200, `[{"epoch":1,"seq":6,"delivered":2,"durable":false},{"error":{"code":"room_not_found","message":"m"}}]`))
	results, err := c.PublishAll(ctx, []Publication{{"r1", RawFrame(`{"action":"pk"}`)}, {"r2", RawFrame(`{"action":"pk"}`)}})
	if err != nil || results[0].Seq != 6 || results[0].Durable() || results[0].Err != nil || protocol.CodeOf(results[1].Err) != protocol.CodeRoomNotFound {
		t.Errorf("%+v, %v", results, err)
	}
	if _, err := c.PublishAll(ctx, nil); err == nil {
		t.Error("2 answers to nothing are taken")
	}
	c, _ = start(t, say(200, `{"users":[{"user_id":7,"online":true,"current_room_id":"r1","since":"2026-01-02T03:04:05Z"},{"user_id":8,"since":null,"error":{"code":"unavailable","message":"m"}}]}`))
	users, err := c.Users(ctx, []protocol.UserID{7, 8})
	if err != nil || !users[0].Online || users[0].CurrentRoomID != "r1" || users[0].Since.IsZero() || protocol.CodeOf(users[1].Err) != protocol.CodeUnavailable {
		t.Errorf("%+v, %v", users, err)
	}
}

func TestErrorsHaveTheirCode(t *testing.T) {
	t.Parallel()
	c, n := start(t, say(409, `{"error":{"code":"seat_taken","message":"user 8 sits there"}}`))
	_, err := c.Up(t.Context(), "r1", 1, 7)
	said := new(Error)
	if !errors.As(err, &said) || said.Status != 409 || protocol.CodeOf(err) != protocol.CodeSeatTaken {
		t.Errorf("%v", err)
	}
	if len(n.got) != 1 {
		t.Errorf("asked %d times", len(n.got))
	}
	c, _ = start(t, say(502, `<html>`))
	if _, err := c.User(t.Context(), 7); protocol.CodeOf(err) != protocol.CodeInternal {
		t.Errorf("%v", err)
	}
	c, _ = start(t, say(200, `[`))
	if _, err := c.User(t.Context(), 7); err == nil {
		t.Error("half an answer is taken")
	}
}

func TestTroubleIsTriedAgainOnce(t *testing.T) {
	t.Parallel()
	away := say(503, `{"error":{"code":"unavailable","message":"m"}}`)
	broken := func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	c, n := start(t, away, broken, say(200, `{"room_id":"r1"}`))
	if _, err := c.Enter(t.Context(), "r1", 7, Entry{}); err != nil {
		t.Error(err)
	}
	if len(n.keys) != 3 || n.keys[0] == "" || n.keys[0] != n.keys[1] || n.keys[1] != n.keys[2] {
		t.Errorf("keys %q", n.keys)
	}
	c, n = start(t, away)
	if _, err := c.Enter(t.Context(), "r1", 7, Entry{}); protocol.CodeOf(err) != protocol.CodeUnavailable || len(n.got) != 4 {
		t.Errorf("%v after %d attempts", err, len(n.got))
	}
}

func TestAnotherNodeIsAsked(t *testing.T) {
	t.Parallel()
	dead := httptest.NewServer(nil)
	dead.Close()
	n := &node{answers: []func(http.ResponseWriter){say(200, `{"user_id":7}`)}}
	alive := httptest.NewServer(n)
	defer alive.Close()
	c, err := New(Config{URLs: []string{dead.URL, alive.URL}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if u, err := c.User(t.Context(), 7); err != nil || u.UserID != 7 {
			t.Errorf("%+v, %v", u, err)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	c, n := start(t, say(200, ": hello\n\nevent: entered\ndata: {\"id\":\"1\",\"event\":\"entered\",\"user_id\":7,\"room_id\":\"r1\"}\n\n"))
	var got []protocol.Event
	err := c.Events(t.Context(), []string{"entered", "lost"}, func(e protocol.Event) { got = append(got, e) })
	if !errors.Is(err, errEnded) || len(got) != 1 || got[0].UserID != 7 || got[0].RoomID != "r1" {
		t.Errorf("%+v, %v", got, err)
	}
	if n.got[0] != "GET /v1/events?events=entered%2Clost" {
		t.Error(n.got[0])
	}
	c, _ = start(t, say(401, `{"error":{"code":"unauthorized","message":"m"}}`))
	if err := c.Events(t.Context(), nil, nil); protocol.CodeOf(err) != protocol.CodeUnauthorized {
		t.Error(err)
	}
	c, _ = start(t, say(200, "data: {\n\n"))
	if err := c.Events(t.Context(), nil, nil); err == nil {
		t.Error("half an event is taken")
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := New(Config{URLs: []string{"ftp://x"}, Attempts: -1})
	if err == nil || !strings.Contains(err.Error(), "ftp://x") || !strings.Contains(err.Error(), "-1 attempts") {
		t.Error(err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no URL is taken")
	}
	if b, err := json.Marshal(Settings{}); err != nil || string(b) != "{}" {
		t.Errorf("%s, %v", b, err)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := start(t, func(w http.ResponseWriter) { cancel(); w.WriteHeader(503) })
	if _, err := c.User(ctx, 7); err == nil {
		t.Error("goes on after the end")
	}
}
