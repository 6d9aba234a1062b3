package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/faac1247/rollcall/internal/inbox"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// commandTimeout bounds a command for callers that bring no deadline.
	commandTimeout = 5 * time.Second
	// routePause is the mean pause before a command is sent again to a room
	// whose owner is changing.
	routePause = 20 * time.Millisecond
)

// router sends commands to the owners of their rooms.
//
// It goes by the ring, and by the word of a node that answers that another one
// owns the room: while a ring settles the two differ for a moment, and only the
// journal's holder is right.
type router struct {
	life *life
}

// Do sends a command to its room's owner and waits for the answer, through
// changes of owner, until ctx ends. It answers CodeUnavailable when the owner
// can't be reached or known.
func (r *router) Do(ctx context.Context, cmd protocol.Command) protocol.Reply {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	hint := protocol.Incarnation("")
	for {
		reply, err := r.once(ctx, hint, cmd)
		switch {
		case err != nil && ctx.Err() != nil, err != nil && !retryable(err):
			return unreachable(err)
		case err == nil && reply.Code != protocol.CodeMoved:
			return reply
		}
		hint = ""
		if err == nil && reply.Owner != "" {
			hint = reply.Owner
		}
		if !pause(ctx, routePause) {
			return unreachable(fmt.Errorf("room %q changes its owner: %w", cmd.Room, ctx.Err()))
		}
	}
}

// once sends a command to the hinted owner, or to the one that the ring names.
func (r *router) once(ctx context.Context, hint protocol.Incarnation, cmd protocol.Command) (protocol.Reply, error) {
	to := hint
	if to == "" || r.life.members.dead(to) {
		owner, ok := r.life.members.table().owner(r.life.partition(cmd.Room))
		if !ok {
			return protocol.Reply{}, errNoOwner
		}
		to = owner
	}
	if to == r.life.inc {
		return r.local(ctx, cmd)
	}
	if r.life.members.storeAway() {
		return protocol.Reply{}, fmt.Errorf("the room's owner %s is reached through the store: %w", to.Node(), protocol.ErrStoreAway)
	}
	body, err := encode(cmd)
	if err != nil {
		return protocol.Reply{}, protocol.Errorf(protocol.CodeBadRequest, "command can't be encoded: %v", err)
	}
	answer, err := r.life.inbox.Call(ctx, to, kindCommand, body)
	if err != nil {
		return protocol.Reply{}, fmt.Errorf("ask %s: %w", to, err)
	}
	var reply protocol.Reply
	if err := json.Unmarshal(answer, &reply); err != nil {
		return protocol.Reply{}, fmt.Errorf("answer of %s: %w", to, err)
	}
	return reply, nil
}

func (r *router) local(ctx context.Context, cmd protocol.Command) (protocol.Reply, error) {
	answer := make(chan protocol.Reply, 1)
	r.life.owner.Submit(cmd, func(reply protocol.Reply) { answer <- reply })
	select {
	case reply := <-answer:
		return reply, nil
	case <-ctx.Done():
		return protocol.Reply{}, fmt.Errorf("wait for room %q: %w", cmd.Room, ctx.Err())
	}
}

// errNoOwner means that no ring is known yet.
var errNoOwner = errors.New("no node serves this room yet")

func retryable(err error) bool {
	return errors.Is(err, inbox.ErrDead) || errors.Is(err, errNoOwner)
}

func unreachable(err error) protocol.Reply {
	code := protocol.CodeOf(err)
	switch {
	case errors.Is(err, inbox.ErrFull):
		code = protocol.CodeBusy
	case errors.Is(err, protocol.ErrStoreAway):
		return protocol.Reply{Code: code, Message: "the store can't be asked now; ask again later"}
	case code == protocol.CodeInternal:
		code = protocol.CodeUnavailable
	}
	return protocol.Reply{Code: code, Message: err.Error() + "; ask again later"}
}

// pause waits about d, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
