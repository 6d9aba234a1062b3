package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/faac1247/rollcall/protocol"
)

// Register writes what all nodes must have in common, or compares it with what
// the first node wrote. An error that does not wrap protocol.ErrStoreAway is
// final: this node does not fit the cluster.
//
// A store whose Leases.Store has changed may have forgotten the shape; register
// it again.
func (r *Redis) Register(ctx context.Context, shape protocol.ClusterShape) error {
	text, err := json.Marshal(shapeRecord{Format: 1, ClusterShape: shape})
	if err != nil {
		return fmt.Errorf("encode cluster shape: %w", err)
	}
	keys := []string{r.leaseKey("shape"), r.leaseKey("store")}
	c := r.call(r.scripts.register, keys, text, rand.Text())
	r.exec(ctx, []*command{c})
	stored, err := c.text()
	if err != nil {
		return fmt.Errorf("register cluster shape: %w", err)
	}
	var there shapeRecord
	if err := json.Unmarshal([]byte(stored), &there); err != nil {
		return fmt.Errorf("read registered cluster shape: %w", err)
	}
	return compareShapes(there.ClusterShape, shape)
}

type shapeRecord struct {
	Format int `json:"f"`
	protocol.ClusterShape
}

func compareShapes(there, ours protocol.ClusterShape) error {
	if there == ours {
		return nil
	}
	return fmt.Errorf("this node's shape %+v is not the cluster's %+v: give it the same settings, or another cluster name", ours, there)
}

// Renew grants a lease and answers the lives of all. It answers
// protocol.ErrBuried to an incarnation with a tombstone.
func (r *Redis) Renew(ctx context.Context, renewal protocol.LeaseRenewal) (protocol.Leases, error) {
	if err := checkRenewal(renewal); err != nil {
		return protocol.Leases{}, err
	}
	keys := []string{r.leaseKey("leases"), r.leaseKey("tombstones"), r.leaseKey("store")}
	c := r.call(r.scripts.renew, keys, string(renewal.Incarnation), renewal.Length.Milliseconds(), rand.Text())
	commands := []*command{c}
	_, clustered := r.client.(*redis.ClusterClient)
	if !clustered {
		commands = append(commands, &command{name: "info", args: []any{"server"}, keyless: true})
	}
	r.exec(ctx, commands)
	answer, err := c.list()
	if err != nil {
		return protocol.Leases{}, fmt.Errorf("renew lease of %s: %w", renewal.Incarnation, err)
	}
	if answer.len() == 0 {
		return protocol.Leases{}, fmt.Errorf("renew lease of %s: %w", renewal.Incarnation, protocol.ErrBuried)
	}
	if clustered {
		r.life.askCluster(ctx, r.client.(*redis.ClusterClient))
	} else if text, err := commands[1].text(); err == nil {
		r.life.note([]string{runID(text)})
	}
	leases := protocol.Leases{
		Now:        fromMillis(answer.int(0)),
		Store:      answer.text(1) + r.life.name(),
		Until:      moments(answer.list(2)),
		Tombstones: moments(answer.list(3)),
	}
	return leases, answer.err
}

// moments reads a sorted set of incarnations by time.
func moments(f *fields) map[protocol.Incarnation]time.Time {
	m := make(map[protocol.Incarnation]time.Time, f.len()/2)
	for i := 0; i+1 < f.len(); i += 2 {
		ms, err := strconv.ParseFloat(f.text(i+1), 64)
		if err != nil && f.err == nil {
			f.err = fmt.Errorf("time in the store: %w", err)
		}
		m[protocol.Incarnation(f.text(i))] = fromMillis(int64(ms))
	}
	return m
}

// Bury declares an incarnation dead whose lease has ended or is unknown, and
// answers the moment of its death: the end of the lease, or now. Repeated, it
// answers the same. It answers protocol.ErrLeaseLive while the lease stands.
func (r *Redis) Bury(ctx context.Context, inc protocol.Incarnation) (time.Time, error) {
	return r.bury(ctx, inc, false)
}

// Resign ends the life of an incarnation of one's own, now, and answers the
// moment of its death.
func (r *Redis) Resign(ctx context.Context, inc protocol.Incarnation) (time.Time, error) {
	return r.bury(ctx, inc, true)
}

func (r *Redis) bury(ctx context.Context, inc protocol.Incarnation, alive bool) (time.Time, error) {
	if err := checkIncarnation(inc); err != nil {
		return time.Time{}, err
	}
	keys := []string{r.leaseKey("leases"), r.leaseKey("tombstones")}
	c := r.call(r.scripts.bury, keys, string(inc), oneOrZero(alive))
	r.exec(ctx, []*command{c})
	answer, err := c.list()
	if err != nil {
		return time.Time{}, fmt.Errorf("bury %s: %w", inc, err)
	}
	dead, died := answer.int(0) == 1, fromMillis(answer.int(1))
	if answer.err != nil {
		return time.Time{}, answer.err
	}
	if !dead {
		return time.Time{}, fmt.Errorf("bury %s: %w", inc, protocol.ErrLeaseLive)
	}
	return died, nil
}

func oneOrZero(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

const (
	// clusterLife is how often the masters of a Cluster are asked who they are,
	// and clusterPatience how long a renewal may take longer for it.
	clusterLife     = time.Second
	clusterPatience = 200 * time.Millisecond
)

// life tells when the servers behind the store are not those that they were:
// one was restarted or replaced, so it may hold less than it acknowledged.
type life struct {
	mu sync.Mutex
	// guarded by mu
	asked   time.Time
	servers string
}

// name is what the servers add to the store's name; empty where they do not say
// who they are.
func (l *life) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.servers
}

// note takes the run ids of all servers.
func (l *life) note(ids []string) {
	slices.Sort(ids)
	text := strings.Join(ids, " ")
	servers := ""
	if strings.TrimSpace(text) != "" {
		h := fnv.New64a()
		_, _ = h.Write([]byte(text))
		servers = "/" + strconv.FormatUint(h.Sum64(), 36)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.servers = servers
}

// askCluster asks the masters, from time to time. Unless all of them answer,
// what is known stands.
func (l *life) askCluster(ctx context.Context, client *redis.ClusterClient) {
	l.mu.Lock()
	due := time.Since(l.asked) >= clusterLife
	if due {
		l.asked = time.Now()
	}
	l.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	texts, err := infos(ctx, client, "server")
	if err != nil {
		return
	}
	ids := make([]string, 0, len(texts))
	for _, text := range texts {
		ids = append(ids, runID(text))
	}
	l.note(ids)
}

// infos asks every master for a section of its INFO.
func infos(ctx context.Context, client redis.UniversalClient, section string) ([]string, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		text, err := client.Info(ctx, section).Result()
		return []string{text}, err
	}
	var mu sync.Mutex
	var texts []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		text, err := master.Info(ctx, section).Result()
		mu.Lock()
		defer mu.Unlock()
		texts = append(texts, text)
		return err
	})
	return texts, err
}

func runID(info string) string { return infoField(info, "run_id") }

// infoField returns one value of an INFO text, "" if it is not there.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
