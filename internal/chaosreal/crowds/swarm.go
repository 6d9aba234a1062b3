//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/client"
	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/internal/chaosreal/lan"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// roomSize is how many are in a room by default, callEvery how many of a room there are
	// for each pair of it that is in a call.
	roomSize  = 10
	callEvery = 5
	// joinRate is how many clients a second come when a story begins.
	joinRate = 2500
	// calls is how many calls the backend has under way at most.
	calls = 64
	// asks is how many connections all clients together have to one node's
	// end_point.
	asks = 128
	// longest is the longest time that is told apart, in microseconds.
	longest = 120e6
	// greeter is a publisher that is no user.
	greeter = 1 << 30
	// flooder is another, floodBatch how many it publishes with one call.
	flooder, floodBatch = greeter + 2, 20
	// maxReasons bounds the kinds of failed attempts that are quoted.
	maxReasons = 20
)

// watch is when a note was heard first.
type watch struct{ first atomic.Int64 }

func (w *watch) heardAt(now time.Time) { w.first.CompareAndSwap(0, now.UnixNano()) }

// told is that somebody was told of a departure.
type told struct {
	by     protocol.UserID
	at     time.Time
	action protocol.Action
}

// swarm is everybody.
type swarm struct {
	// set by newSwarm
	endPoints []string
	people    []*person
	rooms     [][]*person
	api       *backend.Client
	once      *backend.Client // the same without a second attempt
	http      *http.Client
	tls       *tls.Config
	pacer     *client.Pacer
	lan       *lan.LAN // nil for this machine alone
	scattered bool     // people ask for a node before they know their room
	end       context.CancelFunc
	running   sync.WaitGroup

	still     sync.RWMutex // locked while nobody shall come back
	delivered atomic.Int64
	flooded   atomic.Int64 // the flooder's last number
	watched   sync.Map     // notes that somebody waits for, to their *watch

	// guarded by mu
	mu         sync.Mutex
	departures map[protocol.UserID][]told
	reasons    map[string]int
	latency    *hdrhistogram.Histogram // microseconds, of what was heard since forget
	answered   []note                  // publications that the backend was told are done
	sent       []note                  // publications that clients gave to the network
}

// newSwarm makes people for the nodes of a stage; none is connected yet.
func newSwarm(st *stage, size, roomSize int, scattered bool) (*swarm, error) {
	s := &swarm{
		endPoints: st.endPoints(), lan: st.lan, scattered: scattered, tls: &tls.Config{InsecureSkipVerify: true}, // our own certificate, on the loopback
		pacer: client.NewPacer(), departures: map[protocol.UserID][]told{}, reasons: map[string]int{},
	}
	s.forget()
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSClientConfig: s.tls,
		MaxIdleConnsPerHost: asks, MaxConnsPerHost: asks, IdleConnTimeout: 30 * time.Second,
	}
	s.http = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	cfg := backend.Config{URLs: st.apis(), Key: apiKey, HTTPClient: backendCalls(), Attempts: 12}
	var err error
	if s.api, err = backend.New(cfg); err != nil {
		return nil, err
	}
	cfg.Attempts = 1
	if s.once, err = backend.New(cfg); err != nil {
		return nil, err
	}
	for n := range size {
		room := protocol.RoomID(fmt.Sprintf("crowd-%d", n/roomSize))
		call := protocol.RoomID("")
		if n/2%callEvery == 0 {
			call = protocol.RoomID(fmt.Sprintf("call-%d", n/2))
		}
		p, err := newPerson(s, n, room, call)
		if err != nil {
			return nil, err
		}
		s.people = append(s.people, p)
		if n%roomSize == 0 {
			s.rooms = append(s.rooms, nil)
		}
		s.rooms[n/roomSize] = append(s.rooms[n/roomSize], p)
	}
	return s, nil
}

// backendCalls is a backend's HTTP client, which may have many calls wait for an
// owner.
func backendCalls() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, MaxIdleConnsPerHost: 1024, IdleConnTimeout: 30 * time.Second,
	}}
}

// dial opens a person's connection from a machine.
func (s *swarm) dial(ctx context.Context, machine int, network, address string) (net.Conn, error) {
	d := client.NewDialer()
	d.Timeout = 10 * time.Second
	if s.lan == nil {
		d.KeepAliveConfig.Enable, d.KeepAlive = false, -1 // this machine does not vanish
	}
	if machine == 0 {
		return d.DialContext(ctx, network, address)
	}
	return s.lan.Dial(ctx, machine, d, network, address)
}

// come has everybody connect, and stay connected until close.
func (s *swarm) come() {
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	s.running.Go(func() { _ = s.pacer.Run(ctx) }) // it ends without an error
	began := time.Now()
	for i, p := range s.people {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / joinRate)))
		s.running.Go(func() { p.run(ctx) })
	}
}

// enter has the backend put everybody where they belong.
func (s *swarm) enter() error {
	ctx := context.Background()
	var g errgroup.Group
	g.SetLimit(calls)
	for i, p := range s.people {
		g.Go(func() error {
			if _, err := s.api.Enter(ctx, p.room, p.user, backend.Entry{Quiet: true}); err != nil {
				return err
			}
			if p.call == "" || i%2 == 1 || i+1 == len(s.people) {
				return nil
			}
			_, err := s.api.StartCall(ctx, string(p.call), p.user, p.user+1)
			return err
		})
	}
	return g.Wait()
}

