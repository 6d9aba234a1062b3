package clustertest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/faac1247/rollcall/bridge"
	"github.com/faac1247/rollcall/node"
)

// depot is the store of a drawn schedule, with the faults that are drawn for it.
type depot interface {
	setLatency(time.Duration)
	setPaused(bool)
	setAway(bool)
	setNodeAway(n int, away bool)
	setAnswersLost(n int, lost bool)
	setSilent(n int, silent bool)
	flush()
	// snapshot returns what puts a replica in the store's place that has not got
	// any further, and whose clock is so much behind.
	snapshot() (failover func(behind time.Duration))
}

// memoryDepot is the store in Go.
type memoryDepot struct{ c *Cluster }

func (d memoryDepot) setLatency(by time.Duration)     { d.c.Store.SetLatency(by) }
func (d memoryDepot) setPaused(paused bool)           { d.c.Store.SetPaused(paused) }
func (d memoryDepot) setAway(away bool)               { d.c.Store.SetAway(away) }
func (d memoryDepot) setNodeAway(n int, away bool)    { d.c.StoreOf(n).SetAway(away) }
func (d memoryDepot) setAnswersLost(n int, lost bool) { d.c.StoreOf(n).SetAnswersLost(lost) }
func (d memoryDepot) setSilent(n int, silent bool)    { d.c.StoreOf(n).SetSilent(silent) }
func (d memoryDepot) flush()                          { d.c.Store.Flush() }
func (d memoryDepot) snapshot() func(behind time.Duration) {
	held := d.c.Store.Snapshot()
	return func(behind time.Duration) {
		d.c.Store.Rollback(held)
		if behind > 0 {
			d.c.Store.SetSkew(-behind)
		}
	}
}

// redisDepot is the embedded Redis behind the client library and the scripts
// that production has. A replica's clock is never behind: the embedded server
// takes the bubble's.
type redisDepot struct {
	// set by newRedisDepot
	server *miniredis.Miniredis
	admin  *redis.Client
	loops  sync.WaitGroup

	// owned by the test
	stores map[int]*bridge.Redis

	// guarded by mu
	mu      sync.Mutex
	cond    *sync.Cond
	life    int // of the server: what restarts or takes its place has another
	latency time.Duration
	paused  bool
	away    bool
	apart   map[int]bool // nodes that do not reach the store
	silent  map[int]bool // nodes that neither send nor hear
	lost    map[int]bool // nodes whose answers get lost
	lines   map[*line]struct{}
}

// redisAddress is never dialled, but a name would be looked up.
const redisAddress = "10.0.1.1:6379"

func newRedisDepot() (*redisDepot, error) {
	d := &redisDepot{
		server: miniredis.NewMiniRedis(), stores: map[int]*bridge.Redis{},
		apart: map[int]bool{}, silent: map[int]bool{}, lost: map[int]bool{}, lines: map[*line]struct{}{},
	}
	d.cond = sync.NewCond(&d.mu)
	d.server.ClockTTL(true)
	d.admin = redis.NewClient(&redis.Options{
		Addr:   redisAddress,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return d.server.Dial() },
	})
	if err := d.admin.Ping(context.Background()).Err(); err != nil {
		return d, err
	}
	d.server.Server().SetPreHook(d.introduce) // there since the first connection
	return d, nil
}

// introduce answers INFO, which the embedded server has no such section of: by
// its run_id nodes know that what answers is not what was there before.
func (d *redisDepot) introduce(peer *server.Peer, command string, _ ...string) (done bool) {
	if command != "INFO" {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	peer.WriteBulk(fmt.Sprintf("# Server\r\nrun_id:%d\r\n", d.life))
	return true
}

// open connects a life of a node, and disconnects its former one.
func (d *redisDepot) open(c *Cluster, n int) (s node.Store, cut func(), err error) {
	if former := d.stores[n]; former != nil {
		_ = former.Disconnect() // its node has ended
	}
	dead := false // guarded by mu
	store, err := bridge.Open(bridge.Config{
		URL: "redis://" + redisAddress, Logger: c.logger(),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			conn, err := d.server.Dial()
			if err != nil {
				return nil, err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if dead || d.away || d.apart[n] {
				_ = conn.Close() // a pipe
				return nil, syscall.ECONNREFUSED
			}
			return d.newLine(n, conn), nil
		},
	})
	d.stores[n] = store
	return store, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		dead = true
		d.breakLines(func(l *line) bool { return l.node == n })
	}, err
}

// chunk is bytes that leave now. The caller holds mu.
func (d *redisDepot) chunk(b []byte, greeting bool) chunk {
	c := chunk{bytes: bytes.Clone(b), at: time.Now(), greeting: greeting}
	if !greeting && d.latency > 0 {
		c.at = c.at.Add(d.latency / 2)
		d.wake(d.latency / 2)
	}
	d.cond.Broadcast()
	return c
}

