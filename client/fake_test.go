package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/internal/simnet"
	"github.com/faac1247/rollcall/protocol"
)

const (
	serverHost = "10.0.0.1"
	testSID    = "42stest"
	testKey    = "0123456789abcdef0123456789abcdef"
)

// fake is a server that does what a test tells it: it answers end_point, and
// hands each websocket to the test as a peer.
type fake struct {
	tb    testing.TB
	addr  string
	peers chan *peer
	stop  func()

	mu      sync.Mutex
	answer  string // of end_point
	token   string // the first frame; "" for none
	refuse  int    // status for websockets, 0 to let them in
	asked   []url.Values
	askedAt []time.Time
}

// peer is the server's side of one connection.
type peer struct {
	gws.BuiltinEventHandler
	tb     testing.TB
	query  url.Values
	conn   net.Conn
	ws     *gws.Conn
	frames chan protocol.ClientFrame
	at     time.Time
	gone   chan struct{}
	deaf   bool // does not answer websocket pings
}

func newFake(tb testing.TB, l net.Listener) *fake {
	f := &fake{tb: tb, addr: l.Addr().String(), peers: make(chan *peer, 64)}
	f.set(func() {
		f.answer = fmt.Sprintf(`{"error_code":0,"error_reason":"","end_point":"ws://%s","ping_interval":15,"not_before_ms":0}`, f.addr)
		f.token = `{"action":"create_token","online_token":"tok","ping_interval":15,"heartbeat_timeout":20,"current_room_id":0,"call_no":"","sign_key":"` + testKey + `"}`
	})
	var running sync.WaitGroup
	server := &http.Server{Handler: f}
	running.Go(func() { _ = server.Serve(l) })
	f.stop = func() { _ = server.Close(); running.Wait() }
	return f
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) asks() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]url.Values(nil), f.asked...)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api/websocket/end_point" {
		f.mu.Lock()
		f.asked = append(f.asked, r.URL.Query())
		f.askedAt = append(f.askedAt, time.Now())
		answer := f.answer
		f.mu.Unlock()
		_, _ = w.Write([]byte(answer))
		return
	}
	f.mu.Lock()
	refuse, token := f.refuse, f.token
	f.mu.Unlock()
	if refuse != 0 {
		w.Header().Set("Retry-After", "4")
		w.WriteHeader(refuse)
		return
	}
	p := &peer{tb: f.tb, query: r.URL.Query(), frames: make(chan protocol.ClientFrame, 256), at: time.Now(), gone: make(chan struct{})}
	ws, err := gws.NewUpgrader(p, &gws.ServerOption{}).Upgrade(w, r)
	if err != nil {
		return
	}
	p.ws, p.conn = ws, ws.NetConn()
	if token != "" {
		p.send(token)
	}
	f.peers <- p
	go ws.ReadLoop()
}

func (p *peer) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	f, err := protocol.ParseClientFrame(append([]byte(nil), m.Bytes()...))
	if err != nil {
		p.tb.Errorf("client sent %q: %v", m.Bytes(), err)
		return
	}
	p.frames <- f
}

func (p *peer) OnPing(ws *gws.Conn, payload []byte) {
	if !p.deaf {
		_ = ws.WritePong(payload)
	}
}

func (p *peer) OnClose(*gws.Conn, error) { close(p.gone) }

func (p *peer) send(frames ...string) {
	for _, f := range frames {
		_ = p.ws.WriteString(f)
	}
}

// sendRoom sends a numbered message to room r1.
func (p *peer) sendRoom(epoch, seq int) {
	p.send(fmt.Sprintf(`{"action":"send_topic_msg","user_id":7,"content":"%d/%d","room_id":"r1","epoch":%d,"seq":%d}`, epoch, seq, epoch, seq))
}

func (p *peer) close(code protocol.CloseCode) {
	_ = p.ws.WriteClose(uint16(code), []byte(code.Reason()))
}

// drop closes the socket without a word.
func (p *peer) drop() { _ = p.conn.Close() }

// expect returns the next frame but pings, which must have this action.
func (p *peer) expect(action protocol.Action, within time.Duration) protocol.ClientFrame {
	p.tb.Helper()
	timeout := time.After(within)
	for {
		select {
		case f := <-p.frames:
			if f.Action == protocol.ActionPing && action != protocol.ActionPing {
				continue
			}
			if f.Action != action {
				p.tb.Fatalf("got %s, want %s", f.Raw(), action)
			}
			return f
		case <-timeout:
			p.tb.Fatalf("no %s within %v", action, within)
		}
	}
}

