package edge

import (
	"context"
	"sync"

	"github.com/faac1247/rollcall/internal/edge/outbox"
	"github.com/faac1247/rollcall/protocol"
)

// syncs shares the answers to clients that ask for the same, as all of a room
// do that come back together. One question to the owner is under way for each
// place; who asks meanwhile waits for the next, so that no answer is older than
// who asked for it.
type syncs struct {
	// guarded by mu
	mu    sync.Mutex
	asked map[place]*inquiry // no more than there are connections: each waits for one
}

// place is where in a room's history somebody is.
type place struct {
	room  protocol.RoomID
	after track
}

// inquiry is who asks for one place, while somebody does.
type inquiry struct {
	next *finding // those who wait for the next question; nil is nobody
}

// finding is what one question has brought.
type finding struct {
	// set by who asks, guarded by mu until the question leaves
	user protocol.UserID // who asks alone, 0 for several

	// set when done is closed
	done   chan struct{}
	answer []byte // websocket frames
	frames int
	err    error
}

// missedBy returns what a user has missed of a room since a place, as websocket
// frames that are not to be changed.
func (e *Edge) missedBy(ctx context.Context, user protocol.UserID, at place) ([]byte, int, error) {
	y := &e.syncs
	y.mu.Lock()
	q, under := y.asked[at]
	if !under {
		q = &inquiry{}
		if y.asked == nil {
			y.asked = make(map[place]*inquiry)
		}
		y.asked[at] = q
	}
	if q.next == nil {
		q.next = &finding{user: user, done: make(chan struct{})}
	} else {
		q.next.user = 0
	}
	m := q.next
	y.mu.Unlock()
	if !under {
		e.crew.start(func() { e.inquire(at, q) })
	}
	select {
	case <-m.done:
		return m.answer, m.frames, m.err
	case <-ctx.Done():
		return nil, 0, protocol.Errorf(protocol.CodeUnavailable, "sync: the room did not answer in time; ask again")
	}
}

// inquire asks for a place until nobody waits.
func (e *Edge) inquire(at place, q *inquiry) {
	y := &e.syncs
	for {
		y.mu.Lock()
		m := q.next
		if q.next = nil; m == nil {
			delete(y.asked, at)
			y.mu.Unlock()
			return
		}
		y.mu.Unlock()
		ctx, cancel := e.within(commandTimeout)
		m.fetch(ctx, e, at)
		cancel()
		close(m.done)
	}
}

func (m *finding) fetch(ctx context.Context, e *Edge, at place) {
	view, err := e.sync(ctx, at.room, m.user, at.after)
	switch {
	case err != nil:
		m.err = err
	case view.Resync != nil:
		m.answer, m.frames = outbox.AppendText(nil, protocol.AppendResync(nil, view.Resync)), 1
	default:
		for _, frame := range view.Frames {
			m.answer = outbox.AppendText(m.answer, frame)
		}
		m.answer = outbox.AppendText(m.answer, protocol.AppendSynced(nil, at.room, view.Epoch, view.Seq))
		m.frames = len(view.Frames) + 1
	}
}
