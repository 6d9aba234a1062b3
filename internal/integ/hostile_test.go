package integ

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"
)

// masked is the head of a client's frame with a length of 64 bits.
func masked(opcode byte, length uint64) []byte {
	head := []byte{0x80 | opcode, 0x80 | 127}
	head = binary.BigEndian.AppendUint64(head, length)
	return append(head, 0, 0, 0, 0)
}

// What breaks the websocket's or the frame's form costs at most the connection
// that it came on, its user is lost as with any other close, and a client
// beside it goes on.
func TestHostileFramesCostTheirConnection(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b := s.relay(s.b, host)
		beside := s.come(s.a, nil)
		text := func(b []byte) func(*phone) { return func(p *phone) { p.sayRaw(gws.OpcodeText, b) } }
		raw := func(b []byte) func(*phone) { return func(p *phone) { _, _ = p.conn.Write(b) } }
		for name, attack := range map[string]struct {
			do    func(*phone)
			code  int  // with which the server closes
			ended bool // the connection does not survive
		}{
			"8 KiB and 1":       {text(bytes.Repeat([]byte{' '}, 8<<10+1)), 0, false},
			"32 KiB and 1":      {text(bytes.Repeat([]byte{' '}, 32<<10+1)), 1009, true},
			"length of 2^63":    {raw(masked(1, 1<<63)), 0, true},
			"length of 2^64-1":  {raw(masked(1, 1<<64-1)), 0, true},
			"length of 2^40":    {raw(masked(1, 1<<40)), 1009, true},
			"bad UTF-8":         {text([]byte("{\"action\":\"\xff\xfe\"}")), 1007, true},
			"not masked":        {raw([]byte{0x81, 2, '{', '}'}), 0, true},
			"reserved bits":     {raw([]byte{0xf1, 0x80, 0, 0, 0, 0}), 0, true},
			"a large ping":      {raw(append([]byte{0x89, 0xfe, 0, 200, 0, 0, 0, 0}, make([]byte, 200)...)), 0, true},
			"half a frame":      {func(p *phone) { raw([]byte{0x81, 0x85, 0, 0, 0, 0, '{'})(p); _ = p.conn.CloseWrite() }, 0, true},
			"half a head":       {func(p *phone) { raw([]byte{0x81})(p); p.hang() }, 0, true},
			"binary":            {func(p *phone) { p.sayRaw(gws.OpcodeBinary, []byte(`{"action":"ping"}`)) }, 0, false},
			"nested 8000 deep":  {text([]byte(strings.Repeat("[", 8000))), 0, false},
			"nested objects":    {text([]byte(`{"action":"ping","a":` + strings.Repeat(`{"a":`, 1600))), 0, false},
			"a field twice":     {text([]byte(`{"action":"ping","action":"send_topic_msg"}`)), 0, false},
			"a lone surrogate":  {text([]byte(`{"action":"ping","a":"\ud800"}`)), 0, false},
			"10,000 bytes long": {text([]byte(`{"action":"` + strings.Repeat("x", 10_000) + `"}`)), 0, false},
		} {
			t.Run(name, func(t *testing.T) {
				s := s.in(t)
				a := s.come(s.a, nil)
				attack.do(a)
				if attack.ended {
					eventually(t, 3*time.Second, func() error {
						if a.gone() == nil {
							return errors.New("the connection stands")
						}
						return nil
					})
					if attack.code != 0 && a.closeCode() != attack.code {
						t.Errorf("closed with %d (%v), want %d", a.closeCode(), a.gone(), attack.code)
					}
					eventually(t, time.Second, told(b, "exit_room", a.user, 1))
					eventually(t, time.Second, s.out(a.user))
				} else {
					s.reachable(s.b, s.room, a)
					stands(t, a)
				}
				before := len(beside.heard("probe"))
				s.publish(s.b, s.room, fields{"action": "probe"})
				eventually(t, time.Second, heardAll([]*phone{beside}, "probe", before+1))
			})
		}
		stands(t, b, beside)
	})
}

// A thousand half-open handshakes are closed after 5 s; meanwhile healthy
// clients connect without waiting.
func TestHalfOpenHandshakesAreClosed(t *testing.T) {
	t.Parallel()
	const many = 1000
	c := share(t, legacy)
	address := at(c.ports[2].listen)
	began := time.Now()
	var open []net.Conn
	for n := range many {
		conn, err := net.DialTimeout("tcp", address, dialTimeout)
		if err != nil {
			t.Fatalf("half-open connection %d: %v", n, err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHo")[:n%19]); err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	for range 20 {
		asked := time.Now()
		c.phone(newUser(), 2, phoneOptions{sign: byMD5})
		if d := time.Since(asked); d > 2*time.Second {
			t.Errorf("a healthy client waited %s", d)
		}
	}
	for n, conn := range open {
		_ = conn.SetReadDeadline(began.Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errTimeout(err) != nil {
			t.Fatalf("half-open connection %d is open after %s", n, time.Since(began))
		}
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("all are closed after %s, want 5 to 6 s", d)
	}
	t.Logf("%d half-open connections were closed after %s", many, time.Since(began))
}

// errTimeout returns err if it is a timeout's, else nil.
func errTimeout(err error) error {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return err
	}
	return nil
}

// Who never reads while the room is flooded loses its connection, and is told
// of as gone when it would count as silent; those who read hear everything, in
// order.
func TestDeafClientIsClosed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b := s.relay(s.b, host)
		deaf := s.phone(newUser(), s.a, phoneOptions{deaf: true, sign: s.sign})
		if err := deaf.conn.SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		s.enter(s.a, s.room, deaf.user, nil)
		const batch = 100
		var lines []fields
		for range batch {
			lines = append(lines, fields{"room_id": s.room, "frame": fields{"action": "flood", "content": strings.Repeat("x", 8<<10)}})
		}
		// A frame of 4 KiB of which a byte comes at times: a socket that the node
		// has closed answers with a reset.
		rest := []byte{0x82, 0x80 | 126, 0x10, 0}
		sent := 0
		eventually(t, 15*time.Second, func() error {
			if _, err := deaf.conn.Write(rest); err != nil {
				return nil //nolint:nilerr // what is awaited
			}
			rest = []byte{0}
			s.must(http.MethodPost, s.b, "/v1/publish", lines, nil)
			sent += batch
			// The flood goes as fast as a good client can read, no faster.
			eventually(t, 5*time.Second, heardAll([]*phone{b}, "flood", sent))
			return fmt.Errorf("after %d frames the deaf one is connected", sent)
		})
		t.Logf("closed after %d frames of 8 KiB", sent)
		last := 0
		for _, f := range b.heard("flood") {
			if seq := f.number("seq"); last != 0 && seq != last+1 {
				t.Fatalf("seq %d after %d", seq, last)
			} else {
				last = seq
			}
		}
		eventually(t, 22*time.Second, s.out(deaf.user))
		eventually(t, time.Second, heardAll([]*phone{b}, "exit_room", 1))
		stands(t, b)
	})
}
