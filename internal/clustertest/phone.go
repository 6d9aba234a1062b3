package clustertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lxzan/gws"
)

func newRequest(ctx context.Context, method, url string, body any) (*http.Request, error) {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, &b)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	return req, nil
}

func decode(status int, b []byte, into any) error {
	if status/100 != 2 {
		if m, ok := into.(*map[string]any); ok {
			_ = json.Unmarshal(b, m) // the status tells the rest
		}
		return fmt.Errorf("status %d: %s", status, b)
	}
	if len(b) == 0 || into == nil {
		return nil
	}
	return json.Unmarshal(b, into)
}

// Frame is one frame that a phone received.
type Frame struct {
	At     time.Time
	Action string
	Fields map[string]any
}

// Phone is a client that pings by itself, remembers what it hears, and reports
// departures when told to.
type Phone struct {
	User int

	conn   net.Conn
	ws     *gws.Conn
	report bool
	done   chan struct{}

	mu     sync.Mutex
	frames []Frame
	closed error
	silent bool
}

// PhoneOptions say how a phone behaves; the zero value reports nothing and
// pings.
type PhoneOptions struct {
	// Query is added to the URL, such as "&v=2".
	Query string
	// Report answers every departure with its report.
	Report bool
}

// pingInterval is shorter than what end_point tells, so that a lost ping is no
// loss.
const pingInterval = 5 * time.Second

// Dial connects a user to node n.
func (c *Cluster) Dial(user, n int, opts PhoneOptions) *Phone {
	c.tb.Helper()
	p, err := c.TryDial(user, n, opts)
	if err != nil {
		c.tb.Fatalf("user %d at node %d: %v", user, n, err)
	}
	return p
}

// TryDial is Dial where it may fail. It returns once create_token is there.
func (c *Cluster) TryDial(user, n int, opts PhoneOptions) (*Phone, error) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	address := fmt.Sprintf("%s:%d", host(n), clientPort)
	conn, err := c.users.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	p := &Phone{User: user, conn: conn, report: opts.Report, done: make(chan struct{})}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	ws, _, err := gws.NewClientFromConn(p, &gws.ClientOption{Addr: fmt.Sprintf("ws://%s/?sid=%ds%s", address, user, opts.Query)}, conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	p.ws = ws
	go func() {
		defer close(p.done)
		ws.ReadLoop()
	}()
	go p.ping()
	return p, p.await("create_token", 15*time.Second)
}

func (p *Phone) ping() {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
			p.mu.Lock()
			silent := p.silent
			p.mu.Unlock()
			if !silent {
				p.Send(map[string]any{"action": "ping"})
			}
		}
	}
}

func (p *Phone) await(action string, d time.Duration) error {
	deadline := time.Now().Add(d)
	for len(p.Heard(action)) == 0 {
		if p.Gone() != nil {
			return fmt.Errorf("closed before %s: %w", action, p.Gone())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no %s within %s", action, d)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// Send sends a frame. A closed socket swallows it.
func (p *Phone) Send(frame map[string]any) {
	b, err := json.Marshal(frame)
	if err == nil {
		_ = p.ws.WriteMessage(gws.OpcodeText, b)
	}
}

// Silence stops the pings; the socket stays open.
func (p *Phone) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// Hang closes the socket without a word, as when the process is killed.
func (p *Phone) Hang() {
	_ = p.conn.Close()
	<-p.done
}

// Gone returns why the connection has ended, nil while it stands.
func (p *Phone) Gone() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Heard returns the frames of an action, all of them for "".
func (p *Phone) Heard(action string) []Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Frame
	for _, f := range p.frames {
		if action == "" || f.Action == action {
			list = append(list, f)
		}
	}
	return list
}

// HeardOf returns the frames of an action about a user.
func (p *Phone) HeardOf(action string, user int) []Frame {
	var list []Frame
	for _, f := range p.Heard(action) {
		if id, ok := f.Fields["user_id"].(float64); ok && int(id) == user {
			list = append(list, f)
		}
	}
	return list
}

// OnMessage implements gws.Event.
func (p *Phone) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	fields := map[string]any{}
	_ = json.Unmarshal(m.Bytes(), &fields) // what is not JSON is remembered as a frame without fields
	action, _ := fields["action"].(string)
	p.mu.Lock()
	p.frames = append(p.frames, Frame{At: time.Now(), Action: action, Fields: fields})
	p.mu.Unlock()
	if p.report && (action == "exit_room" || action == "hang_up") {
		p.Send(map[string]any{"action": action + "_report", "user_id": fields["user_id"], "departure_id": fields["departure_id"]})
	}
}

// OnClose implements gws.Event.
func (p *Phone) OnClose(_ *gws.Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		err = errors.New("closed")
	}
	p.closed = err
}

// OnOpen implements gws.Event.
func (p *Phone) OnOpen(*gws.Conn) {}

// OnPing implements gws.Event.
func (p *Phone) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

// OnPong implements gws.Event.
func (p *Phone) OnPong(*gws.Conn, []byte) {}
