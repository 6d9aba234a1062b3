//go:build linux

package main

import (
	"net"
	"time"
)

// tap is a person's socket. Nothing is read from it while the person's reading is
// locked; nothing is sent by who was hushed.
type tap struct {
	*net.TCPConn
	person *person
}

// Read implements net.Conn.
func (t *tap) Read(b []byte) (int, error) {
	t.pass()
	return t.TCPConn.Read(b)
}

// pass waits until nobody keeps it locked.
func (t *tap) pass() {
	t.person.reading.RLock()
	defer t.person.reading.RUnlock()
}

// Write implements net.Conn.
func (t *tap) Write(b []byte) (int, error) {
	if t.person.hushed.Load() {
		return len(b), nil
	}
	t.person.wrote.Store(time.Now().UnixNano())
	return t.TCPConn.Write(b)
}

// Close implements net.Conn. Who was hushed leaves the socket open: its end would
// be a word.
func (t *tap) Close() error {
	if t.person.hushed.Load() {
		return nil
	}
	return t.TCPConn.Close()
}

// hush stops the person as SIGSTOP stops a phone's app, for good: its socket stays
// open, nothing is read from it and nothing sent.
func (p *person) hush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.hushed.Store(true)
	p.reading.Lock()
	p.lose(time.Now())
	p.stop()
}

// lastWord is when the person last sent anything.
func (p *person) lastWord() time.Time { return time.Unix(0, p.wrote.Load()) }

// release ends a person that was hushed.
func (p *person) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hushed.Store(false)
	_ = p.socket.SetLinger(0) // a socket that is closed already is as good
	_ = p.socket.Close()
	p.reading.Unlock()
}
