package edge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/protocol"
)

const self = protocol.Incarnation("n1@a")

// world is one edge behind a listener, with everything around it faked.
type world struct {
	t      testing.TB
	edge   *Edge
	store  *fakeStore
	owners *fakeOwners
	mover  *fakeMover
	dial   func() (net.Conn, error)
	cancel func() // ends Run
	stop   func() // ends Run and waits for it

	// guarded by mu
	mu    sync.Mutex
	conns []net.Conn
}

// start runs an edge on loopback sockets.
func start(t testing.TB, change func(*Config)) *world {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, l, func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, change)
}

// startVirtual runs an edge on in-memory connections, for a synctest bubble.
func startVirtual(t testing.TB, change func(*Config)) *world {
	l := newListener()
	return startOn(t, l, l.dial, change)
}

func startOn(t testing.TB, l net.Listener, dial func() (net.Conn, error), change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, store: newFakeStore(), owners: &fakeOwners{}, mover: &fakeMover{}, dial: dial}
	cfg := Config{
		Incarnation: self, Users: w.store, Owners: w.owners, Mover: w.mover, Auth: fakeAuth{},
		Partition:     func(u protocol.UserID) protocol.PartitionID { return protocol.PartitionID(u % 7) },
		RoomPartition: func(r protocol.RoomID) protocol.PartitionID { return protocol.PartitionID(len(r) % 7) },
		Partitions:    7, SignMode: SignOff,
	}
	if change != nil {
		change(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.edge, w.cancel = e, cancel
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	server := &http.Server{Handler: e}
	running.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	w.eventually("the door is open", e.door.isOpen)
	w.stop = sync.OnceFunc(func() {
		if faults := e.Check(); len(faults) > 0 {
			t.Errorf("check: %v", errors.Join(faults...))
		}
		cancel()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		soon(e.ended)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, c := range w.conns {
			_ = c.Close() // nobody waits for clients that are done
		}
		running.Wait()
	})
	t.Cleanup(w.stop)
	return w
}

// fakeAuth takes "<user>s…" for everything, "<user>n…" for nothing allowed.
type fakeAuth struct{}

func (fakeAuth) Authenticate(_ context.Context, sid string) (auth.Identity, error) {
	i := strings.IndexAny(sid, "sn")
	if sid == "down" {
		return auth.Identity{}, fmt.Errorf("asked: %w", auth.ErrUnavailable)
	}
	if i < 0 {
		return auth.Identity{}, auth.ErrUnknown
	}
	user, err := protocol.ParseUserID(sid[:i])
	if err != nil {
		return auth.Identity{}, auth.ErrUnknown
	}
	id := auth.Identity{User: user}
	if sid[i] == 's' {
		id.May = []string{"*"}
	}
	return id, nil
}

// fakeStore keeps users' records as the real one does.
type fakeStore struct {
	mu      sync.Mutex
	records map[protocol.UserID]*protocol.UserRecord
	tokens  map[protocol.UserID]string
	former  map[protocol.UserID]protocol.Connected
	closes  []protocol.Close
	away    bool
	block   chan struct{} // closed to let Connect go on, nil for at once
	// connected is called when a connection has its number and Connect has not
	// returned.
	connected func(protocol.ConnNumber)
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		records: make(map[protocol.UserID]*protocol.UserRecord), tokens: make(map[protocol.UserID]string),
		former: make(map[protocol.UserID]protocol.Connected),
	}
}

func (f *fakeStore) Connect(ctx context.Context, c protocol.Connect) (protocol.Connected, error) {
	f.mu.Lock()
	block := f.block
	f.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return protocol.Connected{}, protocol.ErrStoreAway
		}
	}
	connected, err := f.connect(c)
	if f.connected != nil && err == nil {
		f.connected(connected.Record.Conn)
	}
	return connected, err
}

func (f *fakeStore) connect(c protocol.Connect) (protocol.Connected, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return protocol.Connected{}, fmt.Errorf("connect: %w", protocol.ErrStoreAway)
	}
	r := f.record(c.User)
	former := f.former[c.User]
	if f.tokens[c.User] != c.Token {
		former = protocol.Connected{FormerEdge: r.Edge}
		if r.Edge != "" {
			former.FormerConn = r.Conn
		}
		r.Conn++
		r.Edge = c.Edge
		f.tokens[c.User], f.former[c.User] = c.Token, former
	}
	former.Record = *r
	return former, nil
}

func (f *fakeStore) Close(_ context.Context, c protocol.Close) (protocol.Closed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return protocol.Closed{}, fmt.Errorf("close: %w", protocol.ErrStoreAway)
	}
	f.closes = append(f.closes, c)
	r := f.record(c.User)
	if r.Conn != c.Conn || r.Edge == "" {
		return protocol.Closed{Record: *r}, nil
	}
	intent := protocol.Intent{User: c.User, Conn: c.Conn, Edge: r.Edge, Lost: true, Reason: c.Reason}
	for _, id := range []protocol.RoomID{r.Room, r.Call} {
		if id != "" {
			intent.Leave = append(intent.Leave, id)
		}
	}
	r.Edge, r.Room, r.Call = "", "", ""
	r.Version++
	intent.Version = r.Version
	return protocol.Closed{Won: true, Intent: intent, Record: *r}, nil
}

