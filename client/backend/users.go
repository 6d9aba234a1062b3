package backend

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// User says where a user is.
type User struct {
	UserID protocol.UserID `json:"user_id"`
	Online bool            `json:"online"`
	// Node is that of the connection, empty without one.
	Node protocol.NodeID `json:"node"`
	// CurrentRoomID and CallNo are empty for none, Seat is 0.
	CurrentRoomID string `json:"current_room_id"`
	Seat          int    `json:"seat"`
	CallNo        string `json:"call_no"`
	// Since is the last change between online and offline, zero if unknown.
	Since time.Time `json:"since"`
	// Err is why nothing can be said of this user, in a list.
	Err error `json:"-"`
}

func userPath(user protocol.UserID) string { return "/v1/users/" + user.String() }

// User looks at a user.
func (c *Client) User(ctx context.Context, user protocol.UserID) (User, error) {
	var u User
	err := c.do(ctx, request{method: http.MethodGet, path: userPath(user)}, &u)
	return u, err
}

// Users looks at up to 1,000 users, in the same order.
func (c *Client) Users(ctx context.Context, users []protocol.UserID) ([]User, error) {
	var answer struct {
		Users []struct {
			User
			Error *struct {
				Code    protocol.Code `json:"code"`
				Message string        `json:"message"`
			} `json:"error"`
		} `json:"users"`
	}
	query := map[string]any{"user_ids": users}
	if err := c.do(ctx, request{method: http.MethodPost, path: "/v1/users/query", body: query}, &answer); err != nil {
		return nil, err
	}
	list := make([]User, len(answer.Users))
	for i, u := range answer.Users {
		list[i] = u.User
		if u.Error != nil {
			list[i].Err = &protocol.Error{Code: u.Error.Code, Message: u.Error.Message}
		}
	}
	return list, nil
}

// Kick closes a user's connection; its client stays away. reason is one word for
// events and the timeline, "" for the server's.
func (c *Client) Kick(ctx context.Context, user protocol.UserID, reason string) (Done, error) {
	q := url.Values{}
	if reason != "" {
		q.Set("reason", reason)
	}
	return c.remove(ctx, userPath(user)+"/connection", q)
}

// Timeline says why a user is where it is.
type Timeline struct {
	UserID protocol.UserID `json:"user_id"`
	// Removal is the last one from a room or call, nil for none.
	Removal *struct {
		RoomID string          `json:"room_id"`
		CallNo string          `json:"call_no"`
		Reason string          `json:"reason"`
		Node   protocol.NodeID `json:"node"`
		At     time.Time       `json:"at"`
	} `json:"removal"`
	// Node is whose memory the Events are, oldest first.
	Node   protocol.NodeID `json:"node"`
	Events []struct {
		At     time.Time           `json:"at"`
		Event  string              `json:"event"`
		Conn   protocol.ConnNumber `json:"conn"`
		RoomID string              `json:"room_id"`
		CallNo string              `json:"call_no"`
		Reason string              `json:"reason"`
	} `json:"events"`
}

// Timeline asks why a user is where it is.
func (c *Client) Timeline(ctx context.Context, user protocol.UserID) (Timeline, error) {
	var t Timeline
	err := c.do(ctx, request{method: http.MethodGet, path: userPath(user) + "/timeline"}, &t)
	return t, err
}

// Started is the answer to StartCall.
type Started struct {
	durability
	CallNo   string          `json:"call_no"`
	Caller   protocol.UserID `json:"caller_id"`
	Receiver protocol.UserID `json:"receiver_id"`
	Epoch    protocol.Epoch  `json:"epoch"`
	EndPoint string          `json:"end_point"`
}

// Call is a call and its parties.
type Call struct {
	CallNo   string          `json:"call_no"`
	Node     protocol.NodeID `json:"node"`
	Epoch    protocol.Epoch  `json:"epoch"`
	Caller   protocol.UserID `json:"caller_id"`
	Receiver protocol.UserID `json:"receiver_id"`
	Parties  []struct {
		UserID protocol.UserID `json:"user_id"`
		Role   string          `json:"role"`
		Since  time.Time       `json:"since"`
		Online bool            `json:"online"`
	} `json:"parties"`
}

func callPath(callNo string) string { return "/v1/calls/" + url.PathEscape(callNo) }

// StartCall starts a call; both parties are in it from the ringing on.
func (c *Client) StartCall(ctx context.Context, callNo string, caller, receiver protocol.UserID) (Started, error) {
	var answer Started
	parties := map[string]any{"caller_id": caller, "receiver_id": receiver}
	err := c.do(ctx, request{method: http.MethodPut, path: callPath(callNo), body: parties}, &answer)
	return answer, err
}

// Call looks at a call.
func (c *Client) Call(ctx context.Context, callNo string) (Call, error) {
	var call Call
	err := c.do(ctx, request{method: http.MethodGet, path: callPath(callNo)}, &call)
	return call, err
}

// EndCall ends a call. Nobody is told.
func (c *Client) EndCall(ctx context.Context, callNo string) (Done, error) {
	return c.remove(ctx, callPath(callNo), nil)
}

// Cluster is the cluster as one node sees it.
type Cluster struct {
	Node       protocol.NodeID `json:"node"`
	Agreed     bool            `json:"agreed"`
	Digest     string          `json:"digest"`
	Partitions int             `json:"partitions"`
	Members    []Member        `json:"members"`
}

// Member is one node.
type Member struct {
	Node        protocol.NodeID      `json:"node"`
	Incarnation protocol.Incarnation `json:"incarnation"`
	State       string               `json:"state"`
	Digest      string               `json:"digest"`
	EndPoint    string               `json:"end_point"`
	Partitions  int                  `json:"partitions"`
	Connections int                  `json:"connections"`
	Since       time.Time            `json:"since"`
}

// Cluster looks at the cluster.
func (c *Client) Cluster(ctx context.Context) (Cluster, error) {
	var v Cluster
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/cluster"}, &v)
	return v, err
}

// errEnded: a node closed its stream of events.
var errEnded = errors.New("the stream ended")

// maxEvent bounds one line of the stream of events.
const maxEvent = 1 << 20

// Events calls on for every event of these names, for all without any, until ctx
// ends or the stream does, which it never does without an error. There is no
// resume: who must not miss anything takes the webhook.
func (c *Client) Events(ctx context.Context, names []string, on func(protocol.Event)) error {
	r := request{method: http.MethodGet, path: "/v1/events"}
	if len(names) > 0 {
		r.query = url.Values{"events": {strings.Join(names, ",")}}
	}
	req, err := c.newRequest(ctx, c.cfg.URLs[int(c.next.Load())%len(c.cfg.URLs)], r, nil)
	if err != nil {
		return fmt.Errorf("listen to events: %w", err)
	}
	stream := &http.Client{Transport: c.cfg.HTTPClient.Transport}
	resp, err := stream.Do(req)
	if err != nil {
		return fmt.Errorf("listen to events: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("listen to events: %w", readError(resp))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var e protocol.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("event not understood: %w", err)
		}
		on(e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("listen to events: %w", err)
	}
	return fmt.Errorf("listen to events: %w", errEnded)
}
