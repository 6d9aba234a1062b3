package clustertest

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// record returns a user's room and call number as the record has them.
func (c *Cluster) record(user int) (room, callNo string) {
	c.tb.Helper()
	status, answer := c.Call(http.MethodGet, 1, fmt.Sprintf("/v1/users/%d", user), nil)
	if status == http.StatusNotFound {
		return "", ""
	}
	return answer["current_room_id"].(string), answer["call_no"].(string)
}

// A stranger who asks for a call that has both its parties is refused, and can't
// end it afterwards.
func TestStrangerStaysOutOfCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		c.Keep(c.Dial(1, 1, PhoneOptions{}))
		c.Keep(c.Dial(2, 2, PhoneOptions{}))
		c.call(1, "k", 1, 2)
		stranger := c.Dial(3, 3, PhoneOptions{})
		stranger.Send(map[string]any{"action": "call", "room_id": "k", "receiver_id": 4})
		c.Eventually(5*time.Second, func() error {
			if len(stranger.Heard("error")) == 0 {
				return fmt.Errorf("not refused: %+v", stranger.Heard("call"))
			}
			return nil
		})
		for _, user := range []int{3, 4} {
			if _, callNo := c.record(user); callNo != "" {
				t.Errorf("user %d, who was refused, is in call %q", user, callNo)
			}
		}
		stranger.Send(map[string]any{"action": "hang_up", "room_id": "k"})
		c.Eventually(5*time.Second, func() error {
			if n := len(stranger.Heard("error")); n != 2 {
				return fmt.Errorf("%d refusals", n)
			}
			return nil
		})
		// A party that calls a third one in is refused, and stays in.
		if status, answer := c.Call(http.MethodPut, 2, "/v1/calls/k", map[string]any{"caller_id": 1, "receiver_id": 4}); status != http.StatusConflict {
			t.Errorf("a third party: %d %v", status, answer)
		}
		for user, want := range map[int]string{1: "k", 2: "k", 3: "", 4: ""} {
			if _, callNo := c.record(user); callNo != want {
				t.Errorf("user %d is in call %q, want %q", user, callNo, want)
			}
		}
		if parties := c.Must(http.MethodGet, 1, "/v1/calls/k", nil)["parties"].([]any); len(parties) != 2 {
			t.Errorf("call has %v", parties)
		}
		c.Settle()
	})
}

// A user whom the backend puts into three rooms at once, again and again, none
// of which is set and there without the user, ends up in one of them.
func TestRacingEntersLeaveOneRoster(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		const user = 100
		for round := range 200 {
			var wg sync.WaitGroup
			for i := range 3 {
				wg.Go(func() {
					path := fmt.Sprintf("/v1/rooms/race%d/occupants/%d", i, user)
					status, answer := c.Call(http.MethodPut, (round+i)%3+1, path, map[string]any{})
					if status != http.StatusOK && status != http.StatusConflict { // overtaken
						t.Errorf("PUT %s: %d %v", path, status, answer)
					}
				})
			}
			wg.Wait()
			room, _ := c.record(user)
			for i := range 3 {
				id := fmt.Sprintf("race%d", i)
				status, answer := c.Call(http.MethodGet, 1, "/v1/rooms/"+id, nil)
				if in := status == http.StatusOK && answer["count"].(float64) == 1; in != (id == room) {
					t.Fatalf("round %d: record has %q, %s answers %d %v", round, room, id, status, answer)
				}
			}
		}
	})
}

// What is repeated with the same Idempotency-Key is answered as before and
// changes nothing, whatever has become of the room since.
func TestRepeatedWithKeyAfterTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := New(t, 3, Options{})
		c.Keep(c.Dial(7, 1, PhoneOptions{}))
		twice := func(want int, key, method, path string, body any) {
			t.Helper()
			for n := range 2 {
				if status, answer := c.Keyed(key, method, n+1, path, body); status != want {
					t.Errorf("%s %s, time %d: %d %v", method, path, n+1, status, answer)
				}
			}
		}
		nobodyIn := func(room string) {
			t.Helper()
			if status, answer := c.Call(http.MethodGet, 1, "/v1/rooms/"+room, nil); status != http.StatusNotFound {
				t.Errorf("room %s is there again: %v", room, answer)
			}
		}
		empty := map[string]any{}

		twice(200, "in", http.MethodPut, "/v1/rooms/a/occupants/7", empty)
		c.Enter(1, "b", 7, nil)
		twice(200, "in", http.MethodPut, "/v1/rooms/a/occupants/7", empty)
		if room, _ := c.record(7); room != "b" {
			t.Errorf("user is in %q", room)
		}
		nobodyIn("a")
		twice(204, "out", http.MethodDelete, "/v1/rooms/b/occupants/7", nil)
		c.Enter(1, "b", 7, nil)
		twice(204, "out", http.MethodDelete, "/v1/rooms/b/occupants/7", nil)
		if room, _ := c.record(7); room != "b" {
			t.Errorf("user is in %q, taken out by a repeated request", room)
		}
		twice(204, "close", http.MethodDelete, "/v1/rooms/b", nil)
		c.Enter(1, "b", 8, nil)
		twice(204, "close", http.MethodDelete, "/v1/rooms/b", nil)
		if status, _ := c.Call(http.MethodGet, 1, "/v1/rooms/b", nil); status != http.StatusOK {
			t.Error("a repeated request has closed the room's successor")
		}

		parties := map[string]any{"caller_id": 7, "receiver_id": 9}
		twice(200, "start", http.MethodPut, "/v1/calls/q", parties)
		twice(204, "end", http.MethodDelete, "/v1/calls/q", nil)
		twice(200, "start", http.MethodPut, "/v1/calls/q", parties)
		for _, user := range []int{7, 9} {
			c.Eventually(5*time.Second, func() error {
				if _, callNo := c.record(user); callNo != "" {
					return fmt.Errorf("user %d is in call %q", user, callNo)
				}
				return nil
			})
		}
		if status, answer := c.Call(http.MethodGet, 1, "/v1/calls/q", nil); status != http.StatusNotFound {
			t.Errorf("call is there again: %v", answer)
		}
		twice(204, "end", http.MethodDelete, "/v1/calls/q", nil)
		c.Check()
	})
}
