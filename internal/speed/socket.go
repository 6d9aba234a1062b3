//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"syscall"
)

// socket is one websocket connection, without a goroutine.
type socket struct {
	// set by dial
	fd    int
	sid   string
	user  int
	place *place
	hello []byte // the first frame's payload

	// owned by the crowd's reader
	frames  int    // complete ones since the crowd was settled
	left    int    // payload bytes of the frame under way that are still to come
	head    []byte // a header that came in two parts
	payload []byte // what has come of a frame, where somebody listens
}

// dial opens a websocket and reads its first frame.
func dial(address, path string) (*socket, error) {
	tcp, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	s := &socket{fd: fd}
	if u, err := url.Parse(path); err == nil {
		s.sid = u.Query().Get("sid")
	}
	if err := s.open(tcp, address, path); err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return s, nil
}

func (s *socket) open(tcp *net.TCPAddr, host, path string) error {
	to := &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}
	if err := syscall.Connect(s.fd, to); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(s.fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3BlZWRzcGVlZHNwZWVkcw==\r\n\r\n"
	if _, err := syscall.Write(s.fd, []byte(request)); err != nil {
		return err
	}
	return s.greet()
}

// greet reads the answer to the handshake and the first frame.
func (s *socket) greet() error {
	var got []byte
	buf := make([]byte, 4096)
	for {
		n, err := syscall.Read(s.fd, buf)
		if err != nil || n == 0 {
			return fmt.Errorf("closed after %q: %w", got, err)
		}
		got = append(got, buf[:n]...)
		at := bytes.Index(got, []byte("\r\n\r\n"))
		if at < 0 {
			continue
		}
		if !bytes.HasPrefix(got, []byte("HTTP/1.1 101")) {
			return fmt.Errorf("refused: %q", got)
		}
		size, length, ok := header(got[at+4:])
		if ok && len(got) >= at+4+size+length {
			s.hello = bytes.Clone(got[at+4+size : at+4+size+length])
			return syscall.SetNonblock(s.fd, true)
		}
	}
}

// header reads the head of a frame: its own size and that of the payload.
func header(b []byte) (size, length int, ok bool) {
	if len(b) < 2 {
		return 0, 0, false
	}
	switch n := int(b[1] & 0x7f); {
	case n < 126:
		return 2, n, true
	case n == 126 && len(b) >= 4:
		return 4, int(binary.BigEndian.Uint16(b[2:])), true
	case n == 127 && len(b) >= 10:
		return 10, int(binary.BigEndian.Uint64(b[2:])), true
	}
	return 0, 0, false
}

// take counts the frames that b completes, and hands their payloads to hear.
func (s *socket) take(b []byte, hear func(*socket, []byte)) (frames int) {
	if len(s.head) > 0 {
		b = append(s.head, b...)
		s.head = nil
	}
	for len(b) > 0 {
		if s.left == 0 {
			size, length, ok := header(b)
			if !ok {
				s.head = bytes.Clone(b)
				return frames
			}
			b, s.left = b[size:], length
		}
		n := min(s.left, len(b))
		if hear != nil {
			s.payload = append(s.payload, b[:n]...)
		}
		b, s.left = b[n:], s.left-n
		if s.left > 0 {
			return frames
		}
		frames++
		if hear != nil {
			hear(s, s.payload)
			s.payload = s.payload[:0]
		}
	}
	return frames
}

// say sends a text frame, masked with zeros.
func (s *socket) say(payload []byte) error {
	frame := make([]byte, 0, len(payload)+8)
	if len(payload) < 126 {
		frame = append(frame, 0x81, 0x80|byte(len(payload)))
	} else {
		frame = append(frame, 0x81, 0x80|126, byte(len(payload)>>8), byte(len(payload)))
	}
	frame = append(frame, 0, 0, 0, 0)
	frame = append(frame, payload...)
	n, err := syscall.Write(s.fd, frame)
	if err == nil && n < len(frame) {
		err = fmt.Errorf("the socket took %d of %d bytes", n, len(frame))
	}
	return err
}

// text returns a field of the first frame that is a string.
func (s *socket) text(name string) string {
	_, rest, ok := bytes.Cut(s.hello, []byte(strconv.Quote(name)+`:"`))
	if !ok {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}
