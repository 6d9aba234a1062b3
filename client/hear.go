package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// restartSpread is the time over which clients ask for the state of a room
	// that an owner's crash made count anew.
	restartSpread = 2 * time.Second
	// reconnectMin and reconnectSpread say when a client that is back asks for
	// what it missed. The node needs a moment to let it into its room.
	reconnectMin    = 100 * time.Millisecond
	reconnectSpread = 400 * time.Millisecond
)

// hear takes one frame of the server. It is called by the reader alone.
func (c *Client) hear(cn *conn, raw []byte) {
	f, err := parseFrame(raw)
	if err != nil {
		c.counts.malformed.Add(1)
		c.cfg.Logger.Debug("malformed frame", "err", err)
		return
	}
	if cn.opened.IsZero() {
		c.open(cn, f)
		return
	}
	switch f.Action {
	case protocol.ActionCreateToken:
		// Only the first one counts.
	case protocol.ActionDrain:
		cn.retryAfter = seconds(f.Field("retry_after"))
	case protocol.ActionSynced:
		c.answered(f)
	case protocol.ActionResync:
		c.counts.resyncs.Add(1)
		c.answered(f)
	case protocol.ActionEntered:
		c.entered(f)
	case protocol.ActionError:
		c.refused(f)
		c.deliver(f)
	default:
		switch {
		case f.Seq != 0 && f.Epoch != 0 && len(f.roomName) > 0:
			c.numbered(f)
		case f.Action == protocol.ActionExitRoom || f.Action == protocol.ActionHangUp:
			c.departed(f)
		default:
			c.deliver(f)
		}
	}
}

func (c *Client) deliver(f Frame) {
	c.counts.frames.Add(1)
	if c.cfg.OnFrame != nil {
		c.cfg.OnFrame(f)
	}
}

// open takes the first frame, which makes the connection the client's.
func (c *Client) open(cn *conn, f Frame) {
	if f.Action != protocol.ActionCreateToken {
		cn.retryAfter = seconds(f.Field("retry_after"))
		if f.Action != protocol.ActionDrain {
			cn.abort(errNoToken)
		}
		return
	}
	t := parseCreateToken(f)
	if t.refused != "" {
		cn.abort(fmt.Errorf("%w (%s)", ErrLogIn, t.refused))
		return
	}
	cn.token, cn.signKey, cn.interval = t.token, t.signKey, max(t.pingInterval, time.Second)
	if t.pingInterval == 0 {
		cn.interval = defaultInterval
	}
	cn.opened = time.Now()
	if err := cn.socket.SetReadDeadline(time.Time{}); err != nil {
		cn.abort(err)
		return
	}
	c.counts.connections.Add(1)
	gone := c.attach(cn, t)
	told := Connected{
		EndPoint: cn.endPoint, PlaceKnown: t.placeKnown, Room: t.room, Call: t.call, PingInterval: cn.interval,
		HeartbeatTimeout: t.heartbeatTime, Again: c.again, Took: cn.opened.Sub(cn.began),
	}
	c.again = true
	if c.cfg.OnConnect != nil {
		c.cfg.OnConnect(told)
	}
	for _, room := range gone {
		if c.cfg.OnRoomGone != nil {
			c.cfg.OnRoomGone(room)
		}
	}
}

// attach makes cn the current connection, and returns the room and call that
// the user is not in any more.
func (c *Client) attach(cn *conn, t createToken) (gone []protocol.RoomID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = cn
	cn.startHeartbeat()
	if t.placeKnown {
		for _, former := range []protocol.RoomID{c.room, c.call} {
			if former != "" && former != t.room && former != t.call {
				gone = append(gone, former)
			}
		}
		c.room, c.call = t.room, t.call
		c.forget(func(t *track) bool { return t.room != c.room })
	}
	for _, t := range c.tracks {
		t.gaveUp = false // there is someone to ask again
		from := t.at
		if t.asking && t.state {
			from = t.from
		}
		c.ask(t, from, reconnectMin+rand.N(reconnectSpread))
	}
	return gone
}

// entered takes the place of a room that this client came into.
func (c *Client) entered(f Frame) {
	c.mu.Lock()
	t := c.track(f.roomName)
	if p := (place{f.Epoch, f.Seq}); t.at.before(p) {
		t.at = p
	}
	c.room, f.Room = t.room, t.room
	c.mu.Unlock()
	c.deliver(f)
}

// numbered takes a frame to a whole room in its turn.
func (c *Client) numbered(f Frame) {
	p := place{f.Epoch, f.Seq}
	c.mu.Lock()
	t := c.track(f.roomName)
	f.Room = t.room
	if t.gaveUp {
		c.mu.Unlock()
		c.release(t)
		c.mu.Lock()
	}
	if t.waits() && t.at.before(p) {
		c.keep(t, p, f)
		return
	}
	former, restarted := t.at, t.restarted(p)
	v := t.take(p)
	if restarted {
		t.state = true
		c.ask(t, former, rand.N(restartSpread))
	}
	switch v {
	case repeated:
		c.mu.Unlock()
		c.counts.repeated.Add(1)
	case missed:
		if len(t.held) == 0 {
			c.counts.gaps.Add(1)
		}
		if !t.asking {
			c.ask(t, t.at, 0)
		}
		c.keep(t, p, f)
	case next:
		more := len(t.held) > 0
		c.mu.Unlock()
		c.deliver(f)
		if more {
			c.release(t)
		}
	}
}

