package integ

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// request asks node i's backend door. An answer that is no success is an
// apiError, with the status.
func (n *nodes) request(method string, i int, path string, body, into any) (int, error) {
	return n.ask(method, "http://"+at(n.ports[i].api)+path, body, into)
}

// admin asks node i's operator's door.
func (n *nodes) admin(i int, path string) (int, error) { return n.adminInto(i, path, nil) }

func (n *nodes) adminInto(i int, path string, into any) (int, error) {
	return n.ask(http.MethodGet, "http://"+at(n.ports[i].admin)+path, nil, into)
}

// apiError is how a door refuses.
type apiError struct {
	Status  int
	Code    string
	Message string
	raw     string
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s", e.Status, e.raw) }

func (n *nodes) ask(method, address string, body, into any) (int, error) {
	var b bytes.Buffer
	switch body := body.(type) {
	case nil:
	case []byte:
		b.Write(body)
	default:
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return 0, err
		}
	}
	req, err := http.NewRequest(method, address, &b)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := n.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode/100 != 2 {
		var said struct{ Error apiError }
		_ = json.Unmarshal(answer, &said) // what is not JSON has no code
		said.Error.Status, said.Error.raw = resp.StatusCode, string(answer)
		return resp.StatusCode, &said.Error
	}
	if into == nil || len(answer) == 0 {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.Unmarshal(answer, into)
}

// must is a request that has to succeed.
func (c *cluster) must(method string, i int, path string, body, into any) {
	c.tb.Helper()
	if _, err := c.request(method, i, path, body, into); err != nil {
		c.tb.Fatalf("%s %s at node %d: %v", method, path, i, err)
	}
}

// refused is a request that has to fail with a status and a code.
func (c *cluster) refused(method string, i int, path string, body any, status int, code string) {
	c.tb.Helper()
	got, err := c.request(method, i, path, body, nil)
	said, ok := errors.AsType[*apiError](err)
	if !ok || got != status || said.Code != code || said.Message == "" {
		c.tb.Errorf("%s %s at node %d: %d %v, want %d %s and a message", method, path, i, got, err, status, code)
	}
}

// fields are a JSON object.
type fields = map[string]any

// enter puts a user into a room through node i.
func (c *cluster) enter(i int, room string, user int, body fields) {
	c.tb.Helper()
	if body == nil {
		body = fields{}
	}
	c.must(http.MethodPut, i, fmt.Sprintf("/v1/rooms/%s/occupants/%d", room, user), body, nil)
}

// sit puts an occupant on a seat.
func (c *cluster) sit(i int, room string, seat, user int) {
	c.tb.Helper()
	c.must(http.MethodPut, i, fmt.Sprintf("/v1/rooms/%s/seats/%d", room, seat), fields{"user_id": user}, nil)
}

// call starts a call of a new number.
func (c *cluster) call(i, caller, receiver int) string {
	c.tb.Helper()
	no := fmt.Sprint(names.Add(1))
	c.must(http.MethodPut, i, "/v1/calls/"+no, fields{"caller_id": caller, "receiver_id": receiver}, nil)
	return no
}

// published is the answer to a publication.
type published struct{ Epoch, Seq, Delivered int64 }

// publish publishes a frame to a room through node i.
func (c *cluster) publish(i int, room string, frame fields) (p published) {
	c.tb.Helper()
	c.must(http.MethodPost, i, "/v1/rooms/"+room+"/publish", frame, &p)
	return p
}

// userView is where a user is.
type userView struct {
	Online        bool
	Node          string
	CurrentRoomID string `json:"current_room_id"`
	Seat          int
	CallNo        string `json:"call_no"`
}

// user asks node i where a user is. A user of whom nothing is known is nowhere.
func (n *nodes) user(i, user int) (u userView, err error) {
	_, err = n.request(http.MethodGet, i, fmt.Sprintf("/v1/users/%d", user), nil, &u)
	if said, ok := errors.AsType[*apiError](err); ok && said.Code == "user_not_found" {
		return userView{}, nil
	}
	return u, err
}

// roomView is a room, with the first of its occupants.
type roomView struct {
	Node       string
	Epoch, Seq int64
	Count      int
	Occupants  []struct {
		UserID int `json:"user_id"`
		Seat   int
		Role   string
		Online bool
	}
	Seats []struct {
		ID, Status int
		Microphone bool
		UserID     int `json:"user_id"`
	}
}

// room asks node i for a room. One that is not there is empty.
func (n *nodes) room(i int, room string) (r roomView, err error) {
	_, err = n.request(http.MethodGet, i, "/v1/rooms/"+room+"?limit=500", nil, &r)
	if said, ok := errors.AsType[*apiError](err); ok && said.Code == "room_not_found" {
		return roomView{}, nil
	}
	return r, err
}

// seatOf returns where an occupant sits, -1 for who is not there.
func (r *roomView) seatOf(user int) int {
	for _, o := range r.Occupants {
		if o.UserID == user {
			return o.Seat
		}
	}
	return -1
}

// sitter returns who sits on a seat, 0 for nobody.
func (r *roomView) sitter(seat int) int {
	for _, s := range r.Seats {
		if s.ID == seat {
			return s.UserID
		}
	}
	return 0
}

// endPoint is the answer to a client that asks where to go.
type endPoint struct {
	ErrorCode    int    `json:"error_code"`
	ErrorReason  string `json:"error_reason"`
	EndPoint     string `json:"end_point"`
	PingInterval int    `json:"ping_interval"`
	RoomID       any    `json:"room_id"`
}

// endPoint asks node i's clients' door where to go.
func (n *nodes) endPoint(i int, query url.Values) (e endPoint, err error) {
	_, err = n.ask(http.MethodGet, fmt.Sprintf("http://%s/api/websocket/end_point?%s", at(n.ports[i].listen), query.Encode()), nil, &e)
	return e, err
}

// ownerOf returns the number of the node that owns a room, by node i's word.
func (n *nodes) ownerOf(i int, room string) (int, error) {
	e, err := n.endPoint(i, url.Values{"sid": {"1s"}, "room_id": {room}})
	if err != nil {
		return 0, err
	}
	for number, d := range n.ports {
		if e.EndPoint == "ws://"+at(d.listen) {
			return number, nil
		}
	}
	return 0, fmt.Errorf("end_point of node %d for %s: %+v", i, room, e)
}

// newUser is a user that no other test has.
func newUser() int { return int(10_000 + names.Add(1)) }

// newRoom is a room that no other test has.
func newRoom() string { return fmt.Sprintf("r%d", names.Add(1)) }

// roomAt finds a new room that node owner owns.
func (c *cluster) roomAt(owner int) string {
	c.tb.Helper()
	for range 1000 {
		room := newRoom()
		got, err := c.ownerOf(owner, room)
		if err != nil {
			c.tb.Fatal(err)
		}
		if got == owner {
			return room
		}
	}
	c.tb.Fatalf("node %d owns none of 1000 rooms", owner)
	return ""
}
