package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/faac1247/rollcall/client"
	"github.com/faac1247/rollcall/protocol"
)

// maxAbsences bounds what is remembered of one user.
const maxAbsences = 64

// phone is one simulated user.
type phone struct {
	// set by newPhone
	swarm  *swarm
	number int
	user   protocol.UserID
	client *client.Client

	// guarded by mu
	mu       sync.Mutex
	stop     context.CancelFunc
	socket   net.Conn
	endPoint string
	online   bool
	away     bool // does not come back
	busy     bool // someone is moving it
	room     string
	home     string // where it wants to be
	absences []absence
}

// absence is a time without a connection.
type absence struct {
	From time.Time
	// To is when the next connection was there, and In when the user was in its
	// room again; zero before.
	To, In time.Time
	// OnPurpose: this program cut the connection.
	OnPurpose bool
}

func newPhone(s *swarm, number int) (*phone, error) {
	p := &phone{swarm: s, number: number, user: protocol.UserID(s.set.user(number)), home: s.set.room(number)}
	var err error
	p.client, err = client.New(client.Config{
		EndPoints: s.set.EndPoint, SID: s.set.sid(number), RoomID: protocol.RoomID(p.home), V2: s.set.V2,
		// What deployed clients do not do would be load that there is not.
		ProbeInterval: -1,
		Dial:          p.dial, HTTPClient: s.http, Pacer: s.pacer,
		OnConnect: p.onConnect, OnDisconnect: p.onDisconnect, OnFrame: p.onFrame, OnDeparture: p.onDeparture,
	})
	return p, err
}

// run connects the user until ctx ends or leaves it for good.
func (p *phone) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.mu.Lock()
	p.stop = cancel
	p.mu.Unlock()
	if err := p.client.Run(ctx); err != nil {
		p.swarm.failed("stay away", err)
	}
}

func (p *phone) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := p.swarm.dial(ctx, p.number, network, address)
	if err == nil {
		p.mu.Lock()
		p.socket = c
		p.mu.Unlock()
	}
	return c, err
}

// cut closes the socket without a word, as when the app is killed or the network
// goes. The client comes back by itself.
func (p *phone) cut(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.online {
		return false
	}
	p.leaveLocked(now, true)
	_ = p.socket.Close()
	p.swarm.rec.count(cBreaks, 1)
	return true
}

// vanish takes the user away for good.
func (p *phone) vanish(now time.Time) {
	p.mu.Lock()
	p.away = true
	if p.online {
		p.leaveLocked(now, false)
		p.swarm.rec.count(cBroken, 1)
	}
	stop := p.stop
	p.mu.Unlock()
	stop()
}

// leaveLocked notes that the connection is gone. The caller holds mu.
func (p *phone) leaveLocked(now time.Time, onPurpose bool) {
	p.online = false
	if len(p.absences) == maxAbsences {
		p.absences = append(p.absences[:0], p.absences[1:]...)
	}
	p.absences = append(p.absences, absence{From: now, OnPurpose: onPurpose})
}

