package bridge

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/faac1247/rollcall/protocol"
)

// Outbox answers the oldest events of a partition, in their order, and how many
// went before them unposted because the outbox was full.
func (r *Redis) Outbox(ctx context.Context, p protocol.PartitionID, limit int) (entries []protocol.OutboxEntry, gap int64, err error) {
	c := r.call(r.scripts.outbox, []string{r.key(p, "q"), r.key(p, "n")}, max(1, limit))
	r.exec(ctx, []*command{c})
	answer, err := c.list()
	if err != nil {
		return nil, 0, fmt.Errorf("read outbox of partition %d: %w", p, err)
	}
	gap, first, events := answer.int(0), answer.int(1), answer.list(2)
	for i := range events.len() {
		event := []byte(events.text(i))
		entries = append(entries, protocol.OutboxEntry{ID: eventID(first+int64(i), event), Event: event})
	}
	return entries, gap, events.err
}

// Posted forgets the events of a partition up to the one with this id.
func (r *Redis) Posted(ctx context.Context, p protocol.PartitionID, upTo string) error {
	serial, sum, err := parseEventID(upTo)
	if err != nil {
		return err
	}
	c := r.call(r.scripts.posted, []string{r.key(p, "q"), r.key(p, "n")}, serial, sum)
	r.exec(ctx, []*command{c})
	if _, err := c.int(); err != nil {
		return fmt.Errorf("forget posted events of partition %d: %w", p, err)
	}
	return nil
}

// eventID names an event by its serial number in the partition and the
// beginning of its hash: after a failover that lost the tail of the outbox the
// number alone might be another event's.
func eventID(serial int64, event []byte) string {
	sum := sha1.Sum(event)
	return strconv.FormatInt(serial, 10) + "-" + hex.EncodeToString(sum[:4])
}

func parseEventID(id string) (serial int64, sum string, err error) {
	number, sum, ok := strings.Cut(id, "-")
	serial, err = strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || serial <= 0 || serial > maxNumber || len(sum) != 8 {
		return 0, "", refuse("event id %q is not one of an outbox", id)
	}
	return serial, sum, nil
}
