package integ

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// redisSays sends one command without spaces in its words to a redis-server,
// and returns the first line of the answer.
func redisSays(t *testing.T, url string, words ...string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "redis://"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " ")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "-") {
		t.Fatalf("redis-server answers %v with %q (%v)", words[0], line, err)
	}
	return strings.TrimSpace(line)
}

// Scenario 3: the replica is cut off; a claim, an entry, a departure and its
// report reach the master alone, which is killed, and the replica promoted. What
// was acknowledged is there while its owner lives, nobody is asked again for
// what was reported, and no epoch comes twice.
func TestScenario3FailoverWithoutTheTail(t *testing.T) {
	t.Parallel()
	alone(t)
	dir := filepath.Join(lab.dir, newRoom())
	master := startServer(t, filepath.Join(dir, "master"))
	replica := startServer(t, filepath.Join(dir, "replica"), "--replicaof", lab.host, fmt.Sprint(master.port), "--repl-diskless-sync-delay", "0")
	eventually(t, 20*time.Second, func() error { return replica.answers("INFO replication", "master_link_status:up") })
	p := newProxy(t, master.url())
	c := startCluster(t, clusterOptions{redisOf: func(int) string { return p.door(0) }})
	s := &stage{cluster: c, room: c.roomAt(2), owner: 2}
	h, stays, drops := s.relay(1, host), s.come(3, nil), s.come(3, nil)
	eventually(t, 10*time.Second, func() error {
		return replica.answers(`EVAL return(#redis.call('KEYS','*:j')) 0`, "1")
	})

	replica.tell("REPLICAOF NO ONE")
	claimed := &stage{cluster: c, room: c.roomAt(2), owner: 2}
	late, first := s.come(1, nil), claimed.come(3, nil)
	s.sit(1, s.room, 5, late.user)
	drops.hang()
	eventually(t, 5*time.Second, told(h, "exit_room", drops.user, 1))
	before := map[string]published{}
	for _, room := range []string{s.room, claimed.room} {
		before[room] = c.publish(3, room, fields{"action": "probe"})
	}
	master.kill()
	p.lead(replica.url())

	whole := func() error {
		return errors.Join(c.lists(s.room, h, stays, late), c.lists(claimed.room, first), told(h, "exit_room", drops.user, 1)())
	}
	eventually(t, 20*time.Second, whole)
	// The owner may die once the replica has what it holds.
	for room, was := range before {
		eventually(t, 20*time.Second, func() error {
			if said := redisSays(t, replica.url(), "EVAL", hasEntry, "1", room+":o:"); said != ":1" {
				return fmt.Errorf("the replica's journal is without room %s: %s", room, said)
			}
			return nil
		})
		if now := c.publish(1, room, fields{"action": "probe"}); now.Epoch < was.Epoch || now.Epoch == was.Epoch && now.Seq <= was.Seq {
			t.Errorf("room %s counts %+v after the failover, was at %+v", room, now, was)
		} else {
			before[room] = now
		}
	}
	throughout(t, 6*time.Second, whole) // longer than a relay has to report
	c.kill9(2)
	for room, was := range before {
		eventually(t, 20*time.Second, func() error {
			var now published
			if _, err := c.request(http.MethodPost, 1, "/v1/rooms/"+room+"/publish", fields{"action": "probe"}, &now); err != nil {
				return err
			}
			if now.Epoch <= was.Epoch {
				return fmt.Errorf("room %s has epoch %d by its heir, had %d", room, now.Epoch, was.Epoch)
			}
			return nil
		})
	}
	eventually(t, 10*time.Second, whole)
	if r, err := c.room(1, s.room); err != nil || r.seatOf(late.user) != 5 {
		t.Errorf("user %d sits on %d (%v), want seat 5", late.user, r.seatOf(late.user), err)
	}
	stands(t, h, stays, late, first)
	c.check()
}

// hasEntry answers 1 if a journal has an entry whose name begins with KEYS[1].
const hasEntry = `"for _,k in ipairs(redis.call('KEYS','*:j')) do for _,e in ipairs(redis.call('HKEYS',k)) do if string.sub(e,1,#KEYS[1])==KEYS[1] then return 1 end end end return 0"`