func (f *fakeStore) record(u protocol.UserID) *protocol.UserRecord {
	r := f.records[u]
	if r == nil {
		r = &protocol.UserRecord{User: u}
		f.records[u] = r
	}
	return r
}

// put changes a user's record.
func (f *fakeStore) put(u protocol.UserID, change func(*protocol.UserRecord)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.record(u))
}

func (f *fakeStore) setAway(away bool) {
	f.mu.Lock()
	f.away = away
	f.mu.Unlock()
}

func (f *fakeStore) online(u protocol.UserID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.record(u).Online()
}

// fakeOwners remembers what it is asked and told.
type fakeOwners struct {
	mu         sync.Mutex
	answer     func(protocol.Command) protocol.Reply
	commands   []protocol.Command
	intents    []protocol.Intent
	superseded []protocol.UserConn
	orphans    []protocol.Subscription
}

func (f *fakeOwners) Do(ctx context.Context, c protocol.Command) protocol.Reply {
	f.mu.Lock()
	f.commands = append(f.commands, c)
	answer := f.answer
	f.mu.Unlock()
	if ctx.Err() != nil {
		return protocol.Reply{Code: protocol.CodeUnavailable}
	}
	if answer == nil {
		return protocol.Reply{}
	}
	return answer(c)
}

func (f *fakeOwners) Tell(i protocol.Intent) {
	f.mu.Lock()
	f.intents = append(f.intents, i)
	f.mu.Unlock()
}

func (f *fakeOwners) Orphaned(subs []protocol.Subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orphans = append(f.orphans, subs...)
}

func (f *fakeOwners) Supersede(_ protocol.Incarnation, user protocol.UserID, conn protocol.ConnNumber) {
	f.mu.Lock()
	f.superseded = append(f.superseded, protocol.UserConn{User: user, Conn: conn})
	f.mu.Unlock()
}

func (f *fakeOwners) setAnswer(answer func(protocol.Command) protocol.Reply) {
	f.mu.Lock()
	f.answer = answer
	f.mu.Unlock()
}

// of returns the commands of a verb so far.
func (f *fakeOwners) of(verb protocol.Verb) []protocol.Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []protocol.Command
	for _, c := range f.commands {
		if c.Verb == verb {
			found = append(found, c)
		}
	}
	return found
}

func (f *fakeOwners) told() []protocol.Intent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.intents)
}

// fakeMover remembers what it is asked as lines of text.
type fakeMover struct {
	mu    sync.Mutex
	lines []string
}

func (f *fakeMover) note(format string, args ...any) protocol.Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, fmt.Sprintf(format, args...))
	return protocol.Reply{}
}

func (f *fakeMover) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.lines, "; ")
}

func (f *fakeMover) Enter(_ context.Context, u protocol.UserID, r protocol.RoomID, p protocol.Profile) protocol.Reply {
	return f.note("enter %d %s %s %s", u, r, p.Nickname, p.Role)
}

func (f *fakeMover) Exit(_ context.Context, u protocol.UserID, r protocol.RoomID) protocol.Reply {
	return f.note("exit %d %s", u, r)
}

func (f *fakeMover) StartCall(_ context.Context, c protocol.RoomID, caller, receiver protocol.UserID) protocol.Reply {
	return f.note("call %s %d %d", c, caller, receiver)
}

func (f *fakeMover) EndCall(_ context.Context, c protocol.RoomID, u protocol.UserID) protocol.Reply {
	return f.note("end %s %d", c, u)
}

// client is a websocket client that does what it is told, also what no client
// should.
type client struct {
	t     testing.TB
	conn  net.Conn
	r     *bufio.Reader
	sid   string
	token string
	key   string
	first frame
}

type frame map[string]any

// dialWith opens a websocket and returns the HTTP status if it is refused.
func (w *world) dialWith(path, sid string, header http.Header) (*client, *http.Response) {
	w.t.Helper()
	conn, err := w.dial()
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.conns = append(w.conns, conn)
	w.mu.Unlock()
	req, err := http.NewRequest(http.MethodGet, "http://edge"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	if err := req.Write(conn); err != nil {
		w.t.Fatal(err)
	}
	c := &client{t: w.t, conn: conn, r: bufio.NewReader(conn), sid: sid}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	resp, err := http.ReadResponse(c.r, req)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_ = conn.Close()
		return nil, resp
	}
	return c, resp
}

// open opens a websocket and takes its first frame, which must be create_token.
func (w *world) open(sid string, query ...string) *client {
	w.t.Helper()
	c, resp := w.dialWith("/?sid="+sid+strings.Join(query, ""), sid, nil)
	if c == nil {
		w.t.Fatalf("dial %s: status %d", sid, resp.StatusCode)
	}
	c.first = c.expect("create_token")
	c.token, _ = c.first["online_token"].(string)
	c.key, _ = c.first["sign_key"].(string)
	return c
}

