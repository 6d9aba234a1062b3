package room

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
)

// model is a voice room for people who have all day: lists that are searched
// and sorted anew for every question, nothing kept up to date, no timers. It
// says who must be there, on which seat, what must be owed, and who must be
// asked when.
type model struct {
	now        time.Time
	occupants  []*modelOccupant // in the order of entry
	debts      []*modelDebt     // in the order of departure
	removed    map[protocol.UserID]protocol.Version
	closed     map[int]bool
	configured bool
	emptySince time.Time
	entries    uint64
	departures uint64
	loadedAt   time.Time
	fresh      bool // loaded, and nothing has happened since

	asks   []string // of the step under way: relay ← subject
	events []string
}

type modelOccupant struct {
	user    protocol.UserID
	number  uint64
	version protocol.Version
	conn    protocol.ConnNumber
	edge    protocol.Incarnation
	host    bool
	seat    int
	dead    bool
	gone    bool
	due     time.Time
	told    time.Time // due, as the journal has it
}

type modelDebt struct {
	subject  protocol.UserID
	number   uint64
	deadline time.Time
	asked    []asked
	round    int
	turn     protocol.UserID
	askedAt  time.Time
	at       time.Time // when something happens to it
}

func newModel(now time.Time) *model {
	return &model{now: now, removed: make(map[protocol.UserID]protocol.Version), closed: make(map[int]bool)}
}

func (m *model) find(user protocol.UserID) *modelOccupant {
	for _, o := range m.occupants {
		if o.user == user {
			return o
		}
	}
	return nil
}

func (m *model) sitting(seat int) *modelOccupant {
	for _, o := range m.occupants {
		if o.seat == seat {
			return o
		}
	}
	return nil
}

func (o *modelOccupant) online() bool { return o.edge != "" && !o.dead && !o.gone }

// begin starts a step.
func (m *model) begin() {
	m.asks, m.events = nil, nil
	if m.fresh {
		m.fresh, m.loadedAt = false, m.now
	}
}

// end draws the conclusions of a step.
func (m *model) end() {
	if len(m.occupants) > 0 {
		m.emptySince = time.Time{}
		return
	}
	m.debts = nil
	switch {
	case !m.configured:
		m.closed, m.emptySince = make(map[int]bool), time.Time{}
	case m.emptySince.IsZero():
		m.emptySince = m.now
	}
}

func (m *model) enter(cmd protocol.Command) protocol.Code {
	m.begin()
	defer m.end()
	o := m.find(cmd.User)
	if o == nil {
		if cmd.Version <= m.removed[cmd.User] {
			return protocol.CodeStale
		}
		m.debts = slices.DeleteFunc(m.debts, func(d *modelDebt) bool { return d.subject == cmd.User })
		m.entries++
		o = &modelOccupant{user: cmd.User, number: m.entries, version: cmd.Version, conn: cmd.Conn, edge: cmd.Edge, host: cmd.Profile.Role == "host"}
		m.occupants = append(m.occupants, o)
		m.events = append(m.events, fmt.Sprintf("entered %d", o.user))
		m.connected(o)
		return ""
	}
	if cmd.Version < o.version {
		return protocol.CodeStale
	}
	same := cmd.Conn == o.conn && cmd.Edge == o.edge
	newer := cmd.Version > o.version
	if !newer && cmd.Conn <= o.conn {
		return ""
	}
	o.version = cmd.Version
	if !same && cmd.Conn >= o.conn {
		m.connect(o, cmd.Conn, cmd.Edge)
	} else if o.edge == "" {
		m.connected(o)
	}
	o.host = cmd.Profile.Role == "host"
	return ""
}

