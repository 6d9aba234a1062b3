package node

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
)

const testSecret = "a secret of at least thirty-two bytes"

// testEndPoint is an end_point of n1 in a ring of three, without anything
// running behind it.
func testEndPoint(tb testing.TB, mode edge.SignMode) (*endPoint, string) {
	tb.Helper()
	who, err := auth.New(auth.Config{Mode: auth.ModeJWT, Keys: []string{testSecret}})
	if err != nil {
		tb.Fatal(err)
	}
	cfg := Config{NodeID: "n1", Advertise: "ws://10.0.0.1:8001", Auth: who, SignMode: mode}.withDefaults()
	l := &life{cfg: &cfg, inc: "n1@a", born: time.Now(), ring: cfg.ring()}
	l.members = newMembers(l)
	l.crowds = newCrowds(l)
	r, err := ring.New(l.ring, []protocol.NodeID{"n1", "n2", "n3"})
	if err != nil {
		tb.Fatal(err)
	}
	t := &table{ring: r, members: map[protocol.NodeID]member{}}
	for id, host := range map[protocol.NodeID]string{"n1": "10.0.0.1", "n2": "10.0.0.2", "n3": "10.0.0.3"} {
		t.members[id] = member{inc: protocol.NewIncarnation(id, "a"), alive: true, meta: gossip.Meta{State: gossip.Serving, Client: "ws://" + host + ":8001"}}
	}
	l.members.current.Store(t)
	sid, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "42", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(testSecret))
	if err != nil {
		tb.Fatal(err)
	}
	return &endPoint{life: l, pacer: newPacer(cfg.ConnectRate, cfg.CrashGrace/2, newTurns().pace), missing: func(protocol.Incarnation) bool { return false }}, sid
}

func askEndPoint(t *testing.T, e *endPoint, query string) map[string]any {
	t.Helper()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/websocket/end_point?"+query, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d", query, w.Code)
	}
	answer := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v in %s", query, err, w.Body)
	}
	return answer
}

func TestEndPointFollowsOwnership(t *testing.T) {
	t.Parallel()
	e, sid := testEndPoint(t, edge.SignHMAC)
	seen := map[any]bool{}
	for _, room := range []string{"1", "2", "3", "lobby", "r-4", "r-5", "r-6"} {
		answer := askEndPoint(t, e, "sid="+sid+"&room_id="+room)
		owner, _ := e.life.members.table().owner(e.life.partition(protocol.RoomID(room)))
		want := e.life.clientAddress(e.life.members.table(), owner)
		if answer["error_code"] != 0.0 || answer["error_reason"] != "" || answer["end_point"] != want || answer["ping_interval"] != 15.0 || answer["not_before_ms"] != 0.0 {
			t.Errorf("room %s: %v, want %s", room, answer, want)
		}
		seen[answer["end_point"]] = true
	}
	if len(seen) < 2 {
		t.Errorf("all rooms are at %v", seen)
	}
	if answer := askEndPoint(t, e, "sid="+sid+"&room_id=7"); answer["room_id"] != 7.0 {
		t.Errorf("a room of digits is %v on the wire, want the number 7", answer["room_id"])
	}
}

// A client that could not connect where it was sent is sent to the node that the
// room moves to if the first one is dead.
func TestEndPointIsToldWhatFailed(t *testing.T) {
	t.Parallel()
	e, sid := testEndPoint(t, edge.SignHMAC)
	tb := e.life.members.table()
	for _, room := range []string{"1", "2", "3", "lobby", "r-4", "r-5", "r-6"} {
		p := e.life.partition(protocol.RoomID(room))
		first, _ := tb.ring.Owner(p)
		var rest []protocol.NodeID
		for _, id := range tb.ring.Members() {
			if id != first {
				rest = append(rest, id)
			}
		}
		without, err := ring.New(e.life.ring, rest)
		if err != nil {
			t.Fatal(err)
		}
		heir, _ := without.Owner(p)
		address := func(id protocol.NodeID) string { return e.life.clientAddress(tb, tb.members[id].inc) }
		last := address(rest[0])
		if rest[0] == heir {
			last = address(rest[1])
		}
		query := "sid=" + sid + "&room_id=" + room
		for _, step := range []struct{ failed, want string }{
			{url.QueryEscape("ws://10.0.0.9:8001"), address(first)},
			{url.QueryEscape(address(first)), address(heir)},
			{url.QueryEscape(address(heir)), last}, // both have failed by now
			{url.QueryEscape(last), address(first)},
			{"%zz", address(first)},
		} {
			query += "&failed=" + step.failed
			if answer := askEndPoint(t, e, query); answer["end_point"] != step.want {
				t.Errorf("%s: %v, want %s", query, answer, step.want)
			}
		}
	}
}

