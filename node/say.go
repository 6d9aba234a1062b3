package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/faac1247/rollcall/protocol"
)

// ErrNotServing refuses what only a node that serves can do.
var ErrNotServing = errors.New("this node is not serving yet")

// Say publishes a line of a chat topic to a room as send_topic_msg, once for
// each key. A line that is a JSON object gives the frame its fields, any other
// its content. That nobody is in the room is no error.
func (n *Node) Say(ctx context.Context, room, key, line string) error {
	if !protocol.ValidName(room) {
		return fmt.Errorf("%q is no room's id", room)
	}
	l := n.current.Load()
	if l == nil || !l.ready.Load() {
		return ErrNotServing
	}
	frame, err := topicFrame(line)
	if err != nil {
		return err
	}
	reply := l.router.Do(ctx, protocol.Command{Verb: protocol.VerbPublish, Room: protocol.RoomID(room), Key: "chat/" + key, Frame: frame})
	if unknown(reply) {
		return nil
	}
	return reply.Err()
}

// topicFrame makes a line into a frame. What the room says itself is not the
// line's to say.
func topicFrame(line string) ([]byte, error) {
	fields := map[string]any{}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(line), &object) == nil {
		for name, value := range object {
			fields[name] = value
		}
		for _, own := range []string{"room_id", "epoch", "seq", "online_token", "notify_type"} {
			delete(fields, own)
		}
	} else {
		fields["content"] = line
	}
	fields["action"] = protocol.ActionSendTopicMsg
	frame, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("make a frame of a line: %w", err)
	}
	return frame, nil
}
