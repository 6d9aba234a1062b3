package node

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxIntents bounds the intents that this node is telling at a time. One
	// over it stays in the store, where the sweep finds it.
	maxIntents = 100_000
	// tellPause is the mean pause before an owner that did not answer is told
	// again, volatilePause before one that could not commit.
	tellPause     = 200 * time.Millisecond
	volatilePause = time.Second
	// recallPause lets moves whose answers are lost gather before they are
	// looked for.
	recallPause = time.Second
)

// intentKey names what is being told. A repair and an eviction concern one room
// and must not keep an intent of the same version from being told.
type intentKey struct {
	user    protocol.UserID
	version protocol.Version
	room    protocol.RoomID
}

// Tell starts to tell the owners of what a Close decided. It never blocks.
func (pl *places) Tell(i protocol.Intent) {
	pl.start(i, func(ctx context.Context) { pl.tellAll(ctx, i) })
}

// start runs f for an intent unless it is being told already.
func (pl *places) start(i protocol.Intent, f func(context.Context)) {
	if len(i.Leave) > 0 || i.Enter != "" {
		pl.once(intentKey{user: i.User, version: i.Version}, f)
	}
}

// once runs f unless something of the same key is running.
func (pl *places) once(key intentKey, f func(context.Context)) {
	pl.mu.Lock()
	_, running := pl.telling[key]
	if running || len(pl.telling) >= maxIntents {
		pl.mu.Unlock()
		return
	}
	pl.telling[key] = struct{}{}
	pl.mu.Unlock()
	pl.life.crew.do(func(ctx context.Context) {
		f(ctx)
		pl.mu.Lock()
		delete(pl.telling, key)
		pl.mu.Unlock()
	})
}

// tell tells every owner concerned by an intent, in parallel, and settles it
// once all have acted. It returns the answer of the room entered, else that of
// the first room left. When ctx ends first the rest goes on behind the caller's
// back.
func (pl *places) tell(ctx context.Context, i protocol.Intent) protocol.Reply {
	reply, all := pl.tellOnce(ctx, i)
	if all {
		pl.settle(ctx, i)
	} else {
		pl.start(i, func(ctx context.Context) { pl.tellAll(ctx, i) })
	}
	return reply
}

// tellAll tells an intent until every owner has acted and committed it.
func (pl *places) tellAll(ctx context.Context, i protocol.Intent) {
	for {
		if _, all := pl.tellOnce(ctx, i); all {
			pl.settle(ctx, i)
			return
		}
		if !pause(ctx, volatilePause) {
			return
		}
	}
}

// tellOnce tells every owner concerned, and reports whether all have acted. The
// reply is that of one who has not, else tell's.
func (pl *places) tellOnce(ctx context.Context, i protocol.Intent) (reply protocol.Reply, all bool) {
	cmds := commands(i)
	replies := make([]protocol.Reply, len(cmds))
	var wg sync.WaitGroup
	for n, cmd := range cmds {
		wg.Go(func() { replies[n] = pl.insist(ctx, cmd) })
	}
	wg.Wait()
	for _, reply := range replies {
		if !acted(reply) {
			return reply, false
		}
	}
	if len(replies) == 0 {
		return protocol.Reply{}, true
	}
	return replies[0], true
}

// commands spells an intent out; the room entered comes first.
func commands(i protocol.Intent) []protocol.Command {
	var cmds []protocol.Command
	if i.Enter != "" {
		cmd := protocol.Command{Verb: protocol.VerbEnter, Room: i.Enter, User: i.User, Version: i.Version, Conn: i.Conn, Edge: i.Edge, Reason: i.Reason}
		var e entry
		if json.Unmarshal(i.Body, &e) == nil {
			cmd.Profile, cmd.Quiet = e.Profile, e.Quiet
		}
		cmds = append(cmds, cmd)
	}
	verb := protocol.VerbExit
	if i.Lost {
		verb = protocol.VerbLoss
	}
	for _, id := range i.Leave {
		cmds = append(cmds, protocol.Command{Verb: verb, Room: id, User: i.User, Version: i.Version, Conn: i.Conn, Edge: i.Edge, Reason: i.Reason})
	}
	return cmds
}

// acted reports whether an owner's answer means that it knows: it did what was
// asked, or what was asked is moot.
func acted(reply protocol.Reply) bool {
	switch reply.Code {
	case protocol.CodeUnavailable, protocol.CodeBusy, protocol.CodeMoved, protocol.CodeInternal:
		return false
	}
	return !reply.Volatile
}

// insist repeats a command until its owner has acted or ctx ends.
func (pl *places) insist(ctx context.Context, cmd protocol.Command) protocol.Reply {
	for {
		reply := pl.life.router.Do(ctx, cmd)
		if acted(reply) || reply.Volatile || !pause(ctx, tellPause) {
			return reply
		}
	}
}

func (pl *places) settle(ctx context.Context, i protocol.Intent) {
	err := pl.life.store.Settle(ctx, protocol.Settle{
		Partition: pl.life.userPartition(i.User), By: pl.life.inc, User: i.User, Version: i.Version,
	})
	if err != nil {
		pl.log.Debug("intent not settled", "user", i.User, "err", err) // told again after this life, which changes nothing
	}
}

// recall tells the intents that this node left in a partition. It never blocks.
func (pl *places) recall(p protocol.PartitionID) {
	pl.mu.Lock()
	_, running := pl.recalling[p]
	pl.recalling[p] = true
	pl.mu.Unlock()
	if running {
		return
	}
	pl.life.crew.do(func(ctx context.Context) {
		for pl.mustRecall(p) && pause(ctx, recallPause) {
			if err := pl.life.sweeper.recall(ctx, p); err != nil {
				pl.mu.Lock()
				pl.recalling[p] = true
				pl.mu.Unlock()
			}
		}
	})
}

// mustRecall reports whether a partition is to be looked at once more.
func (pl *places) mustRecall(p protocol.PartitionID) bool {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if !pl.recalling[p] {
		delete(pl.recalling, p)
		return false
	}
	pl.recalling[p] = false
	return true
}
