package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/faac1247/rollcall/internal/edge"
	"github.com/faac1247/rollcall/internal/inbox"
	"github.com/faac1247/rollcall/internal/owner"
	"github.com/faac1247/rollcall/protocol"
)

// The kinds of messages between nodes. The numbers are on the wire: append
// only.
const (
	kindCommand      inbox.Kind = iota + 1 // protocol.Command → protocol.Reply
	kindSubscribe                          // []protocol.Subscription → those refused
	kindNotify                             // protocol.Notice → protocol.NoticeOutcome
	kindAttach                             // []protocol.Attach → []protocol.Attached
	kindSupersede                          // protocol.UserConn → nothing
	kindHandoff                            // owner.Handoff → ""; or why not
	kindRooms                              // roomsRequest → []owner.RoomCount
	kindTimeline                           // protocol.UserID → []edge.Event
	kindPublications                       // cast: protocol's publication codec
	kindReclaim                            // protocol.PartitionID → nothing
	kindCrowds                             // cast: []crowd
)

// peers is this node's side of every conversation between nodes: it sends what
// owners and edges have to say to each other, taking the short way where both
// are here, and answers what others send.
type peers struct{ life *life }

// Publish implements owner.Edges.
func (p peers) Publish(to protocol.Incarnation, pubs []protocol.Publication) {
	if to == p.life.inc {
		p.life.edge.Publish(pubs)
		return
	}
	body := protocol.AppendPublications(nil, pubs)
	if err := p.life.inbox.Cast(to, kindPublications, body); err != nil {
		p.life.metrics.castsDropped.Inc() // the edge sees the gap and asks
	}
}

// Subscribe implements owner.Edges. What the edge refuses is repaired.
func (p peers) Subscribe(to protocol.Incarnation, subs []protocol.Subscription) {
	if to == p.life.inc {
		if refused := p.life.edge.Subscribe(subs); len(refused) > 0 {
			p.life.places.Repair(refused)
		}
		return
	}
	ask(p.life, to, kindSubscribe, subs, func(refused []protocol.Subscription, err error) {
		if err == nil && len(refused) > 0 {
			p.life.places.Repair(refused)
		}
	})
}

// Notify implements owner.Edges.
func (p peers) Notify(to protocol.Incarnation, n protocol.Notice, done func(protocol.NoticeOutcome, error)) {
	if to == p.life.inc {
		outcome := p.life.edge.Notify(n)
		p.life.goDo(func() { done(outcome, nil) })
		return
	}
	ask(p.life, to, kindNotify, n, func(outcome protocol.NoticeOutcome, err error) {
		if errors.Is(err, inbox.ErrDead) {
			outcome, err = protocol.NoticeGone, nil
		}
		done(outcome, err)
	})
}

// Attach implements owner.Edges.
func (p peers) Attach(to protocol.Incarnation, attaches []protocol.Attach, done func([]protocol.Attached, error)) {
	if to == p.life.inc {
		answers := p.attach(attaches)
		p.life.goDo(func() { done(answers, nil) })
		return
	}
	ask(p.life, to, kindAttach, attaches, done)
}

func (p peers) attach(attaches []protocol.Attach) []protocol.Attached {
	answers := make([]protocol.Attached, len(attaches))
	for i, a := range attaches {
		answers[i] = p.life.edge.Attach(a)
	}
	return answers
}

// Handoff implements owner.Peers.
func (p peers) Handoff(to protocol.Incarnation, h owner.Handoff, done func(error)) {
	ask(p.life, to, kindHandoff, h, func(refusal string, err error) {
		if err == nil && refusal != "" {
			err = errors.New(refusal)
		}
		done(err)
	})
}

// Reclaim implements owner.Peers.
func (p peers) Reclaim(to protocol.Incarnation, id protocol.PartitionID) {
	ask(p.life, to, kindReclaim, id, func(struct{}, error) {}) // told again while it is needed
}

// Supersede implements edge.Owners.
func (p peers) Supersede(to protocol.Incarnation, user protocol.UserID, conn protocol.ConnNumber) {
	if to == p.life.inc {
		p.life.edge.Superseded(user, conn)
		return
	}
	ask(p.life, to, kindSupersede, protocol.UserConn{User: user, Conn: conn}, func(struct{}, error) {})
}

// Orphaned implements edge.Owners.
func (p peers) Orphaned(subs []protocol.Subscription) {
	if !p.life.members.storeAway() {
		p.life.places.Repair(subs)
	}
}

// Do implements edge.Owners. A room that knows nothing of a user whom the
// record puts there is either about to hear of it, or the record is wrong.
func (p peers) Do(ctx context.Context, cmd protocol.Command) protocol.Reply {
	reply := p.life.router.Do(ctx, cmd)
	if cmd.Verb == protocol.VerbPresent && unknown(reply) {
		p.life.places.Repair([]protocol.Subscription{{Room: cmd.Room, User: cmd.User, Conn: cmd.Conn, Version: cmd.Version}})
	}
	return reply
}