// A node that hears nothing any more is passed over before anybody says that it
// is dead, and where all are, as when the store has just been away, none is.
func TestEndPointPassesOverWhoIsMissing(t *testing.T) {
	t.Parallel()
	e, sid := testEndPoint(t, edge.SignHMAC)
	tb := e.life.members.table()
	p := e.life.partition("lobby")
	owner, _ := tb.owner(p)
	heir, _ := e.life.heirs.heir(tb.ring, e.life.ring, p, owner.Node())
	for _, c := range []struct {
		missing []protocol.Incarnation
		want    protocol.Incarnation
	}{
		{nil, owner},
		{[]protocol.Incarnation{owner}, tb.members[heir].inc},
		{[]protocol.Incarnation{"n1@a", "n2@a", "n3@a"}, owner},
	} {
		e.missing = func(inc protocol.Incarnation) bool { return slices.Contains(c.missing, inc) }
		if answer, want := askEndPoint(t, e, "sid="+sid+"&room_id=lobby"), e.life.clientAddress(tb, c.want); answer["end_point"] != want {
			t.Errorf("without %v: %v, want %s", c.missing, answer, want)
		}
	}
}

func TestEndPointRefuses(t *testing.T) {
	t.Parallel()
	e, sid := testEndPoint(t, edge.SignMD5)
	for _, c := range []struct {
		query string
		code  float64
	}{
		{"", -100},
		{"room_id=1", -100},
		{"sid=", -100},
		{"sid=not.a.token", -100},
		{"sid=" + sid + "x&room_id=1", -100},
		{"sid=" + sid + "&room_id=a/b", -1},
		{"sid=" + sid + "&room_id=1&h=00000000000000000000000000000000", -1},
	} {
		answer := askEndPoint(t, e, c.query)
		if answer["error_code"] != c.code || answer["error_reason"] == "" {
			t.Errorf("%q: %v, want error_code %v and a reason", c.query, answer, c.code)
		}
	}
}

func TestPacerSpreadsAStorm(t *testing.T) {
	t.Parallel()
	pace := time.Duration(0)
	p := newPacer(1000, 6*time.Second, func() time.Duration { return pace })
	if w := p.wait(); w != 0 {
		t.Errorf("the first waits %s", w)
	}
	var last time.Duration
	for range 20000 {
		last = p.wait()
	}
	if last < 5*time.Second || last > 6*time.Second {
		t.Errorf("the last of a storm waits %s, want the limit of 6 s at most", last)
	}
	p = newPacer(1000, 6*time.Second, p.pace)
	pace = 10 * time.Millisecond
	for range 100 {
		last = p.wait()
	}
	if last < 900*time.Millisecond || last > time.Second {
		t.Errorf("the hundredth waits %s where each takes 10 ms", last)
	}
}

// BenchmarkEndPoint asks over keep-alive connections of the loopback, in turn
// a bare handler that writes the same body and end_point with room_id and an
// HS256 sid. The figure is ratio: end_point's requests a second over the bare
// handler's.
func BenchmarkEndPoint(b *testing.B) {
	e, sid := testEndPoint(b, edge.SignHMAC)
	body := []byte(`{"error_code":0,"error_reason":"","end_point":"ws://10.0.0.2:8001","ping_interval":15,"room_id":42,"not_before_ms":0}`)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bare", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = jsonType
		_, _ = w.Write(body)
	})
	mux.Handle("GET /api/websocket/end_point", e)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Shutdown(context.Background()) }()
	base := "http://" + l.Addr().String()
	bare := rawRequest(b, base+"/bare?sid="+sid+"&room_id=42")
	real := rawRequest(b, base+"/api/websocket/end_point?sid="+sid+"&room_id=42")
	var spent [2]time.Duration
	const turn = 500
	n := 0
	for b.Loop() {
		for i, request := range [][]byte{bare, real} {
			start := time.Now()
			flood(b, l.Addr().String(), request, turn)
			spent[i] += time.Since(start)
		}
		n += turn
	}
	b.ReportMetric(spent[0].Seconds()/spent[1].Seconds(), "ratio")
	b.ReportMetric(float64(n)/spent[1].Seconds(), "end_point/s")
	b.ReportMetric(float64(n)/spent[0].Seconds(), "bare/s")
}

// rawRequest is a request's bytes: a client that costs little beside the
// server it measures.
func rawRequest(tb testing.TB, url string) []byte {
	tb.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	pr, pw := io.Pipe()
	go func() { _ = pw.CloseWithError(req.Write(pw)) }()
	raw, err := io.ReadAll(pr)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// flood sends n requests over each of eight connections, eight at a time.
func flood(tb testing.TB, addr string, request []byte, n int) {
	tb.Helper()
	const conns = 8
	done := make(chan error, conns)
	for range conns {
		go func() { done <- pipelined(addr, request, n/conns) }()
	}
	for range conns {
		if err := <-done; err != nil {
			tb.Fatal(err)
		}
	}
}

func pipelined(addr string, request []byte, n int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, 4096)
	for range n {
		if _, err := c.Write(request); err != nil {
			return err
		}
		if _, err := c.Read(buf); err != nil {
			return err
		}
	}
	return nil
}
