//go:build linux

package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/faac1247/rollcall/protocol"
)

// settleTime is how long clients may take to fetch what they missed once the
// publishing has ended.
const settleTime = 15 * time.Second

// verdict is what the clients' records of a story come to.
type verdict struct {
	published int // publications that at least one member heard
	heard     int // by all members together
	missing   int // publications of a room that a member who was there never heard
	unheard   int // publications answered to the backend that nobody heard
	swallowed int // publications given to a socket that nobody heard
	disorder  int // frames heard out of their order
	exits     int // exit_room told of people who were there
	hangUps   int // hang_up told of them
	expelled  int // people who came back and were not in their room or call
	firstMiss string
	firstTurn string // the first disorder
}

// faults says what is wrong, one line each.
func (v verdict) faults() (list []string) {
	for _, one := range []struct {
		what string
		n    int
	}{
		{"publications missing", v.missing}, {"answered publications that nobody heard", v.unheard}, {"publications out of order", v.disorder},
		{"exit_room of people who were there", v.exits}, {"hang_up of people who were there", v.hangUps}, {"people expelled", v.expelled},
	} {
		if one.n > 0 {
			list = append(list, fmt.Sprintf("%d %s", one.n, one.what))
		}
	}
	if v.firstMiss != "" {
		list = append(list, "the first missing: "+v.firstMiss)
	}
	if v.firstTurn != "" {
		list = append(list, "the first out of order: "+v.firstTurn)
	}
	return list
}

// settled judges until nothing is missing any more, or settleTime has passed.
func (s *swarm) settled() verdict {
	for end := time.Now().Add(settleTime); ; time.Sleep(500 * time.Millisecond) {
		if v := s.judge(); v.missing == 0 && v.unheard == 0 || time.Now().After(end) {
			return v
		}
	}
}

// judge compares what everybody heard. People who have left for good are owed
// nothing, and their departure is right.
func (s *swarm) judge() (v verdict) {
	everything := map[note]bool{}
	for _, room := range s.rooms {
		s.judgeRoom(&v, room, everything)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.answered {
		if !everything[n] {
			v.unheard++
		}
	}
	for _, n := range s.sent {
		if !everything[n] {
			v.swallowed++
		}
	}
	for user, list := range s.departures {
		if s.people[user-1].isExcused() {
			continue
		}
		for _, t := range list {
			if t.action == protocol.ActionHangUp {
				v.hangUps++
			} else {
				v.exits++
			}
		}
	}
	return v
}

// judgeRoom adds one room's records to a verdict, and what was heard in it to
// everything.
func (s *swarm) judgeRoom(v *verdict, room []*person, everything map[note]bool) {
	all := map[note]bool{}
	for _, p := range room {
		p.mu.Lock()
		for _, n := range p.heard {
			all[n] = true
		}
		p.mu.Unlock()
	}
	v.published += len(all)
	for n := range all {
		everything[n] = true
	}
	for _, p := range room {
		p.mu.Lock()
		v.heard += len(p.heard)
		before := v.disorder
		v.disorder += p.disorder
		if len(p.expelled) > 0 && !p.gone && !p.excused {
			v.expelled++
		}
		own, last := map[note]bool{}, map[int]int{}
		for _, n := range p.heard {
			if own[n] || n.publisher() != 0 && n.publisher() < greeter && n.number() <= last[n.publisher()] {
				v.disorder++
				p.went(fmt.Sprintf("number %d of publisher %d came twice or after %d", n.number(), n.publisher(), last[n.publisher()]))
			}
			own[n], last[n.publisher()] = true, n.number()
		}
		if v.disorder > before && v.firstTurn == "" {
			v.firstTurn = fmt.Sprintf("%s; %+v", p.story(time.Time{}), p.client.Stats())
		}
		if !p.gone && !p.excused && len(own) < len(all) {
			v.missing += len(all) - len(own)
			if v.firstMiss == "" {
				v.firstMiss = p.miss(all, own)
			}
		}
		p.mu.Unlock()
	}
}

// miss describes one publication that the person has not heard. The caller
// holds mu.
func (p *person) miss(all, own map[note]bool) string {
	for n := range all {
		if !own[n] {
			return fmt.Sprintf("number %d of publisher %d to %s; %+v", n.number(), n.publisher(), p.story(time.Time{}), p.client.Stats())
		}
	}
	return ""
}

func (p *person) isExcused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone || p.excused
}

// absences is the distribution of the times without a connection since a
// moment, of those who came back, in microseconds.
func (s *swarm) absences(since time.Time) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, longest, 3)
	for _, p := range s.people {
		p.mu.Lock()
		for _, a := range p.absences {
			if !a.to.IsZero() && !a.from.Before(since) {
				_ = h.RecordValue(min(max(1, a.to.Sub(a.from).Microseconds()), longest)) // within the bounds
			}
		}
		p.mu.Unlock()
	}
	return h
}

// worst tells of those who were away the longest since a moment.
func (s *swarm) worst(since time.Time, n int) (stories []string) {
	type absence struct {
		person *person
		span   span
	}
	var all []absence
	for _, p := range s.people {
		p.mu.Lock()
		for _, a := range p.absences {
			if !a.to.IsZero() && !a.from.Before(since) {
				all = append(all, absence{p, a})
			}
		}
		p.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b absence) int { return cmp.Compare(b.span.to.Sub(b.span.from), a.span.to.Sub(a.span.from)) })
	for _, a := range all[:min(n, len(all))] {
		a.person.mu.Lock()
		stories = append(stories, fmt.Sprintf("away for %s: %s", a.span.to.Sub(a.span.from).Round(time.Millisecond), a.person.story(since)))
		a.person.mu.Unlock()
	}
	return stories
}

// quantile of a histogram of microseconds.
func quantile(h *hdrhistogram.Histogram, q float64) time.Duration {
	return (time.Duration(h.ValueAtQuantile(q)) * time.Microsecond).Round(10 * time.Microsecond)
}

// spread writes a histogram down.
func spread(h *hdrhistogram.Histogram) string {
	return fmt.Sprintf("p50 %s, p99 %s, maximum %s, of %d", quantile(h, 50), quantile(h, 99), quantile(h, 100), h.TotalCount())
}