// unknown reports whether a room knows nothing of the user.
func unknown(reply protocol.Reply) bool {
	switch reply.Code {
	case protocol.CodeNotInRoom, protocol.CodeRoomNotFound, protocol.CodeCallNotFound:
		return true
	}
	return false
}

// Tell implements edge.Owners.
func (p peers) Tell(i protocol.Intent) { p.life.places.Tell(i) }

// encode is JSON as it stands: frames inside pass byte for byte, which
// json.Marshal would escape.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// ask sends a question as JSON and decodes the answer. done is called once,
// from another goroutine.
func ask[Q, A any](l *life, to protocol.Incarnation, kind inbox.Kind, question Q, done func(A, error)) {
	var none A
	body, err := encode(question)
	if err != nil {
		l.goDo(func() { done(none, fmt.Errorf("encode question: %w", err)) })
		return
	}
	l.inbox.Go(to, kind, body, func(answer []byte, err error) {
		if err != nil { // perhaps before Go returned
			l.goDo(func() { done(none, err) })
			return
		}
		var a A
		if len(answer) > 0 {
			if err := json.Unmarshal(answer, &a); err != nil {
				done(none, fmt.Errorf("answer of %s: %w", to, err))
				return
			}
		}
		done(a, nil)
	})
}

// answered decodes a question and encodes what answer returns to it.
func answered[Q, A any](l *life, from protocol.Incarnation, body []byte, reply func([]byte), answer func(Q) A) {
	var q Q
	if err := json.Unmarshal(body, &q); err != nil {
		l.log.Error("message not understood", "from", from, "err", err)
		reply(nil)
		return
	}
	b, err := encode(answer(q))
	if err != nil {
		l.log.Error("answer not encoded", "to", from, "err", err)
	}
	reply(b)
}

// receive is the inbox's handler: messages of one sender come in order, and
// none may block.
func (p peers) receive(from protocol.Incarnation, kind inbox.Kind, body []byte, reply func([]byte)) {
	l := p.life
	switch kind {
	case kindCommand:
		p.command(from, body, reply)
	case kindSubscribe:
		answered(l, from, body, reply, l.edge.Subscribe)
	case kindNotify:
		answered(l, from, body, reply, l.edge.Notify)
	case kindAttach:
		answered(l, from, body, reply, p.attach)
	case kindSupersede:
		answered(l, from, body, reply, func(c protocol.UserConn) struct{} {
			l.edge.Superseded(c.User, c.Conn)
			return struct{}{}
		})
	case kindHandoff:
		p.handoff(from, body, reply)
	case kindReclaim:
		answered(l, from, body, reply, func(id protocol.PartitionID) struct{} {
			l.owner.Reclaim(id)
			return struct{}{}
		})
	case kindRooms:
		l.crew.do(func(ctx context.Context) {
			answered(l, from, body, reply, func(q roomsRequest) []owner.RoomCount { return l.localRooms(ctx, q) })
		})
	case kindTimeline:
		answered(l, from, body, reply, func(user protocol.UserID) []edge.Event { return l.edge.Timeline(user) })
	default:
		l.log.Warn("message of unknown kind", "from", from, "kind", kind)
		reply(nil)
	}
}

func (p peers) command(from protocol.Incarnation, body []byte, reply func([]byte)) {
	answer := func(r protocol.Reply) {
		b, err := encode(r)
		if err != nil {
			p.life.log.Error("reply not encoded", "to", from, "err", err)
		}
		reply(b)
	}
	var cmd protocol.Command
	if err := json.Unmarshal(body, &cmd); err != nil {
		answer(protocol.Reply{Code: protocol.CodeBadRequest, Message: "command not understood: " + err.Error()})
		return
	}
	p.life.owner.Submit(cmd, answer)
}

func (p peers) handoff(from protocol.Incarnation, body []byte, reply func([]byte)) {
	var h owner.Handoff
	if err := json.Unmarshal(body, &h); err != nil {
		b, _ := json.Marshal("handoff not understood: " + err.Error()) // a string
		reply(b)
		return
	}
	p.life.owner.Receive(from, h, func(err error) {
		refusal := ""
		if err != nil {
			refusal = err.Error()
		}
		b, _ := json.Marshal(refusal) // a string
		reply(b)
	})
}

// cast is the inbox's handler of messages that are not repeated.
func (p peers) cast(from protocol.Incarnation, kind inbox.Kind, body []byte) {
	switch kind {
	case kindPublications:
	case kindCrowds:
		p.life.crowds.word(from, body)
		return
	default:
		p.life.log.Warn("cast of unknown kind", "from", from, "kind", kind)
		return
	}
	pubs, err := protocol.ParsePublications(nil, body)
	if err != nil {
		p.life.log.Error("publications not understood", "from", from, "err", err)
		return
	}
	p.life.edge.Publish(pubs)
}
