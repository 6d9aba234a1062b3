package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// readBuffer is what a connection reads into; larger frames go past it.
	readBuffer = 512
	// maxFrame bounds a frame of the server. A resync of a room with many seats
	// is the largest.
	maxFrame = 1 << 20
	// handshakeLimit is not to be reached: ConnectTimeout is what counts.
	handshakeLimit = 24 * time.Hour
	// defaultInterval is that of heartbeats if the server names none.
	defaultInterval = 15 * time.Second
)

var (
	errSilent  = errors.New("no sign of life from the server's machine")
	errNoToken = errors.New("the server's first frame is no create_token")
)

// conn is one connection. It is the websocket library's event handler.
type conn struct {
	// set by dial
	client   *Client
	ws       *gws.Conn
	socket   *socket
	endPoint string
	began    time.Time

	// set by open, before anyone else knows the connection
	token, signKey string
	interval       time.Duration

	// owned by Run, which reads
	opened     time.Time
	retryAfter time.Duration
	err        error
	hearing    bool // inside OnMessage

	// heartbeat is the Pacer's. One that is being written keeps the next from
	// being started.
	heartbeat alarm
	beating   atomic.Bool
	probed    int64 // owned by whoever set beating

	// guarded by the client's mu
	closed  bool
	running sync.WaitGroup
}

// attempt is what connect came to.
type attempt struct {
	conn       *conn
	err        error
	retryAfter time.Duration
}

// connect asks end_point and opens the websocket it names.
func (c *Client) connect(ctx context.Context) attempt {
	c.counts.attempts.Add(1)
	room, _ := c.Place()
	if room == "" {
		room = c.cfg.RoomID
	}
	began := time.Now()
	r, err := c.route(ctx, room)
	if err != nil {
		return failed(err)
	}
	if r.notBefore > 0 {
		c.avoid.pause(r.notBefore, time.Now())
		if !sleep(ctx, r.notBefore) {
			return failed(ctx.Err())
		}
		began = began.Add(r.notBefore)
	}
	cn, err := c.dial(ctx, r.endPoint, room)
	if err != nil {
		if known := c.avoid.add(r.endPoint, time.Now()); known {
			// Whoever answered was told, and knows no other.
			c.first = (c.first + 1) % len(c.cfg.EndPoints)
		}
		return failed(fmt.Errorf("connect to %s: %w", r.endPoint, err))
	}
	cn.began = began
	return attempt{conn: cn}
}

// route asks where to connect. Where nobody listens the next node is asked at
// once, each of them one time; after another error it is, at the next attempt.
func (c *Client) route(ctx context.Context, room protocol.RoomID) (r route, err error) {
	for range c.cfg.EndPoints {
		base := c.cfg.EndPoints[c.first]
		if r, err = c.askEndPoint(ctx, base, room); err == nil {
			return r, nil
		}
		c.first = (c.first + 1) % len(c.cfg.EndPoints)
		if !nobodyListens(err) {
			break
		}
		if c.lost != "" && hostPort(base) == hostPort(c.lost) {
			c.avoid.add(c.lost, time.Now()) // the same door
			c.lost = ""
		}
	}
	return route{}, err
}

func failed(err error) attempt {
	a := attempt{err: err}
	if refused := new(refusal); errors.As(err, &refused) {
		a.retryAfter = refused.retryAfter
	}
	return a
}

func (c *Client) dial(ctx context.Context, endPoint string, room protocol.RoomID) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	u, err := socketURL(endPoint, c.query(room), c.cfg.V2)
	if err != nil {
		return nil, err
	}
	plain, err := c.cfg.Dial(ctx, "tcp", address(u))
	if err != nil {
		return nil, err
	}
	stop := onDone(ctx, func() { _ = plain.Close() })
	defer stop()
	secured := plain
	if u.Scheme == "wss" {
		if secured, err = c.secure(ctx, plain, u); err != nil {
			return nil, err
		}
	}
	cn := &conn{client: c, socket: newSocket(secured, c.cfg.WriteTimeout), endPoint: endPoint}
	if err := cn.handshake(u); err != nil {
		_ = plain.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	return cn, cn.socket.SetReadDeadline(time.Now().Add(c.cfg.TokenTimeout))
}

