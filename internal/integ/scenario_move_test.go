package integ

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// moveLimit is when rosters, records and edges must agree on who moved while a
// node was killed: its lease has ended by then, and others have taken over.
const moveLimit = 20 * time.Second

// Scenario 7: users move from one room to another while a party is killed: the
// owner of the room left, that of the room entered, the users' edge. Then nodes
// race to move them. Each is in one roster, its record says so, and its
// connection hears that room alone.
func TestScenario7MoveWithKills(t *testing.T) {
	t.Parallel()
	alone(t)
	redis, err := startRedis(filepath.Join(lab.dir, newRoom()))
	if err != nil {
		t.Fatal(err)
	}
	c := startCluster(t, clusterOptions{nodes: 4, redis: redis})
	const former, next, edge = 2, 3, 4
	for _, kill := range []struct {
		party  string
		victim int
	}{{"the owner of the room left", former}, {"the owner of the room entered", next}, {"the edge", edge}} {
		m := c.movers(edge, former, next)
		c.freeze(kill.victim) // so that it is left behind by all of them
		var wg sync.WaitGroup
		for _, p := range m.phones {
			wg.Go(func() { m.move(1, m.rooms[1], p) }) // what comes of it is seen later
		}
		eventually(t, 5*time.Second, func() error { return recorded(t, redis, m.rooms[1], len(m.phones)) })
		killed := c.kill9(kill.victim)
		wg.Wait()
		if kill.victim == edge {
			for n, p := range m.phones {
				m.phones[n] = c.phone(p.user, 1, phoneOptions{})
			}
		}
		eventually(t, moveLimit-time.Since(killed), m.agree)
		t.Logf("all agree %s after the death of %s", time.Since(killed), kill.party)
		m.nobodyElse()
		c.start(kill.victim)
		c.settle()
	}

	m := c.movers(4, 1, 2, 3)
	for range 5 {
		var wg sync.WaitGroup
		for n, room := range m.rooms {
			for _, p := range m.phones {
				wg.Go(func() { m.move(n+1, room, p) })
			}
		}
		wg.Wait()
		eventually(t, moveLimit, m.agree)
		m.nobodyElse()
	}
	c.check()
}

// movers are some users who are moved between rooms.
type movers struct {
	*cluster
	rooms  []string
	phones []*phone
	marks  []int64 // of the publications so far, one for all rooms
}

// movers connects users to a node and has them enter the first of some new
// rooms, each of another owner.
func (c *cluster) movers(edge int, owners ...int) *movers {
	c.tb.Helper()
	m := &movers{cluster: c}
	for _, i := range owners {
		m.rooms = append(m.rooms, c.roomAt(i))
	}
	for range 8 {
		p := c.phone(newUser(), edge, phoneOptions{})
		c.enter(1, m.rooms[0], p.user, nil)
		m.phones = append(m.phones, p)
	}
	return m
}

// move asks node i to put a user into a room.
func (m *movers) move(i int, room string, p *phone) {
	_, _ = m.request(http.MethodPut, i, fmt.Sprintf("/v1/rooms/%s/occupants/%d", room, p.user), fields{}, nil)
}

// recorded is nil once the records of some users name a room, by Redis' word: a
// node would ask the room's owner too.
func recorded(t *testing.T, redis, room string, users int) error {
	t.Helper()
	script := `"local n=0 for _,k in ipairs(redis.call('KEYS','*:u')) do for _,r in ipairs(redis.call('HVALS',k)) do ` +
		`if string.find(r,KEYS[1],1,true) then n=n+1 end end end return n"`
	if said := redisSays(t, redis, "EVAL", script, "1", `'"`+room+`"'`); said != fmt.Sprintf(":%d", users) {
		return fmt.Errorf("records naming %s: %s, want %d", room, said, users)
	}
	return nil
}

// agree is nil if each user is in one room, by the word of every node's rosters,
// of its record and of what its connection hears.
func (m *movers) agree() error {
	at := map[int]string{}
	for _, p := range m.phones {
		u, err := m.user(1, p.user)
		if err != nil {
			return err
		}
		if at[p.user] = u.CurrentRoomID; !u.Online || !slices.Contains(m.rooms, u.CurrentRoomID) {
			return fmt.Errorf("user %d is %+v, want in one of %v", p.user, u, m.rooms)
		}
	}
	for _, i := range m.numbers() {
		for _, room := range m.rooms {
			r, err := m.room(i, room)
			if err != nil {
				return err
			}
			for _, p := range m.phones {
				if in := r.seatOf(p.user) >= 0; in != (at[p.user] == room) {
					return fmt.Errorf("node %d: user %d in room %s: %t, the record names %s", i, p.user, room, in, at[p.user])
				}
			}
		}
	}
	m.marks = append(m.marks, names.Add(1))
	for _, room := range m.rooms {
		frame := fields{"action": "probe", "mark": m.marks[len(m.marks)-1], "of": room}
		status, err := m.request(http.MethodPost, 1, "/v1/rooms/"+room+"/publish", frame, nil)
		if err != nil && status != http.StatusNotFound { // for a room that all have left
			return err
		}
	}
	return poll(time.Second, func() error {
		for _, p := range m.phones {
			if heard := m.hears(p); !slices.Equal(heard, []string{at[p.user]}) {
				return fmt.Errorf("user %d hears %v, the record names %s", p.user, heard, at[p.user])
			}
		}
		return nil
	})
}

// hears returns the rooms whose latest publication a phone has heard.
func (m *movers) hears(p *phone) (rooms []string) {
	for _, f := range p.heard("probe") {
		if int64(f.number("mark")) == m.marks[len(m.marks)-1] {
			rooms = append(rooms, fmt.Sprint(f.fields["of"]))
		}
	}
	return rooms
}

// nobodyElse fails the test if anybody hears a second room yet, or a room
// twice.
func (m *movers) nobodyElse() {
	m.tb.Helper()
	throughout(m.tb, 500*time.Millisecond, func() error {
		for _, p := range m.phones {
			if heard := m.hears(p); len(heard) != 1 {
				return fmt.Errorf("user %d hears %v, want one room", p.user, heard)
			}
		}
		return nil
	})
}
