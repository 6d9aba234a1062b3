package room

import (
	"cmp"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	roleHost     = "host"
	roleAudience = "audience"
	// The parties of a call.
	roleCaller   = "caller"
	roleReceiver = "receiver"
)

// occupant is one user in the room.
type occupant struct {
	user    protocol.UserID
	number  uint64 // of the entry; later ones are higher
	version protocol.Version
	conn    protocol.ConnNumber
	edge    protocol.Incarnation // "" for no connection
	since   time.Time
	profile protocol.Profile
	seat    int // 0 for none

	// Not journaled: the edge has died, or has said that it does not have the
	// connection. Only a new connection ends either.
	dead, gone bool

	// due is when the occupant is out unless it connects; journaled only while
	// it never had a connection.
	due   time.Time
	alarm alarm

	// relay is the occupant's place in Room.relays, zero while it is not online.
	relay key
	// turns are the debts that wait for this occupant's report.
	turns index[*debt]
}

// attached reports whether there is an edge to talk to about the occupant.
func (o *occupant) attached() bool { return o.edge != "" && !o.dead }

func (o *occupant) online() bool { return o.attached() && !o.gone }

// removals holds the versions in which users were last removed.
type removals struct {
	versions map[protocol.UserID]protocol.Version
	order    []protocol.UserID // oldest first
}

// note remembers that a user was removed in a version; the oldest of too many
// is forgotten.
func (m *removals) note(user protocol.UserID, version protocol.Version) {
	if version == 0 {
		return
	}
	if former, ok := m.versions[user]; ok {
		m.versions[user] = max(former, version)
		return
	}
	if m.versions == nil {
		m.versions = make(map[protocol.UserID]protocol.Version)
	}
	if len(m.order) == removedKept {
		delete(m.versions, m.order[0])
		m.order = slices.Delete(m.order, 0, 1)
	}
	m.versions[user] = version
	m.order = append(m.order, user)
}

// enter brings a user in, or tells the room more about one who is.
func (s *step) enter(cmd *protocol.Command) error {
	if err := checkEnter(cmd); err != nil {
		return err
	}
	if o := s.occupants[cmd.User]; o != nil {
		return s.reenter(o, cmd)
	}
	if v, ok := s.removed.versions[cmd.User]; ok && cmd.Version != 0 && cmd.Version <= v {
		return protocol.Errorf(protocol.CodeStale, "user %d has left in version %d, after version %d", cmd.User, v, cmd.Version)
	}
	switch {
	case s.id.IsCall() && len(s.occupants) == 2:
		return protocol.Errorf(protocol.CodeRoomFull, "call %q has both its parties", s.id.CallNo())
	case len(s.occupants) >= s.cfg.MaxOccupants:
		return protocol.Errorf(protocol.CodeRoomFull, "room %q has %d occupants, its limit", s.id, len(s.occupants))
	}
	s.cancel(cmd.User)
	s.entries++
	o := &occupant{
		user: cmd.User, number: s.entries, version: cmd.Version,
		conn: cmd.Conn, edge: cmd.Edge, since: s.now,
	}
	if cmd.Profile != nil {
		o.profile = *cmd.Profile
	}
	s.admit(o)
	s.presence.enters(o.user)
	s.event("entered", o.user)
	s.connected(o, s.enteredFrame(o))
	if !cmd.Quiet {
		s.tellEntered(o)
	}
	s.partiesChanged()
	s.storeOccupant(o)
	return nil
}

func checkEnter(cmd *protocol.Command) error {
	if cmd.User <= 0 {
		return protocol.Errorf(protocol.CodeBadRequest, "user id %d is not positive", cmd.User)
	}
	p := cmd.Profile
	if p == nil {
		return nil
	}
	roles := [...]string{roleHost, roleAudience}
	if cmd.Room.IsCall() {
		roles = [...]string{roleCaller, roleReceiver}
	}
	if p.Role != "" && !slices.Contains(roles[:], p.Role) {
		return protocol.Errorf(protocol.CodeBadRequest, "role %q is neither %s nor %s", p.Role, roles[0], roles[1])
	}
	if size := len(p.Nickname) + len(p.AvatarURL) + len(p.AvatarSmallURL) + len(p.ChannelName); size > maxProfile {
		return protocol.Errorf(protocol.CodeTooLarge, "profile has %d bytes, at most %d are allowed", size, maxProfile)
	}
	return nil
}

// reenter applies an enter of somebody who is in: no exit and no new entry.
func (s *step) reenter(o *occupant, cmd *protocol.Command) error {
	if cmd.Version < o.version {
		return protocol.Errorf(protocol.CodeStale, "user %d is in room %q in version %d, after version %d", o.user, s.id, o.version, cmd.Version)
	}
	newer, again := cmd.Version > o.version, cmd.Conn == o.conn && cmd.Edge == o.edge
	if !newer && (again || cmd.Conn <= o.conn) {
		return nil
	}
	o.version = cmd.Version
	switch {
	case !again && cmd.Conn >= o.conn:
		s.connect(o, cmd.Conn, cmd.Edge, newer)
	case o.edge == "":
		s.connected(o, nil) // the wait for a connection begins anew
	case o.attached():
		s.subscribe(o, nil) // the edge learns of the version
		s.tellOwnEntry(o)
	}
	if cmd.Profile != nil && *cmd.Profile != o.profile {
		o.profile = *cmd.Profile
		s.rank(o)
		s.presence.differs(o.user)
		if !cmd.Quiet {
			s.tellEntered(o)
		}
	}
	s.storeOccupant(o)
	return nil
}