func (p *phone) onDisconnect(d client.Disconnected) {
	s := p.swarm
	if s.closing.Load() {
		return
	}
	if !d.Open {
		s.rec.count(cFailed, 1)
		s.note("connect", d.Err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.online {
		p.leaveLocked(time.Now(), false)
		s.rec.count(cBroken, 1)
	}
}

func (p *phone) onConnect(c client.Connected) {
	now, s := time.Now(), p.swarm
	s.rec.count(cConnected, 1)
	s.rec.took(mConnect, now.Add(-c.Took), now)
	p.mu.Lock()
	p.online, p.endPoint = true, c.EndPoint
	if c.Again {
		p.returnedLocked(now, c)
	}
	room := p.room
	p.mu.Unlock()
	if room == "" {
		s.enter(p, now)
	}
}

// returnedLocked compares where the server says that the user is with where it
// was. The caller holds mu.
func (p *phone) returnedLocked(now time.Time, c client.Connected) {
	if len(p.absences) == 0 {
		return
	}
	s, a := p.swarm, &p.absences[len(p.absences)-1]
	a.To = now
	s.rec.took(mReconnect, a.From, now)
	if !c.PlaceKnown {
		return
	}
	if former := p.room; former != "" && c.Room == "" {
		s.rec.count(cExpelled, 1)
		if a.excused(now, s.set.Grace) {
			s.falseExit(p.user)
		}
	}
	p.room = string(c.Room)
	if p.room != "" {
		a.In = now
		s.rec.took(mReturn, a.From, now)
	}
}

// excused reports whether an absence is one for which nobody may be declared
// lost: not the user's own, and over within the grace.
func (a *absence) excused(now time.Time, grace time.Duration) bool {
	return !a.OnPurpose && now.Sub(a.From) < grace-graceSlack
}

// graceSlack is how near to the grace's end a return counts as neither in time
// nor late: the two clocks are not one.
const graceSlack = time.Second

// entered notes that the user is in a room.
func (p *phone) entered(room string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room = room
	if n := len(p.absences); n > 0 && p.absences[n-1].In.IsZero() && !p.absences[n-1].To.IsZero() {
		p.absences[n-1].In = now
		p.swarm.rec.took(mReturn, p.absences[n-1].From, now)
	}
}

// where returns the user's room, "" if it is not connected or not in one.
func (p *phone) where() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.online {
		return ""
	}
	return p.room
}

// take reserves the user for one who moves it, and reports whether it is free,
// connected and in its room.
func (p *phone) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || !p.online || p.away || p.room == "" {
		return false
	}
	p.busy = true
	return true
}

func (p *phone) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
}

func (p *phone) onFrame(f client.Frame) {
	s := p.swarm
	switch f.Action {
	case protocol.ActionSendTopicMsg:
		s.rec.count(cDelivered, 1)
		if due, ok := stamp(f.Object, "content"); ok {
			now := time.Now()
			s.rec.took(mDeliver, due, now)
			s.reached(string(f.Room), due, now)
		}
	case protocol.ActionEnterRoom:
		s.rec.count(cDelivered, 1)
		if due, ok := stamp(f.Object, "nickname"); ok {
			s.rec.took(mNotice, due, time.Now())
		}
	case protocol.ActionError:
		s.rec.count(cServerSaid, 1)
		s.note("error frame", f.Err())
	}
}

// lastLoss returns when the user last lost its connection before a time.
func (p *phone) lastLoss(before time.Time) (since time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.absences {
		if !a.From.After(before) {
			since, ok = a.From, true
		}
	}
	return since, ok
}

func (p *phone) onDeparture(d client.Departure) bool {
	now, s := time.Now(), p.swarm
	h := heard{User: d.User, At: now, Call: d.Action == protocol.ActionHangUp, ID: d.ID}
	s.rec.count(cDepartures, 1)
	if other := s.local(d.User); h.Call && other != nil {
		if since, ok := other.lastLoss(now); ok {
			s.rec.took(mHangUp, since, now)
		}
	}
	s.told(h)
	return true
}

// A frame carries the time at which it was due as the first word of a text.

// stamped returns a text of so many bytes with a time in it.
func stamped(due time.Time, size int) string {
	text := strconv.FormatInt(due.UnixNano(), 10) + " "
	if n := size - len(text); n > 0 {
		text += strings.Repeat("x", n)
	}
	return text
}

// stamp reads the time back from a field.
func stamp(o protocol.Object, field string) (time.Time, bool) {
	text, ok := o.Field(field).Bytes()
	if !ok {
		return time.Time{}, false
	}
	var nanos int64
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9' && i < 19:
			nanos = nanos*10 + int64(c-'0')
		case c == ' ' && i == 19:
			return time.Unix(0, nanos), true
		default:
			return time.Time{}, false
		}
	}
	return time.Time{}, false
}
