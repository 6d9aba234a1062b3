package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/faac1247/rollcall/protocol"
)

// Published is the answer to a publication.
type Published struct {
	durability
	Epoch protocol.Epoch `json:"epoch"`
	// Seq is 0 for a frame to one occupant alone.
	Seq protocol.Seq `json:"seq"`
	// Delivered is how many occupants it was addressed to.
	Delivered int `json:"delivered"`
}

// Publish publishes a frame to a room: anything that encodes to a JSON object
// with an action.
func (c *Client) Publish(ctx context.Context, room protocol.RoomID, frame any) (Published, error) {
	var answer Published
	err := c.do(ctx, request{method: http.MethodPost, path: roomPath(room) + "/publish", body: frame}, &answer)
	return answer, err
}

// Publication is one frame of a batch.
type Publication struct {
	RoomID protocol.RoomID `json:"room_id"`
	Frame  any             `json:"frame"`
}

// Result is the answer to one publication of a batch: Published, or Err.
type Result struct {
	Published
	Err error
}

// PublishAll publishes up to 1,000 frames at once. What is wrong with one is in
// its result and does not keep the others back; the error is that of the call.
func (c *Client) PublishAll(ctx context.Context, batch []Publication) ([]Result, error) {
	var answers []struct {
		Published
		Error *struct {
			Code    protocol.Code `json:"code"`
			Message string        `json:"message"`
		} `json:"error"`
	}
	if err := c.do(ctx, request{method: http.MethodPost, path: "/v1/publish", body: batch}, &answers); err != nil {
		return nil, err
	}
	if len(answers) != len(batch) {
		return nil, fmt.Errorf("%d answers to %d publications", len(answers), len(batch))
	}
	results := make([]Result, len(answers))
	for i, a := range answers {
		results[i].Published = a.Published
		if a.Error != nil {
			results[i].Err = &protocol.Error{Code: a.Error.Code, Message: a.Error.Message}
		}
	}
	return results, nil
}

// Notify sends a frame to one user, and returns whether the user has a
// connection.
func (c *Client) Notify(ctx context.Context, user protocol.UserID, frame any) (bool, error) {
	var answer struct {
		Delivered int `json:"delivered"`
	}
	err := c.do(ctx, request{method: http.MethodPost, path: userPath(user) + "/notify", body: frame}, &answer)
	return answer.Delivered > 0, err
}

// RawFrame is a frame that is encoded already.
type RawFrame = json.RawMessage