// Scenario 6: the store is emptied while a former owner is frozen and the new
// one lives; the frozen one wakes before and after the others have put back what
// they hold. Rosters equal sockets within 5 s.
func TestScenario6EmptiedWhileFrozen(t *testing.T) {
	t.Parallel()
	for name, restored := range map[string]bool{"thaw before the restore": false, "thaw after the restore": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis, err := startRedis(filepath.Join(lab.dir, newRoom()))
			if err != nil {
				t.Fatal(err)
			}
			c := startCluster(t, clusterOptions{redis: redis})
			s := &stage{cluster: c, room: c.roomAt(2), owner: 2, a: 3, b: 1}
			h, stays, moves := s.relay(1, host), s.come(3, nil), s.come(2, nil)
			leaves := s.come(3, nil)

			c.freeze(2)
			moves.hang()
			moves = s.dial(moves.user, 1)
			eventually(t, 15*time.Second, func() error { return c.lists(s.room, h, stays, moves, leaves) })
			leaves.hang()
			eventually(t, 5*time.Second, told(h, "exit_room", leaves.user, 1))
			redisSays(t, redis, "FLUSHALL")
			if restored {
				eventually(t, 10*time.Second, func() error { return c.lists(s.room, h, stays, moves) })
			}
			c.thaw(2)
			thawed := time.Now()
			eventually(t, 15*time.Second, func() error { return c.lists(s.room, h, stays, moves) })
			t.Logf("rosters equal sockets %s after the thaw", time.Since(thawed))
			c.settle()
			throughout(t, 3*time.Second, func() error {
				return errors.Join(told(h, "exit_room", stays.user, 0)(), told(h, "exit_room", moves.user, 0)())
			})
			eventually(t, 5*time.Second, func() error { return c.lists(s.room, h, stays, moves) })
			stands(t, h, stays, moves)
			c.check()
		})
	}
}

// lists is nil if a room's roster is these users, by the word of nodes 1 and 3.
func (c *cluster) lists(room string, want ...*phone) error {
	return c.listedBy([]int{1, 3}, room, want...)
}

// listedBy is lists by the word of other nodes.
func (c *cluster) listedBy(nodes []int, room string, want ...*phone) error {
	for _, i := range nodes {
		r, err := c.room(i, room)
		if err != nil {
			return err
		}
		for _, p := range want {
			if r.seatOf(p.user) < 0 {
				return fmt.Errorf("node %d: room %s is without user %d", i, room, p.user)
			}
		}
		if len(r.Occupants) != len(want) {
			return fmt.Errorf("node %d: room %s lists %d, want %d", i, room, len(r.Occupants), len(want))
		}
	}
	return nil
}

// Scenario 9: a journal value that can't be loaded. Its partition is
// quarantined by the heir with an alert, no second node dies, and its clients
// keep their sockets.
func TestScenario9QuarantinedPartition(t *testing.T) {
	t.Parallel()
	redis, err := startRedis(filepath.Join(lab.dir, newRoom()))
	if err != nil {
		t.Fatal(err)
	}
	c := startCluster(t, clusterOptions{redis: redis})
	broken, other := c.roomAt(2), c.roomAt(3)
	a, b := c.phone(newUser(), 1, phoneOptions{}), c.phone(newUser(), 3, phoneOptions{report: true})
	c.enter(1, broken, a.user, nil)
	c.enter(1, other, b.user, nil)
	script := `"for _,k in ipairs(redis.call('KEYS','*:j')) do if redis.call('HEXISTS',k,KEYS[1])==1 then redis.call('HSET',k,KEYS[1],'{') return 1 end end return 0"`
	entry := fmt.Sprintf("%s:o:%d", broken, a.user)
	if said := redisSays(t, redis, "EVAL", script, "1", entry); said != ":1" {
		t.Fatalf("no journal entry %s: %s", entry, said)
	}
	c.kill9(2)
	eventually(t, 20*time.Second, func() error {
		status, err := c.request(http.MethodGet, 1, "/v1/rooms/"+broken, nil, nil)
		if said, ok := errors.AsType[*apiError](err); !ok || status != http.StatusServiceUnavailable || !strings.Contains(said.Message, "quarantined") {
			return fmt.Errorf("%d %v", status, err)
		}
		return nil
	})
	faults := ""
	for _, i := range []int{1, 3} {
		if _, err := c.adminInto(i, "/debug/check", nil); err != nil {
			faults += err.Error()
		}
	}
	if strings.Count(faults, "quarantined") != 1 {
		t.Errorf("faults %q, want the one quarantine", faults)
	}
	stands(t, a, b)
	c.publish(1, other, fields{"action": "probe"})
	eventually(t, 5*time.Second, func() error {
		if len(b.heard("probe")) != 1 {
			return errors.New("the other room is dead")
		}
		return nil
	})
}
