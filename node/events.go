package node

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// eventQueue bounds the live events that wait to be told to other nodes;
	// over it they are dropped and counted.
	eventQueue = 8192
	// streamQueue bounds what one event stream may lag behind before it is cut.
	streamQueue = 1024
)

// events tells live event streams, here and on other nodes, what has been
// committed. Webhooks read the outbox instead and miss nothing.
type events struct {
	// set by newEvents
	life  *life
	queue chan []byte
	poke  chan struct{}

	seq atomic.Uint64 // numbers this node's user events

	mu      sync.Mutex
	streams map[chan []byte]struct{}
}

func newEvents(l *life) *events {
	return &events{
		life: l, queue: make(chan []byte, eventQueue), poke: make(chan struct{}, 1),
		streams: make(map[chan []byte]struct{}),
	}
}

// committed tells the events of a room.
func (ev *events) committed(list []protocol.Event) {
	if ev.life.poster != nil && len(list) > 0 {
		ev.life.poster.Wake(ev.life.partition(roomOf(list[0])))
	}
	if !ev.wanted() {
		return
	}
	for _, e := range list {
		ev.tell(e)
	}
}

// roomOf is the room or call that an event happened in.
func roomOf(e protocol.Event) protocol.RoomID {
	if e.CallNo != "" {
		return protocol.CallRoom(e.CallNo)
	}
	return protocol.RoomID(e.RoomID)
}

// user tells that a user went online or offline.
func (ev *events) user(kind string, user protocol.UserID, reason string) {
	if ev.life.poster != nil {
		ev.life.poster.Wake(ev.life.userPartition(user))
	}
	if ev.wanted() {
		ev.tell(ev.ofUser(kind, user, reason))
	}
}

// userEvent encodes such an event for the outbox, nil when there is no webhook.
func (ev *events) userEvent(kind string, user protocol.UserID, reason string) []byte {
	if ev.life.cfg.Webhook == "" {
		return nil
	}
	return encodeEvent(ev.ofUser(kind, user, reason))
}

func (ev *events) ofUser(kind string, user protocol.UserID, reason string) protocol.Event {
	return protocol.Event{
		ID: fmt.Sprintf("%s-%d", ev.life.inc, ev.seq.Add(1)), Event: kind, At: ev.life.members.now(),
		Node: ev.life.cfg.NodeID, UserID: user, Reason: reason,
	}
}

func encodeEvent(e protocol.Event) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic("event can't be encoded: " + err.Error()) // plain strings and numbers
	}
	return b
}

// wanted reports whether anybody listens, here or elsewhere.
func (ev *events) wanted() bool { return ev.local() || ev.elsewhere() }

func (ev *events) local() bool {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	return len(ev.streams) > 0
}

func (ev *events) elsewhere() bool {
	for node, m := range ev.life.members.table().members {
		if node != ev.life.cfg.NodeID && m.alive && m.meta.Listening {
			return true
		}
	}
	return false
}

// tell gives an event to the streams here, and to the other nodes if one of
// them has streams.
func (ev *events) tell(e protocol.Event) {
	b := encodeEvent(e)
	if !ev.elsewhere() {
		ev.deliver(b)
		return
	}
	select {
	case ev.queue <- b:
	default:
		ev.life.metrics.eventsDropped.Inc()
	}
	ev.deliver(b)
}

// deliver hands an event to every stream here; one that lags too far is cut.
func (ev *events) deliver(b []byte) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	for s := range ev.streams {
		select {
		case s <- b:
		default:
			delete(ev.streams, s)
			close(s)
			ev.life.metrics.streamsCut.Inc()
		}
	}
}

// Subscribe returns the live events of the cluster until ctx ends; a closed
// channel means that the reader was too slow.
func (ev *events) Subscribe(ctx context.Context) (<-chan []byte, error) {
	s := make(chan []byte, streamQueue)
	ev.mu.Lock()
	ev.streams[s] = struct{}{}
	ev.mu.Unlock()
	ev.announce()
	context.AfterFunc(ctx, func() {
		ev.mu.Lock()
		if _, ok := ev.streams[s]; ok {
			delete(ev.streams, s)
			close(s)
		}
		ev.mu.Unlock()
		ev.announce()
	})
	return s, nil
}

// announce tells the other nodes whether events are wanted here.
func (ev *events) announce() {
	listening := ev.local()
	ev.life.advertise(func(m *gossip.Meta) { m.Listening = listening })
	select {
	case ev.poke <- struct{}{}:
	default:
	}
}

// run carries events to and from the other nodes.
func (ev *events) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	subscribed := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-ev.queue:
			ev.publish(ctx, b)
		case <-ev.poke:
			if !subscribed && ev.local() {
				subscribed = true
				wg.Go(func() { _ = ev.life.store.SubscribeEvents(ctx, ev.fromElsewhere, func() {}) }) // ends with ctx
			}
		}
	}
}

func (ev *events) publish(ctx context.Context, b []byte) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := ev.life.store.PublishEvent(ctx, b); err != nil {
		ev.life.metrics.eventsDropped.Inc()
	}
}

func (ev *events) fromElsewhere(b []byte) {
	var origin struct {
		Node protocol.NodeID `json:"node"`
	}
	if json.Unmarshal(b, &origin) == nil && origin.Node != ev.life.cfg.NodeID {
		ev.deliver(b)
	}
}

// eventedUsers is the store as the edge uses it: what it does to a user's
// record is an event.
type eventedUsers struct{ life *life }

// Connect implements edge.Users.
func (u eventedUsers) Connect(ctx context.Context, c protocol.Connect) (protocol.Connected, error) {
	c.Event = u.life.events.userEvent("online", c.User, "")
	connected, err := u.life.store.Connect(ctx, c)
	if err == nil && connected.FormerEdge == "" {
		u.life.events.user("online", c.User, "")
	}
	return connected, err
}

// Close implements edge.Users. A life in doubt ends nobody's connection: whoever
// went elsewhere while it was frozen has a later one that an empty store does
// not know yet, and would be lost by this word of the former.
func (u eventedUsers) Close(ctx context.Context, c protocol.Close) (protocol.Closed, error) {
	if u.life.members.inDoubt() {
		return protocol.Closed{}, fmt.Errorf("this life may be over: %w", protocol.ErrStoreAway)
	}
	c.Event = u.life.events.userEvent("offline", c.User, c.Reason)
	closed, err := u.life.store.Close(ctx, c)
	if err == nil && closed.Won {
		u.life.events.user("offline", c.User, c.Reason)
	}
	return closed, err
}
