package integ

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// crowd is many users in many rooms, each with a phone that reports.
type crowd struct {
	*cluster
	rooms  map[string][]*phone
	size   int
	former []*phone // what those who came back had before
}

// dialsAtOnce bounds the handshakes that a crowd makes at a time.
const dialsAtOnce = 32

// gather connects size users, each to the node that pick names, and has them
// enter rooms of perRoom. The first of a room is its host, and each sits on a
// seat while there are some.
func (c *cluster) gather(size, perRoom int, pick func(n int, room string) int) *crowd {
	c.tb.Helper()
	all := &crowd{cluster: c, rooms: map[string][]*phone{}, size: size}
	phones := make([]*phone, size)
	rooms := make([]string, size)
	for n := range size {
		if n%perRoom == 0 {
			rooms[n] = newRoom()
		} else {
			rooms[n] = rooms[n-1]
		}
	}
	var g errgroup.Group
	g.SetLimit(dialsAtOnce)
	for n := range size {
		g.Go(func() (err error) {
			phones[n], err = dialPhone(at(c.ports[pick(n, rooms[n])].listen), newUser(), phoneOptions{report: true})
			return err
		})
	}
	err := g.Wait()
	for n, p := range phones {
		if p != nil {
			c.tb.Cleanup(p.hang)
			all.rooms[rooms[n]] = append(all.rooms[rooms[n]], p)
		}
	}
	if err != nil {
		c.tb.Fatalf("gather %d users: %v", size, err)
	}
	// A room's first is its host, and is there before the others.
	for first := range perRoom {
		for room, members := range all.rooms {
			if first < len(members) {
				g.Go(func() error { return all.seat(room, members[first], first) })
			}
		}
		if err := g.Wait(); err != nil {
			c.tb.Fatalf("gather %d users: %v", size, err)
		}
	}
	return all
}

// seat has the n-th member of a room enter and sit down.
func (a *crowd) seat(room string, p *phone, n int) error {
	role := "audience"
	if n == 0 {
		role = "host"
	}
	i := a.numbers()[n%len(a.numbers())]
	if _, err := a.request("PUT", i, fmt.Sprintf("/v1/rooms/%s/occupants/%d", room, p.user), fields{"role": role}, nil); err != nil {
		return err
	}
	if n >= 8 {
		return nil
	}
	_, err := a.request("PUT", i, fmt.Sprintf("/v1/rooms/%s/seats/%d", room, n+1), fields{"user_id": p.user}, nil)
	return err
}

// each calls f for every member of every room.
func (a *crowd) each(f func(room string, n int, p *phone)) {
	for room, members := range a.rooms {
		for n, p := range members {
			f(room, n, p)
		}
	}
}

// comeBack connects a user anew as an app does: it asks the nodes that run
// where to go, and goes there, until it is in.
func (n *nodes) comeBack(former *phone) (*phone, error) {
	var p *phone
	err := poll(20*time.Second, func() error {
		var reasons []error
		for _, i := range n.numbers() {
			e, err := n.endPoint(i, url.Values{"sid": {former.sid}})
			if err == nil && e.ErrorCode != 0 {
				err = errors.New(e.ErrorReason)
			}
			if err == nil {
				p, err = dialPhone(strings.TrimPrefix(e.EndPoint, "ws://"), former.user, former.opts)
			}
			if err == nil {
				return nil
			}
			reasons = append(reasons, err)
		}
		return errors.Join(reasons...)
	})
	if err != nil {
		return nil, fmt.Errorf("user %d does not get back in: %w", former.user, err)
	}
	return p, nil
}

// bringBack has users come back, all at once, in the place of their former
// phones.
func (a *crowd) bringBack(away map[*phone]bool) {
	a.tb.Helper()
	var g errgroup.Group
	g.SetLimit(dialsAtOnce)
	back := map[*phone]*phone{}
	added := make(chan [2]*phone, len(away))
	for former := range away {
		g.Go(func() error {
			p, err := a.comeBack(former)
			if err == nil {
				added <- [2]*phone{former, p}
			}
			return err
		})
	}
	err := g.Wait()
	close(added)
	for pair := range added {
		back[pair[0]] = pair[1]
		a.tb.Cleanup(pair[1].hang)
	}
	if err != nil {
		a.tb.Fatal(err)
	}
	for _, members := range a.rooms {
		for n, p := range members {
			if now := back[p]; now != nil {
				members[n] = now
				a.former = append(a.former, p)
			}
		}
	}
}

// departures counts, by the user who left, the exit_room frames that those who
// are or were in the user's room heard.
func (a *crowd) departures() map[int][]frame {
	heard := map[int][]frame{}
	note := func(p *phone) {
		for _, f := range p.heard("exit_room") {
			heard[f.number("user_id")] = append(heard[f.number("user_id")], f)
		}
	}
	a.each(func(_ string, _ int, p *phone) { note(p) })
	for _, p := range a.former {
		note(p)
	}
	return heard
}

// exact is nil if every room's roster and seats, by every node's word, are
// those whose phones are connected, and their records say the same.
func (a *crowd) exact(gone map[*phone]bool) error {
	for room, members := range a.rooms {
		for _, i := range a.numbers() {
			r, err := a.room(i, room)
			if err != nil {
				return err
			}
			live := 0
			for n, p := range members {
				seat := r.seatOf(p.user)
				switch {
				case gone[p] && seat >= 0:
					return fmt.Errorf("node %d: room %s has user %d, who is gone", i, room, p.user)
				case gone[p]:
					continue
				case seat < 0:
					return fmt.Errorf("node %d: room %s is without user %d, who is there", i, room, p.user)
				case n < 8 && (seat != n+1 || r.sitter(n+1) != p.user):
					return fmt.Errorf("node %d: room %s: user %d sits on %d, want %d", i, room, p.user, seat, n+1)
				}
				live++
			}
			if r.Count != live || len(r.Occupants) != live {
				return fmt.Errorf("node %d: room %s counts %d and lists %d, want %d", i, room, r.Count, len(r.Occupants), live)
			}
		}
	}
	return a.records(gone)
}

// records is nil if every user's record says whether it is connected, and
// where it is.
func (a *crowd) records(gone map[*phone]bool) (err error) {
	i := a.numbers()[0]
	a.each(func(room string, _ int, p *phone) {
		u, asked := a.user(i, p.user)
		switch {
		case err != nil:
		case asked != nil:
			err = asked
		case gone[p] && (u.Online || u.CurrentRoomID != ""), !gone[p] && (!u.Online || u.CurrentRoomID != room):
			err = fmt.Errorf("user %d of room %s (gone: %t) is %+v", p.user, room, gone[p], u)
		}
	})
	return err
}

// undisturbed is nil unless somebody heard of a departure or lost its
// connection.
func (a *crowd) undisturbed() (err error) {
	if heard := a.departures(); len(heard) > 0 {
		return fmt.Errorf("%d departures heard", len(heard))
	}
	a.each(func(_ string, _ int, p *phone) {
		if gone := p.gone(); gone != nil {
			err = fmt.Errorf("user %d lost its connection: %w", p.user, gone)
		}
	})
	return err
}

// heavy keeps tests that load the machine from running at the same time.
var heavy = make(chan struct{}, 1)

// alone waits until no other heavy test runs.
func alone(tb testing.TB) {
	heavy <- struct{}{}
	tb.Cleanup(func() { <-heavy })
}
