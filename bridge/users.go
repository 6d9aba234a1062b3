package bridge

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/faac1247/rollcall/protocol"
)

// Connect makes a connection the user's latest. Concurrent calls share
// pipelines, here and below.
func (r *Redis) Connect(ctx context.Context, op protocol.Connect) (protocol.Connected, error) {
	if err := checkConnect(op); err != nil {
		return protocol.Connected{}, err
	}
	p := op.Partition
	keys := []string{r.key(p, "u"), r.key(p, "e"), r.key(p, "q"), r.key(p, "n")}
	args := []any{op.User.String(), string(op.Edge), op.Token}
	c := r.call(r.scripts.connect, keys, withEvent(args, op.Event)...)
	f, err := r.ask(ctx, r.users, c)
	if err != nil {
		return protocol.Connected{}, fmt.Errorf("connect user %d: %w", op.User, err)
	}
	record, err := decodeRecord(op.User, f.text(0))
	return protocol.Connected{
		Record:     record,
		FormerEdge: protocol.Incarnation(f.text(1)),
		FormerConn: protocol.ConnNumber(f.int(2)),
	}, errors.Join(err, f.err)
}

// Close ends a connection if it is still the user's latest. See Disconnect for
// ending the use of the store.
func (r *Redis) Close(ctx context.Context, op protocol.Close) (protocol.Closed, error) {
	if err := checkClose(op); err != nil {
		return protocol.Closed{}, err
	}
	p := op.Partition
	keys := []string{r.key(p, "u"), r.key(p, "e"), r.key(p, "i"), r.key(p, "q"), r.key(p, "n")}
	args := []any{op.User.String(), uint64(op.Conn), string(op.By), string(op.By.Node()), op.Reason}
	c := r.call(r.scripts.close, keys, withEvent(args, op.Event)...)
	f, err := r.ask(ctx, r.users, c)
	if err != nil {
		return protocol.Closed{}, fmt.Errorf("close connection of user %d: %w", op.User, err)
	}
	record, err1 := decodeRecord(op.User, f.text(1))
	intent, err2 := decodeIntent(f.text(2))
	return protocol.Closed{Won: f.int(0) == 1, Intent: intent, Record: record}, errors.Join(f.err, err1, err2)
}

// Move changes the room or the call of a user. Without a Key, a call whose
// outcome is unknown must not be repeated.
func (r *Redis) Move(ctx context.Context, op protocol.Move) (protocol.Moved, error) {
	if err := checkMove(op); err != nil {
		return protocol.Moved{}, err
	}
	p := op.Partition
	place := "r"
	if op.Call {
		place = "k"
	}
	keys := []string{r.key(p, "u"), r.key(p, "i"), r.key(p, "k")}
	c := r.call(r.scripts.move, keys, op.User.String(), place, string(op.To), string(op.From),
		uint64(op.IfVersion), op.Key, string(op.By), string(op.By.Node()),
		base64.StdEncoding.EncodeToString(op.Body), op.Reason)
	f, err := r.ask(ctx, r.users, c)
	if err != nil {
		return protocol.Moved{}, fmt.Errorf("move user %d: %w", op.User, err)
	}
	verdict := f.int(0)
	record, err1 := decodeRecord(op.User, f.text(1))
	intent, err2 := decodeIntent(f.text(2))
	if verdict == 2 {
		intent.Body = op.Body // not kept with the key
	}
	return protocol.Moved{Refused: verdict == 0, Repeated: verdict == 2, Intent: intent, Record: record},
		errors.Join(f.err, err1, err2)
}

// Settle forgets an intent.
func (r *Redis) Settle(ctx context.Context, op protocol.Settle) error {
	if err := checkSettle(op); err != nil {
		return err
	}
	c := &command{
		name: "hdel",
		keys: []string{r.key(op.Partition, "i")},
		args: []any{debtName(op)},
	}
	if err := r.users.do(ctx, c); err != nil {
		return err
	}
	if err := c.fail(); err != nil {
		return fmt.Errorf("settle version %d of user %d: %w", op.Version, op.User, err)
	}
	return nil
}

// debtName is the scripts' name of an intent.
func debtName(op protocol.Settle) string {
	return string(op.By) + " " + op.User.String() + " " + strconv.FormatUint(uint64(op.Version), 10)
}

// Users answers the records of users, in the order asked. That of an unknown
// user has nothing but the user.
func (r *Redis) Users(ctx context.Context, at []protocol.UserAt) ([]protocol.UserRecord, error) {
	if len(at) == 0 {
		return nil, nil
	}
	commands := make([]*command, len(at))
	for i, a := range at {
		commands[i] = &command{name: "hget", keys: []string{r.key(a.Partition, "u")}, args: []any{a.User.String()}}
	}
	if err := r.reads.do(ctx, commands...); err != nil {
		return nil, err
	}
	records := make([]protocol.UserRecord, len(at))
	for i, c := range commands {
		if err := c.fail(); err != nil {
			return nil, fmt.Errorf("read user %d: %w", at[i].User, err)
		}
		text, _ := c.reply.Val().(string)
		record, err := decodeRecord(at[i].User, text)
		if err != nil {
			return nil, err
		}
		records[i] = record
	}
	return records, nil
}

// ask has one script call carried by a lane and returns its answer.
func (r *Redis) ask(ctx context.Context, l *lane, c *command) (*fields, error) {
	if err := l.do(ctx, c); err != nil {
		return nil, err
	}
	return c.list()
}

func withEvent(args []any, event []byte) []any {
	if event == nil {
		return args
	}
	return append(args, event)
}
