//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/client"
	"github.com/faac1247/rollcall/protocol"
)

// note is one publication as its publisher numbers it: the publisher in the
// upper half, its count in the lower.
type note uint64

func newNote(publisher, n int) note { return note(publisher)<<32 | note(uint32(n)) }

func (n note) publisher() int { return int(n >> 32) }
func (n note) number() int    { return int(uint32(n)) }

// text is what is published; the time is when.
func (n note) text(now time.Time) string {
	return fmt.Sprintf("note %d %d", uint64(n), now.UnixNano())
}

// readNote takes apart what text made; padding may follow.
func readNote(text string) (n note, at time.Time, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 3 || fields[0] != "note" {
		return 0, time.Time{}, false
	}
	id, err := strconv.ParseUint(fields[1], 10, 64)
	nanos, wrong := strconv.ParseInt(fields[2], 10, 64)
	return note(id), time.Unix(0, nanos), errors.Join(err, wrong) == nil
}

// span is a time without a connection. to is zero while it lasts.
type span struct{ from, to time.Time }

// person is one user with its client, and the record of what both met.
type person struct {
	// set by newPerson
	swarm      *swarm
	user       protocol.UserID
	room, call protocol.RoomID // where its backend puts it
	client     *client.Client
	hears      func(client.Frame) // every frame, nil for nobody
	machine    int                // of the stage's network, 0 for this one
	reading    sync.RWMutex       // locked while the person reads nothing
	hushed     atomic.Bool        // it sends nothing either, and can't close
	wrote      atomic.Int64       // when it last sent something

	sent int // owned by whoever set saying

	// guarded by mu
	mu       sync.Mutex
	stop     context.CancelFunc
	socket   *net.TCPConn
	online   bool
	opened   time.Time // when the last connection was
	closed   time.Time // when it ended
	endPoint string    // of the connection, or the last one
	gone     bool      // for good, by its own will or a kick
	excused  bool      // what it misses, and that others are told of it, is right
	absences []span
	ended    error // how its last connection did
	heard    []note
	epoch    protocol.Epoch
	seq      protocol.Seq
	disorder int // frames whose place was not after the one before
	saying   bool
	expelled []protocol.RoomID
	trail    []step
}

// maxTrail bounds the steps that are kept of one person; the oldest go.
const maxTrail = 40

// step is something that a person met, to explain what went wrong.
type step struct {
	at   time.Time
	what string
}

// went notes a step. The caller holds mu.
func (p *person) went(what string) {
	if len(p.trail) >= maxTrail {
		p.trail = p.trail[1:]
	}
	p.trail = append(p.trail, step{time.Now(), what})
}

// story tells a person's steps from a moment on. The caller holds mu.
func (p *person) story(since time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "user %d of %s", p.user, p.room)
	for _, s := range p.trail {
		if s.at.After(since) {
			fmt.Fprintf(&b, "\n      %s %s", s.at.Format("05.000"), s.what)
		}
	}
	return b.String()
}

func newPerson(s *swarm, n int, room, call protocol.RoomID) (*person, error) {
	p := &person{swarm: s, user: protocol.UserID(n + 1), room: room, call: call}
	var err error
	if s.scattered {
		room = ""
	}
	p.client, err = client.New(client.Config{
		EndPoints: s.endPoints, SID: fmt.Sprintf("%ds1", p.user), RoomID: room,
		Dial: p.dial, HTTPClient: s.http, TLS: s.tls, Pacer: s.pacer,
		OnConnect: p.onConnect, OnDisconnect: p.onDisconnect, OnFrame: p.onFrame, OnRoomGone: p.onRoomGone, OnDeparture: p.onDeparture,
	})
	return p, err
}

// run keeps the person connected until ctx ends, or it vanishes.
func (p *person) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.mu.Lock()
	p.stop = cancel
	p.mu.Unlock()
	if err := p.client.Run(ctx); err != nil {
		p.mu.Lock()
		p.ended = err
		p.mu.Unlock()
	}
}

