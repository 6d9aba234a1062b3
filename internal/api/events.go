package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// eventNames lists what a stream can be narrowed to.
func eventNames() []string {
	return []string{"online", "offline", "entered", "exited", "lost", "up", "down", "call_ended", "unreported"}
}

// maxStreamChunk bounds the events that leave in one write.
const maxStreamChunk = 64 << 10

// events streams what happens from now on, until the caller goes, the node
// stops or the caller reads too slowly.
func (a *API) events(w http.ResponseWriter, req *request) error {
	wanted, err := wantedEvents(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	events, err := a.cfg.Events.Subscribe(ctx)
	if err != nil {
		return fmt.Errorf("subscribe to events: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	a.metrics.streams.Inc()
	defer a.metrics.streams.Dec()
	s := stream{
		out: http.NewResponseController(w), w: w, patience: a.cfg.StreamWrite,
		wanted: wanted, malformed: a.metrics.malformed.Inc,
	}
	if why := s.run(ctx, events, a.cfg.Heartbeat); why != "" {
		a.metrics.dropped.WithLabelValues(why).Inc()
	}
	return nil
}

// wantedEvents reads the query's list of names, nil for all.
func wantedEvents(req *request) ([]string, error) {
	q := req.URL.Query()
	if !q.Has("events") {
		return nil, nil
	}
	wanted := strings.Split(q.Get("events"), ",")
	for _, name := range wanted {
		if !slices.Contains(eventNames(), name) {
			return nil, protocol.Errorf(protocol.CodeBadRequest, "events: %q is none of %s", clip(name), strings.Join(eventNames(), ", "))
		}
	}
	return wanted, nil
}

// stream writes events to one caller.
type stream struct {
	// set by events
	out       *http.ResponseController
	w         http.ResponseWriter
	patience  time.Duration
	wanted    []string
	malformed func()

	// owned by run
	buf []byte
}

// Why a stream was dropped.
const (
	droppedLagging = "lagging" // more events waited than the channel holds
	droppedWrite   = "write"   // a write failed or took too long
)

// run writes until ctx or the channel ends. It returns why the stream was
// dropped, "" if nobody dropped it.
func (s *stream) run(ctx context.Context, events <-chan []byte, heartbeat time.Duration) string {
	if !s.write([]byte(": events from now on\n\n")) {
		return droppedWrite
	}
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	for {
		s.buf = s.buf[:0]
		open := true
		select {
		case <-ctx.Done():
			return ""
		case <-timer.C:
			s.buf = append(s.buf, ":\n\n"...)
		case event, ok := <-events:
			if open = ok; ok {
				s.add(event)
				open = s.addWaiting(events)
			}
		}
		if !s.write(s.buf) {
			return droppedWrite
		}
		if !open {
			if ctx.Err() != nil {
				return ""
			}
			s.write([]byte(": ended here; events after this one are missing\n\n"))
			return droppedLagging
		}
		if len(s.buf) > 0 {
			timer.Reset(heartbeat)
		}
	}
}

// addWaiting adds the events that are there already, as far as one write
// takes them. It returns false when the channel is closed.
func (s *stream) addWaiting(events <-chan []byte) bool {
	for len(s.buf) < maxStreamChunk {
		select {
		case event, ok := <-events:
			if !ok {
				return false
			}
			s.add(event)
		default:
			return true
		}
	}
	return true
}

// add adds one event to the next write, if the caller wants it.
func (s *stream) add(event []byte) {
	object, err := protocol.ParseObject(event)
	name, ok := object.Field("event").Bytes()
	if err != nil || !ok || bytes.ContainsAny(event, "\r\n") || bytes.ContainsAny(name, "\r\n") {
		s.malformed()
		return
	}
	if s.wanted != nil && !slices.Contains(s.wanted, string(name)) {
		return
	}
	s.buf = append(s.buf, "event: "...)
	s.buf = append(s.buf, name...)
	s.buf = append(s.buf, "\ndata: "...)
	s.buf = append(s.buf, event...)
	s.buf = append(s.buf, "\n\n"...)
}

// write sends b at once, within the caller's patience.
func (s *stream) write(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if err := s.out.SetWriteDeadline(time.Now().Add(s.patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return false
	}
	if _, err := s.w.Write(b); err != nil {
		return false
	}
	return s.out.Flush() == nil
}
