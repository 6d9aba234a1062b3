package clustertest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
	"github.com/faac1247/rollcall/ring"
)

// newer is the store of a node of the next version, which journals an entry of
// a kind that this version does not know beside each occupant's.
type newer struct{ node.Store }

// kindNext is the next version's kind.
const kindNext = ":zz:"

func (s newer) Commit(ctx context.Context, commits []protocol.Commit) ([]protocol.CommitStatus, error) {
	next := make([]protocol.Commit, len(commits))
	for i, b := range commits {
		next[i] = b
		next[i].Changes = nil
		for _, change := range b.Changes {
			next[i].Changes = append(next[i].Changes, change)
			if room, user, ok := strings.Cut(change.Key, ":o:"); ok && change.Value != nil {
				next[i].Changes = append(next[i].Changes, protocol.Change{Key: room + kindNext + user, Value: []byte{0xff, 2}})
			}
		}
	}
	return s.Store.Commit(ctx, next)
}

// Scenario 10: versions N-1 and N are mixed, upgraded and rolled back under
// load, with a journal entry that only N knows: nobody is expelled, nothing is
// lost, and that entry neither.
func TestScenario10MixedVersions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		next := map[int]bool{}
		c := New(t, 3, Options{WrapStore: func(n int, s node.Store) node.Store {
			if next[n] {
				return newer{s}
			}
			return s
		}})
		const rooms, perRoom = 6, 4
		var persons []*Person
		room := func(user int) string { return fmt.Sprintf("v%d", user%rooms) }
		for user := 1; user <= rooms*perRoom; user++ {
			p := c.NewPerson(user, "&v=2")
			p.Online(user%3 + 1)
			persons = append(persons, p)
		}
		defer func() {
			for _, p := range persons {
				p.End()
			}
		}()
		time.Sleep(time.Second)
		for user := range persons {
			c.Enter(1, room(user+1), user+1, nil)
			c.Must(http.MethodPut, 2, fmt.Sprintf("/v1/rooms/%s/seats/%d", room(user+1), (user/rooms)+1), map[string]any{"user_id": user + 1})
		}
		for _, version := range []bool{true, false} {
			for n := 1; n <= 3; n++ {
				if version || n == 2 {
					c.Drain(n)
				} else {
					c.Kill(n) // a rollback is not always in good order
				}
				next[n] = version
				c.Start(n)
				c.Settle()
				time.Sleep(2 * time.Second)
				for user := range persons { // each change of theirs is journaled anew
					c.Must(http.MethodPut, n, fmt.Sprintf("/v1/rooms/%s/occupants/%d", room(user+1), user+1), map[string]any{"nickname": fmt.Sprint(version, n)})
				}
				c.Must(http.MethodPost, n, "/v1/rooms/v0/publish", map[string]any{"action": "line"})
			}
			if version && c.foreign(room, len(persons)) == 0 {
				t.Error("no node of the next version journaled what only it knows")
			}
		}
		time.Sleep(25 * time.Second)
		if n := c.foreign(room, len(persons)); n != len(persons) {
			t.Errorf("%d of %d entries of the next version are left", n, len(persons))
		}
		for i := range rooms {
			users, seats := c.roster(1, fmt.Sprintf("v%d", i))
			if len(users) != perRoom {
				t.Errorf("room v%d has %v, want %d", i, users, perRoom)
			}
			for user, seat := range seats {
				if want := (user-1)/rooms + 1; seat != want {
					t.Errorf("user %d is on seat %d, want %d", user, seat, want)
				}
			}
		}
		for _, p := range persons {
			for _, f := range p.Heard() {
				if f.Action == "exit_room" {
					t.Errorf("%s heard %v", p, f.Fields)
				}
			}
			if !p.Connected() {
				t.Errorf("%s is not connected", p)
			}
		}
		c.Check()
	})
}

// foreign counts the users beside whose entry the journal has the next
// version's.
func (c *Cluster) foreign(room func(user int) string, users int) int {
	c.tb.Helper()
	found := 0
	for user := 1; user <= users; user++ {
		p := ring.Config{Partitions: Partitions}.Room(protocol.RoomID(room(user)))
		if _, ok := c.Store.Entries(p)[fmt.Sprintf("%s%s%d", room(user), kindNext, user)]; ok {
			found++
		}
	}
	return found
}
