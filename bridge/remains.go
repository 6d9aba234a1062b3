package bridge

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// restoreAtOnce and pruneAtOnce bound the records that one script handles.
	restoreAtOnce = 500
	pruneAtOnce   = 200
)

// Remains answers what incarnations for which isDead have left in partitions:
// the connections that nobody has closed or superseded, and the intents that
// nobody has settled. What is closed and settled is not there any more; there
// is nothing to clean up afterwards.
func (r *Redis) Remains(ctx context.Context, partitions []protocol.PartitionID, isDead func(protocol.Incarnation) bool) ([]protocol.Remains, error) {
	found, err := r.left(ctx, partitions)
	if err != nil {
		return nil, err
	}
	var commands []*command
	var where []protocol.PartitionID
	var who [][]string
	for i, p := range partitions {
		var dead []string
		var args []any
		for _, name := range found[i] {
			if isDead(protocol.Incarnation(name)) {
				dead = append(dead, name)
				args = append(args, name)
			}
		}
		if len(dead) > 0 {
			commands = append(commands, r.call(r.scripts.remains, []string{r.key(p, "e"), r.key(p, "i")}, args...))
			where, who = append(where, p), append(who, dead)
		}
	}
	r.exec(ctx, commands)
	var all []protocol.Remains
	for i, c := range commands {
		answer, err := c.list()
		if err != nil {
			return nil, fmt.Errorf("read remains in partition %d: %w", where[i], err)
		}
		for n, name := range who[i] {
			remains, err := decodeRemains(answer.list(n))
			if err != nil {
				return nil, fmt.Errorf("read remains of %s in partition %d: %w", name, where[i], err)
			}
			remains.Partition, remains.Incarnation = where[i], protocol.Incarnation(name)
			all = append(all, remains)
		}
	}
	return all, nil
}

// left answers the incarnations that have anything in each partition.
func (r *Redis) left(ctx context.Context, partitions []protocol.PartitionID) ([][]string, error) {
	commands := make([]*command, len(partitions))
	for i, p := range partitions {
		commands[i] = r.call(r.scripts.left, []string{r.key(p, "e"), r.key(p, "i")})
	}
	r.exec(ctx, commands)
	names := make([][]string, len(partitions))
	for i, c := range commands {
		answer, err := c.list()
		if err != nil {
			return nil, fmt.Errorf("read who is in partition %d: %w", partitions[i], err)
		}
		for n := range answer.len() {
			names[i] = append(names[i], answer.text(n))
		}
	}
	return names, nil
}

func decodeRemains(f *fields) (protocol.Remains, error) {
	var out protocol.Remains
	connections, intents := f.list(0), f.list(1)
	for i := range connections.len() {
		conn, err := parseConnection(connections.text(i))
		if err != nil {
			return out, err
		}
		out.Connections = append(out.Connections, conn)
	}
	for i := range intents.len() {
		intent, err := decodeIntent(intents.text(i))
		if err != nil {
			return out, err
		}
		out.Intents = append(out.Intents, intent)
	}
	return out, f.err
}

// parseConnection reads a connection's place in the sorted set: edge, user and
// number.
func parseConnection(text string) (protocol.UserConn, error) {
	parts := strings.Split(text, " ")
	if len(parts) == 3 {
		user, err1 := strconv.ParseInt(parts[1], 10, 64)
		conn, err2 := strconv.ParseUint(parts[2], 10, 64)
		if err1 == nil && err2 == nil {
			return protocol.UserConn{User: protocol.UserID(user), Conn: protocol.ConnNumber(conn)}, nil
		}
	}
	return protocol.UserConn{}, fmt.Errorf("connection in an unknown format: %q", text)
}

// RestoreUsers puts records of one partition back into a store that has lost
// them: of each, the connection where its number is higher than the stored one,
// and the room and the call where their version is.
func (r *Redis) RestoreUsers(ctx context.Context, p protocol.PartitionID, records []protocol.UserRecord) error {
	var commands []*command
	for len(records) > 0 {
		n := min(len(records), restoreAtOnce)
		args := make([]any, 0, 2*n)
		for _, u := range records[:n] {
			if err := checkRestored(u); err != nil {
				return err
			}
			text, err := encodeRecord(u)
			if err != nil {
				return err
			}
			args = append(args, u.User.String(), text)
		}
		commands = append(commands, r.call(r.scripts.restoreUsers, []string{r.key(p, "u"), r.key(p, "e")}, args...))
		records = records[n:]
	}
	r.exec(ctx, commands)
	for _, c := range commands {
		if _, err := c.int(); err != nil {
			return fmt.Errorf("restore users of partition %d: %w", p, err)
		}
	}
	return nil
}

// Prune forgets the users of a partition that are in no room and no call and
// have been offline and unmoved for longer than age, and answers how many.
// Their numbers and versions go on rising if they come back.
func (r *Redis) Prune(ctx context.Context, p protocol.PartitionID, age time.Duration) (int, error) {
	if err := checkPrune(age); err != nil {
		return 0, err
	}
	gone, cursor := 0, uint64(0)
	for {
		page, next, err := r.client.HScan(ctx, r.key(p, "u"), cursor, "", pruneAtOnce).Result()
		if err != nil {
			return gone, fmt.Errorf("%w: list users of partition %d: %w", protocol.ErrStoreAway, p, err)
		}
		args := make([]any, 0, 1+len(page)/2)
		args = append(args, age.Milliseconds())
		for i := 0; i < len(page); i += 2 {
			args = append(args, page[i])
		}
		if len(args) > 1 {
			c := r.call(r.scripts.prune, []string{r.key(p, "u"), r.key(p, "k")}, args...)
			r.exec(ctx, []*command{c})
			n, err := c.int()
			if err != nil {
				return gone, fmt.Errorf("prune users of partition %d: %w", p, err)
			}
			gone += int(n)
		}
		if cursor = next; cursor == 0 {
			return gone, nil
		}
	}
}
