package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/faac1247/rollcall/protocol"
)

func TestEveryCallSaysThatTheStoreIsAway(t *testing.T) {
	t.Parallel()
	memory := NewMemory().Client(n1)
	memory.SetAway(true)
	port, err := freePort()
	check(t, err)
	for name, s := range map[string]store{
		"redis":  openRedis(t, Config{URL: "redis://127.0.0.1:" + port}),
		"memory": memory,
	} {
		t.Run(name, func(t *testing.T) {
			for what, err := range everyCall(t.Context(), s) {
				if !errors.Is(err, protocol.ErrStoreAway) || protocol.CodeOf(err) != protocol.CodeUnavailable {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// everyCall makes each call of a store once and answers the errors.
func everyCall(ctx context.Context, s store) map[string]error {
	errs := make(map[string]error)
	errs["Register"] = s.Register(ctx, shape)
	_, errs["Renew"] = s.Renew(ctx, protocol.LeaseRenewal{Incarnation: n1, Length: time.Second})
	_, errs["Bury"] = s.Bury(ctx, n2)
	_, errs["Resign"] = s.Resign(ctx, n3)
	_, errs["Now"] = s.Now(ctx)
	errs["Ping"] = s.Ping(ctx)
	_, errs["Persistence"] = s.Persistence(ctx)
	_, errs["Take"] = s.Take(ctx, []protocol.Take{{Partition: 7, Owner: n1}})
	_, errs["Commit"] = s.Commit(ctx, []protocol.Commit{step(n1, 1, 0)})
	_, errs["Restore"] = s.Restore(ctx, protocol.Restore{Partition: 7, Owner: n1, Epoch: 1})
	_, errs["Release"] = s.Release(ctx, []protocol.Release{{Partition: 7, Owner: n1, Epoch: 1}})
	_, _, errs["Outbox"] = s.Outbox(ctx, 7, 1)
	errs["Posted"] = s.Posted(ctx, 7, eventID(1, nil))
	_, errs["Connect"] = s.Connect(ctx, protocol.Connect{Partition: 7, User: 1, Edge: n1, Token: "t", Event: []byte("e")})
	_, errs["Move"] = s.Move(ctx, protocol.Move{Partition: 7, User: 1, To: "r1", Key: "k", By: n1})
	_, errs["Users"] = s.Users(ctx, []protocol.UserAt{{Partition: 7, User: 1}})
	_, errs["Remains"] = s.Remains(ctx, []protocol.PartitionID{7}, func(protocol.Incarnation) bool { return true })
	_, errs["Close"] = s.Close(ctx, protocol.Close{Partition: 7, User: 1, Conn: 1, By: n1})
	errs["Settle"] = s.Settle(ctx, protocol.Settle{Partition: 7, User: 1, By: n1, Version: 1})
	errs["RestoreUsers"] = s.RestoreUsers(ctx, 7, []protocol.UserRecord{{User: 1}})
	_, errs["Prune"] = s.Prune(ctx, 7, time.Hour)
	_, errs["Publish"] = s.Publish(ctx, n1, []byte("m"))
	errs["PublishEvent"] = s.PublishEvent(ctx, []byte("m"))
	return errs
}

func TestKeysCarryTheTagOfTheirPartition(t *testing.T) {
	t.Parallel()
	r := openRedis(t, Config{URL: testServers.cluster(t), Prefix: newPrefix()})
	for what, err := range everyCall(t.Context(), r) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	form := regexp.MustCompile(`^` + r.cfg.Prefix + `:\{(p7\}:[ojqnueik]|leases\}:(leases|tombstones|shape|store|pubsub))$`)
	keys := keysOf(t, r)
	if len(keys) < 10 {
		t.Errorf("only %d keys: %q", len(keys), keys)
	}
	for _, key := range keys {
		if !form.MatchString(key) {
			t.Errorf("key %q is not documented", key)
		}
	}
}

// Scripts reach only keys that are declared: a Cluster and some managed servers
// insist on it. A redis-server does not, so the sources are looked at.
func TestScriptsDeclareTheirKeys(t *testing.T) {
	t.Parallel()
	files, err := scriptFiles.ReadDir("scripts")
	check(t, err)
	call := regexp.MustCompile(`redis\.call\('([A-Z]+)'(, ([^,)]+))?`)
	allowed := regexp.MustCompile(`^(KEYS\[\d\]|users|outbox|count)$`) // the last three are parameters of functions
	for _, f := range files {
		text, err := scriptFiles.ReadFile("scripts/" + f.Name())
		check(t, err)
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			if m[1] != "TIME" && !allowed.MatchString(m[3]) {
				t.Errorf("%s: %s of %s", f.Name(), m[1], m[3])
			}
		}
	}
}

func TestScriptsThatTheServerHasForgotten(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	r := openRedis(t, Config{URL: "redis://" + server.Addr(), Timeout: 10 * time.Second})
	var takes []protocol.Take
	for p := range protocol.PartitionID(50) {
		takes = append(takes, protocol.Take{Partition: p, Owner: n1})
	}
	taken := must(r.Take(t.Context(), takes))(t)
	for round := range uint64(3) {
		var commits []protocol.Commit
		for p := range protocol.PartitionID(50) {
			c := step(n1, taken[p].Epoch, round)
			c.Partition = p
			commits = append(commits, c)
		}
		if round > 0 {
			check(t, r.client.ScriptFlush(t.Context()).Err())
		}
		for p, status := range must(r.Commit(t.Context(), commits))(t) {
			if status != protocol.Committed {
				t.Fatalf("round %d, partition %d: status %d", round, p, status)
			}
		}
	}
	for p := range protocol.PartitionID(50) {
		entries, _, err := r.Outbox(t.Context(), p, 10)
		if err != nil || len(entries) != 3 {
			t.Fatalf("partition %d has %d events: %v", p, len(entries), err)
		}
	}
}

// Of a pipeline only what the server did not know is sent again.
func TestScriptsThatTheServerKnowsAreNotSentAgain(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	r := openRedis(t, Config{URL: "redis://" + server.Addr(), Timeout: 10 * time.Second})
	move(t, r, bob, "r1", protocol.Move{By: n1})
	known := &command{name: "rpush", keys: []string{"list"}, args: []any{"once"}}
	unknown := r.call(r.scripts.clock, []string{r.leaseKey("leases")})
	r.exec(t.Context(), []*command{known, unknown, known})
	must(unknown.int())(t)
	if n := r.client.LLen(t.Context(), "list").Val(); n != 2 {
		t.Errorf("two commands took effect %d times", n)
	}
}

// The library would send the pipelines of a Cluster again when a connection
// fails, whatever is in them.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	address := startSmallCluster(t)
	p := newProxy(t, "redis://"+address)
	cfg := Config{
		URL: "redis://" + address + "?cluster=true", Timeout: 300 * time.Millisecond,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.listener.Addr().String())
		},
	}
	r := openRedis(t, cfg)
	eventually(t, "the cluster to serve", func() bool { return r.Ping(t.Context()) == nil })
	move(t, r, bob, "r1", protocol.Move{By: n1})
	p.once.Store(true)
	if _, err := r.Move(t.Context(), protocol.Move{Partition: 7, User: bob, To: "r2", By: n1}); !errors.Is(err, protocol.ErrStoreAway) {
		t.Errorf("a lost answer is %v", err)
	}
	if left := remains(t, r, n1); len(left) != 1 || len(left[0].Intents) != 2 {
		t.Errorf("two moves left %+v", left)
	}
}

// startSmallCluster starts a Cluster of a single master.
func startSmallCluster(t testing.TB) string {
	t.Helper()
	var own servers
	t.Cleanup(own.stop)
	bus, err := freePort()
	check(t, err)
	address, err := own.start("--cluster-enabled", "yes", "--cluster-port", bus)
	check(t, err)
	server := redis.NewClient(&redis.Options{Addr: address})
	defer func() { _ = server.Close() }()
	check(t, server.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	return address
}

// A batch is applied and its answer is lost; it is sent again; then a takeover
// comes in between.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	url := testServers.single(t)
	p := newProxy(t, url)
	prefix := newPrefix()
	r := openRedis(t, Config{URL: p.url(), Prefix: prefix, Timeout: 300 * time.Millisecond})
	direct := openRedis(t, Config{URL: url, Prefix: prefix, Timeout: 10 * time.Second})
	e := take(t, direct, protocol.Take{Partition: 7, Owner: n1}).Epoch
	check(t, r.Ping(t.Context()))

	p.swallow.Store(true)
	statuses, err := r.Commit(t.Context(), []protocol.Commit{step(n1, e, 0)})
	if !errors.Is(err, protocol.ErrStoreAway) || len(statuses) != 1 || statuses[0] != 0 {
		t.Fatalf("a lost answer is %v: %v", statuses, err)
	}
	if _, err := r.Connect(t.Context(), protocol.Connect{Partition: 7, User: bob, Edge: n1, Token: "t"}); !errors.Is(err, protocol.ErrStoreAway) {
		t.Fatalf("a lost answer is %v", err)
	}
	p.swallow.Store(false)
	p.cut()

	eventually(t, "the connection to come back", func() bool { return r.Ping(t.Context()) == nil })
	wantStatus(t, "sent again", commit(t, r, step(n1, e, 0)), protocol.Committed)
	entries, _, err := r.Outbox(t.Context(), 7, 10)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d events for one commit: %v", len(entries), err)
	}
	if got := connect(t, r, bob, n1, "t"); got.FormerConn != 0 {
		t.Errorf("the same connection superseded itself: %+v", got)
	}
	take(t, direct, protocol.Take{Partition: 7, Owner: n2, Dead: []protocol.Incarnation{n1}})
	wantStatus(t, "sent again after a takeover", commit(t, r, step(n1, e, 0)), protocol.Outranked)
}

func TestSubscriptionIsRenewedWhenItIsKilled(t *testing.T) {
	t.Parallel()
	url := testServers.single(t)
	p := newProxy(t, url)
	prefix := newPrefix()
	r := openRedis(t, Config{URL: p.url(), Prefix: prefix})
	direct := openRedis(t, Config{URL: url, Prefix: prefix})
	l := listenTo(t, r, n1)
	for range 3 {
		p.cut()
		l.awaitRenewal(t)
		must(direct.Publish(t.Context(), n1, []byte("again")))(t)
		l.want(t, "again")
	}
}

// The server, or the way to it, is gone without a word.
func TestSubscriptionIsRenewedAfterSilence(t *testing.T) {
	t.Parallel()
	url := testServers.single(t)
	p := newProxy(t, url)
	prefix := newPrefix()
	r := openRedis(t, Config{URL: p.url(), Prefix: prefix, Timeout: 300 * time.Millisecond})
	direct := openRedis(t, Config{URL: url, Prefix: prefix})
	l := listenTo(t, r, n1)
	start := time.Now()
	p.frozen.Store(true)
	must(direct.Publish(t.Context(), n1, []byte("unheard")))(t)
	eventually(t, "the silence to be noticed", func() bool {
		n, err := direct.Publish(t.Context(), n1, nil)
		return err == nil && n == 0
	})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the silence was noticed after %s", took)
	}
	p.frozen.Store(false)
	l.awaitRenewal(t)
	must(direct.Publish(t.Context(), n1, []byte("again")))(t)
	l.want(t, "again")
}

