package room

import (
	"fmt"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Room is the state of one voice room or one call in one epoch.
type Room struct {
	// set by New
	id    protocol.RoomID
	cfg   *Config
	epoch protocol.Epoch
	mint  func() protocol.DepartureID

	// the roster
	occupants map[protocol.UserID]*occupant
	roster    index[*occupant] // in the order of entry
	relays    index[*occupant] // who is online, in the order of asking
	edges     map[protocol.Incarnation]map[protocol.UserID]*occupant
	seated    map[int]*occupant
	entries   uint64 // number of the latest entry
	removed   removals

	settings settings

	// what is owed
	debts    map[protocol.UserID]*debt // by subject
	byID     map[protocol.DepartureID]*debt
	owed     index[*debt]            // in the order of departure
	waiting  index[*debt]            // without a relay to ask
	unsaid   map[protocol.UserID]int // by relay: debts that it was asked for
	departed uint64                  // number of the latest departure

	timers index[timer]
	alone  alarm // of a call with one party
	// loadedAt is when the room was first used after it was loaded: it has
	// missed what happened before.
	loaded   bool
	loadedAt time.Time

	// counting and what is remembered
	seq      protocol.Seq
	rev      uint64
	lineage  []position
	history  history
	presence presence
	keys     keyRing // journaled
	unstored keyRing
	// foreign are entries of kinds that this version does not know.
	foreign map[string][]byte
}

// New returns a room or call that nobody has entered or configured. mint
// returns a new departure id on every call. New keeps cfg.
func New(id protocol.RoomID, cfg *Config, epoch protocol.Epoch, mint func() protocol.DepartureID) *Room {
	cfg = cfg.complete()
	return &Room{
		id:        id,
		cfg:       cfg,
		epoch:     epoch,
		mint:      mint,
		occupants: make(map[protocol.UserID]*occupant),
		history:   history{maxFrames: cfg.HistoryFrames, maxBytes: cfg.HistoryBytes, maxAge: cfg.HistoryAge},
		keys:      keyRing{size: keysKept},
		unstored:  keyRing{size: unstoredKept},
	}
}

// Continue lets a new room count on from after. The maker of a room that was
// there before in the same epoch passes the former's Seq, or one that is
// higher, so that no number is used twice.
func (r *Room) Continue(after protocol.Seq) { r.seq = max(r.seq, after) }

// ID returns the room's id.
func (r *Room) ID() protocol.RoomID { return r.id }

// Epoch returns the epoch that the room counts in.
func (r *Room) Epoch() protocol.Epoch { return r.epoch }

// Seq returns the number of the latest publication, 0 before the first.
func (r *Room) Seq() protocol.Seq { return r.seq }

// Count returns the number of occupants.
func (r *Room) Count() int { return len(r.occupants) }

// Owed returns the number of departures that are owed.
func (r *Room) Owed() int { return len(r.debts) }

// Empty reports whether nobody is in the room.
func (r *Room) Empty() bool { return len(r.occupants) == 0 }

// Disposable reports whether nothing of the room is left in the journal, so
// that dropping it loses no more than what it remembers unjournaled.
func (r *Room) Disposable() bool {
	return r.Empty() && len(r.debts) == 0 && !r.settings.stored && len(r.keys.all()) == 0 && len(r.foreign) == 0
}

// exists reports whether somebody would find the room.
func (r *Room) exists() bool { return !r.Empty() || r.settings.configured }

// over reports whether nobody would find the room and nothing is owed.
func (r *Room) over() bool { return !r.exists() && len(r.debts) == 0 }

// Next returns when Tick is due, the zero time for never.
func (r *Room) Next() time.Time {
	k, _, ok := r.timers.min()
	if !ok {
		return time.Time{}
	}
	return time.Unix(0, int64(k.hi)).UTC()
}

// Apply changes the room as a command says. The error is a *protocol.Error, and
// nothing that is journaled has changed then.
//
// A command whose key is remembered changes nothing either and gets the first
// one's reply.
//
// Hot: once for each command of a room (BenchmarkPublish, BenchmarkEnterLoss).
func (r *Room) Apply(cmd protocol.Command, now time.Time) (Result, error) {
	s := r.step(now)
	if cmd.Key != "" {
		if len(cmd.Key) > maxKey {
			return Result{}, protocol.Errorf(protocol.CodeTooLarge, "key has %d bytes, at most %d are allowed", len(cmd.Key), maxKey)
		}
		for _, ring := range [...]*keyRing{&r.keys, &r.unstored} {
			if reply, ok := ring.reply(cmd.Key); ok {
				return Result{Reply: reply}, nil
			}
		}
	}
	if err := s.perform(&cmd); err != nil {
		return Result{}, err
	}
	s.settle()
	s.res.Reply.Epoch, s.res.Reply.Seq = r.epoch, r.seq
	if cmd.Key != "" {
		s.remember(&cmd)
	}
	return s.res, nil
}

// perform does what the verb says. Whatever returns an error has changed
// nothing before.
func (s *step) perform(cmd *protocol.Command) error {
	switch cmd.Verb {
	case protocol.VerbEnter:
		return s.enter(cmd)
	case protocol.VerbExit:
		return s.exit(cmd)
	case protocol.VerbLoss:
		return s.loss(cmd)
	case protocol.VerbPresent:
		return s.present(cmd)
	case protocol.VerbReport:
		return s.report(cmd)
	case protocol.VerbSeat:
		return s.changeSeat(cmd)
	case protocol.VerbConfigure:
		return s.configure(cmd)
	case protocol.VerbClose:
		return s.close(cmd)
	case protocol.VerbPublish:
		return s.publish(cmd)
	case protocol.VerbLook:
		return s.look(cmd)
	case protocol.VerbSync:
		return s.sync(cmd)
	default:
		return protocol.Errorf(protocol.CodeBadRequest, "a room knows no verb %q", cmd.Verb)
	}
}

// Tick fires what is due.
func (r *Room) Tick(now time.Time) Result {
	s := r.step(now)
	for {
		k, t, ok := r.timers.min()
		if !ok || int64(k.hi) > now.UnixNano() {
			break
		}
		s.fire(t)
	}
	s.settle()
	return s.res
}

// notFound is the answer of a room that is not there.
func (r *Room) notFound() *protocol.Error {
	if r.id.IsCall() {
		return protocol.Errorf(protocol.CodeCallNotFound, "there is no call %q", r.id.CallNo())
	}
	return protocol.Errorf(protocol.CodeRoomNotFound, "nobody is in room %q and nothing is set for it", r.id)
}

// broken stops everything: the room's own state contradicts itself. The panic
// costs the room's partition, which is loaded again from the journal.
func (r *Room) broken(format string, args ...any) {
	panic(fmt.Sprintf("room %q: %s", r.id, fmt.Sprintf(format, args...)))
}
