package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/client"
	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// workers is how many operations one process has under way at most, queued
	// how many more may wait beside one for each user. Beyond that they are
	// refused, and counted.
	workers = 128
	queued  = 1 << 14
	// maxHeard bounds the departures that one process remembers, maxFalse the
	// users falsely declared lost, maxNotes the kinds of errors it quotes.
	maxHeard = 200_000
	maxFalse = 100_000
	maxNotes = 20
	// enterTries is how often a user tries to get into its room.
	enterTries = 10
	enterPause = 500 * time.Millisecond
)

// swarm is the users of one process.
type swarm struct {
	// set by newSwarm
	set       *settings
	scenario  scenario
	index, of int
	rec       *recorder
	phones    []*phone
	api       *backend.Client
	http      *http.Client
	pacer     *client.Pacer
	pool      *pool // of the scenario's operations
	entries   *pool // of entries after a connection, which must not hold those up
	closing   atomic.Bool
	// audience is there in place of phones where the load is the chat pipeline's.
	audience *audience

	// killed is when the node was, in Unix nanoseconds; 0 before.
	killed atomic.Int64

	// guarded by mu
	mu        sync.Mutex
	heard     []heard
	unheard   int64 // departures beyond maxHeard
	falsely   map[protocol.UserID]bool
	recovered map[string]time.Duration
	notes     map[string]int64
}

// heard is a departure that a relay was told of.
type heard struct {
	User protocol.UserID
	At   time.Time
	Call bool
	ID   protocol.DepartureID
}

// newSwarm makes the share of process index of so many.
func newSwarm(set *settings, index, of int) (*swarm, error) {
	s := &swarm{
		set: set, scenario: scenarios[set.Scenario], index: index, of: of, rec: newRecorder(scenarios[set.Scenario].main, set.Duration), pacer: client.NewPacer(), pool: newPool(workers, queued), entries: newPool(workers, queued+set.Clients/of),
		falsely: make(map[protocol.UserID]bool), recovered: make(map[string]time.Duration), notes: make(map[string]int64),
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		MaxIdleConnsPerHost: workers, MaxConnsPerHost: workers, IdleConnTimeout: 30 * time.Second,
	}
	s.http = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var err error
	// A key would have the room remember it, which a backend that publishes does
	// not ask of it. So there is one attempt.
	s.api, err = backend.New(backend.Config{URLs: set.API, Key: set.APIKey, Attempts: 1, HTTPClient: &http.Client{Transport: transport.Clone(), Timeout: 10 * time.Second}})
	if err != nil {
		return nil, err
	}
	if s.scenario.chat {
		s.audience, err = newAudience(s)
		return s, err
	}
	for i := index; i < set.Clients; i += of {
		p, err := newPhone(s, i)
		if err != nil {
			return nil, err
		}
		s.phones = append(s.phones, p)
	}
	return s, nil
}

// dial opens a client's connection, from one of several addresses where one has
// too few ports.
func (s *swarm) dial(ctx context.Context, number int, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: -1}
	if s.set.Sources > 1 {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+number%s.set.Sources))}
		d.Control = bindLate
	}
	return d.DialContext(ctx, network, address)
}

// run keeps the swarm's clients until ctx ends.
func (s *swarm) run(ctx context.Context) {
	defer s.pool.close()
	defer s.entries.close()
	if s.audience != nil {
		s.audience.run(ctx)
		return
	}
	pacing, stop := context.WithCancel(context.Background())
	var pacer, running sync.WaitGroup
	pacer.Go(func() { _ = s.pacer.Run(pacing) }) // it ends without an error
	start := time.Now()
	for k, p := range s.phones {
		due := start.Add(time.Duration(float64(k*s.of+s.index) / s.set.ConnectRate * float64(time.Second)))
		if !sleepUntil(ctx, due) {
			break
		}
		running.Go(func() { p.run(ctx) })
	}
	<-ctx.Done()
	running.Wait()
	stop()
	pacer.Wait()
}