// present gives an occupant its new connection.
func (s *step) present(cmd *protocol.Command) error {
	o := s.occupants[cmd.User]
	if o == nil {
		if s.id.IsCall() && s.hangUpAt(cmd) {
			return nil
		}
		return protocol.Errorf(protocol.CodeNotInRoom, "user %d is not in room %q", cmd.User, s.id)
	}
	same := cmd.Conn == o.conn && cmd.Edge == o.edge
	switch {
	case cmd.Edge == "":
		return protocol.Errorf(protocol.CodeBadRequest, "user %d is present at no edge", o.user)
	case cmd.Conn < o.conn:
		return protocol.Errorf(protocol.CodeStale, "user %d has connection %d, after %d", o.user, o.conn, cmd.Conn)
	case same && o.dead:
		return protocol.Errorf(protocol.CodeStale, "edge %s is dead", o.edge)
	case same && o.online():
		s.subscribe(o, nil)
	default:
		s.connect(o, cmd.Conn, cmd.Edge, false)
		s.storeOccupant(o)
	}
	return nil
}

// exit takes a user out who left in good order: nobody is owed anything.
func (s *step) exit(cmd *protocol.Command) error {
	o := s.occupants[cmd.User]
	if o == nil {
		s.removed.note(cmd.User, cmd.Version)
		return protocol.Errorf(protocol.CodeNotInRoom, "user %d is not in room %q", cmd.User, s.id)
	}
	if cmd.Version != 0 && cmd.Version <= o.version {
		return protocol.Errorf(protocol.CodeStale, "user %d entered in version %d, after version %d", o.user, o.version, cmd.Version)
	}
	reason := cmp.Or(cut(cmd.Reason), ReasonExited)
	s.unsubscribe(o)
	s.dismiss(o, cmd.Version, reason)
	s.event("exited", o.user).Reason = reason
	if s.id.IsCall() {
		s.endCall(o.user, reason, "")
	}
	return nil
}

// loss takes a user out whose connection is gone. A late one, or one that is
// repeated, does nothing and is no error: it has been taken note of.
func (s *step) loss(cmd *protocol.Command) error {
	o := s.occupants[cmd.User]
	if o == nil {
		s.removed.note(cmd.User, cmd.Version)
		return nil
	}
	// The version decides. The connection does where the record could not be
	// written, as long as it is the one that the occupant has now; and whoever has
	// come back on a later one was not lost with it, whatever version an edge took
	// for the next while it could not ask the store.
	newer := cmd.Version > o.version || cmd.Version == 0 && cmd.Conn == 0
	late := cmd.Conn != 0 && cmd.Conn < o.conn
	if late || !newer && (cmd.Conn == 0 || o.edge == "" || cmd.Conn != o.conn) {
		return nil
	}
	if cmd.Conn != o.conn {
		s.unsubscribe(o)
	}
	s.lose(o, cmd.Version, cmp.Or(cut(cmd.Reason), ReasonClosed))
	return nil
}

// admit puts an occupant into the roster.
func (r *Room) admit(o *occupant) {
	r.occupants[o.user] = o
	r.roster.put(key{lo: o.number}, o)
	r.sit(o, o.seat)
	r.attach(o)
}

// dismiss takes an occupant out of everything and passes on what it was asked
// for. version is that of the removal.
func (s *step) dismiss(o *occupant, version protocol.Version, reason string) {
	s.detach(o)
	s.unset(&o.alarm)
	s.sit(o, 0)
	s.roster.remove(key{lo: o.number})
	delete(s.occupants, o.user)
	s.removed.note(o.user, max(version, o.version))
	s.presence.leaves(o.user, reason)
	s.erase(s.occupantKey(o.user))
	s.passOn(o)
	s.partiesChanged()
}

// Removed yields the users who were removed, with the version of each that an
// enter must exceed.
func (r *Room) Removed() iter.Seq2[protocol.UserID, protocol.Version] {
	return maps.All(r.removed.versions)
}

// connect replaces an occupant's connection; without an edge, by none. The
// debts that wait for the occupant's report may have been lost with the former
// connection, so their next relay is asked. entered says that the occupant has
// just entered again, and is to hear so.
func (s *step) connect(o *occupant, conn protocol.ConnNumber, edge protocol.Incarnation, entered bool) {
	if edge != o.edge || conn != o.conn {
		s.unsubscribe(o)
	}
	s.detach(o)
	o.conn, o.edge = conn, edge
	o.dead, o.gone = false, false
	s.attach(o)
	s.passOn(o)
	var frame []byte
	if entered {
		frame = s.enteredFrame(o)
	}
	s.connected(o, frame)
}