func (m *model) present(cmd protocol.Command) protocol.Code {
	m.begin()
	defer m.end()
	o := m.find(cmd.User)
	switch {
	case o == nil:
		return protocol.CodeNotInRoom
	case cmd.Conn < o.conn:
		return protocol.CodeStale
	case cmd.Conn == o.conn && cmd.Edge == o.edge && o.dead:
		return protocol.CodeStale
	case cmd.Conn == o.conn && cmd.Edge == o.edge && !o.gone:
		return ""
	}
	m.connect(o, cmd.Conn, cmd.Edge)
	return ""
}

func (m *model) connect(o *modelOccupant, conn protocol.ConnNumber, edge protocol.Incarnation) {
	o.conn, o.edge, o.dead, o.gone = conn, edge, false, false
	m.passOn(o.user)
	m.connected(o)
}

func (m *model) connected(o *modelOccupant) {
	if o.edge == "" {
		o.due = m.now.Add(30 * time.Second)
		o.told = o.due
		return
	}
	o.due = time.Time{}
	for _, d := range m.debts {
		if d.turn == 0 {
			m.ask(d)
		}
	}
}

func (m *model) exit(cmd protocol.Command) protocol.Code {
	m.begin()
	defer m.end()
	o := m.find(cmd.User)
	if o == nil {
		m.removed[cmd.User] = max(m.removed[cmd.User], cmd.Version)
		return protocol.CodeNotInRoom
	}
	if cmd.Version <= o.version {
		return protocol.CodeStale
	}
	m.dismiss(o, cmd.Version)
	m.events = append(m.events, fmt.Sprintf("exited %d", o.user))
	return ""
}

func (m *model) loss(cmd protocol.Command) {
	m.begin()
	defer m.end()
	o := m.find(cmd.User)
	switch {
	case o == nil:
		m.removed[cmd.User] = max(m.removed[cmd.User], cmd.Version)
	case cmd.Conn != 0 && cmd.Conn < o.conn:
	case cmd.Version > o.version, cmd.Conn != 0 && cmd.Conn == o.conn && o.edge != "":
		m.lose(o, cmd.Version)
	}
}

func (m *model) dismiss(o *modelOccupant, version protocol.Version) {
	m.occupants = slices.DeleteFunc(m.occupants, func(x *modelOccupant) bool { return x == o })
	m.removed[o.user] = max(m.removed[o.user], version, o.version)
	m.passOn(o.user)
}

func (m *model) lose(o *modelOccupant, version protocol.Version) {
	m.dismiss(o, version)
	m.events = append(m.events, fmt.Sprintf("lost %d", o.user))
	if len(m.occupants) == 0 {
		return
	}
	m.departures++
	d := &modelDebt{subject: o.user, number: m.departures, deadline: m.now.Add(time.Minute)}
	m.debts = append(m.debts, d)
	m.ask(d)
}

func (m *model) passOn(relay protocol.UserID) {
	for _, d := range m.debts {
		if d.turn == relay {
			m.ask(d)
		}
	}
}

// order sorts the relays: hosts, seats, the latest entrants.
func (m *model) order() []*modelOccupant {
	var relays []*modelOccupant
	for _, o := range m.occupants {
		if o.online() {
			relays = append(relays, o)
		}
	}
	rank := func(o *modelOccupant) (int, int) {
		switch {
		case o.host:
			return 1, int(o.number)
		case o.seat != 0:
			return 2, o.seat
		}
		return 3, -int(o.number)
	}
	slices.SortFunc(relays, func(a, b *modelOccupant) int {
		a1, a2 := rank(a)
		b1, b2 := rank(b)
		return cmp.Or(cmp.Compare(a1, b1), cmp.Compare(a2, b2))
	})
	return relays
}

func (m *model) ask(d *modelDebt) {
	d.turn, d.at = 0, d.deadline
	relays := m.order()
	if len(relays) == 0 {
		return
	}
	i := slices.IndexFunc(relays, func(o *modelOccupant) bool { return !slices.Contains(d.asked, asked{o.user, d.round}) })
	if i < 0 {
		d.round++
		i = 0
	}
	d.turn, d.askedAt = relays[i].user, m.now
	d.asked = slices.DeleteFunc(d.asked, func(a asked) bool { return a.user == d.turn })
	d.asked = append(d.asked, asked{d.turn, d.round})
	d.at = m.now.Add(5 * time.Second)
	if d.at.After(d.deadline) {
		d.at = d.deadline
	}
	m.asks = append(m.asks, fmt.Sprintf("%d←%d", d.turn, d.subject))
}

