package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/faac1247/rollcall/client"
	"github.com/faac1247/rollcall/protocol"
)

// scenario is one kind of load.
type scenario struct {
	about string
	// main names the latency that the scenario is about.
	main string
	// rate is how many operations a second there are where the user says nothing.
	rate func(*settings) float64
	// told: those in a room are told who enters.
	told bool
	// chat: the users are viewers of the chat pipeline.
	chat bool
	// drive does the operations of one process until ctx ends or end has come.
	drive func(ctx context.Context, s *swarm, start, end time.Time)
}

// scenarios by name.
var scenarios = map[string]scenario{
	"steady": {
		about: "heartbeats and talk", main: mDeliver, drive: talk,
		rate: func(s *settings) float64 { return max(1, float64(s.Clients)/20) },
	},
	"hotroom": {
		about: "everybody in one room, and talk", main: mDeliver, drive: talk,
		rate: func(*settings) float64 { return 20 },
	},
	"churn": {
		about: "users go from room to room", main: mNotice, told: true, drive: churn,
		rate: func(s *settings) float64 { return max(1, float64(s.Clients)/50) },
	},
	"storm": {
		about: "everybody is cut off at once and comes back", main: mReturn, drive: storm,
		rate: func(s *settings) float64 { return max(1, float64(s.Clients)/50) },
	},
	"calls": {
		about: "calls are started, and a party drops", main: mHangUp, drive: calls,
		rate: func(s *settings) float64 { return max(1, float64(s.Clients)/100) },
	},
	"danmaku": {
		about: "lines through the chat pipeline to everybody", main: mDeliver, chat: true, drive: shout,
		rate: func(*settings) float64 { return 20 },
	},
	"failover": {
		about: "talk, while a node is killed", main: mDeliver, drive: talk,
		rate: func(s *settings) float64 { return float64(min(2*s.Rooms, max(s.Clients, 1))) },
	},
}

func scenarioNames() string {
	var names []string
	for name, s := range scenarios {
		names = append(names, fmt.Sprintf("%s (%s)", name, s.about))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// each paces this process's share of a rate.
func each(ctx context.Context, s *swarm, start, end time.Time, rate float64, do func(due time.Time)) {
	share := rate / float64(s.of)
	// The processes take turns.
	first := start.Add(time.Duration(float64(s.index) / rate * float64(time.Second)))
	pace(ctx, first, end, share, func(_ int, due time.Time) {
		s.try(due, func() { do(due) })
	})
}

// try queues an operation without waiting.
func (s *swarm) try(due time.Time, do func()) {
	ok := s.pool.try(func() {
		s.rec.took(mLag, due, time.Now())
		do()
	})
	if !ok {
		s.rec.count(cRefused, 1)
	}
}

// talk has users say something to their rooms.
func talk(ctx context.Context, s *swarm, start, end time.Time) {
	each(ctx, s, start, end, s.set.Rate, func(due time.Time) { s.say(ctx, due) })
}

func (s *swarm) say(ctx context.Context, due time.Time) {
	p := s.anyone()
	if p == nil {
		s.rec.count(cSkipped, 1)
		return
	}
	room, began := protocol.RoomID(p.where()), time.Now()
	message := client.TopicMsg{Content: stamped(due, s.set.Size), Nickname: "load"}
	var err error
	if s.set.Via == "api" {
		_, err = s.api.Publish(ctx, room, struct {
			Action protocol.Action `json:"action"`
			User   protocol.UserID `json:"user_id"`
			client.TopicMsg
		}{protocol.ActionSendTopicMsg, p.user, message})
	} else {
		err = p.client.SendTopicMsg(ctx, room, message)
	}
	if err != nil {
		s.failed("publish", err)
		return
	}
	s.rec.took(mPublish, began, time.Now())
	s.rec.count(cSent, 1)
}

// churn has users leave their room for another.
func churn(ctx context.Context, s *swarm, start, end time.Time) {
	each(ctx, s, start, end, s.set.Rate, func(due time.Time) {
		p := s.free()
		if p == nil {
			s.rec.count(cSkipped, 1)
			return
		}
		defer p.give()
		former := p.where()
		// Every second one says goodbye first; the others are moved.
		if rand.IntN(2) == 0 {
			began := time.Now()
			if _, err := s.api.Exit(ctx, protocol.RoomID(former), p.user); err != nil {
				s.failed("exit", err)
				return
			}
			s.rec.took(mExit, began, time.Now())
			s.rec.count(cExited, 1)
		}
		p.mu.Lock()
		p.home = s.set.room(rand.IntN(s.set.Rooms))
		p.mu.Unlock()
		s.enterNow(p, due)
	})
}

// storm cuts everybody off at once, some times, while some talk.
func storm(ctx context.Context, s *swarm, start, end time.Time) {
	gap := end.Sub(start) / time.Duration(s.set.Waves+1)
	waves := make(chan struct{})
	go func() {
		defer close(waves)
		for wave := range s.set.Waves {
			if !sleepUntil(ctx, start.Add(gap*time.Duration(wave+1))) {
				return
			}
			for _, p := range s.phones {
				p.cut(time.Now())
			}
		}
	}()
	talk(ctx, s, start, end)
	<-waves
}

// calls starts calls between two users who are next to each other, and cuts one
// of them off; the other one is to get hang_up.
func calls(ctx context.Context, s *swarm, start, end time.Time) {
	if len(s.phones) < 2 {
		return
	}
	each(ctx, s, start, end, s.set.Rate, func(due time.Time) {
		caller, receiver := s.freePair()
		if caller == nil {
			s.rec.count(cSkipped, 1)
			return
		}
		defer caller.give()
		defer receiver.give()
		no := fmt.Sprintf("load-%d-%d", caller.user, due.UnixNano())
		if _, err := s.api.StartCall(ctx, no, caller.user, receiver.user); err != nil {
			s.failed("start call", err)
			return
		}
		s.rec.took(mCall, due, time.Now())
		s.rec.count(cCalls, 1)
		if rand.IntN(2) == 0 {
			caller, receiver = receiver, caller
		}
		caller.cut(time.Now())
	})
}
