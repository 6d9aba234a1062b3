//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/internal/chaosreal/lan"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// smallRoom is how many are in a room of the departures, of whom one leaves at
	// a time: whoever is asked to report is there.
	smallRoom = 8
	// faultLimit is the time in which a departure is told that a node's end brings
	// about, silentLimit that of people who are silent, by their last word.
	faultLimit, silentLimit = 20 * time.Second, 21 * time.Second
	// silentBefore is over how long before a node's fault people fall silent. Their
	// last heartbeat is then up to 19 s old, as clients beat every 15 s.
	silentBefore = 4 * time.Second
)

// farewell is one way for many people to leave at once: those of a node that
// fails, or else of a machine.
type farewell struct {
	name       string
	limit      time.Duration
	endPoint   string // of the node that fails, empty for none
	machine    int
	fail, mend func() error
}

// parting is somebody's leave.
type parting struct {
	*person
	since  time.Time // the later of the last word and the fault
	inCall bool
}

// partings has people leave in five ways, many at once, and takes the time from
// the later of their last word and the fault until that is told.
func partings(l *lab) (err error) {
	l.roomSize, l.scattered = smallRoom, true
	if l.lan, err = lan.New(fmt.Sprintf("crowd%d", os.Getpid()), os.Getpid(), phones); err != nil {
		l.figure("nothing is cut off, for want of the right to", err)
	} else {
		l.tidy()
	}
	if err := l.set(3); err != nil {
		return err
	}
	for i, p := range l.swarm.people {
		if l.lan != nil && i%smallRoom == smallRoom-1 {
			p.machine = phones
		}
	}
	if err := l.fill(); err != nil {
		return err
	}
	for _, f := range l.farewells() {
		if err := l.part(f); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return within(settleTime, l.stage.broken)
}

// tidy removes the network also when the program is interrupted.
func (l *lab) tidy() {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupted
		_ = l.lan.Close() // its processes end with this one
		os.Exit(1)
	}()
}

// farewells are the ways to leave.
func (l *lab) farewells() []farewell {
	nodes, of := l.stage.nodes, l.stage.endPointOf
	signal := func(nd *node, s syscall.Signal) func() error {
		return func() error { return nd.cmd.Process.Signal(s) }
	}
	all := []farewell{
		{"node frozen", faultLimit, of(nodes[1]), 0, signal(nodes[1], syscall.SIGSTOP), signal(nodes[1], syscall.SIGCONT)},
		{"node killed", faultLimit, of(nodes[0]), 0, signal(nodes[0], syscall.SIGKILL), func() error {
			<-nodes[0].done
			return l.stage.start(nodes[0])
		}},
		{"people silent", silentLimit, "", 0, nil, nil},
	}
	if l.lan == nil {
		return all
	}
	cut := func(machine int) func() error { return func() error { return l.lan.Cut(machine) } }
	mend := func(machine int) func() error { return func() error { return l.lan.Mend(machine) } }
	return slices.Concat([]farewell{{"node cut off", faultLimit, of(nodes[2]), 0, cut(lastNode), mend(lastNode)}}, all,
		[]farewell{{"people cut off", silentLimit, "", phones, cut(phones), mend(phones)}})
}

// holds reports whether the person's node is the one that fails.
func (f farewell) holds(p *person) bool {
	return f.endPoint != "" && p.connectedTo() == f.endPoint
}

// part plays one farewell and judges it.
func (l *lab) part(f farewell) error {
	inCall, err := l.swarm.inCall()
	if err != nil {
		return err
	}
	leaving := l.swarm.leaving(f, inCall)
	if f.endPoint != "" {
		l.hush(leaving, 2, silentBefore) // the others speak until the fault
	} else {
		l.hush(leaving, 1, 0)
	}
	at := time.Now()
	if f.fail != nil {
		if err := f.fail(); err != nil {
			return err
		}
	}
	for i, p := range leaving {
		leaving[i].since = p.lastWord()
		if f.endPoint != "" {
			leaving[i].since = at
		}
		if !p.hushed.Load() {
			p.vanish()
		}
	}
	l.note("%s: %d leave", f.name, len(leaving))
	took := l.awaitTold(leaving, at.Add(f.limit+5*calm))
	l.explain(leaving)
	l.figure(f.name+", to a departure told", spread(took))
	l.bound(f.name+": the slowest departure", quantile(took, 100), f.limit)
	for _, p := range leaving {
		if p.hushed.Load() {
			p.release()
		}
	}
	if f.mend != nil {
		if err := f.mend(); err != nil {
			return err
		}
	}
	if err := l.stage.settle(); err != nil {
		return err
	}
	if _, err := l.swarm.allOnline(backLimit); err != nil {
		return err
	}
	l.wronglyGone(f, at)
	time.Sleep(5 * calm) // rooms move back
	return l.swarm.enterAgain()
}

// leaving picks one of each room, if somebody stays there to be told.
func (s *swarm) leaving(f farewell, inCall map[protocol.UserID]bool) (list []parting) {
	for n, room := range s.rooms {
		stay := slices.DeleteFunc(slices.Clone(room), (*person).isExcused)
		listens := func(p *person) bool { return !p.isExcused() && p.isOnline() && !f.holds(p) }
		for i := range stay {
			p := stay[(n+i)%len(stay)] // not always who came first
			others := slices.DeleteFunc(slices.Clone(stay), func(other *person) bool { return other == p })
			leaves := p.isOnline() && p.machine == f.machine && (f.endPoint == "" || f.holds(p))
			if leaves && slices.ContainsFunc(others, listens) {
				list = append(list, parting{person: p, inCall: inCall[p.user] && listens(s.people[(int(p.user)-1)^1])})
				break
			}
		}
	}
	return list
}