func (m *model) report(relay, subject protocol.UserID) {
	m.begin()
	defer m.end()
	m.debts = slices.DeleteFunc(m.debts, func(d *modelDebt) bool {
		return d.subject == subject && slices.ContainsFunc(d.asked, func(a asked) bool { return a.user == relay })
	})
}

func (m *model) up(seat int, user protocol.UserID) protocol.Code {
	m.begin()
	defer m.end()
	o := m.find(user)
	sitting := m.sitting(seat)
	switch {
	case len(m.occupants) == 0 && !m.configured:
		return protocol.CodeRoomNotFound
	case o == nil:
		return protocol.CodeNotInRoom
	case sitting == o:
		return ""
	case m.closed[seat]:
		return protocol.CodeSeatClosed
	case sitting != nil:
		return protocol.CodeSeatTaken
	}
	o.seat = seat
	return ""
}

func (m *model) status(seat int, open bool) protocol.Code {
	m.begin()
	defer m.end()
	if len(m.occupants) == 0 && !m.configured {
		return protocol.CodeRoomNotFound
	}
	if o := m.sitting(seat); o != nil && !open {
		o.seat = 0
	}
	m.closed[seat] = !open
	return ""
}

func (m *model) edgeDied(edge protocol.Incarnation) {
	m.begin()
	defer m.end()
	var at []*modelOccupant
	for _, o := range m.occupants {
		if o.edge == edge && !o.dead {
			o.dead, o.due = true, m.now.Add(30*time.Second)
			at = append(at, o)
		}
	}
	slices.SortFunc(at, func(a, b *modelOccupant) int { return cmp.Compare(a.user, b.user) })
	for _, o := range at {
		m.passOn(o.user)
	}
}

func (m *model) gone(user protocol.UserID, conn protocol.ConnNumber) {
	m.begin()
	defer m.end()
	if o := m.find(user); o != nil && o.conn == conn && o.online() {
		o.gone = true
		m.passOn(user)
	}
}

// due returns what happens next, and when.
func (m *model) due() (at time.Time, fire func()) {
	var order uint64
	consider := func(t time.Time, key uint64, f func()) {
		if !t.IsZero() && (fire == nil || t.Before(at) || t.Equal(at) && key < order) {
			at, order, fire = t, key, f
		}
	}
	for _, d := range m.debts {
		consider(d.at, d.number*4, func() {
			if !m.now.Before(d.deadline) {
				m.debts = slices.DeleteFunc(m.debts, func(x *modelDebt) bool { return x == d })
				m.events = append(m.events, fmt.Sprintf("unreported %d", d.subject))
				return
			}
			m.ask(d)
		})
	}
	for _, o := range m.occupants {
		consider(o.due, o.number*4+1, func() {
			if fair := m.loadedAt.Add(5 * time.Second); !m.loadedAt.IsZero() && m.now.Before(fair) {
				o.due = fair
				return
			}
			m.lose(o, o.version)
		})
	}
	if m.configured && !m.emptySince.IsZero() {
		consider(m.emptySince.Add(20*time.Second), 3, func() { m.configured = false })
	}
	return at, fire
}

// tick fires one instant's worth of what is due.
func (m *model) tick(at time.Time) {
	m.now = at
	m.begin()
	defer m.end()
	for {
		next, fire := m.due()
		if fire == nil || next.After(at) {
			return
		}
		fire()
	}
}

