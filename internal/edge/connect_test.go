package edge

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// C3: the first frame is create_token, its token is unique, and it says where
// the user is.
func TestFirstFrame(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *Config) { c.SignMode = SignHMAC })
	w.store.put(2, func(r *protocol.UserRecord) { r.Room, r.Call, r.Version = "77", protocol.CallRoom("c9"), 5 })
	seen := make(map[any]bool)
	for _, user := range []protocol.UserID{1, 2, 3} {
		c := w.open(user.String() + "sx")
		f := c.first
		if len(c.token) != 32 || len(c.key) != 32 || seen[f["online_token"]] || seen[f["sign_key"]] {
			t.Errorf("token %v, key %v", f["online_token"], f["sign_key"])
		}
		seen[f["online_token"]], seen[f["sign_key"]] = true, true
		room, call := any(float64(0)), any("")
		if user == 2 {
			room, call = float64(77), "c9"
		}
		if f["ping_interval"] != 15.0 || f["heartbeat_timeout"] != 20.0 || f["current_room_id"] != room || f["call_no"] != call {
			t.Errorf("user %d: %v", user, f)
		}
	}
	w.eventually("owners hear of the connection", func() bool { return len(w.owners.of(protocol.VerbPresent)) == 2 })
	for i, cmd := range w.owners.of(protocol.VerbPresent) {
		want := [...]protocol.RoomID{"77", protocol.CallRoom("c9")}[i]
		if cmd.Room != want || cmd.User != 2 || cmd.Conn != 1 || cmd.Version != 5 || cmd.Edge != self {
			t.Errorf("present %+v", cmd)
		}
	}
}

func TestDoor(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *Config) {
		c.MaxConns, c.MaxConnsPerIP = 4, 2
		c.AllowedOrigins = []string{"https://app.example"}
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	from := func(addr string, more ...string) http.Header {
		h := http.Header{"X-Forwarded-For": {addr}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	status := func(path string, header http.Header) int {
		t.Helper()
		c, resp := w.dialWith(path, "", header)
		if c != nil {
			return http.StatusSwitchingProtocols
		}
		if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: 503 without Retry-After", path)
		}
		return resp.StatusCode
	}
	for _, test := range []struct {
		name, path string
		header     http.Header
		want       int
	}{
		{"other path", "/other?sid=1sx", nil, 404},
		{"foreign origin", "/?sid=1sx", from("9.9.9.1", "Origin", "https://evil.example"), 403},
		{"auth away", "/?sid=down", from("9.9.9.1"), 503},
		{"own origin", "/ws?sid=1sx", from("9.9.9.1", "Origin", "https://APP.example"), 101},
		{"second of the address", "/?sid=2sx", from("9.9.9.1"), 101},
		{"third of the address", "/?sid=3sx", from("9.9.9.1"), 503},
		{"forged nearer hop", "/?sid=3sx", from("6.6.6.6, 9.9.9.1"), 503},
		{"other address", "/?sid=3sx", from("2001:db8::1"), 101},
		{"with a port", "/?sid=3sx", from("9.9.9.1:4711"), 503},
		{"same network", "/?sid=4sx", from("2001:db8::ffff"), 101},
		{"full", "/?sid=5sx", from("9.9.9.3"), 503},
	} {
		if got := status(test.path, test.header); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
	resp, err := http.Get("http://" + w.addr() + "/?sid=1sx")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("plain request: %d, %v", resp.StatusCode, err)
	}
	resp.Body.Close()
}

func TestDoorCountsOut(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *Config) { c.MaxConns = 1 })
	for range 5 {
		c := w.open("1sx")
		c.close()
		w.eventually("connection counted out", func() bool { return w.edge.Count() == 0 })
	}
	conn, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	bad := "GET /?sid=1sx HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\n\r\n"
	if _, err := conn.Write([]byte(bad)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
		t.Errorf("bad handshake: %q", answer)
	}
	w.eventually("failed handshake counted out", func() bool { return w.edge.Count() == 0 })
}

func TestUnknownUser(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c, _ := w.dialWith("/?sid=nobody", "nobody", nil)
	f := c.expect("create_token")
	if f["error_code"] != -1.0 || f["error_reason"] != "用户不存在" || f["online_token"] == "" {
		t.Errorf("%v", f)
	}
	c.expectClose(protocol.CloseUnauthenticated)
	w.eventually("connection counted out", func() bool { return w.edge.Count() == 0 })
}

// C5: a new connection supersedes the old one, whose close then does nothing.
func TestSupersede(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	old := w.connect(1)
	w.enter(1, "r", 1, 0)
	young := w.connect(1)
	old.expectClose(protocol.CloseSuperseded)
	old.close()
	w.eventually("old connection counted out", func() bool { return w.edge.Count() == 1 })
	young.silent()
	if n := len(w.store.closes); n != 0 || len(w.owners.told()) != 0 {
		t.Errorf("superseding was told: %d closes, %v", n, w.owners.told())
	}
	if w.rooms("r") != 0 {
		t.Errorf("the old connection is still subscribed")
	}
}

func TestSupersededElsewhere(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.store.put(1, func(r *protocol.UserRecord) { r.Conn, r.Edge = 8, "n2@b" })
	c := w.connect(1) // number 9
	w.eventually("the other edge is told", func() bool {
		w.owners.mu.Lock()
		defer w.owners.mu.Unlock()
		return len(w.owners.superseded) == 1 && w.owners.superseded[0] == protocol.UserConn{User: 1, Conn: 9}
	})
	w.edge.Superseded(1, 9) // not older
	c.silent()
	w.edge.Superseded(1, 10)
	c.expectClose(protocol.CloseSuperseded)
	c.close()
	w.eventually("connection counted out", func() bool { return w.edge.Count() == 0 })
	if len(w.store.closes) != 0 {
		t.Errorf("superseding was told: %v", w.store.closes)
	}
}

