package node

import (
	"context"
	"time"

	"github.com/faac1247/rollcall/internal/inbox"
	"github.com/faac1247/rollcall/internal/owner"
	"github.com/faac1247/rollcall/protocol"
)

// Store is everything that a node asks of the store. Every error that means
// "could not be asked" wraps protocol.ErrStoreAway.
type Store interface {
	owner.Journal
	inbox.Transport
	Lives
	Users
	Outbox
}

// Lives are the leases and tombstones of incarnations.
type Lives interface {
	Register(context.Context, protocol.ClusterShape) error
	Renew(context.Context, protocol.LeaseRenewal) (protocol.Leases, error)
	Bury(context.Context, protocol.Incarnation) (died time.Time, err error)
	Resign(context.Context, protocol.Incarnation) (died time.Time, err error)
}

// Users are the users' records.
type Users interface {
	Connect(context.Context, protocol.Connect) (protocol.Connected, error)
	Close(context.Context, protocol.Close) (protocol.Closed, error)
	Move(context.Context, protocol.Move) (protocol.Moved, error)
	Settle(context.Context, protocol.Settle) error
	Users(context.Context, []protocol.UserAt) ([]protocol.UserRecord, error)
	Remains(context.Context, []protocol.PartitionID, func(protocol.Incarnation) bool) ([]protocol.Remains, error)
	RestoreUsers(context.Context, protocol.PartitionID, []protocol.UserRecord) error
	Prune(context.Context, protocol.PartitionID, time.Duration) (int, error)
}

// Outbox holds committed events until they are posted, and carries live ones
// between nodes.
type Outbox interface {
	Outbox(context.Context, protocol.PartitionID, int) ([]protocol.OutboxEntry, int64, error)
	Posted(context.Context, protocol.PartitionID, string) error
	PublishEvent(context.Context, []byte) error
	SubscribeEvents(context.Context, func([]byte), func()) error
}