// handOver makes the room one that was just loaded.
func (m *model) handOver() {
	m.fresh, m.loadedAt = true, time.Time{}
	m.entries, m.departures = 0, 0 // numbers count on from the highest in use
	for _, o := range m.occupants {
		m.entries = max(m.entries, o.number)
		if o.edge == "" {
			o.due = o.told
		}
	}
	for _, d := range m.debts {
		m.departures = max(m.departures, d.number)
	}
}

// crash forgets what is not in the journal: deaths and goneness of connections,
// and who was removed. What waited for a relay is tried at once.
func (m *model) crash() {
	clear(m.removed)
	for _, o := range m.occupants {
		if o.edge != "" {
			o.dead, o.gone, o.due = false, false, time.Time{}
		}
	}
	m.handOver()
	relays := len(m.order()) > 0
	for _, d := range m.debts {
		d.at = d.deadline
		if (d.turn != 0 || relays) && d.askedAt.Add(5*time.Second).Before(d.deadline) {
			d.at = d.askedAt.Add(5 * time.Second)
			if d.askedAt.IsZero() {
				d.at = time.Unix(0, 0)
			}
		}
	}
}

// TestModel compares rooms with the model, step by step.
func TestModel(t *testing.T) {
	t.Parallel()
	for i := range 6 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, compareWithModel)
		})
	}
}

func compareWithModel(rt *rapid.T) {
	c := &comparison{
		owner: newOwner(rt, testRoom, Config{KeepEmpty: 20 * time.Second}),
		rt:    rt,
	}
	c.model = newModel(c.now)
	rt.Repeat(map[string]func(*rapid.T){
		"enter":    c.enter,
		"enter2":   c.enter,
		"exit":     c.exit,
		"loss":     c.loss,
		"loss2":    c.loss,
		"present":  c.present,
		"report":   c.report,
		"up":       c.up,
		"status":   c.status,
		"edgeDied": c.edgeDied,
		"gone":     c.gone,
		"pass":     c.pass,
		"pass2":    c.pass,
		"crash":    c.crash,
		"handOver": c.handOver,
		"publish":  c.publish,
		"set":      c.configure,
	})
}

// comparison drives a room and the model side by side.
type comparison struct {
	*owner
	model *model
	rt    *rapid.T
	edges int // deaths so far, so that each edge dies once
}

var users = rapid.Custom(func(rt *rapid.T) protocol.UserID {
	return protocol.UserID(rapid.IntRange(1, 6).Draw(rt, "user"))
})

// version draws a version near the user's own, so that late, equal and new
// ones all come up.
func (c *comparison) version(rt *rapid.T, user protocol.UserID) protocol.Version {
	base := c.model.removed[user]
	if o := c.model.find(user); o != nil {
		base = o.version
	}
	return max(1, base+protocol.Version(rapid.IntRange(0, 3).Draw(rt, "version"))-1)
}

func (c *comparison) conn(rt *rapid.T, user protocol.UserID) protocol.ConnNumber {
	base := protocol.ConnNumber(1)
	if o := c.model.find(user); o != nil {
		base = max(1, o.conn)
	}
	return max(1, base+protocol.ConnNumber(rapid.IntRange(0, 2).Draw(rt, "conn"))-1)
}

func (c *comparison) edge(rt *rapid.T) protocol.Incarnation {
	return protocol.Incarnation(fmt.Sprintf("n%d@%d", rapid.IntRange(1, 2).Draw(rt, "edge"), c.edges))
}

// do applies a command to the room and compares the outcome.
func (c *comparison) do(cmd protocol.Command, want protocol.Code) {
	c.rt.Helper()
	if got := protocol.CodeOf(c.try(cmd)); got != want {
		c.rt.Fatalf("%s: code %q (%v), want %q", cmd.Verb, got, c.err, want)
	}
	c.compare()
}

