package clustertest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/faac1247/rollcall/node"
)

// roomy is the number of occupants above which rooms are spread here.
const roomy = 10

// spreading starts nodes that spread rooms early.
func spreading(t *testing.T, n int) *Cluster {
	return New(t, n, Options{Config: func(_ int, c *node.Config) { c.RoomSpread = roomy }})
}

// asked returns the node that node n's end_point sends a user of a room to.
func (c *Cluster) asked(n, user int, room string) (int, error) {
	answer := map[string]any{}
	if _, err := c.ask(n, fmt.Sprintf("/api/websocket/end_point?sid=%ds&room_id=%s", user, room), &answer); err != nil {
		return 0, err
	}
	var at int
	if _, err := fmt.Sscanf(fmt.Sprint(answer["end_point"]), "ws://10.0.0.%d:", &at); err != nil {
		return 0, fmt.Errorf("end_point answers %v", answer)
	}
	return at, nil
}

// arrive has a user ask end_point of a running node, connect where it says, and
// keeps the phone.
func (c *Cluster) arrive(user int, room string) (at int) {
	c.tb.Helper()
	running := c.running()
	c.Eventually(20*time.Second, func() error {
		var err error
		if at, err = c.asked(running[user%len(running)], user, room); err != nil {
			return err
		}
		p, err := c.TryDial(user, at, PhoneOptions{Query: "&v=2", Report: true})
		if err == nil {
			c.Keep(p)
		} else if p != nil {
			p.Hang()
		}
		return err
	})
	return at
}

// running lists the nodes that run, in order.
func (c *Cluster) running() []int {
	var list []int
	for n := range c.size + 1 {
		if c.nodes[n] != nil {
			list = append(list, n)
		}
	}
	return list
}

// audience puts users 1 to n into a room through whatever nodes, each connected
// where end_point says, and returns how many are at each node.
func (c *Cluster) audience(room string, n int) map[int]int {
	c.tb.Helper()
	at := map[int]int{}
	for user := 1; user <= n; user++ {
		at[c.arrive(user, room)]++
		c.Enter(c.running()[user%len(c.running())], room, user, nil)
		time.Sleep(300 * time.Millisecond)
	}
	return at
}

// hearsAll publishes through all nodes in turn and fails the test unless every
// kept phone hears each publication once and all in one order without a gap.
func (c *Cluster) hearsAll(t *testing.T, room, when string, n int) {
	t.Helper()
	running := c.running()
	for i := range n {
		c.Must(http.MethodPost, running[i%len(running)], "/v1/rooms/"+room+"/publish", map[string]any{"action": "line", "when": when, "i": i})
	}
	time.Sleep(2 * time.Second)
	for user, p := range c.phones {
		next := 0
		for _, f := range p.Heard("line") {
			if f.Fields["when"] != when {
				continue
			}
			if f.Fields["i"] != float64(next) {
				t.Errorf("%s: user %d heard line %v, want %d", when, user, f.Fields["i"], next)
			}
			next++
		}
		if next != n {
			t.Errorf("%s: user %d heard %d of %d lines", when, user, next, n)
		}
		inOrder(t, p)
	}
}

// told counts the exit_room frames of a user that anybody heard.
func (c *Cluster) told(user int) int {
	n := 0
	for _, p := range c.phones {
		n += len(p.HeardOf("exit_room", user))
	}
	return n
}

// come connects again who has lost the connection, as clients do, through
// end_point.
func (c *Cluster) come(room string, n int) {
	for user := 1; user <= n; user++ {
		if p := c.phones[user]; p.Gone() != nil {
			p.Hang()
			c.arrive(user, room)
		}
	}
}

