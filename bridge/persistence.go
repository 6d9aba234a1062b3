package bridge

import (
	"context"
	"fmt"

	"github.com/faac1247/rollcall/protocol"
)

// Persistence answers what is wrong with how the servers keep their data, in
// sentences for an operator: eviction, and no append-only file. What a server
// does not tell is not complained about.
func (r *Redis) Persistence(ctx context.Context) ([]string, error) {
	if err := r.Ping(ctx); err != nil {
		return nil, err
	}
	var warnings []string
	for _, check := range []struct{ section, name, want, warning string }{
		{"memory", "maxmemory_policy", "noeviction", "maxmemory-policy is %s, so that the store may forget users and rooms when its memory is full: set noeviction"},
		{"persistence", "aof_enabled", "1", "appendonly is off (aof_enabled:%s), so that a restart of the store forgets what is owed to rooms: set appendonly yes"},
	} {
		texts, err := infos(ctx, r.client, check.section)
		if err != nil {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: %w", protocol.ErrStoreAway, ctx.Err())
			}
			continue
		}
		for _, text := range texts {
			if got := infoField(text, check.name); got != "" && got != check.want {
				warnings = append(warnings, fmt.Sprintf(check.warning, got))
			}
		}
	}
	return warnings, nil
}
