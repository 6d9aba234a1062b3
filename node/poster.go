package node

import (
	"github.com/faac1247/rollcall/internal/webhook"
	"github.com/faac1247/rollcall/protocol"
)

// newPoster posts the outboxes of the partitions owned here, nil without a
// webhook.
func (l *life) newPoster() (*webhook.Poster, error) {
	if l.cfg.Webhook == "" {
		return nil, nil
	}
	return webhook.New(webhook.Config{
		URL: l.cfg.Webhook, Key: l.cfg.WebhookKey, Outbox: l.store,
		Owned:  func() []protocol.PartitionID { return l.members.table().ring.Owned(l.cfg.NodeID) },
		Logger: l.log, Registerer: l.registry,
	})
}