// quiet fails the test if a frame but pings comes.
func (p *peer) quiet(d time.Duration) {
	p.tb.Helper()
	timeout := time.After(d)
	for {
		select {
		case f := <-p.frames:
			if f.Action != protocol.ActionPing {
				p.tb.Fatalf("got %s, want silence", f.Raw())
			}
		case <-timeout:
			return
		}
	}
}

// heard is what a client's callbacks were told, as lines.
type heard struct {
	mu    sync.Mutex
	lines []string
	last  Disconnected
	conn  []Connected
}

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

// take returns the lines since the last take.
func (h *heard) take() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.lines
	h.lines = nil
	return lines
}

// rig is a client, its fake server and their network, in a bubble.
type rig struct {
	t      *testing.T
	net    *simnet.Network
	server *fake
	client *Client
	heard  *heard
	err    error // of Run, after done
	done   chan struct{}
	stop   context.CancelFunc
}

// inBubble runs test with a client that is being run.
func inBubble(t *testing.T, change func(*Config), test func(*rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: simnet.New(simnet.Config{}), heard: &heard{}, done: make(chan struct{})}
		defer r.net.Close()
		l, err := r.net.Host(serverHost).Listen(":8001")
		if err != nil {
			t.Fatal(err)
		}
		r.server = newFake(t, l)
		defer r.server.stop()
		cfg := r.config()
		if change != nil {
			change(&cfg)
		}
		if r.client, err = New(cfg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		go func() {
			defer close(r.done)
			r.err = r.client.Run(ctx)
		}()
		defer func() { cancel(); <-r.done }()
		test(r)
	})
}

func (r *rig) config() Config {
	h := r.heard
	return Config{
		EndPoints: []string{"http://" + r.server.addr}, SID: testSID, Dial: r.net.Host("phone").DialContext,
		OnConnect: func(c Connected) {
			h.mu.Lock()
			h.conn = append(h.conn, c)
			h.mu.Unlock()
			h.add("connected room=%s call=%s again=%t", c.Room, c.Call, c.Again)
		},
		OnDisconnect: func(d Disconnected) {
			h.mu.Lock()
			h.last = d
			h.mu.Unlock()
			h.add("disconnected open=%t final=%t: %v", d.Open, d.Final, d.Err)
		},
		OnFrame: func(f Frame) {
			content, _ := f.Field("content").Text()
			switch {
			case f.Seq != 0:
				h.add("%s %s %d/%d %s", f.Action, f.Room, f.Epoch, f.Seq, content)
			default:
				h.add("%s user=%d %s", f.Action, f.User, content)
			}
		},
		OnRoomGone: func(room protocol.RoomID) { h.add("gone %s", room) },
	}
}

// connected waits for the next connection and forgets that it was told.
func (r *rig) connected() *peer {
	r.t.Helper()
	p := r.accept(time.Minute)
	synctest.Wait()
	r.heard.take()
	return p
}

func (r *rig) accept(within time.Duration) *peer {
	r.t.Helper()
	select {
	case p := <-r.server.peers:
		return p
	case <-time.After(within):
		r.t.Fatalf("no connection within %v", within)
		return nil
	}
}

// wait waits for the end of Run.
func (r *rig) wait(within time.Duration) error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(within):
		r.t.Fatalf("Run goes on after %v", within)
		return nil
	}
}

// told fails the test unless these lines are what the callbacks were told.
func (r *rig) told(want ...string) {
	r.t.Helper()
	got := r.heard.take()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Fatalf("the callbacks were told\n %q, want\n %q", got, want)
	}
}

func lines(epoch int, seqs ...int) []string {
	var l []string
	for _, seq := range seqs {
		l = append(l, fmt.Sprintf("send_topic_msg r1 %d/%d %d/%d", epoch, seq, epoch, seq))
	}
	return l
}

// newNet returns a network and a listener on its server.
func newNet(tb testing.TB) (*simnet.Network, net.Listener) {
	n := simnet.New(simnet.Config{})
	l, err := n.Host(serverHost).Listen(":8001")
	if err != nil {
		tb.Fatal(err)
	}
	return n, l
}