func (c *comparison) enter(rt *rapid.T) {
	user := users.Draw(rt, "who")
	profile := *profileOf(user)
	profile.Role = rapid.SampledFrom([]string{"audience", "audience", "host"}).Draw(rt, "role")
	cmd := protocol.Command{Verb: protocol.VerbEnter, User: user, Version: c.version(rt, user), Profile: &profile}
	if rapid.IntRange(0, 3).Draw(rt, "connected") > 0 {
		cmd.Conn, cmd.Edge = c.conn(rt, user), c.edge(rt)
	}
	c.do(cmd, c.model.enter(cmd))
}

func (c *comparison) exit(rt *rapid.T) {
	user := users.Draw(rt, "who")
	cmd := protocol.Command{Verb: protocol.VerbExit, User: user, Version: c.version(rt, user)}
	c.do(cmd, c.model.exit(cmd))
}

func (c *comparison) loss(rt *rapid.T) {
	user := users.Draw(rt, "who")
	cmd := protocol.Command{Verb: protocol.VerbLoss, User: user, Version: c.version(rt, user), Conn: c.conn(rt, user)}
	c.model.loss(cmd)
	c.do(cmd, "")
}

func (c *comparison) present(rt *rapid.T) {
	user := users.Draw(rt, "who")
	cmd := protocol.Command{Verb: protocol.VerbPresent, User: user, Version: c.version(rt, user), Conn: c.conn(rt, user), Edge: c.edge(rt)}
	c.do(cmd, c.model.present(cmd))
}

func (c *comparison) report(rt *rapid.T) {
	cmd := protocol.Command{Verb: protocol.VerbReport, User: users.Draw(rt, "relay"), Subject: users.Draw(rt, "subject")}
	if d := c.room.debts[cmd.Subject]; d != nil && rapid.Bool().Draw(rt, "by id") {
		cmd.Departure = d.id
	}
	c.model.report(cmd.User, cmd.Subject)
	c.do(cmd, "")
}

func (c *comparison) up(rt *rapid.T) {
	user, seat := users.Draw(rt, "who"), rapid.IntRange(1, 3).Draw(rt, "seat")
	c.do(protocol.Command{Verb: protocol.VerbSeat, Seat: seat, SeatChange: &protocol.SeatChange{Up: user}}, c.model.up(seat, user))
}

func (c *comparison) status(rt *rapid.T) {
	seat, status := rapid.IntRange(1, 3).Draw(rt, "seat"), rapid.IntRange(0, 1).Draw(rt, "status")
	c.do(protocol.Command{Verb: protocol.VerbSeat, Seat: seat, SeatChange: &protocol.SeatChange{Status: &status}}, c.model.status(seat, status == 1))
}

func (c *comparison) edgeDied(rt *rapid.T) {
	edge := c.edge(rt)
	c.edges++
	c.model.edgeDied(edge)
	c.take(c.room.EdgeDied(edge, c.now))
	c.compare()
}

func (c *comparison) gone(rt *rapid.T) {
	user := users.Draw(rt, "who")
	conn := c.conn(rt, user)
	c.model.gone(user, conn)
	c.take(c.room.Noticed("", user, conn, protocol.NoticeGone, c.now))
	c.compare()
}

func (c *comparison) pass(rt *rapid.T) {
	until := c.now.Add(time.Duration(rapid.IntRange(0, 25_000).Draw(rt, "milliseconds")) * time.Millisecond)
	for {
		want, fire := c.model.due()
		next := c.room.Next()
		if due := fire != nil && !want.After(until); due != (!next.IsZero() && !next.After(until)) || due && !want.Equal(next) {
			c.rt.Fatalf("next is due at %v, want %v", next, want)
		} else if !due {
			break
		}
		if next.After(c.now) {
			c.now = next
		}
		c.model.tick(c.now)
		c.take(c.room.Tick(c.now))
		c.compare()
	}
	c.now, c.model.now = until, until
}

func (c *comparison) crash(*rapid.T) {
	c.owner.crash()
	c.model.crash()
	c.compareState()
}

