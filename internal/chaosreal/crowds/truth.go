//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// recordsAtOnce is how many records one call asks for.
	recordsAtOnce = 1000
	// rostersAtOnce is how many rosters are asked for at a time.
	rostersAtOnce = 16
	// crashGrace is how long somebody may be without a connection and still
	// counts as there.
	crashGrace = 12 * time.Second
	// maxStories bounds what is told of one kind of fault.
	maxStories = 3
)

// truth is what the residents' own record says of the cluster.
type truth struct {
	life       *life
	ghosts     []string // listed or connected by the cluster, and gone
	missing    []string // there, and not where they were put
	apart      []string // roster, seats and record differ
	falseExits []string
	unreported []string
	lostHangUp []string
	stray      []string // frames that were somebody else's
	deaf       []string
	told       *hdrhistogram.Histogram // departure to somebody told, microseconds
	owed       int                     // departures that somebody was there to be told of
	unsure     int                     // residents of whom the record decides
	late       int                     // told of after longer than the crash grace without a connection
}

// judge waits until cluster and residents agree, or the limit has passed, and
// says how long that took.
func (lf *life) judge(ctx context.Context, limit time.Duration) (*truth, time.Duration) {
	began := time.Now()
	for {
		t := &truth{life: lf, told: hdrhistogram.New(1, longest, 3)}
		err := t.places(ctx)
		took := time.Since(began)
		lf.lab.note("after %s: %d ghosts, %d not in place, %d apart; %v", took.Round(time.Millisecond), len(t.ghosts), len(t.missing), len(t.apart), err)
		if err == nil && len(t.ghosts)+len(t.missing)+len(t.apart) == 0 || took > limit {
			if err != nil {
				t.apart = append(t.apart, err.Error())
			}
			return t, took
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// places compares records and rosters with where the residents are.
func (t *truth) places(ctx context.Context) error {
	users, err := t.life.records(ctx)
	if err != nil {
		return err
	}
	at := map[protocol.RoomID]map[protocol.UserID]backend.User{}
	for i, u := range users {
		if u.Err != nil {
			return u.Err
		}
		t.record(t.life.residents[i], u)
		if u.CurrentRoomID != "" {
			room := protocol.RoomID(u.CurrentRoomID)
			if at[room] == nil {
				at[room] = map[protocol.UserID]backend.User{}
			}
			at[room][u.UserID] = u
		}
	}
	lists, err := t.life.lab.swarm.rosters(ctx)
	if err != nil {
		return err
	}
	for room, list := range lists {
		t.roster(room, list, at[room])
	}
	return nil
}

// records asks for those of all residents.
func (lf *life) records(ctx context.Context) ([]backend.User, error) {
	users := make([]backend.User, len(lf.residents))
	g, ctx := errgroup.WithContext(ctx)
	for from := 0; from < len(users); from += recordsAtOnce {
		to := min(from+recordsAtOnce, len(users))
		g.Go(func() error {
			ids := make([]protocol.UserID, 0, to-from)
			for _, r := range lf.residents[from:to] {
				ids = append(ids, r.user)
			}
			part, err := lf.lab.swarm.once.Users(ctx, ids)
			copy(users[from:to], part)
			return err
		})
	}
	return users, g.Wait()
}

// rosters asks for those of all rooms, empty where there is no room any more.
func (s *swarm) rosters(ctx context.Context) (map[protocol.RoomID][]protocol.OccupantView, error) {
	var mu sync.Mutex
	lists := make(map[protocol.RoomID][]protocol.OccupantView, len(s.rooms))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(rostersAtOnce)
	for _, people := range s.rooms {
		g.Go(func() error {
			room := people[0].room
			list, err := s.once.Roster(ctx, room)
			if said, ok := errors.AsType[*backend.Error](err); ok && said.Err.Code == protocol.CodeRoomNotFound {
				list, err = nil, nil
			}
			mu.Lock()
			defer mu.Unlock()
			lists[room] = list
			return err
		})
	}
	return lists, g.Wait()
}

// record compares a user's record with what the resident knows.
func (t *truth) record(r *resident, u backend.User) {
	t.life.mu.Lock()
	c := r.party
	t.life.mu.Unlock()
	online, long := r.isOnline(), r.wasLongAway()
	r.mu.Lock()
	defer r.mu.Unlock()
	call := ""
	if c != nil {
		call = c.no
		long = long || c.parties[0].wasLongAway() || c.parties[1].wasLongAway() // who drops out of a call ends it
	}
	gone := !r.left.IsZero()
	switch {
	case gone && (u.Online || u.CurrentRoomID != "" || u.CallNo != ""):
		t.ghosts = append(t.ghosts, fmt.Sprintf("user %d left at %s, the record says %+v", r.user, r.left.Format("05.000"), u))
	case gone || !r.here:
	case !online || !u.Online:
		t.missing = append(t.missing, fmt.Sprintf("user %d is connected: %t, the record says %+v", r.user, online, u))
	case r.unsure || r.acting || long:
		t.unsure++
	case protocol.RoomID(u.CurrentRoomID) != r.room() || u.CallNo != call || u.Seat != r.seat:
		t.missing = append(t.missing, fmt.Sprintf("user %d was put into %s, seat %d, call %q; the record says %+v; was in%s, sat down at %s; %s",
			r.user, r.room(), r.seat, call, u, r.trace(), r.sat.Format("05.000"), r.told()))
	}
}

// roster compares a room's roster with the records that name it.
func (t *truth) roster(room protocol.RoomID, occupants []protocol.OccupantView, want map[protocol.UserID]backend.User) {
	listed := map[protocol.UserID]bool{}
	for _, o := range occupants {
		listed[o.UserID] = true
		u, ok := want[o.UserID]
		switch r := t.life.by[o.UserID]; {
		case r != nil && r.isGone():
			t.ghosts = append(t.ghosts, fmt.Sprintf("user %d has left and is in the roster of %s", o.UserID, room))
		case !ok || u.Seat != o.Seat:
			t.apart = append(t.apart, fmt.Sprintf("room %s lists user %d on seat %d, the record says %+v", room, o.UserID, o.Seat, u))
		}
	}
	for user := range want {
		if !listed[user] {
			t.apart = append(t.apart, fmt.Sprintf("room %s does not list user %d, whose record names it", room, user))
		}
	}
}

func (r *resident) isGone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.left.IsZero()
}

// departures judges what people were told of, and what they were not.
func (t *truth) departures() {
	lf := t.life
	for _, gone := range lf.leavers {
		t.departed(gone, protocol.ActionExitRoom, &t.unreported, func() bool {
			for _, r := range lf.residents {
				if r.user != gone.user && r.throughout(gone.room, gone.at, gone.at.Add(departureLimit)) && r.isOnline() {
					return true
				}
			}
			return false
		})
		if gone.party != nil && gone.party.isOnline() {
			t.departed(gone, protocol.ActionHangUp, &t.lostHangUp, func() bool {
				return !gone.wasLongAway() && !gone.party.wasLongAway() // else the call may have ended before
			})
		}
	}
	s := lf.lab.swarm
	s.mu.Lock()
	defer s.mu.Unlock()
	for user, list := range s.departures {
		for _, told := range list {
			r := lf.by[user]
			if left := r.goneAt(); !left.IsZero() && !told.at.Before(left) {
				continue
			}
			text := fmt.Sprintf("user %d was told of as gone (%s) to user %d at %s; %s", user, told.action, told.by, told.at.Format("05.000"), r.told())
			if r.absentFor(told.at) > crashGrace {
				t.late++
			} else {
				t.falseExits = append(t.falseExits, text)
			}
		}
	}
}

// departed notes when a departure was told, and that it was not where it was
// owed.
func (t *truth) departed(gone leaver, action protocol.Action, lost *[]string, owed func() bool) {
	at := t.life.lab.swarm.toldOf(gone.user, action)
	switch {
	case !at.IsZero():
		t.owed++
		_ = t.told.RecordValue(min(max(1, at.Sub(gone.at).Microseconds()), longest)) // within the bounds
	case owed():
		t.owed++
		*lost = append(*lost, fmt.Sprintf("user %d vanished from %s at %s and nobody got %s", gone.user, gone.room, gone.at.Format("05.000"), action))
	}
}

func (r *resident) goneAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

// told is what the resident went through.
func (r *resident) told() string {
	r.person.mu.Lock()
	defer r.person.mu.Unlock()
	return r.story(time.Time{})
}

// absentFor is how long the person had been without a connection at a moment, or
// was in the absence that it was in.
func (p *person) absentFor(at time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.absences {
		if a.from.Before(at) && (a.to.IsZero() || a.to.Add(border).After(at)) {
			if a.to.IsZero() {
				return time.Since(a.from)
			}
			return a.to.Sub(a.from)
		}
	}
	return 0
}

// listen finds out who does not hear the own room, by publishing to all rooms.
// What is published first may be what tells somebody that the room has a new
// owner, whose state takes its place: the second counts.
func (t *truth) listen(ctx context.Context) {
	for round := range 2 {
		if t.deaf = t.unheard(ctx, round); len(t.deaf) == 0 {
			return
		}
	}
}

// unheard publishes to all rooms and says what was not heard.
func (t *truth) unheard(ctx context.Context, round int) (faults []string) {
	lf := t.life
	sent := map[protocol.RoomID]note{}
	for i, people := range lf.lab.swarm.rooms {
		room := people[0].room
		n := newNote(greeter, round*len(lf.lab.swarm.rooms)+i+1)
		frame := map[string]any{"action": protocol.ActionSendTopicMsg, "content": n.text(time.Now())}
		if _, err := lf.lab.swarm.api.Publish(ctx, room, frame); err != nil {
			said, ok := errors.AsType[*backend.Error](err)
			if !ok || said.Err.Code != protocol.CodeRoomNotFound {
				faults = append(faults, fmt.Sprintf("room %s can't be published to: %v", room, err))
			}
			continue
		}
		sent[room] = n
	}
	var deaf []string
	_ = within(5*time.Second, func() error { // what is left is the answer
		if deaf = lf.deafTo(sent); len(deaf) > 0 {
			return errors.New(deaf[0])
		}
		return nil
	})
	return append(faults, deaf...)
}

// deafTo lists who has not heard what was sent to the own room.
func (lf *life) deafTo(sent map[protocol.RoomID]note) (deaf []string) {
	for _, r := range lf.residents {
		long := r.wasLongAway()
		r.mu.Lock()
		n, ok := sent[r.room()]
		listens := ok && r.here && !r.unsure && !long
		r.mu.Unlock()
		if listens && !r.heardNote(n) {
			deaf = append(deaf, fmt.Sprintf("user %d does not hear its room: %s", r.user, r.told()))
		}
	}
	return deaf
}

// wasLongAway reports whether the person was ever without a connection for
// longer than the crash grace: it is out of its room then, and rightly so.
func (p *person) wasLongAway() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.absences, func(a span) bool { return !a.to.IsZero() && a.to.Sub(a.from) > crashGrace })
}