func (p *person) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := p.swarm.dial(ctx, p.machine, network, address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.socket = c.(*net.TCPConn)
	return &tap{TCPConn: p.socket, person: p}, nil
}

// cut resets the connection, as a network does that loses its state.
func (p *person) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.socket == nil {
		return
	}
	p.lose(time.Now())
	_ = p.socket.SetLinger(0) // a socket that is closed already is as good
	_ = p.socket.Close()
}

// lose notes that the connection is gone. The caller holds mu.
func (p *person) lose(now time.Time) {
	if p.online {
		p.online = false
		p.absences = append(p.absences, span{from: now})
	}
}

// vanish takes the person away for good, without a word, and returns when.
func (p *person) vanish() time.Time {
	p.mu.Lock()
	now := time.Now()
	p.gone = true
	p.lose(now)
	_ = p.socket.SetLinger(0)
	_ = p.socket.Close()
	stop := p.stop
	p.mu.Unlock()
	stop()
	return now
}

func (p *person) onConnect(c client.Connected) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.went(fmt.Sprintf("connected to %s, which took %s", c.EndPoint, c.Took.Round(time.Millisecond)))
	p.online, p.endPoint, p.opened = true, c.EndPoint, time.Now()
	if n := len(p.absences); n > 0 && p.absences[n-1].to.IsZero() {
		p.absences[n-1].to = time.Now()
	}
}

func (p *person) onDisconnect(d client.Disconnected) {
	p.swarm.still.RLock()
	defer p.swarm.still.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.closed = d.Err, time.Now()
	p.went(fmt.Sprintf("lost: %v; back after %s", d.Err, d.Pause.Round(time.Millisecond)))
	if d.Open {
		p.lose(time.Now())
		return
	}
	p.swarm.failed(d.Err)
}

func (p *person) onFrame(f client.Frame) {
	if p.hears != nil {
		p.hears(f)
	}
	if f.Action == protocol.ActionResync {
		p.mu.Lock()
		p.went(fmt.Sprintf("given the state at %d/%d, was at %d/%d", f.Epoch, f.Seq, p.epoch, p.seq))
		p.mu.Unlock()
	}
	if f.Action != protocol.ActionSendTopicMsg {
		return
	}
	text, _ := f.Field("content").Text()
	n, at, ok := readNote(text)
	if !ok {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Epoch < p.epoch || f.Epoch == p.epoch && f.Seq <= p.seq {
		p.disorder++
		p.went(fmt.Sprintf("heard %d/%d after %d/%d", f.Epoch, f.Seq, p.epoch, p.seq))
	}
	if f.Epoch != p.epoch {
		p.went(fmt.Sprintf("came from %d/%d to %d/%d", p.epoch, p.seq, f.Epoch, f.Seq))
	}
	p.epoch, p.seq = f.Epoch, f.Seq
	p.heard = append(p.heard, n)
	if w, ok := p.swarm.watched.Load(n); ok {
		w.(*watch).heardAt(now)
	}
	p.swarm.arrived(now.Sub(at))
}

func (p *person) onRoomGone(room protocol.RoomID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expelled = append(p.expelled, room)
}

func (p *person) onDeparture(d client.Departure) bool {
	p.swarm.told(d.User, told{by: p.user, at: time.Now(), action: d.Action})
	return true
}

// busy serialises what a person says: a message that waits for its turn to be
// written must not be overtaken.
func (p *person) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saying || !p.online || p.gone {
		return true
	}
	p.saying = true
	return false
}

// say publishes a numbered message to the person's room.
func (p *person) say(ctx context.Context) (note, bool) {
	if p.busy() {
		return 0, false
	}
	defer func() {
		p.mu.Lock()
		p.saying = false
		p.mu.Unlock()
	}()
	p.sent++
	n := newNote(int(p.user), p.sent)
	err := p.client.SendTopicMsg(ctx, p.room, client.TopicMsg{Content: n.text(time.Now())})
	return n, err == nil
}

func (p *person) isOnline() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.online
}

// connectedTo is the end point of the connection, or of the last one.
func (p *person) connectedTo() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.endPoint
}