// connected follows an occupant's change between having a connection and not.
func (s *step) connected(o *occupant, entered []byte) {
	if o.edge == "" {
		o.due = s.now.Add(s.cfg.NeverConnected)
		s.set(&o.alarm, o.due, o.number, timer{kind: timerOccupant, occupant: o})
		return
	}
	o.due = time.Time{}
	s.unset(&o.alarm)
	s.subscribe(o, entered)
	for _, d := range s.waiting.values() {
		s.ask(d)
	}
}

// attach files an occupant under its edge and among the relays.
func (r *Room) attach(o *occupant) {
	if !o.attached() {
		return
	}
	if r.edges == nil {
		r.edges = make(map[protocol.Incarnation]map[protocol.UserID]*occupant)
	}
	if r.edges[o.edge] == nil {
		r.edges[o.edge] = make(map[protocol.UserID]*occupant)
	}
	r.edges[o.edge][o.user] = o
	r.rank(o)
}

// detach undoes attach.
func (r *Room) detach(o *occupant) {
	if at := r.edges[o.edge]; at != nil {
		delete(at, o.user)
		if len(at) == 0 {
			delete(r.edges, o.edge)
		}
	}
	if o.relay != (key{}) {
		r.relays.remove(o.relay)
		o.relay = key{}
	}
}

// rank puts an occupant where it belongs among the relays: hosts in the order
// of entry, seats in their order, then the latest entrant first; and before
// them all who was not asked for too much yet.
func (r *Room) rank(o *occupant) {
	if o.relay != (key{}) {
		r.relays.remove(o.relay)
		o.relay = key{}
	}
	if !o.online() {
		return
	}
	switch {
	case o.profile.Role == roleHost:
		o.relay = key{1, o.number}
	case o.seat != 0:
		o.relay = key{2, uint64(o.seat)}
	default:
		o.relay = key{3, math.MaxUint64 - o.number}
	}
	if r.unsaid[o.user] >= busyAt {
		o.relay.hi += 3
	}
	r.relays.put(o.relay, o)
}

// connectionDue is the end of the wait for an occupant's connection.
func (s *step) connectionDue(o *occupant) {
	// What a loaded room knows of connections is as old as its last owner; it
	// gives those that came meanwhile time to be told.
	if fair := s.loadedAt.Add(s.cfg.ReportTimeout); s.loaded && s.now.Before(fair) {
		s.set(&o.alarm, fair, o.number, timer{kind: timerOccupant, occupant: o})
		return
	}
	reason := ReasonNeverConnected
	if o.dead {
		reason = ReasonNodeLost
	}
	s.evict(o, reason)
	s.lose(o, o.version, reason)
}

// EdgeDied takes note of an edge's death: its occupants have no connection
// until they are present at another, and what they were asked for is asked of
// others at once. The roster and the journal's occupants stay as they are: the
// losses follow, unless the users come back.
func (r *Room) EdgeDied(edge protocol.Incarnation, now time.Time) Result {
	s := r.step(now)
	users := slices.Sorted(maps.Keys(r.edges[edge]))
	at := make([]*occupant, 0, len(users))
	for _, user := range users {
		at = append(at, r.occupants[user])
	}
	for _, o := range at {
		r.detach(o)
		o.dead = true
		s.set(&o.alarm, now.Add(r.cfg.EdgeGrace), o.number, timer{kind: timerOccupant, occupant: o})
	}
	for _, o := range at {
		s.passOn(o)
	}
	s.hangUpEdgeDied(edge)
	s.settle()
	return s.res
}

// Edges yields once every living edge that the room has to do with: those that
// hold a connection of an occupant, or of who is owed a hang_up.
func (r *Room) Edges() iter.Seq[protocol.Incarnation] {
	return func(yield func(protocol.Incarnation) bool) {
		for edge := range r.edges {
			if !yield(edge) {
				return
			}
		}
		if !r.id.IsCall() {
			return
		}
		for _, d := range r.owed.values() {
			if d.edge != "" && r.edges[d.edge] == nil && !yield(d.edge) {
				return
			}
		}
	}
}

// Audience yields every living edge that holds connections of occupants, and
// how many.
func (r *Room) Audience() iter.Seq2[protocol.Incarnation, int] {
	return func(yield func(protocol.Incarnation, int) bool) {
		for edge, at := range r.edges {
			if !yield(edge, len(at)) {
				return
			}
		}
	}
}

// Occupants yields everybody in the room, in the order of entry, with the edge
// where the room believes the connection: "" for none, or one that died.
func (r *Room) Occupants() iter.Seq2[protocol.Incarnation, protocol.Occupant] {
	return func(yield func(protocol.Incarnation, protocol.Occupant) bool) {
		for _, o := range r.roster.all() {
			edge := o.edge
			if o.dead {
				edge = ""
			}
			if !yield(edge, protocol.Occupant{User: o.user, Conn: o.conn, Version: o.version}) {
				return
			}
		}
	}
}

// cut shortens a reason to what is kept of one.
func cut(reason string) string { return reason[:min(len(reason), maxReason)] }
