//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// reconcileLimit is how long after Redis' return rosters, records and sockets
	// may differ from where people are.
	reconcileLimit = 5 * time.Second
	// localLimit is how long a departure may take to be told while Redis is away,
	// in a room whose people are all connected to its owner: one relay that does
	// not report, and a moment.
	localLimit = 6 * time.Second
	// restless is which part of the people have their place changed while Redis is
	// away. That is refused mostly, so that nobody knows where they are.
	restless = 10
	// leavingPart of the people vanish while Redis is away, over its time, but no
	// more than leavingMost a second.
	leavingPart, leavingMost = 3, 20
	// questions is how many rosters, and how many records, are asked for a second.
	questions = 40
	// lively is how long people live before Redis goes, and after it is back.
	lively = 5 * time.Second
)

// absence is a time without Redis.
type absence struct {
	life    *life
	owners  map[protocol.RoomID]string // end points of the rooms' owners
	running sync.WaitGroup

	right, refused, unanswered atomic.Int64 // answers

	// guarded by mu
	mu    sync.Mutex
	wrong []string // answers that are not so
}

// away takes Redis away from a cluster under load, and brings it back with what
// it had written down.
func away(l *lab) error {
	l.stores = oneStore(durable()...)
	if err := l.set(3); err != nil {
		return err
	}
	clients, stop := context.WithCancel(context.Background())
	defer stop()
	lf, err := l.settleIn(clients)
	if err != nil {
		return err
	}
	lives, err := l.stage.lives()
	if err != nil {
		return err
	}
	lf.outage = l.lasts
	lf.runFor(lively, clients)
	a := &absence{life: lf, owners: map[protocol.RoomID]string{}}
	if err := a.locate(); err != nil {
		return err
	}
	s, heard := l.stage.stores[0], l.swarm.delivered.Load()
	if err := s.end(syscall.SIGTERM, storeLimit); err != nil {
		return err
	}
	from, before := time.Now(), len(lf.leavers)
	a.last(clients, l.lasts)
	l.ready()
	to := time.Now()
	l.figure("frames heard meanwhile", l.swarm.delivered.Load()-heard)
	if err := s.start(); err != nil {
		return err
	}
	t, took := lf.judge(clients, agreeLimit)
	l.figure("without Redis; then everything agrees after", fmt.Sprintf("%s; %s", to.Sub(from).Round(time.Millisecond), took.Round(time.Millisecond)))
	l.bound("the time to agree after Redis' return", took, reconcileLimit)
	for _, one := range slices.Concat(t.ghosts, t.missing, t.apart) {
		l.note("%s", one)
	}
	a.running.Wait()
	a.report(lf.leavers[before:], span{from, to})
	lf.runFor(lively, clients)
	l.unharmed(lives)
	return lf.finish(clients, agreeLimit)
}

// ready judges that every node says that it is.
func (l *lab) ready() {
	for _, nd := range l.stage.nodes {
		if _, err := fetch(http.MethodGet, "http://"+nd.admin+"/readyz"); err != nil {
			l.fault("without Redis: %s", err)
		}
	}
}

// locate finds out where rooms are owned.
func (a *absence) locate() error {
	l := a.life.lab
	owners, err := l.owners()
	for room, owner := range owners {
		for _, nd := range l.stage.nodes {
			if protocol.NodeID(nd.args[2]) == owner {
				a.owners[room] = l.stage.endPointOf(nd)
			}
		}
	}
	return err
}

// last passes the time: people publish, vanish and try to change their places,
// and everybody asks. What is under way in the end is left to running.
func (a *absence) last(clients context.Context, lasts time.Duration) {
	lf := a.life
	s := lf.lab.swarm
	ctx, end := context.WithTimeout(clients, lasts)
	a.running.Go(func() { s.announce(ctx, lf.lab.rate/4, "") })
	a.running.Go(func() { lf.notify(ctx) })
	perSecond := min(len(lf.residents)/leavingPart/max(1, int(lasts.Seconds())), leavingMost)
	a.running.Go(func() {
		s.paced(ctx, max(1, perSecond), func() {
			if r := lf.residents[rand.IntN(len(lf.residents))]; !a.moves(r) && r.take() {
				lf.vanish(clients, r)
				r.release()
			}
		})
	})
	a.paced(ctx, actions/4, func() {
		if r := lf.residents[rand.IntN(len(lf.residents))]; a.moves(r) && r.take() {
			lf.change(clients, r, rand.IntN(90))
			r.release()
		}
	})
	a.paced(ctx, questions, func() { a.ask(ctx, a.roster) })
	a.paced(ctx, questions, func() { a.ask(ctx, a.record) })
	<-ctx.Done()
	end()
}

