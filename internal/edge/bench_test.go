package edge

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// BenchmarkHeartbeat is the work that a heartbeat takes once it is read: parse,
// verify, note.
func BenchmarkHeartbeat(b *testing.B) {
	for _, mode := range []SignMode{SignHMAC, SignMD5, SignOff} {
		b.Run(string(mode), func(b *testing.B) {
			s, ping := heartbeat(b, mode)
			b.ReportAllocs()
			for b.Loop() {
				s.rate, s.stamped = 0, s.edge.now()
				s.hear(ping, s.edge.now())
			}
		})
	}
}

// heartbeat returns a session without a socket and a ping of its client's.
func heartbeat(tb testing.TB, mode SignMode) (*session, []byte) {
	tb.Helper()
	e, err := New(Config{
		Incarnation: self, Users: newFakeStore(), Owners: &fakeOwners{}, Mover: &fakeMover{}, Auth: fakeAuth{},
		Partition:     func(protocol.UserID) protocol.PartitionID { return 0 },
		RoomPartition: func(protocol.RoomID) protocol.PartitionID { return 0 },
		Partitions:    1, SignMode: mode,
	})
	if err != nil {
		tb.Fatal(err)
	}
	s := newSession(e, "42sx")
	key := s.secret.signKey()
	if mode == SignMD5 {
		key = ""
	}
	ping, err := protocol.AppendSigned(nil, fmt.Appendf(nil,
		`{"action":"ping","online_token":%q,"sid":"42sx","timestamp":1517644790}`, s.secret.token()), key)
	if err != nil {
		tb.Fatal(err)
	}
	return s, ping
}

// BenchmarkIdleConnections reports the resident memory of one connection that
// has sent heartbeats and is idle. The clients' ends are in the same process and
// counted, about half a KiB each.
func BenchmarkIdleConnections(b *testing.B) {
	const connections = 2000
	for b.Loop() {
		w := start(b, nil)
		before := resident(b)
		clients := make([]net.Conn, 0, connections)
		for i := range connections {
			c, err := w.dial()
			if err != nil {
				b.Fatal(err)
			}
			sid := strconv.Itoa(i+1) + "sx"
			if _, err := fmt.Fprintf(c, "GET /?sid=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", sid); err != nil {
				b.Fatal(err)
			}
			clients = append(clients, c)
		}
		for range 3 {
			for _, c := range clients {
				if _, err := c.Write(encode(1, []byte(`{"action":"ping"}`))); err != nil {
					b.Fatal(err)
				}
			}
		}
		deadline := time.Now().Add(10 * time.Second)
		for heard := 0; heard < connections; {
			heard = 0
			for s := range w.edge.registry.all {
				if s.rate != 0 {
					heard++
				}
			}
			if time.Now().After(deadline) {
				b.Fatalf("%d of %d heard", heard, connections)
			}
		}
		b.ReportMetric(float64(resident(b)-before)/connections, "B/conn")
		for _, c := range clients {
			_ = c.Close()
		}
		w.stop()
	}
}

// resident returns the process's memory after giving back what is free.
func resident(tb testing.TB) int64 {
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.Open("/proc/self/statm")
	if err != nil {
		tb.Fatal(err)
	}
	defer status.Close()
	text, err := io.ReadAll(status)
	if err != nil {
		tb.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
