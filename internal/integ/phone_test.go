package integ

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"
)

const (
	// pingEvery is shorter than what end_point tells, so that a late ping on a
	// busy machine is no loss.
	pingEvery = 8 * time.Second
	// dialTimeout bounds a handshake, and the wait for create_token.
	dialTimeout = 15 * time.Second
)

// frame is what a phone heard.
type frame struct {
	at     time.Time
	action string
	fields fields
}

func (f *frame) number(name string) int {
	n, _ := f.fields[name].(float64)
	return int(n)
}

// phoneOptions say how a phone behaves; the zero value has a dev sid, signs
// with HMAC, pings and reports nothing.
type phoneOptions struct {
	sid    string
	path   string // "/?" by default
	query  string // such as "&v=2"
	sign   signing
	report bool // every departure is reported
	silent bool // no pings
	deaf   bool // nothing is read
	tls    *tls.Config
}

// phone is a client with one websocket. What it hears it remembers.
type phone struct {
	// set by dialPhone
	user int
	sid  string
	opts phoneOptions
	conn *net.TCPConn
	ws   *gws.Conn
	done chan struct{} // closed with the socket

	// guarded by mu
	mu     sync.Mutex
	frames []frame
	closed error
}

// phone connects a user to node i.
func (c *cluster) phone(user, i int, opts phoneOptions) *phone {
	c.tb.Helper()
	p, err := dialPhone(at(c.ports[i].listen), user, opts)
	if err != nil {
		c.tb.Fatalf("user %d at node %d: %v", user, i, err)
	}
	c.tb.Cleanup(p.hang)
	return p
}

// dialPhone connects a user and, unless it is deaf, waits for create_token.
func dialPhone(address string, user int, opts phoneOptions) (*phone, error) {
	if opts.sid == "" {
		opts.sid = fmt.Sprintf("%ds", user)
	}
	if opts.path == "" {
		opts.path = "/?"
	}
	conn, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		return nil, err
	}
	p := &phone{user: user, sid: opts.sid, opts: opts, conn: conn.(*net.TCPConn), done: make(chan struct{})}
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	under := conn
	if opts.tls != nil {
		under = tls.Client(conn, opts.tls)
	}
	p.ws, _, err = gws.NewClientFromConn(p, &gws.ClientOption{
		Addr: "ws://" + address + opts.path + "sid=" + opts.sid + opts.query, ReadBufferSize: 512,
	}, under)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	if opts.deaf {
		return p, nil
	}
	go func() {
		defer close(p.done)
		p.ws.ReadLoop()
	}()
	err = poll(dialTimeout, func() error {
		if p.token() != nil {
			return nil
		}
		if err := p.gone(); err != nil {
			return fmt.Errorf("%w: closed before create_token: %w", errGone, err)
		}
		return errors.New("no create_token")
	})
	if err != nil {
		p.hang()
		return nil, err
	}
	if !opts.silent {
		go p.ping()
	}
	return p, nil
}

func (p *phone) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
			p.say(fields{"action": "ping"})
		}
	}
}

// token is the create_token that the connection began with.
func (p *phone) token() *frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.frames) == 0 || p.frames[0].action != "create_token" {
		return nil
	}
	return &p.frames[0]
}

// whole completes a frame with what every frame has. What is there stays.
func (p *phone) whole(f fields) fields {
	all := fields{"sid": p.sid, "timestamp": time.Now().Unix()}
	if t := p.token(); t != nil {
		all["online_token"] = t.fields["online_token"]
	}
	for name, v := range f {
		all[name] = v
	}
	return all
}

// say sends a frame, completed and signed.
func (p *phone) say(f fields) {
	key := ""
	if t := p.token(); t != nil {
		key, _ = t.fields["sign_key"].(string)
	}
	p.sayRaw(gws.OpcodeText, sign(p.whole(f), p.opts.sign, key))
}

// sayRaw sends a message as it is. A closed socket swallows it.
func (p *phone) sayRaw(code gws.Opcode, b []byte) { _ = p.ws.WriteMessage(code, b) }

// report reports a departure that the phone was told of.
func (p *phone) report(f frame) {
	p.say(fields{"action": f.action + "_report", "user_id": f.fields["user_id"], "departure_id": f.fields["departure_id"]})
}

// hang closes the socket without a word.
func (p *phone) hang() {
	_ = p.conn.Close()
	if !p.opts.deaf {
		<-p.done
	}
}

// reset ends the connection with an RST.
func (p *phone) reset() {
	_ = p.conn.SetLinger(0)
	p.hang()
}

// gone is why the connection has ended, nil while it stands.
func (p *phone) gone() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// closeCode is the status that the server closed with, 0 for none.
func (p *phone) closeCode() int {
	if closed, ok := errors.AsType[*gws.CloseError](p.gone()); ok {
		return int(closed.Code)
	}
	return 0
}

// heard returns the frames of an action, all of them for "".
func (p *phone) heard(action string) []frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []frame
	for _, f := range p.frames {
		if action == "" || f.action == action {
			list = append(list, f)
		}
	}
	return list
}

// heardOf returns the frames of an action about a user.
func (p *phone) heardOf(action string, user int) []frame {
	var list []frame
	for _, f := range p.heard(action) {
		if f.number("user_id") == user {
			list = append(list, f)
		}
	}
	return list
}

// after returns what the phone heard after frame n.
func (p *phone) after(n int) []frame { return p.heard("")[n:] }

// told is nil once p has heard an action about a user n times, no more.
func told(p *phone, action string, user, n int) func() error {
	return func() error {
		if got := len(p.heardOf(action, user)); got != n {
			return fmt.Errorf("user %d heard %s of %d %d times, want %d", p.user, action, user, got, n)
		}
		return nil
	}
}

// closedWith is nil once the server has closed p with a status.
func closedWith(p *phone, code int) func() error {
	return func() error {
		if got := p.closeCode(); got != code {
			return fmt.Errorf("user %d: close code %d (%v), want %d", p.user, got, p.gone(), code)
		}
		return nil
	}
}

// stands fails the test if the connection has ended.
func stands(tb testing.TB, phones ...*phone) {
	tb.Helper()
	for _, p := range phones {
		if err := p.gone(); err != nil {
			tb.Errorf("user %d lost its connection: %v", p.user, err)
		}
	}
}

// OnMessage implements gws.Event.
func (p *phone) OnMessage(_ *gws.Conn, m *gws.Message) {
	now := time.Now()
	defer func() { _ = m.Close() }()
	f := frame{at: now, fields: fields{}}
	_ = json.Unmarshal(m.Bytes(), &f.fields) // what is not JSON is remembered as a frame without fields
	f.action, _ = f.fields["action"].(string)
	p.mu.Lock()
	p.frames = append(p.frames, f)
	p.mu.Unlock()
	if p.opts.report && (f.action == "exit_room" || f.action == "hang_up") {
		p.report(f)
	}
}

// OnClose implements gws.Event.
func (p *phone) OnClose(_ *gws.Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		err = errors.New("closed")
	}
	p.closed = err
}

// OnOpen implements gws.Event.
func (p *phone) OnOpen(*gws.Conn) {}

// OnPing implements gws.Event.
func (p *phone) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

// OnPong implements gws.Event.
func (p *phone) OnPong(*gws.Conn, []byte) {}
