//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// crowdedRoom is how many are in a room of the overload story.
	crowdedRoom = 500
	// frameSize is about how long its publications are.
	frameSize = 200
	// firstRate is where the search for the load that fits begins, tryFor how
	// long each rate is tried, fitting the delay that still fits.
	firstRate, tryFor, fitting = 25, 3 * time.Second, 250 * time.Millisecond
	// tooMuch is how many times the load that fits is offered.
	tooMuch = 10
	// leaveGap is how often somebody goes or is kicked meanwhile.
	leaveGap = 300 * time.Millisecond
	// lateAfter is when a departure told, or a kick, is late: what holds for a
	// client that says nothing any more.
	lateAfter = 20 * time.Second
)

// shed are the metrics of what is not delivered for want of room.
var shed = []string{
	"rollcall_edge_frames_dropped_pending_total", "rollcall_edge_frames_dropped_slow_total", "rollcall_edge_closed_slow_total",
	"rollcall_casts_dropped_total", "rollcall_commands_refused_total",
}

// overload finds the load that fits and offers ten times as much. Meanwhile
// people vanish and are kicked, in and out of calls: all of that has to be told,
// and in time.
func overload(l *lab) error {
	l.roomSize = crowdedRoom
	if err := l.open(3); err != nil {
		return err
	}
	padding := strings.Repeat(" x", frameSize/2)
	fits := l.searchRate(padding)
	l.figure("publications a second that fit; deliveries", fmt.Sprintf("%d; %d", fits, fits*crowdedRoom))
	before, err := l.stage.counted(shed...)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), l.lasts)
	defer stop()
	began, heard := time.Now(), l.swarm.delivered.Load()
	var going sync.WaitGroup
	var leavers departures
	going.Go(func() { l.thinOut(ctx, &leavers) })
	offered, taken := l.swarm.flood(ctx, tooMuch*fits, padding)
	going.Wait()
	took := time.Since(began)
	l.swarm.forget()
	l.figure("publications a second offered; taken", fmt.Sprintf("%.0f; %.0f", float64(offered)/took.Seconds(), float64(taken)/took.Seconds()))
	l.figure("deliveries a second meanwhile", int(float64(l.swarm.delivered.Load()-heard)/took.Seconds()))
	calmed, err := l.calmed(fits, padding)
	if err != nil {
		l.fault("after the load: %v", err)
	} else {
		l.figure("after the load, as fast as before within", calmed.Round(time.Millisecond))
	}
	time.Sleep(graceOver)
	after, err := l.stage.counted(shed...)
	if err != nil {
		return err
	}
	for _, name := range shed {
		l.figure(name, after[name]-before[name])
	}
	l.judgeDepartures(&leavers)
	v := l.swarm.settled()
	l.figure("publications shed to somebody", v.missing)
	v.missing, v.firstMiss, v.unheard = 0, "", 0 // that is what is shed
	l.judged(v)
	if err := l.stage.fallen(); err != nil {
		return err
	}
	return l.stage.broken()
}

// searchRate doubles the rate until publications come late.
func (l *lab) searchRate(padding string) (fits int) {
	fits = firstRate
	for rate := firstRate; ; rate *= 2 {
		l.swarm.forget()
		p99, whole := l.try(rate, padding)
		l.note("%d publications a second: p99 %s, all delivered %t", rate, p99, whole)
		if !whole || p99 > fitting {
			return fits
		}
		fits = rate
	}
}

// try publishes at a rate and returns the delay, and whether all was delivered
// in time.
func (l *lab) try(rate int, padding string) (p99 time.Duration, whole bool) {
	ctx, stop := context.WithTimeout(context.Background(), tryFor)
	defer stop()
	heard := l.swarm.delivered.Load()
	offered, taken := l.swarm.flood(ctx, rate, padding)
	there, _ := l.swarm.online()
	owed := taken * int64(there) / int64(len(l.swarm.rooms)) * 9 / 10 // some leave meanwhile
	whole = taken == offered && within(calm, func() error {
		if l.swarm.delivered.Load()-heard < owed {
			return context.DeadlineExceeded
		}
		return nil
	}) == nil
	return quantile(l.swarm.forget(), 99), whole
}

