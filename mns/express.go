package mns

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A connection whose client has shown that it holds a key, and that speaks plain
// HTTP/1.1, is taken over from net/http: reading a request and writing an answer
// cost half as much without it. Whatever is not plain (see plainRequest) goes
// back to net/http with the connection, unanswered and for good, so that there
// is one implementation of everything unusual.
const (
	// maxExpress bounds the connections that are served so. More stay with
	// net/http, and under the bound of its listener.
	maxExpress = 20_000
	// maxHead is the longest head that is plain.
	maxHead = 4 << 10
	// The time that a connection may be idle, that a request may take to come
	// once it has begun, and that an answer may take to be taken.
	expressIdle, expressRequest, expressAnswer = 75 * time.Second, 5 * time.Second, 2 * time.Minute
	// patience is how far deadlines may be off: they are moved that seldom.
	patience = 5 * time.Second
)

// express are the connections that were taken over.
type express struct {
	// set by newExpress
	server *Server
	back   chan net.Conn // to net/http
	ended  chan struct{} // closed when run stops

	// guarded by mu
	mu    sync.Mutex
	open  bool // between the begin and the end of run
	conns map[*expressConn]struct{}

	running sync.WaitGroup
}

func newExpress(s *Server) *express {
	return &express{server: s, back: make(chan net.Conn), ended: make(chan struct{}), conns: map[*expressConn]struct{}{}}
}

// run takes connections until ctx ends, and returns when they are served.
func (e *express) run(ctx context.Context) error {
	web := e.server.HTTPServer()
	web.WriteTimeout = expressAnswer
	web.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, returned{}, true)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(backListener{ctx, e.back}) })
	e.mu.Lock()
	e.open = true
	e.mu.Unlock()
	<-ctx.Done()
	e.mu.Lock()
	e.open = false
	close(e.ended)
	for c := range e.conns {
		_ = c.raw.Close()
	}
	e.mu.Unlock()
	_ = web.Close()
	e.running.Wait()
	serving.Wait()
	return ctx.Err()
}

// returned marks what net/http serves for good.
type returned struct{}

// backListener gives net/http the connections that come back.
type backListener struct {
	ctx  context.Context
	back <-chan net.Conn
}

func (l backListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.back:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l backListener) Close() error   { return nil }
func (l backListener) Addr() net.Addr { return &net.TCPAddr{} }

// take takes over the connection of a request that was served and is not
// answered yet. It returns nil where that cannot be; otherwise the caller
// answers, and then has the connection run.
func (e *express) take(w http.ResponseWriter, r *http.Request) *expressConn {
	if r.TLS != nil || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Close || len(r.TransferEncoding) > 0 ||
		len(r.Header["Connection"]) > 0 || len(r.Header["Expect"]) > 0 {
		return nil
	}
	if back, _ := r.Context().Value(returned{}).(bool); back || r.Context().Err() != nil {
		return nil
	}
	x := &expressConn{express: e, raw: noConn{}, done: make(chan struct{})}
	if !e.enter(x) {
		return nil
	}
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		e.leave(x)
		e.running.Done()
		return nil
	}
	e.mu.Lock()
	x.raw = raw
	if !e.open {
		_ = raw.Close()
	}
	e.mu.Unlock()
	x.in = make([]byte, 0, maxHead)
	if n := buffered.Reader.Buffered(); n > 0 {
		ahead, _ := buffered.Reader.Peek(n)
		x.in = append(x.in, ahead...)
	}
	x.request = (&http.Request{
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, RemoteAddr: r.RemoteAddr,
	}).WithContext(x)
	return x
}

// enter keeps a place for a connection.
func (e *express) enter(x *expressConn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.open || len(e.conns) >= maxExpress {
		return false
	}
	e.conns[x] = struct{}{}
	e.running.Add(1)
	return true
}

// leave gives the place up.
func (e *express) leave(x *expressConn) {
	e.mu.Lock()
	delete(e.conns, x)
	e.mu.Unlock()
}

// noConn stands for a connection that is not there yet.
type noConn struct{ net.Conn }

func (noConn) Close() error { return nil }

// giveBack gives a connection, with what was read of it, to net/http.
func (e *express) giveBack(x *expressConn) {
	_ = x.raw.SetDeadline(time.Time{})
	conn := &returnedConn{Conn: x.raw, ahead: x.in, closed: func() { e.leave(x) }}
	select {
	case e.back <- conn:
	case <-e.ended:
		_ = conn.Close()
	}
}

// returnedConn is a connection of which a part has been read. It keeps its place
// until it is closed.
type returnedConn struct {
	net.Conn
	ahead  []byte
	once   sync.Once
	closed func()
}

func (c *returnedConn) Read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *returnedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}

// appendHead lays out an answer's head.
func (c *call) appendHead(b []byte, date string) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(c.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(c.status)...)
	b = append(b, "\r\nServer: "+serverName+"\r\nX-Mns-Version: "+version+"\r\nX-Mns-Request-Id: "...)
	b = append(b, c.id...)
	b = append(b, "\r\nDate: "...)
	b = append(b, date...)
	if c.location {
		b = append(b, "\r\nLocation: "...)
		b = append(b, c.place()...)
	}
	if n := len(c.doc.Bytes()); n > 0 || c.status != http.StatusNoContent {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(n), 10)
		if n > 0 {
			b = append(b, "\r\nContent-Type: "+xmlType...)
		}
	}
	return append(b, "\r\n\r\n"...)
}