func (p *person) heardNote(want note) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.heard) - 1; i >= 0; i-- {
		if p.heard[i] == want {
			return true
		}
	}
	return false
}

// finish judges everything once people do nothing any more, and prints it.
func (lf *life) finish(ctx context.Context, limit time.Duration) error {
	l := lf.lab
	t, took := lf.judge(ctx, limit)
	t.listen(ctx)
	t.departures()
	for _, r := range lf.residents {
		r.mu.Lock()
		for _, what := range r.stray {
			t.stray = append(t.stray, fmt.Sprintf("user %d %s; was in%s; %s", r.user, what, r.trace(), r.told()))
		}
		r.mu.Unlock()
	}
	l.figure("came; moved; sat down; called; hung up; vanished", fmt.Sprintf("%d; %d; %d; %d; %d; %d",
		lf.came.Load(), lf.moves.Load(), lf.sits.Load(), lf.called.Load(), lf.hungUp.Load(), lf.vanished.Load()))
	l.figure("calls of the backend without an answer; users in doubt", fmt.Sprintf("%d; %d", lf.unanswered.Load(), t.unsure))
	l.figure("rosters, records and sockets agree after", took.Round(time.Millisecond))
	l.figure("vanished to told of", spread(t.told))
	l.figure("told of after more than the crash grace away", t.late)
	for _, kind := range []struct {
		name string
		list []string
	}{
		{"ghosts", t.ghosts}, {"not where they were put", t.missing}, {"roster and record apart", t.apart}, {"false exits", t.falseExits},
		{"departures unreported", t.unreported}, {"hang_up lost", t.lostHangUp}, {"misdelivered", t.stray}, {"deaf", t.deaf},
	} {
		l.figure(kind.name, len(kind.list))
		for _, one := range kind.list[:min(maxStories, len(kind.list))] {
			l.fault("%s: %s", kind.name, one)
		}
	}
	return errors.Join(within(settleTime, l.stage.broken))
}

// trace tells where the resident was. The caller holds mu.
func (r *resident) trace() string {
	var b strings.Builder
	for _, s := range r.stays {
		fmt.Fprintf(&b, " %s from %s", s.room, s.from.Format("05.000"))
		if !s.to.IsZero() {
			fmt.Fprintf(&b, " to %s", s.to.Format("05.000"))
		}
	}
	return b.String()
}
