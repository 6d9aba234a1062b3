//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// actions is how many things people do a second, together.
	actions = 20
	// reserve is which part of the people come while the story goes on.
	reserve = 10
	// seats is how many of a room's are taken.
	seats = 8
	// departureLimit is how long a departure may take to be told under faults
	// before it counts as lost.
	departureLimit = 60 * time.Second
	// notices is how many frames a second the backend sends to single users.
	notices = 20
)

// life is what people do while servers die: they come, change rooms, sit down,
// call each other and vanish.
type life struct {
	// set by settleIn
	lab       *lab
	residents []*resident
	by        map[protocol.UserID]*resident
	waiting   chan *resident // who have not come yet
	outage    time.Duration  // for how long Redis will be away at most

	running                      sync.WaitGroup
	came, moves, sits, called    atomic.Int64
	hungUp, vanished, unanswered atomic.Int64

	// guarded by mu
	mu      sync.Mutex
	leavers []leaver
	numbers int
}

// leaver is a resident who vanished, and where from.
type leaver struct {
	*resident
	at    time.Time
	room  protocol.RoomID
	party *resident // in a call with it
}

// settleIn brings the people in, but for those who come later.
func (l *lab) settleIn(ctx context.Context) (*life, error) {
	lf := &life{lab: l, by: map[protocol.UserID]*resident{}, waiting: make(chan *resident, len(l.swarm.people))}
	s := l.swarm
	ctx, s.end = context.WithCancel(ctx)
	s.running.Go(func() { _ = s.pacer.Run(ctx) }) // it ends without an error
	var g errgroup.Group
	g.SetLimit(calls)
	for n, p := range s.people {
		r := &resident{person: p}
		p.hears = r.hears
		lf.residents, lf.by[p.user] = append(lf.residents, r), r
		if n%reserve == reserve-1 {
			lf.waiting <- r
			continue
		}
		g.Go(func() error { return lf.come(ctx, r) })
	}
	return lf, g.Wait()
}

// come connects a resident and puts it into its room.
func (lf *life) come(ctx context.Context, r *resident) error {
	if err := r.begins(ctx, lf.lab.swarm); err != nil {
		return err
	}
	now := time.Now()
	r.enters(r.person.room, now)
	_, err := lf.lab.swarm.api.Enter(ctx, r.person.room, r.user, backend.Entry{Quiet: true})
	r.entered(err, time.Now())
	r.mu.Lock()
	r.here = true
	r.mu.Unlock()
	lf.came.Add(1)
	return err
}

// run has people do things until ctx ends; what was begun is finished.
func (lf *life) run(ctx context.Context, clients context.Context) {
	defer lf.running.Wait()
	lf.running.Go(func() { lf.lab.swarm.announce(ctx, lf.lab.rate/4, "") })
	lf.running.Go(func() { lf.notify(ctx) })
	var g errgroup.Group
	g.SetLimit(calls)
	lf.lab.swarm.paced(ctx, actions, func() {
		g.Go(func() error {
			lf.act(clients)
			return nil
		})
	})
	_ = g.Wait() // they fail by themselves
}

// runFor has people do things for a while.
func (lf *life) runFor(d time.Duration, clients context.Context) {
	ctx, end := context.WithTimeout(clients, d)
	defer end()
	lf.run(ctx, clients)
}

// notify sends frames to single users, who are named in them.
func (lf *life) notify(ctx context.Context) {
	lf.lab.swarm.paced(ctx, notices, func() {
		r := lf.residents[rand.IntN(len(lf.residents))]
		lf.running.Go(func() {
			_, _ = lf.lab.swarm.api.Notify(context.WithoutCancel(ctx), r.user, map[string]any{"action": probeAction, "user_id": r.user}) // who is away is no fault
		})
	})
}

// act has somebody do something. A change that was begun is finished.
func (lf *life) act(ctx context.Context) {
	r := lf.residents[rand.IntN(len(lf.residents))]
	if !r.take() {
		return
	}
	defer r.release()
	switch n := rand.IntN(100); {
	case n < 90:
		lf.change(ctx, r, n)
	default:
		lf.vanish(ctx, r)
		select {
		case next := <-lf.waiting:
			if err := lf.come(ctx, next); err != nil {
				lf.failed(err, next)
			}
		default:
		}
	}
}

// change has a resident do one thing of the backend's, by a number below 90.
func (lf *life) change(ctx context.Context, r *resident, n int) {
	switch {
	case n < 35:
		lf.move(ctx, r)
	case n < 60:
		lf.sit(ctx, r)
	case n < 80:
		lf.call(ctx, r)
	default:
		lf.hangUp(ctx, r)
	}
}

