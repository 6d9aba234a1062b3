package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// rivalPatience is how long the lease of another life of this node's id is
// watched before it is judged: longer than a lease, so that one whose holder is
// gone has ended or was not renewed.
const rivalPatience = leaseLength + leaseLength/4

// errNodeIDTaken refuses to start beside a living node of the same id.
var errNodeIDTaken = errors.New("node id is taken")

// heldError says that another life of this node's id has a lease.
type heldError struct {
	inc   protocol.Incarnation
	until time.Time // by the store's clock
}

func (e *heldError) Error() string {
	return fmt.Sprintf("%v: %s holds a lease as %q; give this node another --node-id, or end that one", errNodeIDTaken, e.inc, e.inc.Node())
}

func (e *heldError) Unwrap() error { return errNodeIDTaken }

// rival is another life of this node's id, as watched since it was first seen.
// It is alive if it goes on renewing; what the store's clock says of its lease
// counts for nothing, since a failover may have set that clock back.
type rival struct {
	heldError
	since    time.Time // by this process's clock
	renewals int
}

// seen takes note of the lease as it is now.
func (r *rival) seen(inc protocol.Incarnation, until time.Time) *rival {
	switch {
	case r.inc != inc:
		*r = rival{heldError: heldError{inc: inc, until: until}, since: time.Now()}
	case until.After(r.until):
		r.until = until
		r.renewals++
	}
	return r
}

// contest decides between this life and a rival that has been watched for long
// enough: one that renews keeps the id, one that doesn't gets its tombstone. A
// single renewal may have been under way when its sender died; then the watch
// begins anew.
func (l *life) contest(ctx context.Context, r *rival) error {
	if time.Since(r.since) < rivalPatience {
		return nil
	}
	switch r.renewals {
	case 0:
		died, err := l.store.Resign(ctx, r.inc)
		if err != nil {
			l.log.Warn("earlier life not buried; trying again", "former", r.inc, "err", err)
			return nil
		}
		l.log.Info("earlier life is dead, its lease not renewed", "former", r.inc, "died", died)
	case 1:
		*r = rival{heldError: r.heldError, since: time.Now()}
	default:
		held := r.heldError
		_, _ = l.store.Resign(ctx, l.inc) // it would end by itself
		return &held
	}
	return nil
}
