package clustertest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/node"
	"github.com/faac1247/rollcall/protocol"
)

// swallower is a node's store whose answers get lost: what was asked has been
// done, and the node does not know.
type swallower struct {
	node.Store
	mu      sync.Mutex
	call    string // whose next answer is lost
	strike  func() // what happens then
	swallow int    // how many were
}

// arm has the next answer of a call lost, and something happen with it.
func (s *swallower) arm(call string, strike func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call, s.strike, s.swallow = call, strike, 0
}

func (s *swallower) swallowed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.swallow
}

// answered returns err, or that the answer to a call was lost.
func (s *swallower) answered(call string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || call != s.call {
		return err
	}
	s.call = ""
	s.swallow++
	if s.strike != nil {
		s.strike()
	}
	return fmt.Errorf("answer to %s swallowed: %w", call, protocol.ErrStoreAway)
}

func (s *swallower) Commit(ctx context.Context, commits []protocol.Commit) ([]protocol.CommitStatus, error) {
	statuses, err := s.Store.Commit(ctx, commits)
	if err = s.answered("commit", err); err != nil {
		clear(statuses)
	}
	return statuses, err
}

func (s *swallower) Move(ctx context.Context, m protocol.Move) (protocol.Moved, error) {
	moved, err := s.Store.Move(ctx, m)
	if err = s.answered("move", err); err != nil {
		return protocol.Moved{}, err
	}
	return moved, nil
}

func (s *swallower) Settle(ctx context.Context, i protocol.Settle) error {
	return s.answered("settle", s.Store.Settle(ctx, i))
}

func (s *swallower) Close(ctx context.Context, c protocol.Close) (protocol.Closed, error) {
	closed, err := s.Store.Close(ctx, c)
	if err = s.answered("close", err); err != nil {
		return protocol.Closed{}, err
	}
	return closed, nil
}

func (s *swallower) Take(ctx context.Context, takes []protocol.Take) ([]protocol.Taken, error) {
	taken, err := s.Store.Take(ctx, takes)
	if err = s.answered("take", err); err != nil {
		return nil, err
	}
	return taken, nil
}

// Scenario 5: a batch is applied and its answer swallowed; then the retry, or a
// takeover in between and then the retry. Each change has been made once: one
// seat, one departure under one id, one claim.
func TestScenario5SwallowedAnswer(t *testing.T) {
	for _, call := range []string{"commit", "move", "settle", "close", "take"} {
		for _, takeover := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s takeover=%t", call, takeover), func(t *testing.T) {
				bubble(t, func(t *testing.T) { swallowedAnswer(t, call, takeover) })
			})
		}
	}
}

func swallowedAnswer(t *testing.T, call string, takeover bool) {
	stores := map[int]*swallower{}
	c := New(t, 4, Options{WrapStore: func(n int, s node.Store) node.Store {
		stores[n] = &swallower{Store: s}
		return stores[n]
	}})
	room := c.roomsByOwner()[2]
	relay := c.Keep(c.Dial(1, 1, PhoneOptions{Report: true, Query: "&v=2"}))
	c.Enter(1, room, 1, map[string]any{"role": "host"})
	edge := c.Dial(2, 3, PhoneOptions{})
	c.Enter(1, room, 2, nil)
	c.Keep(c.Dial(3, 3, PhoneOptions{Query: "&v=2"}))

	// The owner's answers are lost, or those of the node that asks or tells.
	victim := map[string]int{"commit": 2, "move": 4, "settle": 4, "close": 3, "take": 2}[call]
	if call == "take" {
		room = c.unclaimed(2)
		c.Enter(1, room+"x", 9, nil) // nothing of ours
	}
	struck := make(chan struct{}, 1)
	stores[victim].arm(call, func() {
		if takeover {
			c.Strike(victim)
		}
		struck <- struct{}{}
	})
	put := func(n int) int {
		return c.keyed(http.MethodPut, n, fmt.Sprintf("/v1/rooms/%s/occupants/3", room), "once", map[string]any{"role": "audience"})
	}
	edge.Hang() // the commit of its loss is the first, or its close
	asked := 4
	status := put(asked)
	if takeover {
		c.Eventually(time.Second, func() error {
			select {
			case <-struck:
				return nil
			default:
				return fmt.Errorf("no answer to %s was swallowed", call)
			}
		})
		c.Kill(victim)
		if asked == victim {
			asked = 1
		}
	}
	if stores[victim].swallowed() != 1 {
		t.Fatalf("%d answers swallowed", stores[victim].swallowed())
	}
	c.Eventually(10*time.Second, func() error {
		if status = put(asked); status != http.StatusOK {
			return fmt.Errorf("retry: %d", status)
		}
		return nil
	})
	if c.nodes[3] == nil { // its clients come back
		c.phones[3].Hang()
		c.Keep(c.Dial(3, 1, PhoneOptions{Query: "&v=2"}))
	}
	want := []int{1, 3}
	if call == "take" {
		want = []int{3}
	}
	c.Eventually(20*time.Second, func() error { return c.exactly(room, want...) })
	c.Eventually(20*time.Second, heard(relay, "exit_room", 2, 1))
	c.Settle()
	time.Sleep(70 * time.Second) // every repeat is over
	if err := c.exactly(room, want...); err != nil {
		t.Error(err)
	}
	if err := c.agreed(3, []string{room}); err != nil {
		t.Error(err)
	}
	ids := map[any]int{}
	for _, f := range relay.HeardOf("exit_room", 2) {
		ids[f.Fields["departure_id"]]++
	}
	if len(ids) != 1 || c.told(3) != 0 {
		t.Errorf("departures %v of user 2, %d of user 3, want one and none", ids, c.told(3))
	}
	entered := 0
	for _, f := range relay.HeardOf("enter_room", 3) {
		if f.Fields["room_id"] == room {
			entered++
		}
	}
	if entered > 1 {
		t.Errorf("the entry was told %d times", entered)
	}
	epochsRise(t, relay)
	inOrder(t, relay)
	c.Check()
	c.Release()
}

// keyed is Call with an idempotency key. The status is 0 when there was no
// answer.
func (c *Cluster) keyed(method string, n int, path, key string, body any) int {
	req, err := newRequest(c.ctx, method, fmt.Sprintf("http://%s:%d%s", host(n), apiPort, path), body)
	if err != nil {
		c.tb.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
