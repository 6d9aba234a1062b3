package bridge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Register is like Redis.Register.
func (c *MemoryClient) Register(ctx context.Context, shape protocol.ClusterShape) error {
	_, err := ask(ctx, c, func(s *memoryState, _ int64) (struct{}, error) {
		if s.shape == nil {
			s.shape = &shape
		}
		return struct{}{}, compareShapes(*s.shape, shape)
	})
	return err
}

// Renew is like Redis.Renew.
func (c *MemoryClient) Renew(ctx context.Context, renewal protocol.LeaseRenewal) (protocol.Leases, error) {
	if err := checkRenewal(renewal); err != nil {
		return protocol.Leases{}, err
	}
	return ask(ctx, c, func(s *memoryState, now int64) (protocol.Leases, error) {
		if _, dead := s.tombstones[renewal.Incarnation]; dead {
			return protocol.Leases{}, fmt.Errorf("renew lease of %s: %w", renewal.Incarnation, protocol.ErrBuried)
		}
		s.leases[renewal.Incarnation] = now + renewal.Length.Milliseconds()
		return protocol.Leases{
			Now:        fromMillis(now),
			Store:      s.name + "/" + strconv.Itoa(c.store.lives),
			Until:      timesOf(s.leases),
			Tombstones: timesOf(s.tombstones),
		}, nil
	})
}

func timesOf(m map[protocol.Incarnation]int64) map[protocol.Incarnation]time.Time {
	times := make(map[protocol.Incarnation]time.Time, len(m))
	for inc, ms := range m {
		times[inc] = fromMillis(ms)
	}
	return times
}

// Bury is like Redis.Bury.
func (c *MemoryClient) Bury(ctx context.Context, inc protocol.Incarnation) (time.Time, error) {
	return c.bury(ctx, inc, false)
}

// Resign is like Redis.Resign.
func (c *MemoryClient) Resign(ctx context.Context, inc protocol.Incarnation) (time.Time, error) {
	return c.bury(ctx, inc, true)
}

func (c *MemoryClient) bury(ctx context.Context, inc protocol.Incarnation, alive bool) (time.Time, error) {
	if err := checkIncarnation(inc); err != nil {
		return time.Time{}, err
	}
	return ask(ctx, c, func(s *memoryState, now int64) (time.Time, error) {
		if died, dead := s.tombstones[inc]; dead {
			return fromMillis(died), nil
		}
		ends, leased := s.leases[inc]
		if !leased {
			ends = now
		}
		if ends > now && !alive {
			return time.Time{}, fmt.Errorf("bury %s: %w", inc, protocol.ErrLeaseLive)
		}
		ends = min(ends, now)
		delete(s.leases, inc)
		s.tombstones[inc] = ends
		s.forgetDead()
		return fromMillis(ends), nil
	})
}

// forgetDead keeps the latest deaths.
func (s *memoryState) forgetDead() {
	if len(s.tombstones) <= tombstoneLimit {
		return
	}
	byDeath := slices.SortedFunc(maps.Keys(s.tombstones), func(a, b protocol.Incarnation) int {
		return cmp.Or(cmp.Compare(s.tombstones[a], s.tombstones[b]), cmp.Compare(a, b))
	})
	for _, inc := range byDeath[:len(byDeath)-tombstoneLimit] {
		delete(s.tombstones, inc)
	}
}

// Now is like Redis.Now.
func (c *MemoryClient) Now(ctx context.Context) (time.Time, error) {
	return ask(ctx, c, func(_ *memoryState, now int64) (time.Time, error) {
		return fromMillis(now), nil
	})
}

// Ping is like Redis.Ping.
func (c *MemoryClient) Ping(ctx context.Context) error {
	_, err := c.Now(ctx)
	return err
}

// Persistence answers the one thing that is wrong with this store.
func (c *MemoryClient) Persistence(ctx context.Context) ([]string, error) {
	if err := c.Ping(ctx); err != nil {
		return nil, err
	}
	return []string{"the store is in memory, for tests only"}, nil
}
