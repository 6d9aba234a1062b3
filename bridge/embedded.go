package bridge

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embeddedTick is how often the embedded store's clock is moved on: its keys
// with a time to live do not expire by themselves.
const embeddedTick = 250 * time.Millisecond

// Embedded is a store inside this process, for development only: in memory,
// gone with the process, and some 20 times slower than Redis, which it is not.
type Embedded struct {
	// set by ListenEmbedded
	server *miniredis.Miniredis
}

// ListenEmbedded opens an embedded store on a free port of this machine. It
// serves from then on; Run ends it.
func ListenEmbedded() (*Embedded, error) {
	e := &Embedded{server: miniredis.NewMiniRedis()}
	if err := e.server.Start(); err != nil {
		return nil, fmt.Errorf("start embedded store: %w", err)
	}
	return e, nil
}

// URL is the Config.URL of the store.
func (e *Embedded) URL() string { return "redis://" + e.server.Addr() }

// Run moves the store's clock on until ctx ends, closes it and returns nil.
func (e *Embedded) Run(ctx context.Context) error {
	defer e.server.Close()
	ticker := time.NewTicker(embeddedTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			e.server.FastForward(embeddedTick)
		}
	}
}