// secure does the TLS handshake, and closes conn if that fails.
func (c *Client) secure(ctx context.Context, plain net.Conn, u *url.URL) (net.Conn, error) {
	settings := c.cfg.TLS.Clone()
	if settings.ServerName == "" {
		settings.ServerName = u.Hostname()
	}
	secured := tls.Client(plain, settings)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secured, nil
}

func (cn *conn) handshake(u *url.URL) error {
	ws, resp, err := gws.NewClientFromConn(cn, &gws.ClientOption{
		Addr: u.String(), HandshakeTimeout: handshakeLimit,
		ReadBufferSize: readBuffer, ReadMaxPayloadSize: maxFrame,
		NewSession: func() gws.SessionStorage { return noStorage{} },
	}, cn.socket)
	switch {
	case err == nil:
		cn.ws = ws
		return nil
	case resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return &refusal{resp.StatusCode, retryAfter(resp.Header)}
	case cn.socket.err() != nil:
		return fmt.Errorf("websocket handshake: %w", cn.socket.err())
	default:
		return fmt.Errorf("websocket handshake: %w", err)
	}
}

// serve reads a connection until its end.
func (c *Client) serve(ctx context.Context, cn *conn) ending {
	stop := onDone(ctx, cn.socket.leave)
	cn.readLoop()
	stop()
	_ = cn.socket.Close() // it is closed, but for a panic
	c.detach(cn)
	e := ending{err: cn.cause(ctx), retryAfter: cn.retryAfter}
	if !cn.opened.IsZero() {
		e.open, e.lasted = true, time.Since(cn.opened)
	}
	return e
}

// readLoop returns when the socket is gone. A panic, which a hostile frame can
// cause in the websocket library, costs this connection and nothing else.
func (cn *conn) readLoop() {
	defer func() {
		if cause := recover(); cause != nil {
			if cn.hearing {
				panic(cause) // of a callback, and not ours to hide
			}
			cn.err = fmt.Errorf("reader panicked: %v", cause)
		}
	}()
	cn.ws.ReadLoop()
}

// detach makes the connection unknown and waits for all that uses it.
func (c *Client) detach(cn *conn) {
	c.mu.Lock()
	cn.closed = true
	if c.conn == cn {
		c.conn = nil
	}
	c.pacer.stop(&cn.heartbeat)
	for _, t := range c.tracks {
		c.pacer.stop(&t.alarm)
	}
	c.mu.Unlock()
	cn.running.Wait()
}

// cause returns why the connection ended.
func (cn *conn) cause(ctx context.Context) error {
	var closed *gws.CloseError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(cn.err, &closed) && closed.Code != 0:
		return &CloseError{Code: protocol.CloseCode(closed.Code), Reason: string(closed.Reason)}
	case cn.socket.err() != nil:
		return cn.socket.err()
	case cn.err == nil:
		return net.ErrClosed
	default:
		return fmt.Errorf("read: %w", cn.err)
	}
}

// abort ends the connection for a reason of this side's.
func (cn *conn) abort(why error) {
	cn.socket.fail(why)
	_ = cn.socket.Close() // the reader finds it closed
}

// OnOpen implements gws.Event.
func (cn *conn) OnOpen(*gws.Conn) {}

// OnClose implements gws.Event.
func (cn *conn) OnClose(_ *gws.Conn, err error) {
	var closed *gws.CloseError
	if errors.As(err, &closed) {
		// Its reason is a part of the library's memory.
		err = &gws.CloseError{Code: closed.Code, Reason: append([]byte(nil), closed.Reason...)}
	}
	if cn.err == nil {
		cn.err = err
	}
}

// OnPing implements gws.Event.
func (cn *conn) OnPing(_ *gws.Conn, payload []byte) {
	_ = cn.socket.send(context.Background(), gws.OpcodePong, payload) // the reader learns of an error
}

// OnPong implements gws.Event.
func (cn *conn) OnPong(*gws.Conn, []byte) { cn.client.flush() }

// OnMessage implements gws.Event.
func (cn *conn) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }() // gives the buffer back; there is no error to have
	cn.hearing = true
	cn.client.hear(cn, m.Bytes())
	cn.hearing = false
}

// noStorage is the websocket library's place for what we keep in conn.
type noStorage struct{}

func (noStorage) Len() int                           { return 0 }
func (noStorage) Load(string) (any, bool)            { return nil, false }
func (noStorage) Delete(string)                      {}
func (noStorage) Store(string, any)                  {}
func (noStorage) Range(func(key string, v any) bool) {}