// calmed returns how long it took until the load that fits is delivered as it
// was before.
func (l *lab) calmed(fits int, padding string) (time.Duration, error) {
	began := time.Now()
	err := within(backLimit, func() error {
		if p99, whole := l.try(fits/2, padding); !whole || p99 > fitting {
			return fmt.Errorf("half the load that fits is still late: p99 %s, all delivered %t", p99, whole)
		}
		return nil
	})
	return time.Since(began) - tryFor, err
}

// departure is somebody who goes, and when.
type departure struct {
	person *person
	at     time.Time
	kicked bool
}

type departures struct {
	kicking sync.WaitGroup
	// guarded by mu
	mu   sync.Mutex
	list []departure
}

func (d *departures) add(one departure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, one)
}

// thinOut has every now and then somebody vanish, and somebody kicked.
func (l *lab) thinOut(ctx context.Context, d *departures) {
	defer d.kicking.Wait()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(leaveGap):
		}
		// The first of each pair goes: who is in a call leaves somebody in it.
		p := l.swarm.people[(i*34)%len(l.swarm.people)]
		if i%2 == 0 {
			d.add(departure{person: p, at: p.vanish()})
			continue
		}
		d.kicking.Go(func() { l.kick(context.WithoutCancel(ctx), d, p) })
	}
}

func (l *lab) kick(ctx context.Context, d *departures, p *person) {
	at := time.Now()
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	if _, err := l.swarm.api.Kick(ctx, p.user, "overload"); err != nil {
		if !p.isOnline() { // it was too slow, and is on its way back
			p.mu.Lock()
			p.gone = false
			p.mu.Unlock()
			return
		}
		l.fault("kick of user %d: %v", p.user, err)
		return
	}
	d.add(departure{person: p, at: at, kicked: true})
}

// judgeDepartures says what was lost, and what late.
func (l *lab) judgeDepartures(d *departures) {
	exits, hangUps, kicks := hdrhistogram.New(1, longest, 3), hdrhistogram.New(1, longest, 3), hdrhistogram.New(1, longest, 3)
	lost := map[protocol.Action]int{}
	record := func(h *hdrhistogram.Histogram, at time.Time, since time.Time) {
		_ = h.RecordValue(min(max(1, at.Sub(since).Microseconds()), longest)) // within the bounds
	}
	for _, gone := range d.list {
		p := gone.person
		l.swarm.mu.Lock()
		first := map[protocol.Action]time.Time{}
		for _, t := range l.swarm.departures[p.user] {
			if f, ok := first[t.action]; !ok || t.at.Before(f) {
				first[t.action] = t.at
			}
		}
		l.swarm.mu.Unlock()
		if at, ok := first[protocol.ActionExitRoom]; ok {
			record(exits, at, gone.at)
		} else {
			lost[protocol.ActionExitRoom]++
		}
		if at, ok := first[protocol.ActionHangUp]; ok && p.call != "" {
			record(hangUps, at, gone.at)
		} else if p.call != "" {
			lost[protocol.ActionHangUp]++
		}
		if !gone.kicked {
			continue
		}
		p.mu.Lock()
		if closed := p.closed; closed.IsZero() {
			lost["kick"]++
		} else {
			record(kicks, closed, gone.at)
		}
		p.mu.Unlock()
	}
	for _, one := range []struct {
		name string
		h    *hdrhistogram.Histogram
	}{{"exit_room told after", exits}, {"hang_up told after", hangUps}, {"a kick ends the connection after", kicks}} {
		l.figure(one.name, spread(one.h))
		l.bound("the latest "+one.name, quantile(one.h, 100), lateAfter)
	}
	for what, n := range lost {
		l.fault("%d %s lost", n, what)
	}
}