// A room that grows beyond the threshold is spread over more nodes: everybody
// hears all in order, a departure is told once, and below the threshold every
// node answers the owner.
func TestLargeRoomIsSpread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const members = 40
		c := spreading(t, 3)
		owner := c.OwnerOf("big")
		everywhere := func(room string, want int) {
			t.Helper()
			for n := 1; n <= 3; n++ {
				for user := range 10 {
					if at, err := c.asked(n, 1000+user, room); err != nil || at != want {
						t.Errorf("node %d sends to %d (%v) for room %s, want %d", n, at, err, room, want)
					}
				}
			}
		}
		if at := c.audience("big", roomy); at[owner] != roomy {
			t.Errorf("up to the threshold the room is at %v, want all at its owner %d", at, owner)
		}
		time.Sleep(2 * time.Second)
		everywhere("big", owner)
		at := c.audience("big", members) // the first ten come again
		t.Logf("owner %d, newcomers went to %v", owner, at)
		held := map[int]int{}
		for user := 1; user <= members; user++ {
			held[int(c.user(1, user)["node"].(string)[1]-'0')]++
		}
		for n := 1; n <= 3; n++ {
			if held[n] < members/3-10 || held[n] > members/3+10 {
				t.Errorf("node %d holds %d of %d: %v", n, held[n], members, held)
			}
		}
		everywhere("small", c.OwnerOf("small"))
		c.hearsAll(t, "big", "spread", 60)

		for user := 11; user <= 13; user++ {
			c.phones[user].Hang()
		}
		time.Sleep(10 * time.Second)
		for user := 11; user <= 13; user++ {
			if n := c.told(user); n != 1 {
				t.Errorf("the departure of user %d was told %d times, want 1", user, n)
			}
			delete(c.phones, user)
		}
		c.hearsAll(t, "big", "after departures", 10)
		for user := roomy + 4; user <= members; user++ {
			c.Must(http.MethodDelete, 1, fmt.Sprintf("/v1/rooms/big/occupants/%d", user), nil)
		}
		time.Sleep(2 * time.Second)
		everywhere("big", owner)
		c.Check()
		c.Release()
	})
}

// A spread room loses its owner, an edge that is not the owner, or has one
// drained. Who was there comes back through end_point: nobody is told of, and
// all hear everything.
func TestLargeRoomOutlivesItsNodes(t *testing.T) {
	for _, c := range []struct {
		name  string
		owner bool
		end   func(c *Cluster, n int)
	}{
		{"owner killed", true, (*Cluster).Kill},
		{"edge killed", false, (*Cluster).Kill},
		{"owner drained", true, (*Cluster).Drain},
		{"edge drained", false, (*Cluster).Drain},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { largeRoomLoses(t, c.owner, c.end) })
		})
	}
}

func largeRoomLoses(t *testing.T, owner bool, end func(c *Cluster, n int)) {
	const members = 30
	c := spreading(t, 4)
	victim := c.OwnerOf("big")
	held := c.audience("big", members)
	if len(held) < 3 {
		t.Errorf("30 occupants are at %v, want three nodes", held)
	}
	if !owner {
		for n := range held {
			if n != victim {
				victim = n
				break
			}
		}
	}
	c.hearsAll(t, "big", "before", 20)
	end(c, victim)
	time.Sleep(3 * time.Second)
	c.come("big", members)
	c.Settle()
	time.Sleep(20 * time.Second)
	c.hearsAll(t, "big", "after", 20)
	for user := 1; user <= members; user++ {
		if n := c.told(user); n != 0 {
			t.Errorf("user %d came back, and was told of %d times", user, n)
		}
	}
	users, _ := c.roster(c.anyNode(), "big")
	if len(users) != members {
		t.Errorf("%d of %d are in the room", len(users), members)
	}
	spread := map[int]bool{}
	for i := range 60 {
		at, err := c.asked(c.running()[i%3], 1000, "big")
		if err != nil || at == victim {
			t.Errorf("end_point sends to %d, which has gone (%v)", at, err)
		}
		spread[at] = true
	}
	if len(spread) < 2 {
		t.Errorf("newcomers are sent to %v alone", spread)
	}
	c.Check()
	c.Release()
}