// greet publishes once to every room and waits until all members have heard
// it: from then on everybody has a place to ask on from.
func (s *swarm) greet(limit time.Duration) error {
	var g errgroup.Group
	g.SetLimit(calls)
	for i, room := range s.rooms {
		g.Go(func() error {
			_, err := s.api.Publish(context.Background(), room[0].room, map[string]any{"action": protocol.ActionSendTopicMsg, "content": newNote(greeter, i+1).text(time.Now())})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	return within(limit, func() error {
		for _, p := range s.people {
			p.mu.Lock()
			deaf := len(p.heard) == 0
			p.mu.Unlock()
			if deaf {
				return fmt.Errorf("user %d of %s does not hear its room", p.user, p.room)
			}
		}
		return nil
	})
}

// close ends all connections.
func (s *swarm) close() {
	if s.end != nil {
		s.end()
		s.running.Wait()
	}
}

// allOnline waits until everybody who has not left for good has a connection,
// and returns how long that took.
func (s *swarm) allOnline(limit time.Duration) (time.Duration, error) {
	began := time.Now()
	for {
		off := 0
		for _, p := range s.people {
			p.mu.Lock()
			if !p.online && !p.gone {
				off++
			}
			p.mu.Unlock()
		}
		took := time.Since(began)
		switch {
		case off == 0:
			return took, nil
		case took > limit:
			return took, fmt.Errorf("%d of %d have no connection after %s; %s", off, len(s.people), limit, s.why())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// online lists who is connected.
func (s *swarm) online() (n int, people []*person) {
	for _, p := range s.people {
		p.mu.Lock()
		if p.online && !p.gone {
			people = append(people, p)
		}
		p.mu.Unlock()
	}
	return len(people), people
}

// arrivals is the distribution of the times from a moment to the connections
// made since, in microseconds.
func (s *swarm) arrivals(since time.Time) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, longest, 3)
	for _, p := range s.people {
		p.mu.Lock()
		if p.opened.After(since) {
			_ = h.RecordValue(min(max(1, p.opened.Sub(since).Microseconds()), longest)) // within the bounds
		}
		p.mu.Unlock()
	}
	return h
}

// talk has random people publish, so many a second together, until ctx ends.
func (s *swarm) talk(ctx context.Context, perSecond int) {
	var g sync.WaitGroup
	defer g.Wait()
	s.paced(ctx, perSecond, func() {
		p := s.people[rand.IntN(len(s.people))]
		g.Go(func() {
			if n, ok := p.say(ctx); ok {
				s.mu.Lock()
				s.sent = append(s.sent, n)
				s.mu.Unlock()
			}
		})
	})
}

// announce has the backend publish to random rooms, until ctx ends. What it is
// refused it repeats, as package backend does.
func (s *swarm) announce(ctx context.Context, perSecond int, padding string) {
	var g errgroup.Group
	g.SetLimit(calls)
	count := 0
	s.paced(ctx, perSecond, func() {
		count++
		n := newNote(0, count)
		room := s.rooms[rand.IntN(len(s.rooms))][0].room
		g.Go(func() error {
			frame := map[string]any{"action": "send_topic_msg", "content": n.text(time.Now()) + padding}
			if _, err := s.api.Publish(context.WithoutCancel(ctx), room, frame); err != nil {
				s.failed(err)
				return nil
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.answered = append(s.answered, n)
			return nil
		})
	})
	_ = g.Wait() // they fail by themselves
}

// flood has the backend publish to random rooms as announce does, many at once
// and without a second try, until ctx ends. It returns how many there were and
// how many the cluster took.
func (s *swarm) flood(ctx context.Context, perSecond int, padding string) (offered, taken int64) {
	var g errgroup.Group
	g.SetLimit(4 * calls)
	var ok atomic.Int64
	s.paced(ctx, max(1, perSecond/floodBatch), func() {
		batch := make([]backend.Publication, 0, floodBatch)
		for range floodBatch {
			offered++
			frame := map[string]any{"action": protocol.ActionSendTopicMsg, "content": newNote(flooder, int(s.flooded.Add(1))).text(time.Now()) + padding}
			batch = append(batch, backend.Publication{RoomID: s.rooms[rand.IntN(len(s.rooms))][0].room, Frame: frame})
		}
		g.Go(func() error {
			results, err := s.api.PublishAll(context.WithoutCancel(ctx), batch)
			if err != nil {
				s.failed(err)
				return nil
			}
			for _, r := range results {
				if r.Err == nil {
					ok.Add(1)
				} else {
					s.failed(r.Err)
				}
			}
			return nil
		})
	})
	_ = g.Wait() // they fail by themselves
	return offered, ok.Load()
}

// paced calls f so often, in an open loop.
func (s *swarm) paced(ctx context.Context, perSecond int, f func()) {
	if perSecond <= 0 {
		return
	}
	gap := time.Second / time.Duration(perSecond)
	for due := time.Now(); ctx.Err() == nil; due = due.Add(gap) {
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		f()
	}
}

// told notes a departure.
func (s *swarm) told(of protocol.UserID, t told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.departures[of] = append(s.departures[of], t)
}

// arrived notes how long a publication took to a member.
func (s *swarm) arrived(took time.Duration) {
	s.delivered.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.latency.RecordValue(min(max(1, took.Microseconds()), longest)) // within the bounds
}

// forget begins a new histogram of latencies and returns the former.
func (s *swarm) forget() *hdrhistogram.Histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	former := s.latency
	s.latency = hdrhistogram.New(1, longest, 3)
	return former
}

// failed notes why an attempt came to nothing.
func (s *swarm) failed(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := err.Error()
	if _, known := s.reasons[text]; known || len(s.reasons) < maxReasons {
		s.reasons[text]++
	}
}

// why quotes the most frequent reason.
func (s *swarm) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, most := "no attempt failed", 0
	for text, n := range s.reasons {
		if n > most {
			best, most = fmt.Sprintf("%d times: %s", n, text), n
		}
	}
	return best
}
