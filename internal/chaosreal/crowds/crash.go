//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// leaveEvery is which part of a dead node's people do not come back.
	leaveEvery = 20
	// goneLimit is how long after a node's death who is gone may be listed.
	goneLimit = 20 * time.Second
	// recoveredLimit is how long rooms may be without an owner, and their people
	// without a connection.
	recoveredLimit = 3 * time.Second
	// hearLimit is how long a publication that was answered may take to be heard
	// before another one is tried.
	hearLimit = 50 * time.Millisecond
)

// outage gathers the figures of several crashes.
type outage struct {
	mu        sync.Mutex
	recovered *hdrhistogram.Histogram // kill to a publication heard
	told      *hdrhistogram.Histogram // kill to a departure told
	silent    int                     // people gone of whom nobody was told
	probes    int                     // publisher of what is published to find out
}

func newOutage() *outage {
	return &outage{recovered: hdrhistogram.New(1, longest, 3), told: hdrhistogram.New(1, longest, 3)}
}

// crash kills each node in turn.
func crash(l *lab) error {
	if err := l.open(3); err != nil {
		return err
	}
	began, o := time.Now(), newOutage()
	for k := range l.timesOr(3) {
		if err := l.kill(o, k%len(l.stage.nodes)); err != nil {
			return fmt.Errorf("crash %d: %w", k+1, err)
		}
	}
	away := l.swarm.absences(began)
	l.figure("kill to a room of the dead node live at its new owner", spread(o.recovered))
	l.figure("a client of the dead node is without a connection", spread(away))
	l.figure("kill to a departure told", spread(o.told))
	l.bound("p99 from the kill to a live room", quantile(o.recovered, 99), recoveredLimit)
	l.bound("p99 without a connection", quantile(away, 99), recoveredLimit)
	l.bound("the slowest departure", quantile(o.told, 100), goneLimit)
	if o.silent > 0 {
		l.fault("%d people are gone and nobody was told", o.silent)
	}
	for _, story := range l.swarm.worst(began, 5) {
		l.note("%s", story)
	}
	v := l.swarm.settled()
	l.figure("publications that a crash lost to somebody", v.missing)
	v.missing, v.firstMiss = 0, "" // they are not promised across a crash
	l.judged(v)
	return l.stage.broken()
}

// kill kills a node, with some of its people, finds out when its rooms live
// again, waits for the departures and starts the node anew.
func (l *lab) kill(o *outage, i int) error {
	nd := l.stage.nodes[i]
	rooms, err := l.roomsOf(nd.args[2])
	if err != nil {
		return err
	}
	there := l.swarm.at(l.stage.endPointOf(nd))
	at := time.Now()
	_ = nd.end(syscall.SIGKILL, readyLimit) // the error is that it was killed
	var leavers []*person
	for k, p := range there {
		if k%leaveEvery == 0 {
			p.vanish()
			leavers = append(leavers, p)
		}
	}
	l.note("node %d killed: %d rooms, %d clients, of whom %d stay away", i+1, len(rooms), len(there), len(leavers))
	var probing sync.WaitGroup
	for _, room := range rooms {
		probing.Go(func() { l.probe(o, room, at) })
	}
	defer probing.Wait()
	if _, err := l.swarm.allOnline(backLimit); err != nil {
		return err
	}
	l.note("everybody connected after %s", time.Since(at).Round(time.Millisecond))
	probing.Wait()
	time.Sleep(time.Until(at.Add(goneLimit + calm)))
	l.swarm.departed(o, leavers, at)
	if err := l.stage.start(nd); err != nil {
		return err
	}
	if err := l.stage.settle(); err != nil {
		return err
	}
	time.Sleep(5 * calm) // rooms move back
	return nil
}

// probe publishes to a room until a publication is heard.
func (l *lab) probe(o *outage, room protocol.RoomID, at time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), backLimit)
	defer cancel()
	for ctx.Err() == nil {
		o.mu.Lock()
		o.probes++
		n := newNote(greeter+1, o.probes)
		o.mu.Unlock()
		var w watch
		l.swarm.watched.Store(n, &w)
		if _, err := l.swarm.api.Publish(ctx, room, map[string]any{"action": protocol.ActionSendTopicMsg, "content": n.text(time.Now())}); err != nil {
			l.swarm.failed(err)
			continue
		}
		_ = within(hearLimit, func() error {
			if w.first.Load() == 0 {
				return context.DeadlineExceeded
			}
			return nil
		})
		if first := w.first.Load(); first != 0 {
			o.mu.Lock()
			_ = o.recovered.RecordValue(min(max(1, time.Unix(0, first).Sub(at).Microseconds()), longest)) // within the bounds
			o.mu.Unlock()
			return
		}
	}
	l.fault("room %s does not live again within %s", room, backLimit)
}

// departed notes when the leavers' departures were told.
func (s *swarm) departed(o *outage, leavers []*person, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range leavers {
		list := s.departures[p.user]
		if len(list) == 0 {
			o.silent++
		}
		for _, t := range list {
			_ = o.told.RecordValue(min(max(1, t.at.Sub(at).Microseconds()), longest)) // within the bounds
		}
	}
}

// roomsOf asks which rooms a node owns.
func (l *lab) roomsOf(node string) (rooms []protocol.RoomID, err error) {
	owners, err := l.owners()
	for room, owner := range owners {
		if owner == protocol.NodeID(node) {
			rooms = append(rooms, room)
		}
	}
	return rooms, err
}

// owners asks which node owns each room.
func (l *lab) owners() (map[protocol.RoomID]protocol.NodeID, error) {
	owners := map[protocol.RoomID]protocol.NodeID{}
	for _, people := range l.swarm.rooms {
		view, err := l.swarm.api.Room(context.Background(), people[0].room, "", 1)
		if err != nil {
			return nil, err
		}
		owners[people[0].room] = view.Node
	}
	return owners, nil
}

// at lists who is connected to an end point.
func (s *swarm) at(endPoint string) (people []*person) {
	for _, p := range s.people {
		p.mu.Lock()
		if p.online && p.endPoint == endPoint {
			people = append(people, p)
		}
		p.mu.Unlock()
	}
	return people
}
