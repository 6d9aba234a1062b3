package integ

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Scenario 5: Redis does what it is asked, and the answer is lost; then comes
// the retry, or the node that asked is killed, others take over, and then comes
// the retry. Each change has been made once: one seat, one departure under one
// id, one claim.
func TestScenario5SwallowedAnswer(t *testing.T) {
	t.Parallel()
	alone(t)
	for name, takeover := range map[string]bool{"retry": false, "takeover": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis, err := startRedis(filepath.Join(lab.dir, newRoom()))
			if err != nil {
				t.Fatal(err)
			}
			p := newProxy(t, redis)
			c := startCluster(t, clusterOptions{nodes: 4, redisOf: p.door})
			var stories []*swallowed
			// The edge is the first to be killed: nobody of the other stories is
			// connected to it yet.
			for _, call := range []string{"close", "commit", "move", "settle", "take"} {
				stories = append(stories, swallow(t, c, p, call, takeover))
			}
			all := func() (err error) {
				for _, w := range stories {
					err = errors.Join(err, w.once())
				}
				return err
			}
			eventually(t, 25*time.Second, all)
			throughout(t, 6*time.Second, all) // longer than a relay has to report
			c.check()
		})
	}
}

// swallowed is what came of a lost answer.
type swallowed struct {
	*stage
	call    string
	relay   *phone
	entered *phone   // who was put into the stage's room meanwhile
	left    *phone   // who dropped
	roster  []*phone // of the stage's room
}

// swallow has user 3 put into a room while another drops out of it, where the
// answer to a call is lost: to the room's owner, to the node that was asked, or
// to the edge.
func swallow(t *testing.T, c *cluster, p *proxy, call string, takeover bool) *swallowed {
	t.Helper()
	const owner, edge, asked = 2, 3, 4
	s := &stage{cluster: c, room: c.roomAt(owner), owner: owner}
	w := &swallowed{stage: s, call: call, relay: s.relay(1, host), left: s.come(edge, nil), entered: s.dial(newUser(), edge)}
	w.roster = []*phone{w.relay, w.entered}
	entered, left := fmt.Sprint(w.entered.user), fmt.Sprint(w.left.user)
	victim, match := 0, func(*command) bool { return false }
	switch call {
	case "commit":
		victim, match = owner, script("-- Applies one batch of a partition", s.room+":")
	case "move":
		victim, match = asked, script("-- Changes the room or the call of a user", entered)
	case "settle":
		victim, match = asked, func(c *command) bool {
			return strings.EqualFold(c.words[0], "hdel") && strings.HasSuffix(c.words[1], ":i") && strings.Contains(c.words[2], " "+entered+" ")
		}
	case "close":
		victim, match = edge, script("-- Ends a connection", left)
	case "take":
		victim, match = owner, script("-- Claims a partition", nodeID(owner))
		s.room = c.roomAt(owner) // never used before
		w.roster = []*phone{w.entered}
	}
	strike := func() {}
	if takeover {
		strike = func() { _ = c.node(victim).cmd.Process.Kill() }
	}
	sprung := p.lose(victim, match, strike)
	w.left.hang()
	put := func(i int) error { return c.keyed(i, s.room, w.entered.user) }
	failed := put(asked) // may fail, and may have been done
	lost := func() error {
		select {
		case <-sprung:
			return nil
		default:
			return fmt.Errorf("no answer to %s was lost, the entry says %v", call, failed)
		}
	}
	for range 20 {
		if call != "take" || failed != nil || lost() == nil {
			break
		}
		s.room = c.roomAt(owner) // the other shares its partition with one that was used
		failed = put(asked)
	}
	eventually(t, 15*time.Second, lost)
	again := asked
	if takeover {
		c.kill9(victim)
		if victim == asked {
			again = 1
		}
	}
	eventually(t, 20*time.Second, func() error { return put(again) })
	if takeover && victim == edge {
		w.entered.hang()
		w.entered = s.dial(w.entered.user, 1)
		w.roster[1] = w.entered
	}
	eventually(t, 25*time.Second, w.once)
	if takeover {
		c.start(victim)
		c.settle()
	}
	return w
}

// keyed puts a user into a room through node i, again and again the same.
func (c *cluster) keyed(i int, room string, user int) error {
	url := fmt.Sprintf("http://%s/v1/rooms/%s/occupants/%d", at(c.ports[i].api), room, user)
	req, err := http.NewRequest(http.MethodPut, url, bytes.NewReader([]byte("{}")))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Idempotency-Key", room)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if said, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s %v", resp.StatusCode, said, err)
	}
	return nil
}

// once is nil if every change was made once.
func (w *swallowed) once() error {
	if err := w.listedBy(w.numbers(), w.room, w.roster...); err != nil {
		return fmt.Errorf("%s: %w", w.call, err)
	}
	u, err := w.user(1, w.entered.user)
	if err != nil || u.CurrentRoomID != w.room || !u.Online {
		return fmt.Errorf("%s: who entered %s is %+v (%v)", w.call, w.room, u, err)
	}
	if err := told(w.relay, "exit_room", w.entered.user, 0)(); err != nil {
		return fmt.Errorf("%s: %w", w.call, err)
	}
	var ids []any
	for _, f := range w.relay.heardOf("exit_room", w.left.user) {
		if id := f.fields["departure_id"]; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) != 1 {
		return fmt.Errorf("%s: departures %v were told, want one", w.call, ids)
	}
	if n := len(w.relay.heardOf("enter_room", w.entered.user)); n > 1 {
		return fmt.Errorf("%s: the entry was told %d times", w.call, n)
	}
	return nil
}