// failed notes that a call came to no answer, so that nobody knows what it did.
// What the cluster refused did nothing.
func (lf *life) failed(err error, rs ...*resident) (refused bool) {
	if said, ok := errors.AsType[*backend.Error](err); ok && said.Status < 500 {
		return true
	}
	lf.unanswered.Add(1)
	lf.lab.swarm.failed(err)
	for _, r := range rs {
		r.doubt()
	}
	return false
}

func (lf *life) move(ctx context.Context, r *resident) {
	to := lf.lab.swarm.rooms[rand.IntN(len(lf.lab.swarm.rooms))][0].room
	r.mu.Lock()
	same := r.room() == to
	r.mu.Unlock()
	if same {
		return // who comes again keeps the seat
	}
	r.enters(to, time.Now())
	_, err := lf.lab.swarm.api.Enter(ctx, to, r.user, backend.Entry{Quiet: true})
	r.entered(err, time.Now())
	if err != nil {
		lf.failed(err, r)
		return
	}
	lf.moves.Add(1)
}

func (lf *life) sit(ctx context.Context, r *resident) {
	r.mu.Lock()
	room, seat := r.room(), 1+rand.IntN(seats)
	r.mu.Unlock()
	if room == "" {
		return
	}
	answer, err := lf.lab.swarm.api.Up(ctx, room, seat, r.user)
	if err != nil {
		lf.failed(err, r)
		return
	}
	if !answer.Durable() {
		r.doubt() // the cluster said that it may be forgotten
	}
	r.mu.Lock()
	r.seat, r.sat = seat, time.Now()
	r.mu.Unlock()
	lf.sits.Add(1)
}

func (lf *life) call(ctx context.Context, r *resident) {
	other := lf.residents[rand.IntN(len(lf.residents))]
	if other == r || !other.take() {
		return
	}
	defer other.release()
	lf.mu.Lock()
	if r.party != nil || other.party != nil {
		lf.mu.Unlock()
		return
	}
	lf.numbers++
	c := &call{no: fmt.Sprintf("live-%d", lf.numbers), parties: [2]*resident{r, other}}
	for _, p := range c.parties {
		p.party = c
	}
	lf.mu.Unlock()
	if _, err := lf.lab.swarm.api.StartCall(ctx, c.no, r.user, other.user); err != nil {
		if lf.failed(err, r, other) {
			lf.over(c)
		}
		return
	}
	lf.called.Add(1)
}

// over notes that a call has ended.
func (lf *life) over(c *call) {
	lf.mu.Lock()
	defer lf.mu.Unlock()
	for _, p := range c.parties {
		if p.party == c {
			p.party = nil
		}
	}
}

func (lf *life) hangUp(ctx context.Context, r *resident) {
	lf.mu.Lock()
	c := r.party
	lf.mu.Unlock()
	if c == nil || c.parties[0] != r {
		return
	}
	if !c.parties[1].take() {
		return
	}
	defer c.parties[1].release()
	lf.end(ctx, c)
	lf.hungUp.Add(1)
}

// end ends a call at the backend.
func (lf *life) end(ctx context.Context, c *call) {
	if _, err := lf.lab.swarm.api.EndCall(ctx, c.no); err != nil && !lf.failed(err, c.parties[:]...) {
		return
	}
	lf.over(c)
}

// vanish takes somebody away for good. Its party's backend ends the call once
// that was told.
func (lf *life) vanish(ctx context.Context, r *resident) {
	lf.mu.Lock()
	c := r.party
	lf.mu.Unlock()
	gone := leaver{resident: r}
	if c != nil {
		for _, p := range c.parties {
			if p != r {
				gone.party = p
			}
		}
		if !gone.party.take() {
			return
		}
	}
	r.mu.Lock()
	gone.room = r.room()
	r.mu.Unlock()
	gone.at = r.person.vanish()
	r.ends(gone.at)
	lf.mu.Lock()
	lf.leavers = append(lf.leavers, gone)
	lf.mu.Unlock()
	lf.vanished.Add(1)
	if c == nil {
		return
	}
	lf.running.Go(func() {
		defer gone.party.release()
		_ = within(departureLimit+lf.outage, func() error { // the judge says if it was not
			if lf.lab.swarm.toldOf(r.user, protocol.ActionHangUp).IsZero() {
				return errors.New("not told")
			}
			return nil
		})
		lf.end(ctx, c)
	})
}

// toldOf returns when somebody was first told of a departure, zero for never.
func (s *swarm) toldOf(user protocol.UserID, action protocol.Action) time.Time {
	return s.toldSince(time.Time{}, user, action)
}

// toldSince returns when that was after a moment.
func (s *swarm) toldSince(since time.Time, user protocol.UserID, action protocol.Action) (first time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.departures[user] {
		if t.action == action && t.at.After(since) && (first.IsZero() || t.at.Before(first)) {
			first = t.at
		}
	}
	return first
}
