package room

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// exported is what one owner hands to the next beside the journal.
type exported struct {
	Format  int            `json:"f"`
	Epoch   protocol.Epoch `json:"epoch"`
	Seq     protocol.Seq   `json:"seq"`
	Rev     uint64         `json:"rev"`
	Lineage []position     `json:"lineage,omitempty"`
	// History are the frames up to Seq.
	History   [][]byte          `json:"history,omitempty"`
	Removed   []exportedRemoval `json:"removed,omitempty"`
	Published []keyEntry        `json:"published,omitempty"`
	// Gone are the occupants whose edge does not have their connection, and
	// Dead those whose edge has died, with the end of the wait for them.
	Gone []protocol.UserID         `json:"gone,omitempty"`
	Dead map[protocol.UserID]int64 `json:"dead,omitempty"`
	// Untold: presence has changed since the last frame of it.
	Untold bool `json:"untold,omitempty"`
}

type exportedRemoval struct {
	User    protocol.UserID  `json:"u"`
	Version protocol.Version `json:"v"`
}

// Export returns what Import needs beside the journal to go on as if the owner
// had not changed.
func (r *Room) Export() ([]byte, error) {
	x := exported{
		Format: r.cfg.Format, Epoch: r.epoch, Seq: r.seq, Rev: r.rev, Lineage: r.lineage,
		Untold: r.presence.many || len(r.presence.changes) > 0,
	}
	for _, p := range r.history.frames {
		x.History = append(x.History, p.frame)
	}
	for _, user := range r.removed.order {
		x.Removed = append(x.Removed, exportedRemoval{user, r.removed.versions[user]})
	}
	for _, m := range r.unstored.all() {
		x.Published = append(x.Published, r.keyEntry(m))
	}
	for _, o := range r.roster.all() {
		switch {
		case o.dead:
			if x.Dead == nil {
				x.Dead = make(map[protocol.UserID]int64)
			}
			x.Dead[o.user] = int64(o.alarm.key.hi)
		case o.gone:
			x.Gone = append(x.Gone, o.user)
		}
	}
	b, err := json.Marshal(x)
	if err != nil {
		return nil, fmt.Errorf("export room %q: %w", r.id, err)
	}
	return b, nil
}

// Import returns the room that a former owner has handed over: what Load
// returns, with history, counting, timers and memory as that owner had them.
// export must belong to the very state that entries describe. A caller that
// gets an error can still Load.
func Import(id protocol.RoomID, cfg *Config, newEpoch protocol.Epoch, mint func() protocol.DepartureID, entries map[string][]byte, export []byte) (*Room, error) {
	r, err := Load(id, cfg, newEpoch, mint, entries)
	if err != nil {
		return nil, err
	}
	var x exported
	if err := decode(export, &x, &x.Format); err != nil {
		return nil, fmt.Errorf("import room %q: %w", id, err)
	}
	if x.Epoch >= newEpoch || uint64(len(x.History)) > uint64(x.Seq) || x.Seq > maxNumber || x.Rev > maxNumber {
		return nil, fmt.Errorf("import room %q: %d frames up to %d of epoch %d can't precede epoch %d", id, len(x.History), x.Seq, x.Epoch, newEpoch)
	}
	r.importCounting(&x)
	if err := r.importMemory(&x); err != nil {
		return nil, fmt.Errorf("import room %q: %w", id, err)
	}
	return r, nil
}

// importCounting takes over numbers and history.
func (r *Room) importCounting(x *exported) {
	r.seq, r.rev = x.Seq, x.Rev
	r.lineage = append(x.Lineage, position{x.Epoch, x.Seq})
	r.lineage = r.lineage[max(0, len(r.lineage)-lineageKept):]
	for i, frame := range x.History {
		r.history.add(pastFrame{seq: x.Seq - protocol.Seq(len(x.History)-1-i), frame: frame})
	}
	if len(r.history.frames) > 0 {
		r.set(&r.history.alarm, time.Time{}, 0, timer{kind: timerHistory}) // to age from the first Tick on
	}
	r.presence.many = x.Untold
}

// importMemory takes over what a room remembers of users and commands.
func (r *Room) importMemory(x *exported) error {
	for _, m := range x.Removed {
		r.removed.note(m.User, m.Version)
	}
	for _, e := range x.Published {
		if e.Number == 0 || e.Number > maxNumber || e.Key == "" {
			return fmt.Errorf("key %q has number %d", e.Key, e.Number)
		}
		r.unstored.put(remembered{number: e.Number, key: e.Key, reply: protocol.Reply{Epoch: e.Epoch, Seq: e.Seq, Delivered: e.Delivered}})
	}
	for _, user := range x.Gone {
		if o := r.occupants[user]; o != nil {
			o.gone = true
			r.rank(o)
		}
	}
	for _, user := range slices.Sorted(maps.Keys(x.Dead)) {
		o := r.occupants[user]
		if o == nil || o.edge == "" || badTime(x.Dead[user]) {
			return fmt.Errorf("user %d can't have been at an edge that died", user)
		}
		r.detach(o)
		o.dead = true
		r.set(&o.alarm, fromNanos(x.Dead[user]), o.number, timer{kind: timerOccupant, occupant: o})
	}
	for _, d := range r.waiting.all() {
		r.resumeAlarm(d) // now that it is known who is online
	}
	return nil
}
