package push

import (
	"bufio"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/mns/chat"
)

// AckProtocol is the websocket protocol of clients that want to be told what
// became of their control messages.
const AckProtocol = "mns.ack.v1"

const (
	// maxControl bounds a control message.
	maxControl = 8 << 10
	// readBuffer is what a connection keeps for reading.
	readBuffer = 512
)

// arrival is a connection that asks to be upgraded.
type arrival struct {
	conn    *Conn
	request *http.Request
}

// doors are the two ways in: without and with acknowledgements.
type doors struct{ plain, acking *gws.Upgrader }

// newDoors returns the doors of a running hub.
func (h *Hub) newDoors(ctx context.Context) doors {
	e := &events{control: func(c *Conn, text []byte) { h.cfg.Handler.Control(ctx, c, text) }}
	open := func(protocols []string) *gws.Upgrader {
		return gws.NewUpgrader(e, &gws.ServerOption{
			ReadMaxPayloadSize: maxControl,
			ReadBufferSize:     readBuffer,
			CheckUtf8Enabled:   true,
			SubProtocols:       protocols,
			NewSession:         func() gws.SessionStorage { return noSession{} },
		})
	}
	return doors{plain: open(nil), acking: open([]string{AckProtocol})}
}

// Serve takes a request's connection over. With an error it has not, and the
// caller answers. It returns at once.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request) error {
	c := &Conn{hub: h, topics: map[chat.TopicName]*audience{}}
	c.ack = wantsAck(r)
	now := time.Now()
	c.since = now
	c.active.Store(now.UnixNano())
	select {
	case <-h.stopped:
		return ErrStopped
	default:
	}
	if !h.reserve() {
		return ErrFull
	}
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.add(nil)
		return err
	}
	_ = raw.SetDeadline(time.Time{})
	c.use(raw)
	h.add(c)
	if n := buffered.Reader.Buffered(); n > 0 {
		head, _ := buffered.Reader.Peek(n)
		c.head = slices.Clone(head)
	}
	select {
	case h.arrived <- arrival{c, r}:
	case <-h.stopped:
		h.forget(c)
		_ = raw.Close()
	}
	return nil
}

// wantsAck reports whether a client asks for acknowledgements, by protocol or,
// where it cannot set one, by a parameter.
func wantsAck(r *http.Request) bool { return offersAck(r) || r.URL.Query().Get("ack") == "1" }

func offersAck(r *http.Request) bool {
	for _, line := range r.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(p) == AckProtocol {
				return true
			}
		}
	}
	return false
}

// upgrade does the handshake and starts the reader, in a goroutine of its own:
// the handshake needs a deeper stack, which the reader would keep.
func (h *Hub) upgrade(d doors, a arrival) {
	u := d.plain
	if offersAck(a.request) {
		u = d.acking
	}
	socket, err := u.UpgradeFromConn(a.conn, bufio.NewReaderSize(a.conn, readBuffer), a.request)
	if err != nil {
		h.forget(a.conn)
		a.conn.ended()
		return
	}
	h.running.Go(func() { h.read(a.conn, socket) })
}

// read reads until the connection ends. A panic, which a hostile frame causes in
// the library, costs the connection alone.
func (h *Hub) read(c *Conn, socket *gws.Conn) {
	defer c.ended()
	defer h.forget(c)
	defer func() {
		if p := recover(); p != nil {
			h.stats.Panics.Add(1)
			c.abort()
		}
	}()
	socket.ReadLoop()
	c.drain()
}

// events is what the library calls, on a connection's reader.
type events struct {
	control func(c *Conn, text []byte)
}

// OnOpen does nothing.
func (e *events) OnOpen(*gws.Conn) {}

// OnClose does nothing: the reader ends, and that settles it.
func (e *events) OnClose(*gws.Conn, error) {}

// OnPing echoes the payload, by which clients know their ping.
func (e *events) OnPing(socket *gws.Conn, payload []byte) {
	own(socket).active.Store(time.Now().UnixNano())
	_ = socket.WritePong(payload)
}

// OnPong shows that the client is there.
func (e *events) OnPong(socket *gws.Conn, _ []byte) {
	own(socket).active.Store(time.Now().UnixNano())
}

// OnMessage takes a control message. Binary ones are none.
func (e *events) OnMessage(socket *gws.Conn, m *gws.Message) {
	defer m.Close()
	c := own(socket)
	c.active.Store(time.Now().UnixNano())
	if m.Opcode == gws.OpcodeText && !c.ends() {
		e.control(c, m.Bytes())
	}
}

// own returns our side of the library's connection.
func own(socket *gws.Conn) *Conn { return socket.NetConn().(*Conn) }

// ends reports whether the connection is being closed.
func (c *Conn) ends() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// noSession keeps nothing: what a connection has is in its Conn.
type noSession struct{}

func (noSession) Len() int                     { return 0 }
func (noSession) Load(string) (any, bool)      { return nil, false }
func (noSession) Delete(string)                {}
func (noSession) Store(string, any)            {}
func (noSession) Range(func(string, any) bool) {}