// The news of a newer connection elsewhere comes while this one is being made:
//  1. the store gives this connection number 1,
//  2. another edge gets number 2 and tells this one,
//  3. this connection is registered.
func TestSupersededWhileArriving(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	block := make(chan struct{})
	w.store.block = block
	c, _ := w.dialWith("/?sid=1sx", "1sx", nil)
	w.eventually("connection is being made", func() bool { return w.edge.gate.count() == 1 })
	w.edge.Superseded(1, 2)
	close(block)
	c.expectClose(protocol.CloseSuperseded)
	if _, ok := w.edge.Session(1); ok {
		t.Error("superseded connection is registered")
	}
}

// Two connections of one user overtake each other:
//  1. the store gives the first one number 1,
//  2. the second one gets number 2 and is registered,
//  3. the first one is registered.
func TestOlderConnectionArrivesLate(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	first := make(chan struct{})
	numbered := make(chan struct{})
	w.store.connected = func(n protocol.ConnNumber) {
		if n == 1 {
			close(numbered)
			<-first
		}
	}
	older, _ := w.dialWith("/?sid=1sx", "1sx", nil)
	<-numbered
	younger := w.connect(1)
	close(first)
	older.expectClose(protocol.CloseSuperseded)
	younger.silent()
	if info, _ := w.edge.Session(1); info.Conn != 2 {
		t.Errorf("%+v", info)
	}
}

// A connection that is made while Run ends is sent away like the others, though
// Run may not have seen it: it would keep Run for ever.
func TestConnectionMadeWhileRunEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		w.store.connected = func(protocol.ConnNumber) {
			w.cancel()
			time.Sleep(time.Second) // Run has gone through its sessions
		}
		c, _ := w.dialWith("/?sid=1sx", "1sx", nil)
		c.expectClose(protocol.CloseDrain)
		w.stop()
		if len(w.store.closes) != 0 {
			t.Errorf("told: %+v", w.store.closes)
		}
	})
}

func TestFlappingNewcomerIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		last := w.connect(1)
		for range supersedings {
			last = w.connect(1)
		}
		refused, _ := w.dialWith("/?sid=1sx", "1sx", nil)
		refused.expectClose(protocol.CloseSuperseded)
		last.silent()
		time.Sleep(flapWindow)
		last.silent()
		w.connect(1)
		last.expectClose(protocol.CloseSuperseded)
	})
}

func TestHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, func(c *Config) { c.MaxHeld = 2 })
		w.edge.Hold()
		w.store.setAway(true)
		a, _ := w.dialWith("/?sid=1sx", "1sx", nil)
		b, _ := w.dialWith("/?sid=2sx", "2sx", nil)
		synctest.Wait()
		over, _ := w.dialWith("/?sid=3sx", "3sx", nil)
		over.expect("drain")
		over.expectClose(protocol.CloseOverloaded)
		time.Sleep(10 * time.Second)
		w.store.setAway(false)
		w.edge.Release()
		a.expect("create_token")
		b.expect("create_token")

		w.edge.Hold()
		late, _ := w.dialWith("/?sid=4sx", "4sx", nil)
		began := time.Now()
		_ = late.conn.SetReadDeadline(time.Now().Add(time.Hour))
		if f, err := late.next(); err != nil || f["action"] != "drain" {
			t.Errorf("%v, %v", f, err)
		}
		if held := time.Since(began); held != w.edge.cfg.HoldTimeout {
			t.Errorf("held for %v", held)
		}
		late.expectClose(protocol.CloseOverloaded)
		w.edge.Release()
	})
}

// A socket whose record can't be read waits for it, also when nobody has said
// that the store is away; a repeated attempt gets the first one's number.
func TestConnectIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startVirtual(t, nil)
		w.store.setAway(true)
		c, _ := w.dialWith("/?sid=1sx", "1sx", nil)
		time.Sleep(3 * time.Second)
		w.store.setAway(false)
		c.expect("create_token")
		if r := w.store.records[1]; r.Conn != 1 || r.Edge != self {
			t.Errorf("%+v", r)
		}
	})
}

func (w *world) addr() string {
	c, err := w.dial()
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	return c.RemoteAddr().String()
}

// An owner may know a connection before it can be found here: the backend put
// the user into a room as soon as its record named it. What the owner says
// meanwhile waits.
func TestSubscriptionsOfAConnectionBeingMade(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	sub := func(n protocol.ConnNumber, room protocol.RoomID, version protocol.Version, off bool) {
		s := protocol.Subscription{Room: room, User: 1, Conn: n, Version: version, Epoch: 1, Off: off}
		if refused := w.edge.Subscribe([]protocol.Subscription{s}); len(refused) > 0 {
			t.Errorf("refused %+v", refused)
		}
	}
	w.store.connected = func(n protocol.ConnNumber) {
		sub(n, "first", 1, false)
		sub(n, "first", 2, true)
		sub(n, "r", 3, false)
	}
	c := w.connect(1)
	w.eventually("the room that came last", func() bool { return w.rooms("r") == 1 })
	if n := w.rooms("first"); n != 0 {
		t.Errorf("%d rooms: the word that the user had left was lost", n)
	}
	w.edge.Publish([]protocol.Publication{publication("r", 1)})
	c.expectSeqs(1, 1)
	if refused := w.edge.Subscribe([]protocol.Subscription{{Room: "r", User: 2, Conn: 1, Version: 1, Epoch: 1}}); len(refused) != 1 {
		t.Errorf("refused %v, want the subscription of a user who is not here", refused)
	}
}
