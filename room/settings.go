package room

import (
	"cmp"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// settings are a room's own, as far as they differ from the defaults.
type settings struct {
	// configured: somebody set the room up; it outlives its last occupant.
	configured bool
	seats      int // 0 for the default
	channel    string
	keepEmpty  *time.Duration
	// closed and muted are the seats that are.
	closed, muted map[int]bool

	emptySince time.Time // zero while somebody is there
	alarm      alarm

	// changed: the journal has to hear of it; stored: it has an entry.
	changed, stored bool
}

// clear makes the settings those of a room that was never there.
func (t *settings) clear() {
	*t = settings{stored: t.stored, changed: t.stored, alarm: t.alarm}
}

// worthStoring reports whether the settings differ from those of a new room.
func (t *settings) worthStoring() bool {
	return t.configured || len(t.closed)+len(t.muted) > 0
}

// seatCount returns the number of seats; calls have none.
func (r *Room) seatCount() int {
	if r.id.IsCall() {
		return 0
	}
	return cmp.Or(r.settings.seats, r.cfg.Seats)
}

// channelName returns what frames about an occupant name the room.
func (r *Room) channelName(o *occupant) string {
	return cmp.Or(r.settings.channel, o.profile.ChannelName)
}

// configure changes the settings that the command names, and makes the room if
// it is not there.
func (s *step) configure(cmd *protocol.Command) error {
	if s.id.IsCall() {
		return protocol.Errorf(protocol.CodeBadRequest, "a call has no settings")
	}
	set := cmd.Settings
	if set == nil {
		return protocol.Errorf(protocol.CodeBadRequest, "no settings are given")
	}
	if err := s.checkSettings(set); err != nil {
		return err
	}
	t := &s.settings
	t.configured, t.changed = true, true
	if set.Seats != nil {
		t.seats = *set.Seats
		for _, seats := range []map[int]bool{t.closed, t.muted} {
			for n := range seats {
				if n > t.seats {
					delete(seats, n)
				}
			}
		}
	}
	if set.ChannelName != nil {
		t.channel = *set.ChannelName
	}
	if set.KeepEmpty != nil {
		keep := *set.KeepEmpty
		t.keepEmpty = &keep
	}
	return nil
}

func (r *Room) checkSettings(set *protocol.Settings) error {
	if set.Seats != nil {
		if *set.Seats < 1 || *set.Seats > maxSeats {
			return protocol.Errorf(protocol.CodeBadRequest, "a room can't have %d seats, only 1 to %d", *set.Seats, maxSeats)
		}
		for n := *set.Seats + 1; n <= r.seatCount(); n++ {
			if o := r.seated[n]; o != nil {
				return protocol.Errorf(protocol.CodeSeatTaken, "user %d sits on seat %d, which would not be there any more", o.user, n)
			}
		}
	}
	if set.ChannelName != nil && len(*set.ChannelName) > maxChannelName {
		return protocol.Errorf(protocol.CodeTooLarge, "channel name has %d bytes, at most %d are allowed", len(*set.ChannelName), maxChannelName)
	}
	if set.KeepEmpty != nil && *set.KeepEmpty < 0 {
		return protocol.Errorf(protocol.CodeBadRequest, "a room can't be kept for %v", *set.KeepEmpty)
	}
	return nil
}

// close ends the room or call: everybody is out, and nobody is told or owed.
func (s *step) close(cmd *protocol.Command) error {
	if !s.exists() {
		return s.notFound()
	}
	for _, d := range s.owed.values() {
		s.discharge(d)
	}
	if s.id.IsCall() {
		s.endCall(cmd.User, cmp.Or(cut(cmd.Reason), ReasonCallEnded), "")
		return nil
	}
	reason := cmp.Or(cut(cmd.Reason), ReasonRoomClosed)
	for _, o := range s.roster.values() {
		s.unsubscribe(o)
		s.evict(o, reason)
		s.dismiss(o, o.version, reason)
		s.event("exited", o.user).Reason = reason
	}
	s.settings.configured = false
	return nil
}

// settleEmpty starts and stops the time for which a configured room is kept
// without occupants.
func (s *step) settleEmpty() {
	t := &s.settings
	if !t.configured || !s.Empty() {
		if !t.emptySince.IsZero() {
			t.emptySince, t.changed = time.Time{}, true
		}
		s.unset(&t.alarm)
		return
	}
	if t.emptySince.IsZero() {
		t.emptySince, t.changed = s.now, true
	}
	if t.changed {
		s.setEmptyAlarm()
	}
}

func (r *Room) setEmptyAlarm() {
	keep := r.cfg.KeepEmpty
	if r.settings.keepEmpty != nil {
		keep = *r.settings.keepEmpty
	}
	r.set(&r.settings.alarm, r.settings.emptySince.Add(keep), 0, timer{kind: timerEmpty})
}

// emptyDue is the end of a room that has been empty long enough.
func (s *step) emptyDue() {
	s.unset(&s.settings.alarm)
	if s.Empty() {
		s.settings.configured = false // the end of the step does the rest
	}
}

// storeSettings journals the settings if they have changed.
func (s *step) storeSettings() {
	t := &s.settings
	if !t.changed {
		return
	}
	t.changed = false
	switch {
	case t.worthStoring():
		t.stored = true
		s.store(s.settingsKey(), s.settingsEntry())
	case t.stored:
		t.stored = false
		s.erase(s.settingsKey())
	}
}