// A busy handler is not taken for a silent server.
func TestSubscriptionOutlivesASlowHandler(t *testing.T) {
	t.Parallel()
	r := openRedis(t, Config{URL: testServers.single(t), Prefix: newPrefix()})
	proceed := make(chan struct{})
	l := listen(t, func(ctx context.Context, handle func([]byte), renewed func()) error {
		return r.Subscribe(ctx, n1, func(m []byte) {
			<-proceed
			handle(m)
		}, renewed)
	})
	for i := range 20 {
		must(r.Publish(t.Context(), n1, fmt.Appendf(nil, "%d", i)))(t)
	}
	<-time.After(3 * probeInterval)
	close(proceed)
	for i := range 20 {
		l.want(t, fmt.Sprint(i))
	}
	if len(l.renewed) != 0 {
		t.Error("the subscription was renewed")
	}
}

func TestStoreHasAnotherNameAfterARestart(t *testing.T) {
	t.Parallel()
	var own servers
	t.Cleanup(own.stop)
	dir := t.TempDir()
	address, err := own.start("--dir", dir, "--appendonly", "yes")
	check(t, err)
	r := openRedis(t, Config{URL: "redis://" + address})
	renewal := protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}
	before := must(r.Renew(t.Context(), renewal))(t)
	if again := must(r.Renew(t.Context(), renewal))(t); again.Store != before.Store {
		t.Errorf("the store's name went from %q to %q", before.Store, again.Store)
	}
	_, port, _ := net.SplitHostPort(address)
	own.processes[0].kill()
	_, err = own.startAt(port, "--dir", dir, "--appendonly", "yes")
	check(t, err)
	var after protocol.Leases
	eventually(t, "renewal after the restart", func() bool {
		after, err = r.Renew(t.Context(), renewal)
		return err == nil
	})
	if len(after.Until) != 1 || after.Store == before.Store {
		t.Errorf("after the restart the store is %q with %v, before %q", after.Store, after.Until, before.Store)
	}
	if warnings := must(r.Persistence(t.Context()))(t); len(warnings) != 0 {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestPersistenceIsComplainedAbout(t *testing.T) {
	t.Parallel()
	var own servers
	t.Cleanup(own.stop)
	address, err := own.start("--maxmemory-policy", "allkeys-lru")
	check(t, err)
	r := openRedis(t, Config{URL: "redis://" + address})
	warnings := must(r.Persistence(t.Context()))(t)
	if len(warnings) != 2 || !strings.Contains(warnings[0], "allkeys-lru") || !strings.Contains(warnings[1], "appendonly") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestEventsOnAClusterAreSharded(t *testing.T) {
	t.Parallel()
	r := openRedis(t, Config{URL: testServers.cluster(t), Prefix: newPrefix()})
	if on, err := r.sharded(t.Context()); err != nil || !on {
		t.Errorf("sharded: %v, %v", on, err)
	}
	// What the first node has settled counts for the later ones.
	other := openRedis(t, Config{URL: testServers.cluster(t), Prefix: newPrefix()})
	check(t, other.client.Set(t.Context(), other.leaseKey("pubsub"), classic, 0).Err())
	if on, err := other.sharded(t.Context()); err != nil || on {
		t.Errorf("sharded: %v, %v", on, err)
	}
	l := listenTo(t, other, n1)
	must(other.Publish(t.Context(), n1, []byte("classic")))(t)
	l.want(t, "classic")
	for info, want := range map[string]string{
		"redis_version:6.2.14\r\n": classic, "redis_version:7.0.15\r\n": sharded, "redis_version:10.1.0\r\n": sharded, "": classic,
	} {
		if got := wanted(info); got != want {
			t.Errorf("%q is published to %s", info, got)
		}
	}
}

// A slot that moves away takes its sharded channels with it.
func TestSubscriptionIsRenewedWhenItsSlotMoves(t *testing.T) {
	t.Parallel()
	address := startSmallCluster(t)
	server := redis.NewClient(&redis.Options{Addr: address})
	defer func() { _ = server.Close() }()
	r := openRedis(t, Config{URL: "redis://" + address + "?cluster=true"})
	eventually(t, "the cluster to serve", func() bool { return r.Ping(t.Context()) == nil })
	l := listenTo(t, r, n1)
	slot := int(must(server.ClusterKeySlot(t.Context(), r.inboxChannel(n1)).Result())(t))
	check(t, server.ClusterDelSlots(t.Context(), slot).Err())
	check(t, server.ClusterAddSlots(t.Context(), slot).Err())
	l.awaitRenewal(t)
	eventually(t, "messages to go on", func() bool {
		n, err := r.Publish(t.Context(), n1, []byte("again"))
		return err == nil && n == 1
	})
	l.want(t, "again")
}

// A replica takes the master's place; what the store is called changes, and all
// goes on.
func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	var own servers
	t.Cleanup(own.stop)
	master, err := own.start()
	check(t, err)
	_, port, _ := net.SplitHostPort(master)
	replica, err := own.start("--replicaof", "127.0.0.1 "+port)
	check(t, err)
	settings := filepath.Join(t.TempDir(), "sentinel.conf")
	check(t, os.WriteFile(settings, fmt.Appendf(nil, `sentinel monitor boss 127.0.0.1 %s 1
sentinel down-after-milliseconds boss 300
sentinel failover-timeout boss 2000
`, port), 0o600))
	sentinel, err := own.startSentinel(settings)
	check(t, err)
	follower := redis.NewClient(&redis.Options{Addr: replica})
	defer func() { _ = follower.Close() }()
	eventually(t, "the replica to follow", func() bool {
		return strings.Contains(follower.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})

	r := openRedis(t, Config{URL: "redis://" + sentinel + "?master=boss"})
	before := must(r.Renew(t.Context(), aMinute))(t)
	l := listenTo(t, r, n1)
	eventually(t, "the lease to be replicated", func() bool {
		return follower.ZScore(t.Context(), r.leaseKey("leases"), string(n1)).Val() > 0
	})
	own.processes[0].kill()
	var after protocol.Leases
	check(t, poll("failover", func(ctx context.Context) error {
		var err error
		after, err = r.Renew(ctx, aMinute)
		return err
	}))
	if after.Store == before.Store || len(after.Until) != 1 {
		t.Errorf("the store is %q with %v, before %q", after.Store, after.Until, before.Store)
	}
	l.awaitRenewal(t)
	must(r.Publish(t.Context(), n1, []byte("again")))(t)
	l.want(t, "again")
}

func TestRecordsOfALaterFormatAreLeftAlone(t *testing.T) {
	t.Parallel()
	r := openRedis(t, Config{URL: testServers.single(t), Prefix: newPrefix()})
	later := `{"f":2,"c":5,"v":1,"s":1}`
	check(t, r.client.HSet(t.Context(), r.key(7, "u"), "42", later).Err())
	check(t, r.client.Set(t.Context(), r.key(7, "o"), "2 1 1 n1", 0).Err())
	_, err1 := r.Connect(t.Context(), protocol.Connect{Partition: 7, User: bob, Edge: n1, Token: "t"})
	_, err2 := r.Users(t.Context(), []protocol.UserAt{{Partition: 7, User: bob}})
	_, err3 := r.Take(t.Context(), []protocol.Take{{Partition: 7, Owner: n1}})
	_, err4 := r.Commit(t.Context(), []protocol.Commit{step(n1, 1, 0)})
	for i, err := range []error{err1, err2, err3, err4} {
		if err == nil || errors.Is(err, protocol.ErrStoreAway) || !strings.Contains(err.Error(), "unknown format") {
			t.Errorf("call %d was answered with %v", i+1, err)
		}
	}
	if got := r.client.HGet(t.Context(), r.key(7, "u"), "42").Val(); got != later {
		t.Errorf("the record is now %s", got)
	}
}

// A field that a later version adds survives a change by this one.
func TestUnknownFieldsOfARecordAreKept(t *testing.T) {
	t.Parallel()
	r := openRedis(t, Config{URL: testServers.single(t), Prefix: newPrefix()})
	check(t, r.client.HSet(t.Context(), r.key(7, "u"), "42", `{"f":1,"c":5,"v":1,"s":1,"later":{"a":[1,2]}}`).Err())
	connect(t, r, bob, n1, "t")
	if got := r.client.HGet(t.Context(), r.key(7, "u"), "42").Val(); !strings.Contains(got, `"later":{"a":[1,2]}`) {
		t.Errorf("the record is now %s", got)
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	r := openRedis(t, Config{URL: testServers.single(t), Prefix: newPrefix(), Registerer: registry})
	check(t, r.Ping(t.Context()))
	families := must(registry.Gather())(t)
	if len(families) < 7 {
		t.Errorf("%d metrics", len(families))
	}
	if _, err := Open(Config{Registerer: registry}); err == nil {
		t.Error("a second store registered the same metrics")
	}
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	e, err := ListenEmbedded()
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	r := openRedis(t, Config{URL: e.URL()})
	check(t, r.Register(t.Context(), shape))
	if warnings := must(r.Persistence(t.Context()))(t); len(warnings) != 0 {
		t.Errorf("warnings: %q", warnings)
	}
	check(t, r.client.Set(t.Context(), "x", "y", time.Second).Err())
	eventually(t, "a key to expire", func() bool { return errors.Is(r.client.Get(t.Context(), "x").Err(), redis.Nil) })
	cancel()
	check(t, <-ended)
	if err := r.Ping(t.Context()); !errors.Is(err, protocol.ErrStoreAway) {
		t.Errorf("after its end: %v", err)
	}
}

// The whole client works in virtual time, which is how nodes are simulated with
// it.
func TestRedisInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := miniredis.NewMiniRedis()
		defer server.Close()
		r, err := Open(Config{Dial: func(context.Context, string, string) (net.Conn, error) { return server.Dial() }})
		check(t, err)
		defer func() { _ = r.Disconnect() }()
		renewal := protocol.LeaseRenewal{Incarnation: n1, Length: 2 * time.Second}
		leases := must(r.Renew(t.Context(), renewal))(t)
		l := listenTo(t, r, n1)
		time.Sleep(time.Second)
		if _, err := r.Bury(t.Context(), n1); !errors.Is(err, protocol.ErrLeaseLive) {
			t.Errorf("after 1 s: %v", err)
		}
		time.Sleep(time.Hour)
		if died := must(r.Bury(t.Context(), n1))(t); !died.Equal(leases.Until[n1]) {
			t.Errorf("died at %s", died)
		}
		must(r.Publish(t.Context(), n1, []byte("m")))(t)
		l.want(t, "m")
		if err := l.end(t); !errors.Is(err, context.Canceled) {
			t.Errorf("the subscription ended with %v", err)
		}
	})
}
