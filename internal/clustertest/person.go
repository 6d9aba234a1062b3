package clustertest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Person is a user with an app that reconnects: while it wants to be online it
// dials one node after another, as after asking end_point.
type Person struct {
	User int

	cluster *Cluster
	query   string
	done    chan struct{}
	ended   chan struct{}

	mu     sync.Mutex
	wants  bool
	at     int // the node to try next
	phone  *Phone
	past   []*Phone
	spans  []Span
	hung   []time.Time // when the app itself closed the socket
	joined chan struct{}
}

// Span is a time during which a person held a socket to a node.
type Span struct {
	Node     int
	From, To time.Time // To is zero while it lasts
}

const (
	// redial is the pause between two tries.
	redial = 300 * time.Millisecond
)

// NewPerson returns a person who is offline. End ends it.
func (c *Cluster) NewPerson(user int, query string) *Person {
	p := &Person{User: user, cluster: c, query: query, done: make(chan struct{}), ended: make(chan struct{}), joined: make(chan struct{}, 1)}
	go p.live()
	return p
}

// Online makes the person want a connection, first at node n.
func (p *Person) Online(n int) {
	p.mu.Lock()
	p.wants, p.at = true, n
	p.mu.Unlock()
	p.nudge()
}

// Offline ends the connection as a killed app does, and wants no other.
func (p *Person) Offline() {
	p.mu.Lock()
	p.wants = false
	phone := p.phone
	if phone != nil {
		p.hung = append(p.hung, time.Now())
	}
	p.mu.Unlock()
	if phone != nil {
		_ = phone.conn.Close()
	}
	p.nudge()
}

func (p *Person) nudge() {
	select {
	case p.joined <- struct{}{}:
	default:
	}
}

// End ends the person.
func (p *Person) End() {
	p.Offline()
	close(p.done)
	<-p.ended
}

func (p *Person) live() {
	defer close(p.ended)
	for {
		p.mu.Lock()
		wants, n := p.wants, p.at
		p.mu.Unlock()
		if wants {
			p.connect(n)
		}
		select {
		case <-p.done:
			return
		case <-p.joined:
		case <-time.After(redial):
		}
	}
}

// connect holds one connection for as long as it lasts.
func (p *Person) connect(n int) {
	phone, err := p.cluster.TryDial(p.User, n, PhoneOptions{Query: p.query, Report: true})
	if err != nil {
		if phone != nil {
			phone.Hang()
		}
		p.mu.Lock()
		p.at = n%p.cluster.size + 1
		p.mu.Unlock()
		return
	}
	p.mu.Lock()
	p.phone = phone
	p.past = append(p.past, phone)
	p.spans = append(p.spans, Span{Node: n, From: time.Now()})
	wants := p.wants
	p.mu.Unlock()
	if !wants {
		_ = phone.conn.Close()
	}
	<-phone.done
	_ = phone.conn.Close()
	p.mu.Lock()
	p.phone = nil
	p.spans[len(p.spans)-1].To = time.Now()
	p.at = n%p.cluster.size + 1
	p.mu.Unlock()
}

// Connected reports whether the person holds a socket.
func (p *Person) Connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phone != nil
}

// Heard returns every frame that the person's phones received, in order.
func (p *Person) Heard() []Frame {
	p.mu.Lock()
	past := p.past
	p.mu.Unlock()
	var all []Frame
	for _, phone := range past {
		all = append(all, phone.Heard("")...)
	}
	return all
}

// gone returns when the app ended its connection for good, if it did.
func (p *Person) gone() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wants || p.phone != nil || len(p.hung) == 0 {
		return time.Time{}, false
	}
	return p.hung[len(p.hung)-1], true
}

// steady reports whether the person held sockets throughout a time, with no
// gap above limit. Time at a node that bad reports as out of order counts as a
// gap; so does what the app closed itself.
func (p *Person) steady(from, to time.Time, limit time.Duration, bad func(node int, from, to time.Time) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hung {
		if h.After(from) && h.Before(to) {
			return false
		}
	}
	reached := from
	for _, s := range p.spans {
		end := s.To
		if end.IsZero() || end.After(to) {
			end = to
		}
		if end.Before(from) || s.From.After(to) {
			continue
		}
		if s.From.Sub(reached) > limit {
			return false
		}
		if bad(s.Node, s.From, end) {
			return false
		}
		reached = end
	}
	return to.Sub(reached) <= limit
}

// held reports whether one and the same socket stood throughout a time.
func (p *Person) held(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.spans, func(s Span) bool {
		return !s.From.After(from) && (s.To.IsZero() || !s.To.Before(to))
	})
}

func (p *Person) String() string { return fmt.Sprintf("user %d", p.User) }