// paced calls f so often, in the background, and not more often at a time than
// the backend calls.
func (a *absence) paced(ctx context.Context, perSecond int, f func()) {
	a.running.Go(func() {
		var g errgroup.Group
		g.SetLimit(calls)
		a.life.lab.swarm.paced(ctx, perSecond, func() {
			g.Go(func() error {
				f()
				return nil
			})
		})
		_ = g.Wait() // they note what fails
	})
}

// moves reports whether the resident's place may be changed meanwhile.
func (a *absence) moves(r *resident) bool { return r.user%restless == 0 }

// ask asks where somebody is whose place is known.
func (a *absence) ask(ctx context.Context, where func(context.Context, *resident, protocol.RoomID) (string, error)) {
	r := a.life.residents[rand.IntN(len(a.life.residents))]
	room := r.settled()
	if room == "" || a.moves(r) {
		return
	}
	wrong, err := where(context.WithoutCancel(ctx), r, room)
	said, isAnswer := errors.AsType[*backend.Error](err)
	switch {
	case r.settled() != room:
	case err == nil && wrong == "":
		a.right.Add(1)
	case isAnswer && said.Status == http.StatusServiceUnavailable:
		a.refused.Add(1)
	case err != nil && !isAnswer:
		a.unanswered.Add(1)
		a.life.lab.swarm.failed(err)
	default:
		a.mu.Lock()
		defer a.mu.Unlock()
		a.wrong = append(a.wrong, fmt.Sprintf("%s at %s: %s%v", room, time.Now().Format("05.000"), wrong, err))
	}
}

// settled is the room that the resident is in without a doubt, empty for none.
func (r *resident) settled() protocol.RoomID {
	online := r.isOnline()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !online || !r.here || r.unsure || r.acting {
		return ""
	}
	return r.room()
}

func (a *absence) roster(ctx context.Context, r *resident, room protocol.RoomID) (wrong string, err error) {
	list, err := a.life.lab.swarm.once.Roster(ctx, room)
	if err != nil || slices.ContainsFunc(list, func(o protocol.OccupantView) bool { return o.UserID == r.user }) {
		return "", err
	}
	return fmt.Sprintf("the roster of %d is without user %d", len(list), r.user), nil
}

func (a *absence) record(ctx context.Context, r *resident, room protocol.RoomID) (wrong string, err error) {
	u, err := a.life.lab.swarm.once.User(ctx, r.user)
	if err != nil || u.Online && protocol.RoomID(u.CurrentRoomID) == room {
		return "", err
	}
	return fmt.Sprintf("the record is %+v", u), nil
}

// report judges what was answered and told meanwhile.
func (a *absence) report(leavers []leaver, without span) {
	l := a.life.lab
	l.figure("answers right; refused; none; wrong", fmt.Sprintf("%d; %d; %d; %d", a.right.Load(), a.refused.Load(), a.unanswered.Load(), len(a.wrong)))
	for _, one := range a.wrong[:min(maxStories, len(a.wrong))] {
		l.fault("wrong answer: %s", one)
	}
	local, mixed := hdrhistogram.New(1, longest, 3), hdrhistogram.New(1, longest, 3)
	for _, gone := range leavers {
		near, far := a.company(gone)
		if gone.at.Add(localLimit).After(without.to) || near == 0 {
			continue
		}
		at := l.swarm.toldOf(gone.user, protocol.ActionExitRoom)
		told := !at.IsZero() && at.Before(without.to)
		h := local
		if far > 0 {
			h = mixed
		}
		switch {
		case told:
			_ = h.RecordValue(min(max(1, at.Sub(gone.at).Microseconds()), longest)) // within the bounds
		case far == 0:
			l.fault("user %d vanished from %s at %s, and nobody was told while Redis was away", gone.user, gone.room, gone.at.Format("05.000"))
		}
	}
	l.figure("vanished to told of, all at the owner", spread(local))
	l.figure("the same with others elsewhere, who are asked too", spread(mixed))
	l.bound("the slowest departure at the owner", quantile(local, 100), localLimit)
}

// company counts who was in the room that somebody left: who stayed connected to
// its owner, and who may have been there and connected elsewhere. It is nobody
// where the leaver was elsewhere too, whose node can't tell the owner.
func (a *absence) company(gone leaver) (near, far int) {
	owner := a.owners[gone.room]
	if gone.connectedTo() != owner {
		return 0, 0
	}
	for _, r := range a.life.residents {
		switch {
		case r.user == gone.user:
		case r.connectedTo() != owner && r.in(gone.room, gone.at):
			far++
		case r.connectedTo() == owner && r.throughout(gone.room, gone.at, gone.at.Add(localLimit)):
			near++
		}
	}
	return near, far
}