func (c *comparison) handOver(*rapid.T) {
	c.owner.handOver()
	c.model.handOver()
	c.compareState()
	c.model.tick(c.now)
	c.take(c.room.Tick(c.now)) // the heir's first act
	c.compare()
}

func (c *comparison) publish(*rapid.T) {
	want := protocol.Code("")
	if len(c.model.occupants) == 0 && !c.model.configured {
		want = protocol.CodeRoomNotFound
	}
	c.model.begin()
	c.do(protocol.Command{Verb: protocol.VerbPublish, Frame: []byte(`{"action":"x"}`)}, want)
	if want == "" && c.last.Reply.Delivered != len(c.model.occupants) {
		c.rt.Fatalf("delivered to %d, want %d", c.last.Reply.Delivered, len(c.model.occupants))
	}
}

func (c *comparison) configure(*rapid.T) {
	c.model.begin()
	c.model.configured = true
	c.model.end()
	c.do(protocol.Command{Verb: protocol.VerbConfigure, Settings: &protocol.Settings{}}, "")
}

// compare holds the last result and the state against the model's.
func (c *comparison) compare() {
	c.rt.Helper()
	var asks, events []string
	for _, n := range c.last.Notices {
		asks = append(asks, fmt.Sprintf("%d←%d", n.User, n.Subject))
	}
	for _, e := range c.last.Events {
		if e.Event != "up" && e.Event != "down" {
			events = append(events, fmt.Sprintf("%s %d", e.Event, e.UserID))
		}
	}
	if c.err == nil && !slices.Equal(asks, c.model.asks) {
		c.rt.Fatalf("asked %v, want %v", asks, c.model.asks)
	}
	if c.err == nil && !slices.Equal(events, c.model.events) {
		c.rt.Fatalf("events %v, want %v", events, c.model.events)
	}
	c.err = nil
	c.compareState()
}

func (c *comparison) compareState() {
	c.rt.Helper()
	view := c.room.View("", 0)
	got := make([]string, 0, len(view.Occupants))
	for _, o := range view.Occupants {
		got = append(got, fmt.Sprintf("%d seat %d online %t host %t", o.UserID, o.Seat, o.Online, o.Role == "host"))
	}
	want := make([]string, 0, len(c.model.occupants))
	for _, o := range c.model.occupants {
		want = append(want, fmt.Sprintf("%d seat %d online %t host %t", o.user, o.seat, o.online(), o.host))
	}
	if !slices.Equal(got, want) {
		c.rt.Fatalf("occupants\n%q, want\n%q", got, want)
	}
	var debts, wantDebts []string
	for _, d := range c.room.owed.all() {
		debts = append(debts, fmt.Sprintf("%d asked %v turn %d", d.subject, d.asked, d.turn))
	}
	for _, d := range c.model.debts {
		wantDebts = append(wantDebts, fmt.Sprintf("%d asked %v turn %d", d.subject, d.asked, d.turn))
	}
	if !slices.Equal(debts, wantDebts) {
		c.rt.Fatalf("debts\n%q, want\n%q", debts, wantDebts)
	}
	for _, seat := range view.Seats[:3] {
		if open := !c.model.closed[seat.ID]; (seat.Status == 1) != open {
			c.rt.Fatalf("seat %d is open: %t, want %t", seat.ID, !open, open)
		}
	}
	if disposable := len(c.model.occupants) == 0 && !c.model.configured; c.room.Disposable() != disposable {
		c.rt.Fatalf("disposable %t, want %t", !disposable, disposable)
	}
	if c.room.unsaidSum() != c.asksOwed() {
		c.rt.Fatalf("relays are counted as asked for %d, want %d", c.room.unsaidSum(), c.asksOwed())
	}
}

func (r *Room) unsaidSum() int {
	sum := 0
	for _, n := range r.unsaid {
		sum += n
	}
	return sum
}

func (c *comparison) asksOwed() int {
	sum := 0
	for _, d := range c.model.debts {
		sum += len(d.asked)
	}
	return sum
}
