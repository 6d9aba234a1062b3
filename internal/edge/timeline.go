package edge

import (
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Event is one line of a user's timeline.
type Event struct {
	At    time.Time       `json:"at"`
	Event string          `json:"event"`
	User  protocol.UserID `json:"user_id"`
	// Conn is the connection that the event is about.
	Conn   protocol.ConnNumber `json:"conn,omitempty"`
	Room   protocol.RoomID     `json:"room,omitempty"`
	Reason string              `json:"reason,omitempty"`
}

// timeline is a ring of the last events of all users. One user's are found by
// looking through all: that is for a person who asks, and costs connections
// nothing.
type timeline struct {
	// guarded by mu
	mu     sync.Mutex
	events []Event
	next   int
	max    int
}

func (t *timeline) add(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.events) < t.max {
		t.events = append(t.events, e)
		return
	}
	t.events[t.next] = e
	t.next = (t.next + 1) % t.max
}

func (t *timeline) of(user protocol.UserID) []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []Event
	for _, part := range [...][]Event{t.events[t.next:], t.events[:t.next]} {
		for _, e := range part {
			if e.User == user {
				found = append(found, e)
			}
		}
	}
	return slices.Clip(found)
}

// Timeline returns the last events of a user that this edge remembers, oldest
// first.
func (e *Edge) Timeline(user protocol.UserID) []Event { return e.timeline.of(user) }

// note adds to the user's timeline.
func (e *Edge) note(s *session, event string, room protocol.RoomID, reason string) {
	e.timeline.add(Event{At: time.Now(), Event: event, User: s.user, Conn: s.conn, Room: room, Reason: reason})
}