// connect opens a websocket and waits until the edge can find it.
func (w *world) connect(user protocol.UserID, query ...string) *client {
	w.t.Helper()
	c := w.open(user.String()+"sx", query...)
	w.eventually("session of "+user.String(), func() bool {
		s := w.edge.registry.session(user)
		return s != nil && s.secret.token() == c.token
	})
	return c
}

// enter subscribes a user's connection to a room, as its owner would.
func (w *world) enter(user protocol.UserID, room protocol.RoomID, version protocol.Version, seq protocol.Seq) protocol.Subscription {
	w.t.Helper()
	info, ok := w.edge.Session(user)
	if !ok {
		w.t.Fatalf("user %d has no session", user)
	}
	sub := protocol.Subscription{Room: room, User: user, Conn: info.Conn, Version: version, Epoch: 1, Seq: seq}
	if refused := w.edge.Subscribe([]protocol.Subscription{sub}); len(refused) > 0 {
		w.t.Fatalf("refused: %+v", refused)
	}
	return sub
}

// rooms returns how many rooms the partition of id has subscribers in.
func (w *world) rooms(id protocol.RoomID) int {
	p := w.edge.partition(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rooms)
}

// publication is number seq of a room in epoch 1.
func publication(room protocol.RoomID, seq protocol.Seq) protocol.Publication {
	return protocol.Publication{Room: room, Epoch: 1, Seq: seq, Frame: numbered(room, 1, seq)}
}

func numbered(room protocol.RoomID, epoch protocol.Epoch, seq protocol.Seq) []byte {
	return fmt.Appendf(nil, `{"action":"send_topic_msg","room_id":%q,"epoch":%d,"seq":%d}`, room, epoch, seq)
}

// eventually waits for something that other goroutines bring about.
func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	if !soon(is) {
		w.t.Fatalf("never: %s", what)
	}
}

// soon reports whether something comes true within a few seconds.
func soon(is func() bool) bool {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(5 * time.Second); !is(); <-again.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// closed is what next returns for a close frame.
type closed struct{ code protocol.CloseCode }

func (c closed) Error() string { return fmt.Sprintf("closed with %d %s", c.code, c.code.Reason()) }

// next returns the next text frame.
func (c *client) next() (frame, error) {
	for {
		op, payload, err := c.readFrame()
		if err != nil {
			return nil, err
		}
		switch op {
		case 1:
			var f frame
			if err := json.Unmarshal(payload, &f); err != nil {
				return nil, fmt.Errorf("frame %q: %w", payload, err)
			}
			return f, nil
		case 8:
			if len(payload) < 2 {
				return nil, closed{}
			}
			return nil, closed{protocol.CloseCode(binary.BigEndian.Uint16(payload))}
		case 10:
			return frame{"action": "pong", "payload": string(payload)}, nil
		default:
			return nil, fmt.Errorf("opcode %d", op)
		}
	}
}

func (c *client) readFrame() (op byte, payload []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.r, head[:2]); err != nil {
		return 0, nil, err
	}
	op, n := head[0]&15, uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(c.r, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(c.r, head[:8])
		n = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return op, payload, err
}

// expect returns the next frame, which must have this action.
func (c *client) expect(action string) frame {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	f, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", action, err)
	}
	if f["action"] != action {
		c.t.Fatalf("waiting for %s: %v", action, f)
	}
	return f
}

// expectClose reads up to the close frame, which must have this code.
func (c *client) expectClose(code protocol.CloseCode) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		_, err := c.next()
		if err == nil {
			continue
		}
		if got, ok := errors.AsType[closed](err); !ok || got.code != code {
			c.t.Fatalf("waiting for close %d: %v", code, err)
		}
		return
	}
}

// silent checks that nothing comes before an answer to a websocket ping.
func (c *client) silent() {
	c.t.Helper()
	c.write(9, []byte("?"))
	if f := c.expect("pong"); f["payload"] != "?" {
		c.t.Fatalf("pong %v", f)
	}
}

// write sends one masked frame.
func (c *client) write(op byte, payload []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(encode(op, payload)); err != nil {
		c.t.Logf("write: %v", err)
	}
}

func encode(op byte, payload []byte) []byte {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i, x := range payload {
		b = append(b, x^mask[i%4])
	}
	return b
}

// send sends a frame with what every client's frame has.
func (c *client) send(action string, more frame) {
	c.t.Helper()
	c.write(1, c.compose(action, more))
}

func (c *client) compose(action string, more frame) []byte {
	c.t.Helper()
	f := frame{"action": action, "online_token": c.token, "sid": c.sid, "timestamp": time.Now().Unix()}
	for k, v := range more {
		if f[k] = v; v == nil {
			delete(f, k)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(f); err != nil {
		c.t.Fatal(err)
	}
	text := bytes.TrimSpace(b.Bytes())
	if _, given := more["sign"]; given {
		return text
	}
	signed, err := protocol.AppendSigned(nil, text, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

// close closes the socket without a word.
func (c *client) close() { _ = c.conn.Close() }