// inCall asks who is in a call.
func (s *swarm) inCall() (map[protocol.UserID]bool, error) {
	in := map[protocol.UserID]bool{}
	for part := range slices.Chunk(s.people, recordsAtOnce) {
		var ids []protocol.UserID
		for _, p := range part {
			ids = append(ids, p.user)
		}
		users, err := s.api.Users(context.Background(), ids)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			in[u.UserID] = u.CallNo != ""
		}
	}
	return in, nil
}

// enterAgain has the backend put back who came back too late, and end the calls
// that one party has left.
func (s *swarm) enterAgain() error {
	inCall, err := s.inCall()
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(calls)
	for i, p := range s.people {
		if inCall[p.user] && !inCall[s.people[i^1].user] {
			g.Go(func() error {
				_, err := s.api.EndCall(context.Background(), string(p.call))
				return err
			})
		}
		if !p.isExcused() {
			g.Go(func() error {
				_, err := s.api.Enter(context.Background(), p.room, p.user, backend.Entry{Quiet: true})
				return err
			})
		}
	}
	return g.Wait()
}

// hush has every n-th of those who will leave fall silent, over some time.
func (l *lab) hush(leaving []parting, n int, over time.Duration) {
	began := time.Now()
	for i, p := range leaving {
		if i%n == 0 {
			time.Sleep(time.Until(began.Add(over * time.Duration(i) / time.Duration(len(leaving)))))
			p.person.hush()
		}
	}
}

// awaitTold waits until all departures are told that are owed, or it is too late,
// and returns how long that took, in microseconds.
func (l *lab) awaitTold(leaving []parting, until time.Time) *hdrhistogram.Histogram {
	for {
		took := hdrhistogram.New(1, longest, 3)
		var silent []string
		for _, p := range leaving {
			for _, action := range p.owes() {
				at := l.swarm.toldSince(p.since, p.user, action)
				if at.IsZero() {
					silent = append(silent, fmt.Sprintf("%s of user %d, room %s", action, p.user, p.room))
					continue
				}
				_ = took.RecordValue(min(max(1, at.Sub(p.since).Microseconds()), longest)) // within the bounds
			}
		}
		if len(silent) == 0 {
			return took
		}
		if time.Now().After(until) {
			l.fault("%d departures are not told, such as %q", len(silent), silent[:min(maxStories, len(silent))])
			return took
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// explain notes what is known of those who were not told of.
func (l *lab) explain(leaving []parting) {
	ctx, end := context.WithTimeout(context.Background(), settleTime)
	defer end()
	stories := 0
	for _, p := range leaving {
		for _, action := range p.owes() {
			if !l.swarm.toldSince(p.since, p.user, action).IsZero() || stories == maxStories {
				continue
			}
			stories++
			record, err := l.swarm.once.User(ctx, p.user)
			view, wrong := l.swarm.once.Room(ctx, p.room, "", 100)
			l.note("%s of user %d, silent before: %t, told before: %v; record %+v %v; room %+v %v; %s", action, p.user, p.hushed.Load(),
				l.swarm.toldOf(p.user, action), record, err, view, wrong, p.tale())
			timeline, err := l.swarm.once.Timeline(ctx, p.user)
			l.note("%+v %v", timeline, err)
			for _, mate := range l.swarm.rooms[(int(p.user)-1)/smallRoom] {
				l.note("  mate %d at %s, online %t, gone %t", mate.user, mate.connectedTo(), mate.isOnline(), mate.isExcused())
			}
		}
	}
}

// owes are the frames that tell of the leave.
func (p parting) owes() []protocol.Action {
	if p.inCall {
		return []protocol.Action{protocol.ActionExitRoom, protocol.ActionHangUp}
	}
	return []protocol.Action{protocol.ActionExitRoom}
}

// wronglyGone judges of whose departure was told though they stayed. Who was at a
// node that failed has the crash grace to come back.
func (l *lab) wronglyGone(f farewell, at time.Time) {
	s, late, wrong := l.swarm, 0, 0
	if f.endPoint != "" {
		back := hdrhistogram.New(1, longest, 3)
		for _, p := range s.people {
			if took := p.backAfter(at); took > 0 && !p.isExcused() {
				_ = back.RecordValue(min(took.Microseconds(), longest)) // within the bounds
			}
		}
		l.figure("its people are back after", spread(back))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for user, list := range s.departures {
		p := s.people[user-1]
		if p.isExcused() || !slices.ContainsFunc(list, func(t told) bool { return t.at.After(at) }) {
			continue
		}
		if f.endPoint != "" && p.backAfter(at) > crashGrace {
			late++
			continue
		}
		if wrong++; wrong <= maxStories {
			l.fault("%s: told that user %d has gone: %s", f.name, user, p.tale())
		}
	}
	l.figure("told of who stayed; who came back too late", fmt.Sprintf("%d; %d", wrong, late))
}

// backAfter is how long after a moment the person had a connection again that was
// gone by it or after it.
func (p *person) backAfter(at time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.absences {
		if a.to.After(at) {
			return a.to.Sub(at)
		}
	}
	return 0
}

func (p *person) tale() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.story(time.Time{})
}
