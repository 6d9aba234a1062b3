package integ

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What the backend can't have is refused by any node with the same stable code
// and a message, and changes nothing.
func TestBackendIsRefusedClearly(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		a, b := s.come(s.a, host), s.come(s.b, nil)
		s.sit(s.a, s.room, 1, a.user)
		room := "/v1/rooms/" + s.room
		s.must(http.MethodPut, s.a, room+"/seats/2", fields{"status": 0}, nil)
		seat := func(n int) string { return fmt.Sprintf("%s/seats/%d", room, n) }
		sit := fields{"user_id": b.user}
		deep := []byte(`{"action":"x","a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`)
		for i := 1; i <= 3; i++ {
			s.refused(http.MethodGet, i, "/v1/rooms/"+newRoom(), nil, 404, "room_not_found")
			s.refused(http.MethodGet, i, fmt.Sprintf("/v1/users/%d", newUser()), nil, 404, "user_not_found")
			s.refused(http.MethodGet, i, fmt.Sprintf("/v1/calls/%d", newUser()), nil, 404, "call_not_found")
			s.refused(http.MethodPut, i, seat(1), sit, 409, "seat_taken")
			s.refused(http.MethodPut, i, seat(2), sit, 409, "seat_closed")
			s.refused(http.MethodPut, i, seat(99), sit, 404, "seat_not_found")
			s.refused(http.MethodPut, i, seat(3), fields{"user_id": newUser()}, 404, "not_in_room")
			s.refused(http.MethodPut, i, seat(3), fields{}, 400, "bad_request")
			s.refused(http.MethodPut, i, "/v1/rooms/no%20such/occupants/7", fields{}, 400, "bad_request")
			s.refused(http.MethodPut, i, room+"/occupants/-1", fields{}, 400, "bad_request")
			s.refused(http.MethodPut, i, room+"/occupants/7", []byte(`{"nickname":`), 400, "bad_request")
			s.refused(http.MethodPost, i, room+"/publish", []byte("\xff\xfe"), 400, "bad_request")
			s.refused(http.MethodPost, i, room+"/publish", deep, 400, "bad_request")
			s.refused(http.MethodPost, i, room+"/publish", fields{"no": "action"}, 400, "bad_request")
			s.refused(http.MethodPost, i, room+"/publish", fields{"action": "x", "content": strings.Repeat("x", 2<<20)}, 413, "too_large")
			s.refused(http.MethodPost, i, "/v1/rooms/"+newRoom()+"/publish", fields{"action": "x"}, 404, "room_not_found")
			s.refused(http.MethodGet, i, "/v1/nothing", nil, 404, "bad_request")
			s.refused(http.MethodPatch, i, room, nil, 405, "bad_request")
		}
		s.call(s.a, a.user, b.user)
		s.refused(http.MethodPut, s.b, "/v1/calls/"+newRoom(), fields{"caller_id": newUser(), "receiver_id": b.user}, 409, "user_busy")
		s.refused(http.MethodPut, s.b, "/v1/calls/"+newRoom(), fields{"caller_id": 5, "receiver_id": 5}, 400, "bad_request")

		// Entering twice is entering once.
		before := len(b.heard("enter_room"))
		s.enter(s.b, s.room, a.user, host)
		r, err := s.cluster.room(s.b, s.room)
		if err != nil || r.Count != 2 || r.sitter(1) != a.user || r.sitter(2) != 0 {
			t.Errorf("the room is %+v (%v), want A on seat 1 and B", r, err)
		}
		s.publish(s.a, s.room, fields{"action": "probe"})
		eventually(t, time.Second, heardAll([]*phone{a, b}, "probe", 1))
		if n := len(b.heard("enter_room")); n != before {
			t.Errorf("B heard of %d entries more", n-before)
		}
		stands(t, a, b)
	})
}

// Without the key nothing is told.
func TestBackendNeedsItsKey(t *testing.T) {
	t.Parallel()
	c := share(t, both)
	for _, key := range []string{"", "Bearer ", "Bearer wrong", "Basic " + apiKey, apiKey} {
		req, err := http.NewRequest(http.MethodGet, "http://"+at(c.ports[1].api)+"/v1/cluster", nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("Authorization", key)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("with %q: %s (%v), want 401", key, resp.Status, err)
		}
	}
}
