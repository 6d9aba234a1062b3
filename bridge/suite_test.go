package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/faac1247/rollcall/protocol"
)

// store is what both stores promise. The tests of the suite hold all backends
// to it; see eachStore.
type store interface {
	Register(context.Context, protocol.ClusterShape) error
	Renew(context.Context, protocol.LeaseRenewal) (protocol.Leases, error)
	Bury(context.Context, protocol.Incarnation) (time.Time, error)
	Resign(context.Context, protocol.Incarnation) (time.Time, error)
	Now(context.Context) (time.Time, error)
	Ping(context.Context) error
	Persistence(context.Context) ([]string, error)

	Take(context.Context, []protocol.Take) ([]protocol.Taken, error)
	Commit(context.Context, []protocol.Commit) ([]protocol.CommitStatus, error)
	Restore(context.Context, protocol.Restore) (protocol.CommitStatus, error)
	Release(context.Context, []protocol.Release) ([]protocol.CommitStatus, error)
	Outbox(context.Context, protocol.PartitionID, int) ([]protocol.OutboxEntry, int64, error)
	Posted(context.Context, protocol.PartitionID, string) error

	Connect(context.Context, protocol.Connect) (protocol.Connected, error)
	Close(context.Context, protocol.Close) (protocol.Closed, error)
	Move(context.Context, protocol.Move) (protocol.Moved, error)
	Settle(context.Context, protocol.Settle) error
	Users(context.Context, []protocol.UserAt) ([]protocol.UserRecord, error)
	Remains(context.Context, []protocol.PartitionID, func(protocol.Incarnation) bool) ([]protocol.Remains, error)
	RestoreUsers(context.Context, protocol.PartitionID, []protocol.UserRecord) error
	Prune(context.Context, protocol.PartitionID, time.Duration) (int, error)

	Publish(context.Context, protocol.Incarnation, []byte) (int, error)
	Subscribe(context.Context, protocol.Incarnation, func([]byte), func()) error
	PublishEvent(context.Context, []byte) error
	SubscribeEvents(context.Context, func([]byte), func()) error
}

var (
	_ store = (*Redis)(nil)
	_ store = (*MemoryClient)(nil)
)

// backend is one empty store and the ways to reach it.
type backend struct {
	// client opens another way to the same store.
	client func(t testing.TB) store
	// flush empties the store.
	flush func(t testing.TB)
}

// prefixes keeps tests apart that share a server.
var prefixes atomic.Uint64

func newPrefix() string { return fmt.Sprintf("test%d", prefixes.Add(1)) }

// eachStore runs a test of the suite on every backend.
func eachStore(t *testing.T, test func(t *testing.T, b backend)) {
	t.Parallel()
	for _, b := range []struct {
		name string
		open func(testing.TB) backend
	}{
		{"redis", func(t testing.TB) backend { return redisBackend(t, testServers.single(t)) }},
		{"cluster", func(t testing.TB) backend { return redisBackend(t, testServers.cluster(t)) }},
		{"miniredis", func(t testing.TB) backend { return redisBackend(t, "redis://"+miniredis.RunT(t).Addr()) }},
		{"memory", memoryBackend},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			test(t, b.open(t))
		})
	}
}

// onStore runs a test with a single client of every backend.
func onStore(t *testing.T, test func(t *testing.T, s store)) {
	eachStore(t, func(t *testing.T, b backend) { test(t, b.client(t)) })
}

func redisBackend(t testing.TB, url string) backend {
	t.Helper()
	prefix := newPrefix()
	return backend{
		client: func(t testing.TB) store {
			return openRedis(t, Config{URL: url, Prefix: prefix, Timeout: 10 * time.Second})
		},
		flush: func(t testing.TB) { deletePrefix(t, url, prefix) },
	}
}

func memoryBackend(testing.TB) backend {
	m := NewMemory()
	var n int
	return backend{
		client: func(testing.TB) store {
			n++
			return m.Client(protocol.Incarnation(fmt.Sprintf("n%d@1", n)))
		},
		flush: func(testing.TB) { m.Flush() },
	}
}

func openRedis(t testing.TB, cfg Config) *Redis {
	t.Helper()
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Disconnect() })
	return r
}

// deletePrefix empties one test's part of a server.
func deletePrefix(t testing.TB, url, prefix string) {
	t.Helper()
	r := openRedis(t, Config{URL: url, Prefix: prefix})
	for _, key := range keysOf(t, r) {
		if err := r.client.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// keysOf lists all keys that begin with a client's prefix.
func keysOf(t testing.TB, r *Redis) []string {
	t.Helper()
	var keys []string
	collect := func(ctx context.Context, c *redis.Client) error {
		found, err := c.Keys(ctx, r.cfg.Prefix+":*").Result()
		keys = append(keys, found...)
		return err
	}
	var err error
	switch c := r.client.(type) {
	case *redis.ClusterClient:
		for _, url := range strings.Split(r.cfg.URL, ",") {
			one := openRedis(t, Config{URL: url, Prefix: r.cfg.Prefix})
			err = errors.Join(err, collect(t.Context(), one.client.(*redis.Client)))
		}
	case *redis.Client:
		err = collect(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// must fails the test on an error.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what the store's own clock brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

const (
	n1 protocol.Incarnation = "n1@aaaa"
	n2 protocol.Incarnation = "n2@bbbb"
	n3 protocol.Incarnation = "n3@cccc"
)