// keep holds a frame until its turn. When too many wait, the missing ones are
// given up. The caller holds mu, which keep gives back.
func (c *Client) keep(t *track, p place, f Frame) {
	if t.hold(p, f.Raw()) {
		c.mu.Unlock()
		return
	}
	c.pacer.stop(&t.alarm)
	t.giveUp()
	c.mu.Unlock()
	c.release(t)
	c.mu.Lock()
	if !t.at.before(p) {
		c.mu.Unlock()
		return
	}
	c.counts.lost.Add(uint64(p.seq - min(t.at.seq, p.seq-1) - 1))
	t.at = p
	c.mu.Unlock()
	c.deliver(f)
}

// release delivers what is held and has its turn.
func (c *Client) release(t *track) {
	for {
		c.mu.Lock()
		before := t.at
		h, ok := t.release()
		if !ok && len(t.held) > 0 && !t.asking {
			c.ask(t, t.at, 0) // another gap, behind the first
		}
		c.mu.Unlock()
		if !ok {
			return
		}
		if h.at.epoch == before.epoch {
			c.counts.lost.Add(uint64(h.at.seq - before.seq - 1))
		}
		if f, err := parseFrame(h.frame); err == nil {
			f.Room = t.room
			c.deliver(f)
		}
	}
}

// answered takes a synced, after all that was missed, or a resync, the state in
// its place.
func (c *Client) answered(f Frame) {
	p := place{f.Epoch, f.Seq}
	c.mu.Lock()
	t := c.track(f.roomName)
	f.Room = t.room
	t.settle()
	c.pacer.stop(&t.alarm)
	if t.at.before(p) {
		t.at = p
	}
	c.mu.Unlock()
	if f.Action == protocol.ActionResync {
		c.deliver(f)
	}
	c.release(t)
}

// refused takes an error frame. One that says again that the user is not in a
// room ends what is asked of it, and what was held of it is of no use any more:
// it would be heard in the room that the user is in now.
func (c *Client) refused(f Frame) {
	action, _ := f.Field("request").Text()
	if f.Err().Code != protocol.CodeNotInRoom || protocol.Action(action) != protocol.ActionSync {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(func(t *track) bool { return string(t.room) == string(f.roomName) && t.asking && t.tries >= goneTries })
}

// flush delivers what is held in rooms where nobody answered. It runs when the
// server answers a ping, because only the reader delivers.
func (c *Client) flush() {
	c.mu.Lock()
	var late []*track
	for _, t := range c.tracks {
		if t.gaveUp {
			late = append(late, t)
		}
	}
	c.mu.Unlock()
	for _, t := range late {
		c.release(t)
	}
}

// track finds the track of a room, or begins one. The caller holds mu.
func (c *Client) track(room []byte) *track {
	for _, t := range c.tracks {
		if string(t.room) == string(room) {
			return t
		}
	}
	if len(c.tracks) >= maxTracks {
		oldest := c.tracks[0]
		c.forget(func(t *track) bool { return t == oldest })
	}
	t := &track{room: protocol.RoomID(room)}
	t.alarm.do = func() { c.askNow(t) }
	c.tracks = append(c.tracks, t)
	c.room = t.room
	return t
}

// forget drops tracks. The caller holds mu.
func (c *Client) forget(which func(*track) bool) {
	c.tracks = slices.DeleteFunc(c.tracks, func(t *track) bool {
		if !which(t) {
			return false
		}
		c.pacer.stop(&t.alarm)
		t.settle()
		return true
	})
}

// ask asks for what came after a place, after a pause. The caller holds mu.
func (c *Client) ask(t *track, from place, after time.Duration) {
	t.asking, t.from, t.tries = true, from, 0
	c.pacer.set(&t.alarm, after)
}

// askNow is called by the Pacer. When nobody has answered for long, the server
// is made to say anything at all, which gives the reader a turn.
func (c *Client) askNow(t *track) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cn := c.conn
	if cn == nil || !t.asking {
		return
	}
	if t.tries >= t.limit() {
		t.giveUp()
		cn.running.Go(func() { _ = cn.socket.send(context.Background(), gws.OpcodePing, nil) }) // the reader learns of an error
		return
	}
	from := t.from
	if from.epoch == t.at.epoch {
		from = t.at
	}
	c.pacer.set(&t.alarm, askAgain<<t.tries)
	t.tries++
	c.counts.syncs.Add(1)
	fields := fmt.Appendf(nil, `"room_id":%s,"epoch":%d,"seq":%d`, protocol.AppendRoomID(nil, t.room), from.epoch, from.seq)
	cn.running.Go(func() { _ = cn.write(context.Background(), protocol.ActionSync, fields) }) // the reader learns of an error
}

// Resync asks for a room's state, which comes as a resync frame: its seats, how
// many are in it, and the first of them. Publications that follow on that state
// come after it.
func (c *Client) Resync(ctx context.Context, room protocol.RoomID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return ErrNotConnected
	}
	t := c.track([]byte(room))
	t.state = true
	c.ask(t, place{}, 0)
	return nil
}