// ready returns nil once all users that are to be there are connected and in
// their rooms, or says how many are not when ctx ends.
func (s *swarm) ready(ctx context.Context) error {
	for {
		in, want := 0, 0
		if s.audience != nil {
			in, want = s.audience.watching(), len(s.audience.viewers)
		}
		for _, p := range s.phones {
			p.mu.Lock()
			if !p.away {
				want++
				if p.online && p.room != "" {
					in++
				}
			}
			p.mu.Unlock()
		}
		if in == want {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(50*time.Millisecond)) {
			return fmt.Errorf("%d of %d users are connected and in their rooms; %s", in, want, s.quote())
		}
	}
}

// sleepUntil reports false when ctx ended before.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// enter puts a user into the room where it wants to be, as its backend does.
func (s *swarm) enter(p *phone, due time.Time) {
	ok := s.entries.try(func() { s.enterNow(p, due) })
	if !ok {
		s.rec.count(cRefused, 1)
		s.note("enter", errTooMany)
	}
}

var errTooMany = errors.New("too many operations are under way")

// enterNow tries until the user is in, or has lost its connection, which begins
// anew with the next one.
func (s *swarm) enterNow(p *phone, due time.Time) {
	for range enterTries {
		p.mu.Lock()
		online, room := p.online, p.home
		p.mu.Unlock()
		if !online || s.closing.Load() {
			return
		}
		entry := backend.Entry{Profile: protocol.Profile{Nickname: stamped(due, 0)}, Quiet: s.rec.start.Load() == 0 || !s.scenario.told}
		_, err := s.api.Enter(context.Background(), protocol.RoomID(room), p.user, entry)
		if err == nil {
			now := time.Now()
			s.rec.took(mEnter, due, now)
			s.rec.count(cEntered, 1)
			p.entered(room, now)
			return
		}
		s.failed("enter", err)
		time.Sleep(enterPause/2 + rand.N(enterPause))
	}
}

// failed counts an operation that failed, and keeps a sample of why.
func (s *swarm) failed(what string, err error) {
	if s.closing.Load() {
		return
	}
	s.rec.count(cErrors, 1)
	s.note(what, err)
}

func (s *swarm) note(what string, err error) {
	text := fmt.Sprintf("%s: %v", what, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.notes[text]; known || len(s.notes) < maxNotes {
		s.notes[text]++
	} else {
		s.notes["others"]++
	}
}

// quote returns the most frequent note.
func (s *swarm) quote() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, most := "no error was seen", int64(0)
	for text, n := range s.notes {
		if n > most {
			best, most = fmt.Sprintf("%d times %s", n, text), n
		}
	}
	return best
}

// told remembers a departure that a relay was told of.
func (s *swarm) told(h heard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heard) >= maxHeard {
		s.unheard++
		return
	}
	s.heard = append(s.heard, h)
}

func (s *swarm) falseExit(user protocol.UserID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.falsely) < maxFalse {
		s.falsely[user] = true
	}
}

// reached notes that a room got a message that was due after the kill.
func (s *swarm) reached(room string, due, now time.Time) {
	killed := s.killed.Load()
	if killed == 0 || due.UnixNano() < killed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.recovered[room]; !known {
		s.recovered[room] = now.Sub(time.Unix(0, killed))
	}
}

// local returns a user of this process, nil for others.
func (s *swarm) local(user protocol.UserID) *phone {
	n := int(int64(user) - s.set.FirstUser)
	if n < 0 || n >= s.set.Clients || n%s.of != s.index {
		return nil
	}
	return s.phones[n/s.of]
}

// free reserves a user who is connected, in a room and not being moved, nil if
// there is hardly one.
func (s *swarm) free() *phone {
	for range 16 {
		if p := s.phones[rand.IntN(len(s.phones))]; p.take() {
			return p
		}
	}
	return nil
}

// freePair reserves two users who are next to each other, nil if there are
// hardly such.
func (s *swarm) freePair() (caller, receiver *phone) {
	for range 16 {
		i := rand.IntN(len(s.phones) / 2)
		caller, receiver := s.phones[2*i], s.phones[2*i+1]
		if !caller.take() {
			continue
		}
		if receiver.take() {
			return caller, receiver
		}
		caller.give()
	}
	return nil, nil
}

// anyone returns a user who is connected and in a room, nil if there is hardly
// one.
func (s *swarm) anyone() *phone {
	for range 16 {
		if p := s.phones[rand.IntN(len(s.phones))]; p.where() != "" {
			return p
		}
	}
	return nil
}
