package mns_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/sign"
)

// socket is a websocket client that does no more than it is told: no pongs, no
// close in answer to a close.
type socket struct {
	testing.TB
	conn net.Conn
	in   *bufio.Reader
}

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// dial opens a websocket to a node.
func (r *rig) dial(node int, headers ...string) *socket {
	r.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.nodes[node].url, "http://"))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() })
	return handshake(r.TB, conn, headers...)
}

func handshake(t testing.TB, conn net.Conn, headers ...string) *socket {
	t.Helper()
	s := &socket{TB: t, conn: conn, in: bufio.NewReader(conn)}
	request := "GET /mns HTTP/1.1\r\nHost: 1234.mns-websocket.cn-hangzhou.aliyuncs.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: http://elsewhere\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(s.in, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake answered %+v, %v", response, err)
	}
	return s
}

// write sends one masked frame.
func (s *socket) write(op byte, payload []byte) {
	s.Helper()
	frame := []byte{0x80 | op}
	if len(payload) < 126 {
		frame = append(frame, 0x80|byte(len(payload)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(payload)))
	}
	frame = append(frame, 0, 0, 0, 0) // a mask that changes nothing
	if _, err := s.conn.Write(append(frame, payload...)); err != nil {
		s.Logf("write: %v", err)
	}
}

// read returns the next frame, or io.EOF.
func (s *socket) read(timeout time.Duration) (op byte, payload []byte, err error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(timeout))
	var head [2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	if head[1] >= 126 {
		size := make([]byte, 2)
		if head[1] == 127 {
			size = make([]byte, 8)
		}
		if _, err := io.ReadFull(s.in, size); err != nil {
			return 0, nil, err
		}
		n = 0
		for _, b := range size {
			n = n<<8 | uint64(b)
		}
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(s.in, payload)
	return head[0] & 0xf, payload, err
}

// expect reads one text.
func (s *socket) expect(want string) {
	s.Helper()
	op, got, err := s.read(5 * time.Second)
	if err != nil || op != opText || string(got) != want {
		s.Fatalf("read frame %d %.200q, %v, want text %.200q", op, got, err, want)
	}
}

// silent fails if anything comes.
func (s *socket) silent(d time.Duration) {
	s.Helper()
	op, got, err := s.read(d)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		s.Fatalf("read frame %d %.200q, %v, want nothing", op, got, err)
	}
}

// closed reads a close frame and the end of the connection, and nothing before.
func (s *socket) closed(code uint16, within time.Duration) (reason string) {
	s.Helper()
	op, got, err := s.read(within)
	if err != nil || op != opClose || len(got) < 2 || binary.BigEndian.Uint16(got) != code {
		s.Fatalf("read frame %d %q, %v, want close %d", op, got, err, code)
	}
	if _, _, err := s.read(5 * time.Second); err != io.EOF {
		s.Fatalf("after the close frame came %v", err)
	}
	return string(got[2:])
}

// controlMessage is what clients send.
type controlMessage struct {
	Type          string   `json:"type"`
	AccountID     string   `json:"accountId"`
	AccessID      string   `json:"accessId"`
	Topic         string   `json:"topic"`
	Subscription  string   `json:"subscription"`
	Date          string   `json:"date"`
	Authorization string   `json:"authorization"`
	Tags          []string `json:"tags"`
}

// controlFor returns a good control message.
func controlFor(kind, topic, subscription string, tags ...string) controlMessage {
	date := time.Now().UTC().Format(http.TimeFormat)
	return controlMessage{
		Type: kind, AccountID: "1234", AccessID: keyID, Topic: topic, Subscription: subscription, Date: date,
		Authorization: sign.Header(keyID, sign.Subscribe(secret, date, topic, subscription)), Tags: tags,
	}
}

func (s *socket) control(m controlMessage) {
	s.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		s.Fatal(err)
	}
	s.write(opText, text)
}

func (s *socket) ping(payload string) {
	s.Helper()
	s.write(opPing, []byte(payload))
	op, got, err := s.read(5 * time.Second)
	if err != nil || op != opPong || string(got) != payload {
		s.Fatalf("ping %q was answered by frame %d %q, %v", payload, op, got, err)
	}
}

// subscribe subscribes and returns when it is settled: the reader answers a ping
// after the control message before it.
func (s *socket) subscribe(topic, subscription string, tags ...string) {
	s.Helper()
	s.control(controlFor("SUBSCRIBE", topic, subscription, tags...))
	s.ping("subscribed?")
}

// room makes a topic with a websocket subscription of the same name.
func (r *rig) room(name string) {
	r.Helper()
	r.createTopic(name)
	r.wants(r.ask("PUT", "/topics/"+name+"/subscriptions/"+name, "<Subscription><Endpoint>WebSocket</Endpoint></Subscription>"), 201, "")
}

// publish publishes at a node; more are further elements.
func (r *rig) publish(node int, topic, body, more string) *reply {
	r.Helper()
	return r.wants(r.askAt(node, "POST", "/topics/"+topic+"/messages", message(body, more)), 201, "")
}

func tagged(tag string) string { return "<MessageTag>" + tag + "</MessageTag>" }

func important(level int) string {
	return fmt.Sprintf("<MessageAttributes><WebSocket><ImportanceLevel>%d</ImportanceLevel></WebSocket></MessageAttributes>", level)
}