// wake has all who wait look again after by.
func (d *redisDepot) wake(by time.Duration) { time.AfterFunc(by, d.cond.Broadcast) }

// arrived reports whether bytes are at the other end. The caller holds mu.
func (d *redisDepot) arrived(n int, c chunk) bool {
	return c.greeting || !d.paused && !d.silent[n] && !time.Now().Before(c.at)
}

// breakLines resets connections. The caller holds mu.
func (d *redisDepot) breakLines(which func(*line) bool) {
	for l := range d.lines {
		if which(l) {
			l.in, l.out = nil, nil
			l.end(syscall.ECONNRESET)
		}
	}
}

// change changes what happens to lines.
func (d *redisDepot) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	d.cond.Broadcast()
}

func (d *redisDepot) setLatency(by time.Duration)  { d.change(func() { d.latency = by }) }
func (d *redisDepot) setPaused(paused bool)        { d.change(func() { d.paused = paused }) }
func (d *redisDepot) setSilent(n int, silent bool) { d.change(func() { d.silent[n] = silent }) }

// setAway kills the server. It has kept everything when it is back, but for the
// scripts.
func (d *redisDepot) setAway(away bool) {
	if !away {
		d.forgetScripts()
	}
	d.change(func() {
		d.away = away
		if away {
			d.life++
			d.breakLines(func(*line) bool { return true })
		}
	})
}

func (d *redisDepot) setNodeAway(n int, away bool) {
	d.change(func() {
		d.apart[n] = away
		if away {
			d.breakLines(func(l *line) bool { return l.node == n })
		}
	})
}

// setAnswersLost has a node's connections break after a while in which it heard
// nothing.
func (d *redisDepot) setAnswersLost(n int, lost bool) {
	d.change(func() {
		d.lost[n] = lost
		if !lost {
			d.breakLines(func(l *line) bool { return l.node == n })
		}
	})
}

func (d *redisDepot) forgetScripts() {
	if err := d.admin.ScriptFlush(context.Background()).Err(); err != nil {
		panic(failure{err})
	}
}

func (d *redisDepot) flush() {
	d.server.FlushAll()
	d.forgetScripts()
}

func (d *redisDepot) snapshot() func(time.Duration) {
	held, err := d.copy()
	if err != nil {
		panic(failure{err})
	}
	return func(time.Duration) {
		d.change(func() {
			d.life++
			d.breakLines(func(*line) bool { return true })
		})
		d.flush()
		for _, restore := range held {
			if err := restore(d.server.DB(0)); err != nil {
				panic(failure{err})
			}
		}
	}
}

// copy returns what makes each key anew.
func (d *redisDepot) copy() (keys []func(*miniredis.RedisDB) error, err error) {
	from := d.server.DB(0)
	for _, key := range from.Keys() {
		fill, err := contents(from, key)
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", key, err)
		}
		ttl := from.TTL(key)
		keys = append(keys, func(to *miniredis.RedisDB) error {
			if err := fill(to); err != nil {
				return err
			}
			if ttl > 0 {
				to.SetTTL(key, ttl)
			}
			return nil
		})
	}
	return keys, nil
}

func contents(from *miniredis.RedisDB, key string) (fill func(*miniredis.RedisDB) error, err error) {
	switch kind := from.Type(key); kind {
	case "string":
		value, err := from.Get(key)
		return func(to *miniredis.RedisDB) error { return to.Set(key, value) }, err
	case "hash":
		fields, err := from.HKeys(key)
		var pairs []string
		for _, f := range fields {
			pairs = append(pairs, f, from.HGet(key, f))
		}
		return func(to *miniredis.RedisDB) error { to.HSet(key, pairs...); return nil }, err
	case "set":
		members, err := from.Members(key)
		return func(to *miniredis.RedisDB) error { _, err := to.SetAdd(key, members...); return err }, err
	case "zset":
		scores, err := from.SortedSet(key)
		return func(to *miniredis.RedisDB) error {
			for member, score := range scores {
				if _, err := to.ZAdd(key, score, member); err != nil {
					return err
				}
			}
			return nil
		}, err
	default:
		return nil, fmt.Errorf("a %s", kind)
	}
}

// close ends everything that runs for the depot. All nodes have ended.
func (d *redisDepot) close() {
	for _, s := range d.stores {
		_ = s.Disconnect() // its node has ended
	}
	d.change(func() { d.breakLines(func(*line) bool { return true }) })
	_ = d.admin.Close()
	d.server.Close()
	d.loops.Wait()
}
