//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/client"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// border is how long around a move, a kick or a call's end a frame may still
	// be one of the place before.
	border = 5 * time.Second
	// probeAction is what the backend sends to one user, who is named in it.
	probeAction = protocol.Action("probe")
)

// resident is a person whose place changes, and the truth of it: what the
// backend was answered.
type resident struct {
	*person

	// guarded by life's mu
	party *call

	// guarded by mu
	mu     sync.Mutex
	acting bool // somebody changes its place
	here   bool // connected and placed
	left   time.Time
	stays  []stay // the last one lasts while its to is zero
	seat   int
	sat    time.Time // when it took that seat
	unsure bool      // a call of the backend was never answered: the record decides
	stray  []string
}

// stay is a time in a room.
type stay struct {
	room     protocol.RoomID
	from, to time.Time
}

// covers reports whether a stay may have been under way at a moment.
func (s stay) covers(at time.Time) bool {
	return !at.Before(s.from.Add(-border)) && (s.to.IsZero() || !at.After(s.to.Add(border)))
}

// call is one call of two residents.
type call struct {
	no      string
	parties [2]*resident
}

func (r *resident) room() protocol.RoomID {
	if len(r.stays) == 0 || !r.stays[len(r.stays)-1].to.IsZero() {
		return ""
	}
	return r.stays[len(r.stays)-1].room
}

// enters notes that the resident is being put into a room.
func (r *resident) enters(room protocol.RoomID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stays = append(r.stays, stay{room: room, from: now})
}

// entered notes how that came out.
func (r *resident) entered(err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.stays)
	again := n > 1 && r.stays[n-2].to.IsZero() && r.stays[n-2].room == r.stays[n-1].room
	if err != nil || again { // who enters the own room keeps the seat
		r.stays = r.stays[:n-1]
		return
	}
	if n > 1 && r.stays[n-2].to.IsZero() {
		r.stays[n-2].to = now
	}
	r.seat = 0
}

// ends closes all stays: the resident has gone.
func (r *resident) ends(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.here, r.left = false, now
	for i := range r.stays {
		if r.stays[i].to.IsZero() {
			r.stays[i].to = now
		}
	}
}

// in reports whether the resident was in a room at a moment, as far as anybody
// can say.
func (r *resident) in(room protocol.RoomID, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.stays, func(s stay) bool { return s.room == room && s.covers(at) })
}

// throughout reports whether the resident was in a room all the time.
func (r *resident) throughout(room protocol.RoomID, from, to time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.stays, func(s stay) bool {
		return s.room == room && !s.from.Add(border).After(from) && (s.to.IsZero() || s.to.After(to))
	})
}

// hears is told every frame, and notes what is none of the resident's.
func (r *resident) hears(f client.Frame) {
	now := time.Now()
	why := ""
	switch {
	case f.Action == probeAction && f.User != r.user:
		why = fmt.Sprintf("heard what was for user %d", f.User)
	case f.Room != "" && !f.Room.IsCall() && !r.in(f.Room, now):
		why = fmt.Sprintf("heard %s of room %s, %d/%d, at %s", f.Action, f.Room, f.Epoch, f.Seq, now.Format("05.000"))
	}
	if why == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.unsure {
		r.stray = append(r.stray, why)
	}
}

// begins connects a resident and waits until it is.
func (r *resident) begins(ctx context.Context, s *swarm) error {
	s.running.Go(func() { r.run(ctx) })
	return within(backLimit, func() error {
		if !r.isOnline() {
			return fmt.Errorf("user %d has no connection", r.user)
		}
		return nil
	})
}

// take claims the right to change the resident's place.
func (r *resident) take() bool {
	if !r.isOnline() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.acting || !r.here {
		return false
	}
	r.acting = true
	return true
}

func (r *resident) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acting = false
}

// doubt notes that a change was not answered.
func (r *resident) doubt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsure = true
}
